"""Envelopes that waited to be opened and wait no more: settled by their sender, or lost."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from e2ee.diagnostics import Reason, correlation_of
from e2ee.events import MessageLost
from e2ee.ids import UserId
from e2ee.limits import RETRY_ENVELOPES_MAX
from store import seen_envelope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store import PendingMessage

    from .step import Step

__all__ = ["expire_pending", "lose", "settle"]


def settle(step: Step, message: PendingMessage) -> None:
    """Take out what its sender has answered for; should the relay deliver it again, it is a duplicate."""
    step.unit.pending.take_out(message)
    key = seen_envelope(message.user_id, message.device_id, message.envelope_id)
    if not step.is_seen(key):
        step.unit.seen.add(key)
        step.seen.add(key)


def lose(step: Step, messages: Iterable[PendingMessage], reason: Reason) -> None:
    """Tell of messages that were taken out and are lost: one event for each device that sent some."""
    devices: dict[tuple[str, int], list[bytes]] = defaultdict(list)
    for message in messages:
        devices[message.user_id, message.device_id].append(message.envelope_id)
        step.tally.trouble(step.now, reason, message.envelope_id)
    for (user_id, device_id), envelope_ids in devices.items():
        step.keep(
            MessageLost(
                sender=UserId(user_id),
                sender_device=device_id,
                reason=reason.value,
                count=len(envelope_ids),
                correlations=tuple(map(correlation_of, envelope_ids[:RETRY_ENVELOPES_MAX])),
            )
        )


def expire_pending(step: Step) -> None:
    """Give up what has waited for 14 days; later, if nobody could be told now."""
    if step.unit.inbox.room():
        lose(step, step.unit.pending.expire(), Reason.EXPIRED)
