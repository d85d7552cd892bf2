"""Direct messages between two users: what arrives, in which order, and what the sender hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.errors import InvalidArgument, InvalidUserId
from e2ee.events import DeliveryState, DirectMessage

if TYPE_CHECKING:
    from tests.support.engines import Device, World

SENT, DELIVERED, READ, HELD, FAILED = (
    DeliveryState.SENT,
    DeliveryState.DELIVERED,
    DeliveryState.READ,
    DeliveryState.HELD,
    DeliveryState.FAILED,
)


def test_a_text_arrives(world: World, alice: Device, bob: Device) -> None:
    message_id = alice.send("bob", "hello bob")
    world.settle()
    (message,) = bob.of(DirectMessage)
    assert (message.sender, message.text, message.data) == ("alice", "hello bob", b"hello bob")
    assert (message.message_id, message.sender_device, message.conversation_number) == (message_id, 1, 1)


def test_bytes_arrive_without_a_text(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", b"\x00\xff")
    world.settle()
    (message,) = bob.of(DirectMessage)
    assert (message.text, message.data) == (None, b"\x00\xff")


def test_messages_both_ways_arrive_in_order(world: World, alice: Device, bob: Device) -> None:
    for number in range(20):
        alice.send("bob", f"a{number}")
        bob.send("alice", f"b{number}")
    world.settle()
    assert bob.texts() == [f"a{number}" for number in range(20)]
    assert alice.texts() == [f"b{number}" for number in range(20)]


def test_the_sender_hears_that_the_relay_stored_it_and_that_it_arrived(
    world: World, alice: Device, bob: Device
) -> None:
    message_id = alice.send("bob", "hello")
    world.settle()
    assert bob.texts() == ["hello"]
    assert alice.states(message_id) == [SENT, DELIVERED]


def test_a_message_to_somebody_who_is_away_waits_at_the_relay(world: World, alice: Device, bob: Device) -> None:
    bob.lose_connection()
    message_id = alice.send("bob", "for later")
    world.settle()
    assert alice.states(message_id) == [SENT]
    bob.connect()
    world.settle()
    assert bob.texts() == ["for later"]
    assert alice.states(message_id) == [SENT, DELIVERED]


def test_what_is_sent_without_a_connection_leaves_with_the_next(world: World, alice: Device, bob: Device) -> None:
    alice.lose_connection()
    message_id = alice.send("bob", "written on the train")
    world.settle()
    assert bob.texts() == []
    assert alice.engine.unsent()
    alice.connect()
    assert alice.engine.unsent()
    world.settle()
    assert not alice.engine.unsent()
    assert bob.texts() == ["written on the train"]
    assert alice.states(message_id) == [SENT, DELIVERED]


def test_a_message_of_the_largest_size_arrives(world: World, alice: Device, bob: Device) -> None:
    content = bytes(256 * 1024)
    alice.send("bob", content)
    world.settle()
    assert [message.data for message in bob.of(DirectMessage)] == [content]


def test_a_session_that_nobody_answered_for_thirty_days_is_renewed_before_it_sends(
    world: World, alice: Device, bob: Device
) -> None:
    bob.lose_connection()
    alice.send("bob", "first")
    world.settle()
    world.clock.now += 29 * 24 * 3600
    alice.send("bob", "within the time")
    world.settle()
    world.clock.now += 2 * 24 * 3600
    alice.send("bob", "after it")
    world.settle()
    bob.connect()
    world.settle()
    assert bob.texts() == ["first", "within the time", "after it"]
    assert world.keys_used_twice() == []


def test_the_largest_message_to_more_devices_than_one_frame_holds_fails_with_the_reason(
    world: World, alice: Device, bob: Device
) -> None:
    with bob.store.begin() as unit:
        identity = unit.account.require().identity
    for device_id in range(2, 5):
        world.device("bob", device_id, identity=identity)
    message_id = alice.send("bob", bytes(256 * 1024))
    alice.send("bob", "smaller")
    world.settle()
    assert alice.states(message_id) == [FAILED]
    assert bob.texts() == ["smaller"]


def test_a_message_that_is_too_large_is_the_callers_to_correct(alice: Device) -> None:
    with pytest.raises(InvalidArgument, match="262144"):
        alice.engine.send("bob", bytes(256 * 1024 + 1))


def test_a_name_that_is_no_user_id_is_the_callers_to_correct(alice: Device) -> None:
    with pytest.raises(InvalidUserId):
        alice.engine.send("bob smith", "hello")


def test_a_message_to_an_unknown_user_is_held_and_goes_once_the_user_exists(world: World, alice: Device) -> None:
    message_id = alice.send("carol", "are you there?")
    for _ in range(6):
        _settle_now(world)
    assert alice.states(message_id) == [HELD]
    carol = world.device("carol", online=False)
    carol.connect()
    world.clock.now += 400
    world.settle()
    assert carol.texts() == ["are you there?"]
    assert alice.states(message_id) == [HELD, SENT, DELIVERED]


def _settle_now(world: World) -> None:
    """Let happen what can without time passing."""
    while steps := [step for device in world.every for step in device.possible()]:
        world.dice.choice(steps)()
