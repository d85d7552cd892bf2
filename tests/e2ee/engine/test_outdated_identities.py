"""A key that was replaced, and is shown again or trusted again: told once more, never asked about without end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.engine.identities import shows
from e2ee.errors import RefusalCode
from e2ee.events import DeliveryState, IdentityChanged
from e2ee.frames import DeviceChange, DeviceRef, GetBundles, Submit, Submitted
from e2ee.options import ClientOptions
from e2ee.trust import ADOPTION_INTERVAL_S, ADOPTIONS_MAX, Decision, Direction, IdentityPolicy
from tests.support.post_office import PostOffice

from .test_policies import new_identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.frames import ClientFrame, RelayFrame, UserBundles
    from e2ee.trust import Policy
    from tests.support.engines import Clock, Device, World
    from tests.support.post_office import DeviceName

HELD, SENT, DELIVERED = DeliveryState.HELD, DeliveryState.SENT, DeliveryState.DELIVERED
VERIFIED, ALWAYS = IdentityPolicy.VERIFIED_ONLY, IdentityPolicy.ALWAYS
REQUESTS_MAX = 15  # three at once, then 1 s doubling to 300 s: so many in an hour


class Counting(PostOffice):
    """A relay that counts requests for bundles, and may name one user's key for another's."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.turns: list[str] = []  # whose bundles are told as Bob's, in turn; what is sent to him is refused

    def handle(self, sender: DeviceName, frame: ClientFrame) -> RelayFrame | None:
        self.asked += isinstance(frame, GetBundles)
        if self.turns and isinstance(frame, Submit) and frame.user_id == "bob":
            other = DeviceRef(1, frame.devices[0].registration_id % 16_383 + 1)
            return Submitted(0, (), RefusalCode.DEVICES_CHANGED, DeviceChange((other,), ()), None)
        return super().handle(sender, frame)

    def _bundles(self, sender: DeviceName, user_id: str, device_ids: tuple[int, ...] | None) -> UserBundles:
        if user_id != "bob" or not self.turns:
            return super()._bundles(sender, user_id, device_ids)
        self.turns.append(self.turns.pop(0))
        return replace(super()._bundles(sender, self.turns[0], device_ids), user_id=user_id)


@pytest.fixture
def relay() -> Counting:
    return Counting()


@pytest.fixture
def make_relay(relay: Counting) -> Callable[[Clock], Counting]:
    return lambda _clock: relay


@pytest.fixture
def old_and_new(world: World, alice: Device) -> tuple[bytes, Device]:
    """Bob's first key, and Bob after he began anew; Alice has trusted the second."""
    bob = world.device("bob")
    alice.send("bob", "to the old one")
    world.settle()
    old_key = bob.key
    bob = new_identity(world, bob)
    alice.send("bob", "to the new one")
    world.settle()
    alice.trust("bob", bob.key)
    world.settle()
    assert bob.texts() == ["to the new one"]
    return old_key, bob


def test_an_outdated_key_that_is_trusted_costs_one_request_and_a_new_decision(
    world: World, relay: Counting, alice: Device, old_and_new: tuple[bytes, Device]
) -> None:
    old_key, bob = old_and_new
    alice.trust("bob", old_key)
    before = relay.asked
    message_id = alice.send("bob", "to whom?")
    for _ in range(10):
        world.settle()
        world.clock.now += 400
    assert relay.asked == before + 1
    assert alice.states(message_id) == [HELD]
    *_, change = changes = alice.of(IdentityChanged)
    assert [one.shown for one in changes] == [bob.key, bob.key]
    assert (change.on_record, change.adopted) == (old_key, False)
    alice.trust("bob")
    world.settle()
    assert bob.texts() == ["to the new one", "to whom?"]
    assert alice.states(message_id) == [HELD, SENT, DELIVERED]


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0), (0, 1, 1, 0)])
def test_no_order_of_decisions_makes_a_loop_of_requests(
    world: World, relay: Counting, alice: Device, old_and_new: tuple[bytes, Device], order: tuple[int, ...]
) -> None:
    old_key, bob = old_and_new
    keys = (old_key, bob.key)
    alice.send("bob", "hello?")
    alice.trust("bob", old_key)
    before = relay.asked
    for _ in range(300):
        for which in order:
            alice.trust("bob", keys[which])
        world.settle()
        world.clock.now += 1
    assert relay.asked - before <= REQUESTS_MAX
    told = len(alice.of(IdentityChanged))
    alice.trust("bob", bob.key)
    for _ in range(10):
        world.settle()
        world.clock.now += 60
    assert bob.texts() == ["to the new one", "hello?"]
    assert told <= REQUESTS_MAX + 1


