"""Another identity key of a user: held both ways, told once, nothing lost, and never an extra device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.engine.identities import shows
from e2ee.errors import InvalidArgument
from e2ee.events import DeliveryState, IdentityChanged, MessagePending
from e2ee.frames import Bundles, EnvelopeKind
from e2ee.options import ClientOptions
from e2ee.trust import Direction, IdentityPolicy
from ratchet import IdentityKeyPair

if TYPE_CHECKING:
    from tests.support.engines import Device, World

SENT, DELIVERED, HELD = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.HELD
KEY, OTHER = b"\x05" + bytes(32), b"\x05" + bytes(31) + b"\x01"
TOFU, VERIFIED, ALWAYS = IdentityPolicy.TRUST_ON_FIRST_USE, IdentityPolicy.VERIFIED_ONLY, IdentityPolicy.ALWAYS


def new_identity(world: World, old: Device) -> Device:
    """The user starts afresh, and the relay lets the new key have the name."""
    old.lose_connection()
    world.every.remove(old)
    old.engine.close()
    world.relay.forget_user(old.name[0])
    return world.device(old.name[0])


def test_messages_to_a_changed_identity_are_held_until_somebody_decides(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "to the old one")
    world.settle()
    old_key = bob.key
    bob = new_identity(world, bob)
    message_id = alice.send("bob", "to the new one")
    world.settle()
    assert bob.texts() == []
    assert alice.states(message_id) == [HELD]
    assert not alice.engine.unsent()  # closing need not wait for it
    (change,) = alice.of(IdentityChanged)
    assert (change.user, change.on_record, change.shown, change.adopted) == ("bob", old_key, bob.key, False)
    alice.trust("bob", bob.key)
    world.settle()
    assert bob.texts() == ["to the new one"]
    assert alice.states(message_id) == [HELD, SENT, DELIVERED]


def test_messages_from_a_changed_identity_are_held_and_come_in_order_once_it_is_trusted(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "hello")
    world.settle()
    bob = new_identity(world, bob)
    for number in range(3):
        bob.send("alice", str(number))
        world.settle()
    assert alice.texts() == []
    assert len(alice.of(IdentityChanged)) == 1
    assert world.relay.boxes["alice", 1].mail == []  # parked, so acknowledged
    alice.trust("bob", bob.key, verification="safety number")
    world.settle()
    assert alice.texts() == ["0", "1", "2"]


def test_the_policy_always_takes_a_changed_identity_and_tells_of_it(world: World, bob: Device) -> None:
    alice = world.device("alice", options=ClientOptions(one_time_prekeys=3, identities=ALWAYS))
    alice.send("bob", "to the old one")
    world.settle()
    bob = new_identity(world, bob)
    bob.send("alice", "from the new one")
    alice.send("bob", "to the new one")
    world.settle()
    assert (alice.texts(), bob.texts()) == (["from the new one"], ["to the new one"])
    assert [event.adopted for event in alice.of(IdentityChanged)] == [True]


def test_with_verified_only_nothing_goes_or_comes_before_the_key_is_verified(world: World, bob: Device) -> None:
    alice = world.device("alice", options=ClientOptions(one_time_prekeys=3, identities=VERIFIED))
    message_id = alice.send("bob", "are you Bob?")
    bob.send("alice", "I am Bob")
    world.settle()
    assert (alice.texts(), bob.texts()) == ([], [])
    assert alice.states(message_id) == [HELD]
    alice.trust("bob", bob.key, verification="safety number")
    world.settle()
    assert (alice.texts(), bob.texts()) == (["I am Bob"], ["are you Bob?"])


def test_after_a_key_was_distrusted_messages_go_on_to_the_one_on_record(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "hello")
    world.settle()
    impostor = world.device("impostor")
    alice.do(lambda step: shows(step, "bob", impostor.key, Direction.SENDING))
    message_id = alice.send("bob", "is that you?")
    world.settle()
    assert alice.states(message_id) == [HELD]
    alice.distrust("bob", impostor.key)
    world.settle()
    assert bob.texts() == ["hello", "is that you?"]


def test_a_held_lane_asks_for_no_more_bundles(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    world.settle()
    bob = new_identity(world, bob)
    for number in range(5):
        alice.send("bob", str(number))
        world.settle()
        world.clock.now += 400
    assert len(world.relay.boxes["bob", 1].one_time) >= 2
    assert bob.texts() == []


def test_a_key_that_the_user_never_showed_cannot_be_trusted(alice: Device) -> None:
    with pytest.raises(InvalidArgument, match="shown"):
        alice.trust("bob", OTHER)


@pytest.mark.usefixtures("bob")
def test_a_device_with_another_identity_of_our_own_user_is_never_written_to(world: World, alice: Device) -> None:
    # A relay that puts a device of its own beside ours: in the bundle answer, under its own key.
    alice.send("alice", "to myself")
    alice.relay_takes_one()
    request, reply = alice.incoming.pop()
    assert isinstance(reply, Bundles)
    bundles = world.relay._bundles(("alice", 1), "bob", None)
    forged = replace(bundles, user_id="alice")
    alice.take(alice.engine.reply(request, Bundles(0, (forged,))))
    assert not any(recipient[0] == "alice" for _, recipient, _ in world.relay.overheard)
    with alice.store.begin() as unit:
        assert unit.sessions.devices("alice") == []


def test_a_claimed_identity_that_proves_nothing_is_no_identity_change(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    world.settle()
    mallory = world.device("mallory")
    mallory.send("alice", "hi")
    while not world.relay.boxes["alice", 1].mail:
        world.dice.choice(mallory.possible())()
    (mail,) = world.relay.boxes["alice", 1].mail
    assert mail.kind is EnvelopeKind.PREKEY
    # Bound to Mallory's address, so that the relay cannot give it out as Bob's.
    world.relay.boxes["alice", 1].mail = [mail._replace(sender_user_id="bob")]
    world.settle()
    assert alice.of(IdentityChanged) == []
    assert [event.sender for event in alice.live if isinstance(event, MessagePending)] == ["bob"]
    bob.send("alice", "still me")
    world.settle()
    assert alice.texts() == ["still me"]


def test_a_store_is_not_opened_with_another_identity_than_its_own(world: World, alice: Device) -> None:
    alice.identity = IdentityKeyPair.generate()
    with pytest.raises(InvalidArgument, match="identity"):
        alice.restart()
    alice.identity = None
    alice.store.close()
    alice.open()
    assert world.relay.identities["alice"] == alice.key
