"""Messages to groups that no key opens: they wait for one, or are asked for themselves (protocol R5.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.diagnostics import Reason
from e2ee.frames import Delivery, EnvelopeKind
from store import seen_envelope

from .endings import Ending, add_seen, park
from .groups.chains import strangers
from .healing import note_parked

if TYPE_CHECKING:
    from store import PendingMessage

    from .groups.opening import GroupWaits
    from .step import Step

__all__ = ["ask_for_the_message", "ask_once", "ask_those_who_have_left", "delivered", "wait"]


def delivered(message: PendingMessage) -> Delivery:
    """What was parked, as it was delivered."""
    parts = (message.user_id, message.device_id, message.envelope_id, EnvelopeKind(message.kind), message.ciphertext)
    return Delivery(0, *parts, 0)


def ask_for_the_message(step: Step, delivery: Delivery, *, on_session: bool = True) -> None:
    """No key opens it: only the message itself can be asked for. *on_session*: a message of its sender's has opened."""
    device = (delivery.sender_user_id, delivery.sender_device_id)
    if seen_envelope(*device, delivery.envelope_id) in step.seen or delivery.envelope_id in step.copies:
        return
    note_parked(step, device)
    if on_session:
        step.memory.healing.opens.add(device)
    park(step, delivery, Reason.BEFORE_KEY)


def wait(step: Step, delivery: Delivery, cause: GroupWaits) -> Ending:
    """Keep a message until what it waits for has come; if that does not come any more, ask for the message."""
    if cause.name not in step.memory.groups.passed_over:
        return park(step, delivery, cause.reason, cause.name)
    ask_for_the_message(step, delivery, on_session=False)
    return Ending.PENDING


def ask_once(step: Step, delivery: Delivery) -> Ending:
    """Ask for a message that is its sender's; a copy of it under another envelope's id is a duplicate."""
    sender = (delivery.sender_user_id, delivery.sender_device_id)
    body = seen_envelope(*sender, delivery.body)  # longer than any id
    both = seen_envelope(*sender, delivery.envelope_id + delivery.body)
    if not step.is_seen(both):
        if step.is_seen(body):
            step.copies.add(delivery.envelope_id)
            return Ending.DUPLICATE
        add_seen(step, body)
        add_seen(step, both)
    ask_for_the_message(step, delivery)
    return Ending.PENDING


def ask_those_who_have_left(step: Step) -> None:
    """Ask for what waits of senders who have no seat by logs that the relay has told to their ends in this step.

    It waits on: should the relay have told less than there is, an entry may still seat its sender.
    """
    for group_id in step.whole_logs:
        for name, left in strangers(step, group_id):
            for device in step.unit.pending.rename(name, left):
                note_parked(step, device)
    step.whole_logs.clear()