def test_a_message_under_the_key_that_was_given_up_for_an_outdated_one_is_told(
    world: World, alice: Device, old_and_new: tuple[bytes, Device]
) -> None:
    old_key, bob = old_and_new
    alice.trust("bob", old_key)
    for number in range(3):
        bob.send("alice", str(number))
        world.settle()
    assert [one.shown for one in alice.of(IdentityChanged)] == [bob.key, bob.key]
    assert alice.texts() == []
    alice.trust("bob")
    for _ in range(5):
        world.settle()
        world.clock.now += 60
    assert alice.texts() == ["0", "1", "2"]


def test_late_mail_under_a_key_that_was_replaced_asks_nobody_anything(
    world: World, alice: Device, old_and_new: tuple[bytes, Device]
) -> None:
    old_key, bob = old_and_new
    alice.do(lambda step: shows(step, "bob", old_key, Direction.RECEIVING, again=True))
    assert [one.shown for one in alice.of(IdentityChanged)] == [bob.key]
    alice.send("bob", "still you")
    world.settle()
    assert bob.texts() == ["to the new one", "still you"]


def test_an_answer_that_was_overtaken_by_a_decision_is_no_change(world: World, relay: Counting, alice: Device) -> None:
    bob = world.device("bob")
    alice.send("bob", "hello")
    world.settle()
    old_key, bob = bob.key, new_identity(world, bob)
    alice.do(lambda step: shows(step, "bob", bob.key, Direction.RECEIVING))
    alice.send("bob", "to the new one")
    alice.trust("bob", bob.key)  # asks for bundles
    relay.identities["bob"] = old_key
    alice.relay_takes_one()  # and answers as of before
    relay.identities["bob"] = bob.key
    alice.trust("bob", old_key)
    alice.trust("bob", bob.key)
    world.settle()
    assert [one.shown for one in alice.of(IdentityChanged)] == [bob.key]
    assert bob.texts() == ["to the new one"]


def test_with_verified_only_a_key_that_comes_back_is_told_and_keeps_its_verification(world: World) -> None:
    alice = world.device("alice", options=ClientOptions(one_time_prekeys=3, identities=VERIFIED))
    bob = world.device("bob")
    alice.send("bob", "hello")
    world.settle()
    old_key = bob.key
    alice.trust("bob", old_key, verification="safety number")
    world.settle()
    bob = new_identity(world, bob)
    bob.send("alice", "a new phone")
    world.settle()
    alice.trust("bob", bob.key, verification="safety number")
    alice.trust("bob", old_key)
    alice.send("bob", "hello?")
    world.settle()
    assert [one.shown for one in alice.of(IdentityChanged)] == [bob.key, bob.key]
    alice.trust("bob", bob.key)
    world.settle()
    assert bob.texts() == ["hello?"]


@pytest.mark.parametrize("policy", [ALWAYS, lambda _change: Decision.TRUST])
def test_a_relay_that_names_two_keys_in_turn_is_followed_a_few_times_only(
    world: World, relay: Counting, policy: Policy
) -> None:
    alice = world.device("alice", options=ClientOptions(one_time_prekeys=3, identities=policy))
    world.device("bob")
    world.device("mallory")
    alice.send("bob", "hello")
    world.settle()
    relay.turns = ["bob", "mallory"]
    before = relay.asked
    for number in range(60):
        alice.send("bob", str(number))
        world.settle()
        world.clock.now += 30
    adopted = [one for one in alice.of(IdentityChanged) if one.adopted]
    assert 1 <= len(adopted) <= ADOPTIONS_MAX + 1
    assert len(alice.of(IdentityChanged)) <= ADOPTIONS_MAX + 2
    assert relay.asked - before <= 2 * ADOPTIONS_MAX + REQUESTS_MAX


def test_the_policy_always_goes_on_by_itself_an_interval_after_too_many_changes(world: World, relay: Counting) -> None:
    alice = world.device("alice", options=ClientOptions(one_time_prekeys=3, identities=ALWAYS))
    bob = world.device("bob")
    alice.send("bob", "hello")
    world.settle()
    for number in range(ADOPTIONS_MAX):
        key = bytes([5]) + bytes([number + 1]) * 32
        alice.do(lambda step, key=key: shows(step, "bob", key, Direction.SENDING))  # type: ignore[misc]
    message_id = alice.send("bob", "where are you?")
    world.settle()
    assert alice.states(message_id) == [HELD]
    before = relay.asked
    world.clock.now += ADOPTION_INTERVAL_S
    world.settle()
    assert relay.asked == before + 1
    assert bob.texts() == ["hello", "where are you?"]
