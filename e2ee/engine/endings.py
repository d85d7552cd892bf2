"""How deliveries end, each in the step that acknowledges it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from e2ee.diagnostics import Reason
from e2ee.events import DeliveryRefused, MessagePending
from e2ee.ids import UserId
from store.limits import PENDING_AGE_S

from .losses import lose

if TYPE_CHECKING:
    from e2ee.frames import Delivery

    from .step import Step

__all__ = ["Ending", "add_seen", "park", "refuse"]


class Ending(Enum):
    """How a delivery ended."""

    OPENED = "opened"
    DUPLICATE = "duplicate"
    PENDING = "pending"
    REFUSED = "refused"


def refuse(step: Step, delivery: Delivery, reason: Reason) -> Ending:
    """Drop a delivery, and say why."""
    step.tally.trouble(step.now, reason, delivery.envelope_id)
    step.tell(DeliveryRefused(UserId(delivery.sender_user_id), delivery.sender_device_id, reason.value))
    return Ending.REFUSED


def park(step: Step, delivery: Delivery, reason: Reason, waits_for: bytes | None = None) -> Ending:
    """Keep what does not open. Nothing of it is authentic: it changes no session."""
    sender, device = delivery.sender_user_id, delivery.sender_device_id
    if any(one.envelope_id == delivery.envelope_id for one in step.unit.pending.from_device(sender, device)):
        return Ending.PENDING  # delivered again before the acknowledgement arrived
    lost = step.unit.pending.add(
        sender,
        device,
        delivery.envelope_id,
        int(delivery.kind),
        delivery.body,
        reason=reason.value,
        waits_for=waits_for,
    )
    step.tally.trouble(step.now, reason, delivery.envelope_id)
    step.tell(MessagePending(UserId(sender), device, delivery.envelope_id, reason.value))
    too_old = [one for one in lost if one.parked_at < step.now - PENDING_AGE_S]
    lose(step, too_old, Reason.EXPIRED)
    lose(step, [one for one in lost if one not in too_old], Reason.CROWDED_OUT)
    return Ending.PENDING


def add_seen(step: Step, key: bytes) -> None:
    """Remember a key of an envelope or a message."""
    step.unit.seen.add(key)
    step.seen.add(key)
