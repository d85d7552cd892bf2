"""Receipts: sent together, counted only from those who were written to, and given only if wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.content import ContentKind, Receipt, ReceiptState, encode_receipt
from e2ee.errors import InvalidArgument
from e2ee.events import DeliveryState, DirectMessage, MessageState
from e2ee.frames import GetBundles
from e2ee.options import ClientOptions

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from tests.support.engines import Device, World

SENT, DELIVERED, READ = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ


def from_bob(world: World) -> int:
    """How many envelopes Bob has sent."""
    return sum(sender == ("bob", 1) for sender, _, _ in world.relay.overheard)


def test_one_message_carries_the_receipts_of_a_whole_mailbox(world: World, alice: Device, bob: Device) -> None:
    bob.lose_connection()
    sent = [alice.send("bob", str(number)) for number in range(40)]
    world.settle()
    bob.connect()
    world.settle()
    assert [alice.states(message_id) for message_id in sent] == [[SENT, DELIVERED]] * 40
    assert from_bob(world) == 1


def test_receipts_leave_after_64_messages_though_more_mail_waits(world: World, alice: Device, bob: Device) -> None:
    bob.lose_connection()
    for number in range(100):
        alice.send("bob", str(number))
    world.settle()
    bob.connect()
    bob.tick()
    while world.relay.boxes["bob", 1].pushed < 64:
        assert not any(isinstance(request, GetBundles) for request in bob.outgoing)
        assert bob.wake_at is None or bob.wake_at > world.clock.now
        bob.take_push()
    assert bob.wake_at is not None
    assert bob.wake_at <= world.clock.now
    bob.tick()
    assert any(isinstance(request, GetBundles) for request in bob.outgoing)
    world.settle()
    assert from_bob(world) == 2


def test_a_receipt_that_waits_for_company_leaves_after_two_seconds(world: World, alice: Device, bob: Device) -> None:
    message_id = alice.send("bob", "hello")
    while alice.possible():
        world.dice.choice(alice.possible())()
    bob.take_push()
    assert bob.wake_at == world.clock.now + 2.0
    world.clock.now += 2.0
    bob.tick()
    while bob.outgoing or bob.incoming:
        (bob.relay_takes_one if bob.outgoing else bob.take_reply)()
    world.settle()
    assert alice.states(message_id) == [SENT, DELIVERED]


def test_closing_sends_the_receipts_that_wait(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    while alice.possible():
        world.dice.choice(alice.possible())()
    bob.take_push()
    assert not bob.engine.unsent()
    bob.take(bob.engine.finish())
    assert bob.engine.unsent()
    assert bob.outgoing


def test_a_receipt_survives_a_restart_before_it_leaves(world: World, alice: Device, bob: Device) -> None:
    message_id = alice.send("bob", "hello")
    while alice.possible():
        world.dice.choice(alice.possible())()
    bob.take_push()
    bob.restart()
    bob.connect()
    world.settle()
    assert alice.states(message_id) == [SENT, DELIVERED]


@pytest.mark.parametrize("by_id", [True, False], ids=["by id", "as an event"])
def test_a_message_marked_as_read_is_read_for_its_sender(
    world: World, alice: Device, bob: Device, *, by_id: bool
) -> None:
    message_id = alice.send("bob", "hello")
    world.settle()
    (event,) = bob.engine.next_events(10)
    assert isinstance(event, DirectMessage)
    bob.take(bob.engine.mark_read([message_id if by_id else event]))
    world.settle()
    assert alice.states(message_id) == [SENT, DELIVERED, READ]


def test_a_message_that_has_left_the_inbox_is_still_marked_as_read_as_the_event_that_it_was(
    world: World, alice: Device, bob: Device
) -> None:
    message_id = alice.send("bob", "hello")
    world.settle()
    (event,) = bob.of(DirectMessage)
    with pytest.raises(InvalidArgument, match="inbox"):
        bob.engine.mark_read([message_id])
    bob.take(bob.engine.mark_read([event]))
    world.settle()
    assert alice.states(message_id) == [SENT, DELIVERED, READ]


def test_a_device_that_gives_no_receipts_tells_nothing(world: World, alice: Device) -> None:
    bob = world.device("bob", options=ClientOptions(one_time_prekeys=3, receipts=False))
    message_id = alice.send("bob", "hello")
    world.settle()
    (event,) = bob.of(DirectMessage)
    bob.take(bob.engine.mark_read([event]))
    world.settle()
    assert alice.states(message_id) == [SENT]
    assert from_bob(world) == 0


def test_a_receipt_counts_only_from_the_user_to_whom_the_message_went(world: World, alice: Device, bob: Device) -> None:
    eve = world.device("eve")
    bob.lose_connection()
    message_id = alice.send("bob", "hello")
    eve.send("alice", "good morning")
    world.settle()

    def forge(step: Step) -> None:
        body = encode_receipt(Receipt(ReceiptState.READ, 1, None, ((1, 2**62),)))
        step.queue(ContentKind.RECEIPT, "alice", body)

    eve.take(eve.engine._run(forge))
    world.settle()
    assert alice.states(message_id) == [SENT]
    assert alice.texts() == ["good morning"]


def test_a_message_that_nobody_confirms_for_thirty_days_expires(world: World, alice: Device, bob: Device) -> None:
    bob.lose_connection()
    message_id = alice.send("bob", "hello")
    world.settle()
    world.clock.now += 31 * 24 * 3600
    alice.tick()
    assert alice.states(message_id) == [SENT, DeliveryState.EXPIRED]


def test_states_come_out_of_the_inbox_in_the_order_in_which_they_came(world: World, alice: Device, bob: Device) -> None:
    first, second = alice.send("bob", "1"), alice.send("bob", "2")
    world.settle()
    assert bob.texts() == ["1", "2"]
    told = [(event.message_id, event.state) for event in alice.of(MessageState)]
    assert [one for one in told if one[0] == first] == [(first, SENT), (first, DELIVERED)]
    assert [one for one in told if one[0] == second] == [(second, SENT), (second, DELIVERED)]
