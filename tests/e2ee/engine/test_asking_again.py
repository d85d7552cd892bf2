"""A request for messages that nobody has had, because its device registered anew, is made anew: within the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.diagnostics import Reason
from e2ee.engine.rollback import recover
from e2ee.errors import RefusalCode
from e2ee.events import MessageLost
from e2ee.frames import DeviceChange, DeviceRef, GetBundles, Submit, Submitted
from e2ee.recovery import REQUESTS_MAX
from tests.support.damage import forget_session, heals, talked

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.frames import ClientFrame, RelayFrame
    from tests.support.engines import Device, World
    from tests.support.post_office import DeviceName

TEXT = "are you there?"


def go_on(device: Device, until: Callable[[], bool]) -> None:
    """Let one device and the relay go on, and nobody else."""
    while not until():
        device.possible()[0]()


@pytest.fixture
def request_under_way(world: World, alice: Device, bob: Device) -> Submit:
    """Bob has lost his session with Alice; he asks for what she sent, and the relay has not got the request."""
    talked(world, alice, bob)
    forget_session(bob.store, "alice")
    alice.send("bob", TEXT)
    go_on(alice, lambda: not (alice.outgoing or alice.incoming))
    go_on(bob, lambda: any(isinstance(one, Submit) for one in bob.outgoing))
    return next(one for one in bob.outgoing if isinstance(one, Submit))


def rest(world: World) -> None:
    for _ in range(4):
        world.settle()
        world.clock.now += 60
    world.settle()


@pytest.mark.usefixtures("request_under_way")
def test_a_device_that_registers_anew_is_asked_again_before_it_writes(world: World, alice: Device, bob: Device) -> None:
    alice.do(lambda step: recover(step, None))
    rest(world)
    assert bob.texts()[-1] == TEXT
    assert heals(bob) == 2


@pytest.mark.usefixtures("request_under_way")
def test_a_new_registration_that_has_not_got_the_message_says_so_at_once(
    world: World, alice: Device, bob: Device
) -> None:
    identity = alice.do(lambda step: step.account.identity)
    alice.lose_connection()
    world.every.remove(alice)
    alice.engine.close()
    world.device("alice", identity=identity)
    rest(world)
    assert [one.why for one in bob.of(MessageLost)] == [Reason.NOT_KNOWN]
    assert bob.engine.report().waiting_to_be_opened == 0


@pytest.mark.usefixtures("request_under_way")
def test_a_crash_after_the_request_was_deleted_does_not_lose_the_wish(world: World, alice: Device, bob: Device) -> None:
    alice.do(lambda step: recover(step, None))
    go_on(alice, lambda: world.relay.boxes["alice", 1].listed)
    go_on(bob, lambda: not (bob.outgoing or bob.incoming))
    bob.restart()
    bob.connect()
    rest(world)
    assert bob.texts()[-1] == TEXT


@pytest.mark.usefixtures("request_under_way")
def test_a_device_that_writes_under_its_new_registration_is_asked_without_another_heal(
    world: World, alice: Device, bob: Device
) -> None:
    alice.do(lambda step: recover(step, None))
    go_on(alice, lambda: world.relay.boxes["alice", 1].listed)
    go_on(bob, lambda: not (bob.outgoing or bob.incoming))
    alice.send("bob", "back again")
    rest(world)
    assert set(bob.texts()[-2:]) == {TEXT, "back again"}
    assert heals(bob) == 1


@pytest.mark.usefixtures("request_under_way")
def test_what_was_asked_for_and_given_up_by_beginning_anew_is_asked_for_again(
    world: World, alice: Device, bob: Device
) -> None:
    bob.do(lambda step: recover(step, None))
    rest(world)
    assert bob.texts()[-1] == TEXT
    assert alice.engine.report().waiting_to_be_opened == 0


def test_a_relay_that_always_names_another_registration_makes_no_loop(
    world: World, bob: Device, request_under_way: Submit
) -> None:
    handle, asked = world.relay.handle, [0, 0]
    registration_id = request_under_way.devices[0].registration_id

    def naming_another(sender: DeviceName, frame: ClientFrame) -> RelayFrame | None:
        if sender != bob.name or not isinstance(frame, Submit):
            asked[0] += sender == bob.name and isinstance(frame, GetBundles)
            return handle(sender, frame)
        asked[1] += 1
        other = DeviceRef(1, registration_id % 16_383 + asked[1])
        return Submitted(0, (), RefusalCode.DEVICES_CHANGED, DeviceChange((other,), ()), None)

    world.relay.handle = naming_another  # type: ignore[method-assign]
    for _ in range(60):
        world.settle()
        world.clock.now += 60
    assert REQUESTS_MAX < sum(asked) <= 24  # heals after 1, 2, 4 … minutes: 6 in the hour, a few questions for each
