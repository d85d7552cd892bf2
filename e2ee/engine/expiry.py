"""Messages that nobody has confirmed for 30 days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.content import SENT_AGAIN, content_kind
from e2ee.events import DeliveryState
from e2ee.recovery import HEAL_ROW_AGE_S

from .losses import expire_pending
from .step import DELIVERED

if TYPE_CHECKING:
    from .step import Step

__all__ = ["expire", "expiry_due"]

MESSAGE_AGE_MAX_S: Final = 30 * 24 * 3600.0  # seconds: as long as the relay keeps mail
EXPIRY_INTERVAL_S: Final = 3600.0  # seconds between two looks


def expiry_due(step: Step) -> bool:
    """Whether it is time for a look."""
    return step.now >= step.memory.expiry_at


def expire(step: Step) -> None:
    """Take out what is too old, and tell of messages that never arrived."""
    step.memory.expiry_at = step.now + EXPIRY_INTERVAL_S
    expire_pending(step)
    step.unit.heals.forget(HEAL_ROW_AGE_S)
    for message_id in step.unit.outgoing.older_than(MESSAGE_AGE_MAX_S):
        message = step.unit.outgoing.get(message_id)
        if message is None:
            continue
        if message.state != DELIVERED:
            step.state(message, DeliveryState.EXPIRED)
        for row in step.unit.envelopes.of_message(message_id):
            step.unit.envelopes.delete(row.envelope_id)
        step.unit.outgoing.take_out(message_id)
        if content_kind(message.content) in SENT_AGAIN:
            step.unit.send_log.add(message_id, message.lane, message.content)
