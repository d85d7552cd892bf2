"""Receipts: noted with each message, sent together, and what those of others tell of our own messages."""

from __future__ import annotations

from bisect import bisect_right
from itertools import groupby
from typing import TYPE_CHECKING, Final

from e2ee.content import ContentKind, Receipt, ReceiptState, decode_receipt, encode_receipt
from e2ee.events import DeliveryState, DirectMessage, GroupMessage
from e2ee.group_content import KEY_ACK_CHAINS_MAX, KeyAck, encode_body
from e2ee.limits import RECEIPT_RANGES_MAX
from store import Full

from .groups.lane import group_lane, group_of
from .step import DELIVERED, SENT, SUBMITTED, Step, conversation_with, lane_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from e2ee.content import Content
    from store import DueReceipt, OutgoingMessage

    from .memory import Memory

__all__ = [
    "DELIVERED_DUE",
    "KEY_DUE",
    "READ",
    "due",
    "due_again",
    "flush",
    "flush_at",
    "log",
    "log_oldest_delivered",
    "mark_read",
    "named",
    "take_receipt",
]

RECEIPTS_MAX: Final = 64  # messages received after which receipts are sent: the sender's window stays small
RECEIPTS_AGE_S: Final = 2.0  # seconds that a receipt waits for others
DELIVERED_KEPT_MAX: Final = 256  # delivered messages of a conversation that a read mark still finds here
_PAGE: Final = 64  # messages looked through at once

DELIVERED_DUE: Final = "delivered"
READ: Final = "read"
KEY_DUE: Final = "key"  # a chain that has come: not a message, but confirmed in the same way
_STATES: Final = {DELIVERED_DUE: ReceiptState.DELIVERED, READ: ReceiptState.READ}


def due(step: Step, user_id: str, device_id: int, number: int, kind: str, *, conversation: bytes | None = None) -> None:
    """Note that a receipt is due to the device that sent a message: in a group's *conversation*, or the direct one.

    Of the kind KEY_DUE, *number* is the chain's id.
    """
    name = conversation_with(user_id) if conversation is None else conversation
    step.unit.receipts.add(user_id, device_id, name, number, kind)
    step.memory.receipts += 1
    if step.memory.receipts_since is None:
        step.memory.receipts_since = step.now


def due_again(step: Step, user_id: str, device_id: int) -> None:
    """A receipt did not open: what the last messages of the device are due is due again, whatever it was told."""
    if not step.options.receipts or user_id == step.user_id:
        return
    received = step.unit.conversations.received(conversation_with(user_id), user_id, device_id)
    waiting = {row.conversation_number for row in step.unit.receipts.due(user_id, device_id, limit=RECEIPTS_MAX)}
    for number in range(max(1, received.highest - RECEIPTS_MAX + 1), received.highest + 1):
        if number not in waiting and not any(first <= number <= last for first, last in received.gaps):
            due(step, user_id, device_id, number, DELIVERED_DUE)


def flush_at(memory: Memory) -> float | None:
    """When the receipts that are due go out (seconds since 1970); None: none is due."""
    if memory.receipts_since is None:
        return None
    return memory.receipts_since if memory.receipts >= RECEIPTS_MAX else memory.receipts_since + RECEIPTS_AGE_S


def flush(step: Step) -> None:
    """Queue one message for each state, device and conversation with everything that is due."""
    for user_id, device_id, _count, _since in step.unit.receipts.devices():
        while rows := step.unit.receipts.due(user_id, device_id, limit=RECEIPT_RANGES_MAX):
            try:
                _queue(step, user_id, device_id, rows)
            except Full:
                break  # they stay due: messages of the application come first
            step.unit.receipts.given(user_id, device_id, rows[-1].number)
    step.memory.receipts = 0
    step.memory.receipts_since = None


def _queue(step: Step, user_id: str, device_id: int, rows: list[DueReceipt]) -> None:
    ordered = sorted(rows, key=lambda row: (row.conversation, row.kind, row.conversation_number))
    for (conversation, kind), some in groupby(ordered, key=lambda row: (row.conversation, row.kind)):
        group_id = group_of(conversation.decode())
        numbers = [row.conversation_number for row in some]
        if kind != KEY_DUE:
            body = encode_receipt(Receipt(_STATES[kind], device_id, group_id, _ranges(numbers)))
            step.queue(ContentKind.RECEIPT, user_id, body)
        elif group_id is not None:
            for start in range(0, len(numbers), KEY_ACK_CHAINS_MAX):
                ack = KeyAck(device_id, group_id, tuple(numbers[start : start + KEY_ACK_CHAINS_MAX]))
                step.queue(ContentKind.KEY_ACK, user_id, encode_body(ack))


