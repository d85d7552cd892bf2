"""Requests for messages that nobody has had: they are made anew, once more is known of the device they were for.

A device that registers anew is written to under its new registration only, so what was stored for it is deleted. A
request for messages among that is in no outbox, and what it named would wait until its sender wrote by itself, or for
14 days. The new registration answers for all of it: with the messages, or that they are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .step import ROWS_MAX, lane_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store import Envelope

    from .step import Step

__all__ = ["drop_envelopes", "undelivered"]


def drop_envelopes(step: Step, user_id: str, device_id: int, *, but_for: int | None = None) -> None:
    """Delete the envelopes for a device, but those that were made for one registration of it."""
    rows = step.unit.envelopes.in_lane(lane_of(user_id), limit=ROWS_MAX)
    undelivered(step, [row for row in rows if row.device_id == device_id and row.registration_id != but_for])
    if but_for is None:
        step.unit.envelopes.delete_for(user_id, device_id)
    else:
        step.unit.envelopes.delete_for_others(user_id, device_id, but_for)


def undelivered(step: Step, envelopes: Iterable[Envelope]) -> None:
    """These envelopes have reached nobody: what was asked for in them has not been, and is to be.

    Not over the session that they were made with, and no sooner than a heal is allowed: a relay that always names
    another registration gets a request a minute, then one in two, at last one in six hours.
    """
    alone = [row for row in envelopes if row.alone]
    for device in dict.fromkeys((row.user_id, row.device_id) for row in alone):
        ids = [row.envelope_id for row in alone if (row.user_id, row.device_id) == device]
        # What is sent again carries a message; a control message carries none.
        if None in step.unit.sent_envelopes.find(device[0], ids).values() and step.unit.pending.not_asked(*device):
            healing = step.memory.healing
            healing.parked.add(device)
            healing.unasked.add(device)
            healing.wanted.setdefault(device, step.now)
