"""Events: what they show, and the packed form in which the durable ones wait in the inbox."""

from __future__ import annotations

import pytest

from e2ee.errors import InvalidArgument, MalformedFrame
from e2ee.events import (
    DeliveryQuarantined,
    DeliveryState,
    DirectMessage,
    DurableEvent,
    IdentityChanged,
    MessageHealed,
    MessageLost,
    MessagesMissing,
    MessageState,
    OwnMessage,
    OwnRead,
    pack_event,
    unpack_event,
)
from e2ee.ids import GroupId, MessageId, UserId
from e2ee.options import ClientOptions

BOB = UserId("bob")
ID = MessageId("0123456789abcdef" * 2)
KEY, OTHER = b"\x05" + bytes(32), b"\x05" + b"\x01" * 32
EVENTS: list[DurableEvent] = [
    DirectMessage(
        sender=BOB,
        sender_device=2,
        message_id=ID,
        conversation_number=7,
        sent_at_ms=1_700_000_000_000,
        text="grüße",
        data="grüße".encode(),
        late=True,
    ),
    OwnMessage(recipient=BOB, own_device=3, message_id=ID, sent_at_ms=1, text=None, data=b"\x00\xff"),
    MessageState(message_id=ID, recipient=BOB, state=DeliveryState.FAILED, reason="blocked"),
    IdentityChanged(
        user=BOB, on_record=KEY, shown=OTHER, adopted=False, on_record_number="1" * 60, shown_number="2" * 60
    ),
    OwnRead(sender=BOB, own_device=2, message_ids=(ID, ID)),
    MessageLost(sender=BOB, sender_device=1, reason="waited too long"),
    MessageLost(sender=BOB, sender_device=1, reason="waited too long", count=3, correlations=("0123456789abcdef",)),
    MessageHealed(sender=BOB, sender_device=1, message_id=ID, correlations=("0123456789abcdef",)),
    MessagesMissing(sender=BOB, sender_device=1, numbers=((2, 3), (7, 7)), group=GroupId("ab" * 32)),
    DeliveryQuarantined(sender=BOB, sender_device=1, cause="ZeroDivisionError at engine.py:1"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_durable_event_is_packed_and_unpacked_as_it_was(event: DurableEvent) -> None:
    name, body = pack_event(event)
    unpacked = unpack_event(name, body, number=5, redelivered=2)
    assert unpacked == event
    assert (unpacked.number, unpacked.redelivered) == (5, 2)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_damaged_event_is_malformed_wherever_it_is_cut(event: DurableEvent) -> None:
    name, body = pack_event(event)
    for size in range(len(body)):
        with pytest.raises(MalformedFrame):
            unpack_event(name, body[:size], number=1, redelivered=0)


def test_an_event_of_a_later_release_is_malformed() -> None:
    with pytest.raises(MalformedFrame, match="newer"):
        unpack_event("telepathy", b"\x91\x01", number=1, redelivered=0)
    with pytest.raises(MalformedFrame, match="form"):
        unpack_event("message_lost", b"\x94\x02\xa3bob\x01\xa1x", number=1, redelivered=0)


def test_a_text_that_is_damaged_is_malformed_and_not_in_the_error() -> None:
    name, body = pack_event(EVENTS[0])
    with pytest.raises(MalformedFrame) as caught:
        unpack_event(name, body.replace("ü".encode(), b"\xff\xff"), number=1, redelivered=0)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_text_is_stored_once() -> None:
    _name, body = pack_event(EVENTS[0])
    assert body.count("grüße".encode()) == 1


def test_a_form_that_was_released_stays_readable() -> None:
    body = bytes.fromhex("95 01 d9 20") + ID.encode() + bytes.fromhex("a3 626f62 02 a0")
    assert unpack_event("message_state", body, number=1, redelivered=0) == MessageState(
        message_id=ID, recipient=BOB, state=DeliveryState.SENT
    )


def test_a_loss_that_the_first_release_has_stored_was_one_message() -> None:
    body = bytes.fromhex("94 01 a3 626f62 01 af") + b"waited too long"
    assert unpack_event("message_lost", body, number=1, redelivered=0) == MessageLost(
        sender=BOB, sender_device=1, reason="waited too long", count=1, correlations=()
    )


def test_contents_do_not_show_in_a_repr() -> None:
    assert all("grüße" not in repr(event) and "xff" not in repr(event) for event in EVENTS)


@pytest.mark.parametrize("count", [0, 101, True])
def test_a_stock_out_of_range_is_the_callers_to_correct(count: int) -> None:
    with pytest.raises(InvalidArgument):
        ClientOptions(one_time_prekeys=count)
