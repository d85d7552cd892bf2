"""Receipts in groups: given in small ones, and what those of members tell of our own messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.content import ReceiptState, decode_content, decode_receipt
from e2ee.engine.receipts import DELIVERED_DUE, READ, due, log, log_oldest_delivered, named, take_receipt
from e2ee.engine.step import DELIVERED, SENT
from e2ee.events import DeliveryState, MessageState
from e2ee.ids import MessageId, UserId

from .chains import identity_of
from .lane import group_lane
from .state import membership, membership_at, was_member

if TYPE_CHECKING:
    from e2ee.content import Content
    from e2ee.engine.step import Step
    from e2ee.groups import Membership
    from store import OutgoingMessage

__all__ = ["due_in_group", "take_any_receipt"]


def due_in_group(step: Step, group: Membership, user_id: str, device_id: int, number: int) -> None:
    """Note that a delivery is to be confirmed, if it is in this group and by this device."""
    if user_id != step.user_id and step.options.confirms_in_group(len(group.members)):
        conversation = group_lane(group.group_id).encode()
        due(step, user_id, device_id, number, DELIVERED_DUE, conversation=conversation)


def take_any_receipt(step: Step, content: Content) -> None:
    """Take a receipt, of direct messages or of those to a group. Raises MalformedFrame."""
    take_receipt(step, content)
    _take_group_receipt(step, content)


def _take_group_receipt(step: Step, content: Content) -> None:
    """Take what a member tells of our messages to a group that it was a member of then."""
    receipt = decode_receipt(content.body)
    sender = content.sender_user_id
    if receipt.device_id != step.account.device_id or receipt.group_id is None or sender == step.user_id:
        return
    identity_key = identity_of(step, sender)
    lane = group_lane(receipt.group_id)
    if identity_key is None or not _has_or_had_a_seat(step, receipt.group_id, sender, identity_key):
        return
    for state in (SENT, DELIVERED):
        for message in named(step, lane, state, receipt.ranges):
            number = decode_content(message.content).destination.group_number
            then = membership_at(step, receipt.group_id, number)
            if then is not None and then.is_member(sender, identity_key):
                _came(step, message, then, content, receipt.state)
    log_oldest_delivered(step, lane)


def _has_or_had_a_seat(step: Step, group_id: bytes, user_id: str, identity_key: bytes) -> bool:
    """Whether somebody is a member, or was one when the oldest message was sent that waits for confirmation.

    Looked at before the messages are: a stranger's receipt with a wide range costs one row, not the whole outbox.
    """
    group = membership(step, group_id)
    if group is None or group.is_member(user_id, identity_key):
        return group is not None
    oldest = [
        message
        for state in (SENT, DELIVERED)
        for message in step.unit.outgoing.next_in(group_lane(group_id), state, limit=1)
    ]
    numbers = [decode_content(message.content).destination.group_number for message in oldest]
    return any(was_member(step, group_id, number, user_id, identity_key) for number in numbers)


def _came(step: Step, message: OutgoingMessage, then: Membership, content: Content, state: ReceiptState) -> None:
    """A device of a member has a message, or its application has shown it; told once for each member."""
    sender, device, message_id = content.sender_user_id, content.sender_device_id, message.message_id
    rows = step.unit.recipients.of(message_id)
    mark = DELIVERED_DUE if state is ReceiptState.DELIVERED else READ
    before = {row.state for row in rows if row.user_id == sender}
    if READ in before or mark in before:
        return
    step.unit.recipients.put(message_id, sender, device, then.members[UserId(sender)].identity_key, mark)
    step.keep(
        MessageState(
            message_id=MessageId(message_id.hex()),
            recipient=UserId(sender),
            state=DeliveryState.DELIVERED if state is ReceiptState.DELIVERED else DeliveryState.READ,
            group=then.id,
        )
    )
    reached = {row.user_id: row.state for row in (*rows,)} | {sender: mark}
    others = then.members.keys() - {step.user_id}
    if others <= reached.keys():
        if all(reached[one] == READ for one in others):
            log(step, message_id)
        elif message.state == SENT:
            step.unit.outgoing.set_state(message_id, DELIVERED)