def _ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Ascending numbers as runs: first and last of each."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return tuple(runs)


def mark_read(step: Step, messages: Iterable[DirectMessage | GroupMessage]) -> None:
    """Tell the senders that the application has shown their messages, if this device gives receipts."""
    options = step.options
    for message in messages:
        gives = options.gives_group_receipts if isinstance(message, GroupMessage) else options.receipts
        if gives and message.sender != step.user_id:
            conversation = (
                group_lane(bytes.fromhex(message.group)).encode() if isinstance(message, GroupMessage) else None
            )
            due(
                step,
                message.sender,
                message.sender_device,
                message.conversation_number,
                READ,
                conversation=conversation,
            )


# Those of others.


def take_receipt(step: Step, content: Content) -> None:
    """Take what another user tells of our messages to that user, and of no others. Raises MalformedFrame."""
    receipt = decode_receipt(content.body)
    sender = content.sender_user_id
    if receipt.device_id != step.account.device_id or receipt.group_id is not None or sender == step.user_id:
        return  # of another own device, which has its own copy; or of a conversation that is not here
    states = (SENT, SUBMITTED) if receipt.state is ReceiptState.DELIVERED else (DELIVERED, SENT, SUBMITTED)
    for state in states:
        for message in named(step, lane_of(sender), state, receipt.ranges):
            _came(step, message, content, receipt.state)
    if receipt.state is ReceiptState.DELIVERED:
        log_oldest_delivered(step, lane_of(sender))


def named(step: Step, lane: str, state: str, ranges: tuple[tuple[int, int], ...]) -> Iterator[OutgoingMessage]:
    """The messages of a lane in *state* whose conversation numbers are in *ranges*, in order; the caller may move them.

    Only what is named is read. A peer may name anything: the work is bounded by what the lane holds.
    """
    runs = _joined(ranges)
    starts = [first for first, _ in runs]
    after = 0
    while True:
        page = step.unit.numbered.between(lane, state, max(1, starts[0]), runs[-1][1], after=after, limit=_PAGE)
        for one in page:
            run = runs[max(0, bisect_right(starts, one.conversation_number) - 1)]
            if run[0] <= one.conversation_number <= run[1]:
                message = step.unit.outgoing.get(one.message_id)
                if message is not None:
                    yield message
        if len(page) < _PAGE:
            return
        after = page[-1].number


def _joined(ranges: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """The same numbers as ascending runs that do not overlap."""
    runs: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if runs and first <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(runs[-1][1], last))
        else:
            runs.append((first, last))
    return runs


def _came(step: Step, message: OutgoingMessage, content: Content, state: ReceiptState) -> None:
    """A device of the recipient has a message, or its application has shown it."""
    name = DELIVERED_DUE if state is ReceiptState.DELIVERED else READ
    for recipient in step.unit.recipients.of(message.message_id):
        if recipient.device_id == content.sender_device_id:
            step.unit.recipients.put(
                message.message_id, recipient.user_id, recipient.device_id, recipient.identity_key, name
            )
    if state is ReceiptState.DELIVERED:
        step.unit.outgoing.set_state(message.message_id, DELIVERED)
        step.state(message, DeliveryState.DELIVERED)
        return
    step.state(message, DeliveryState.READ)
    log(step, message.message_id)


def log(step: Step, message_id: bytes) -> None:
    """A message is final: what remains of it is what may be asked for again."""
    taken = step.unit.outgoing.take_out(message_id)
    if taken is not None:
        step.unit.send_log.add(message_id, *taken)


def log_oldest_delivered(step: Step, lane: str) -> None:
    """Move what a read mark will hardly name any more out of the outbox."""
    for message_id in step.unit.numbered.all_but_newest(lane, DELIVERED, DELIVERED_KEPT_MAX, limit=_PAGE):
        log(step, message_id)
