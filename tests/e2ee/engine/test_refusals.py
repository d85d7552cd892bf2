"""What each refusal of the relay leads to, and that no lane stops another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.errors import RefusalCode
from e2ee.events import DeliveryState, MessageState
from e2ee.frames import Bundles, DeviceChange, DeviceRef, GetBundles, RefusedRequest, Submit, Submitted, UserBundles

if TYPE_CHECKING:
    from tests.support.engines import Device, World

SENT, DELIVERED, HELD, FAILED = (
    DeliveryState.SENT,
    DeliveryState.DELIVERED,
    DeliveryState.HELD,
    DeliveryState.FAILED,
)


def reasons(device: Device) -> list[str]:
    return [event.reason for event in device.of(MessageState) if event.reason]


@pytest.mark.parametrize("code", [RefusalCode.BLOCKED, RefusalCode.TOO_LARGE, RefusalCode.NOT_AUTHORIZED])
def test_a_refusal_that_waiting_does_not_change_fails_the_message(
    world: World, alice: Device, bob: Device, code: RefusalCode
) -> None:
    world.relay.refusing["bob"] = code
    message_id = alice.send("bob", "hello")
    world.settle()
    assert alice.states(message_id) == [FAILED]
    assert reasons(alice) == [code.name.lower()]
    del world.relay.refusing["bob"]
    alice.send("bob", "again")
    world.settle()
    assert bob.texts() == ["again"]


@pytest.mark.parametrize("code", [RefusalCode.RATE_LIMITED, RefusalCode.UNAVAILABLE, RefusalCode.NOT_TRIED])
def test_a_refusal_for_now_holds_the_message_and_sends_the_same_bytes_later(
    world: World, alice: Device, bob: Device, code: RefusalCode
) -> None:
    alice.send("bob", "before")
    world.settle()
    world.relay.refusing["bob"] = code
    before = len(world.relay.overheard)
    message_id = alice.send("bob", "hello")
    for _ in range(20):
        steps = alice.possible()
        if steps:
            steps[0]()
    del world.relay.refusing["bob"]
    world.clock.now += 10
    world.settle()
    assert alice.states(message_id) == [HELD, SENT, DELIVERED]
    assert bob.texts() == ["before", "hello"]
    first, *others = [one for one in world.relay.overheard[before:] if one[0] == ("alice", 1)]
    assert others
    assert all(one == first for one in others)


def test_a_lane_waits_longer_each_time_it_is_refused(world: World, alice: Device, bob: Device) -> None:
    assert bob.connected
    world.relay.refusing["bob"] = RefusalCode.UNAVAILABLE
    alice.send("bob", "hello")
    waits: list[float] = []
    while len(waits) < 11:
        steps = [step for step in alice.possible() if step != alice.tick]
        if steps:
            steps[0]()
            continue
        assert alice.wake_at is not None
        waits.append(alice.wake_at - world.clock.now)
        world.clock.now = alice.wake_at
        alice.tick()
    waits = [wait for wait in waits if wait > 0]
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert max(waits) == 300


def test_the_time_that_the_relay_gives_is_waited(world: World, alice: Device, bob: Device) -> None:
    assert bob.connected
    alice.send("bob", "hello")
    request = _next(alice, Submit)
    alice.take(alice.engine.reply(request, Submitted(0, (), RefusalCode.RATE_LIMITED, None, 7_000)))
    assert alice.wake_at == world.clock.now + 7


def test_a_refusal_code_of_a_later_release_holds_the_message(alice: Device, bob: Device) -> None:
    assert bob.connected
    message_id = alice.send("bob", "hello")
    alice.take(alice.engine.reply(_next(alice, Submit), RefusedRequest(0, 99, None)))
    assert alice.states(message_id) == [HELD]
    assert reasons(alice) == ["refused"]


def test_one_users_refusals_do_not_stop_messages_to_others(world: World, alice: Device, bob: Device) -> None:
    carol = world.device("carol")
    world.relay.refusing["bob"] = RefusalCode.BLOCKED
    alice.send("bob", "to bob")
    alice.send("carol", "to carol")
    world.settle()
    assert (bob.texts(), carol.texts()) == ([], ["to carol"])


def test_a_relay_that_changes_the_device_list_again_and_again_is_waited_for(
    world: World, alice: Device, bob: Device
) -> None:
    assert bob.connected
    message_id = alice.send("bob", "hello")
    change = DeviceChange((DeviceRef(7, 77),), ())
    refusals = 0
    while refusals < 3:
        if alice.outgoing:
            alice.relay_takes_one()
        if not alice.incoming:
            continue
        request, reply = alice.incoming.popleft()
        if isinstance(request, Submit) and request.user_id == "bob":
            refusals += 1
            reply = Submitted(0, (), RefusalCode.DEVICES_CHANGED, change, None)
        alice.take(alice.engine.reply(request, reply))
    assert alice.wake_at == world.clock.now + 1
    assert reasons(alice) == ["devices_changed"]
    world.settle()
    assert alice.states(message_id)[-1] is DELIVERED
    assert bob.texts() == ["hello"]  # though the relay had stored each of the refused
    assert world.keys_used_twice() == []


def test_a_refused_request_for_bundles_is_made_again_later(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    request = _next(alice, GetBundles)
    alice.take(alice.engine.reply(request, RefusedRequest(0, RefusalCode.RATE_LIMITED, 3_000)))
    world.settle()
    assert bob.texts() == ["hello"]


def test_a_bundle_that_does_not_verify_is_not_written_to(world: World, alice: Device, bob: Device) -> None:
    message_id = alice.send("bob", "hello")
    request = _next(alice, GetBundles)
    mallory = world.device("mallory")
    with mallory.store.begin() as unit:
        forged = unit.account.require().identity.public_key
    bundles = world.relay._bundles(alice.name, "bob", None)
    alice.take(alice.engine.reply(request, Bundles(0, (UserBundles("bob", forged, bundles.bundles),))))
    assert alice.states(message_id) == [HELD]
    assert reasons(alice) == ["no device"]
    assert not any(recipient[0] == "bob" for _, recipient, _ in world.relay.overheard)
    assert bob.texts() == []


def test_replies_of_an_earlier_connection_change_nothing(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    while not any(isinstance(request, Submit) and request.user_id == "bob" for request, _ in alice.incoming):
        alice.possible()[0]()
    late = list(alice.incoming)
    alice.lose_connection()
    for request, reply in late:
        assert alice.engine.reply(request, reply).requests == ()
    alice.connect()
    world.settle()
    assert bob.texts() == ["hello"]


def _next(device: Device, kind: type[Submit | GetBundles]) -> Submit | GetBundles:
    """Let things happen until the device asks for something of *kind* for Bob; the relay does not get it."""
    while True:
        for request in list(device.outgoing):
            to_bob = (isinstance(request, Submit) and request.user_id == "bob") or (
                isinstance(request, GetBundles) and request.wanted[0].user_id == "bob"
            )
            if isinstance(request, kind) and to_bob:
                device.outgoing.remove(request)
                return request
        device.possible()[0]()
