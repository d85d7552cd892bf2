"""A store that is older than what the relay has seen of it: restored from a backup, or a copy that was used elsewhere.

What the other life of the store has done since is not known here, so nothing that it could have used is used again
(messaging section 4): no ratchet that is stored seals another message, though all still open what comes; sender keys
and one-time prekeys go; the device registers anew, so that whoever writes to it starts afresh. What was not confirmed
is sealed anew under new sessions: its receivers know a message by its id, whatever it is sealed with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.errors import StoreRolledBack
from e2ee.events import Disconnected, HistoryGap
from store import Heal

from .step import QUEUED, ROWS_MAX, SUBMITTED
from .unasked import undelivered

if TYPE_CHECKING:
    from e2ee.frames import Welcome
    from store import Counters

    from .step import Step

__all__ = ["count_on", "is_behind", "recover"]

# Ours: a relay that lies can force a new registration no more often than this, unless the application accepts it.
RECOVERY_INTERVAL_S: Final = 24 * 3600.0  # seconds
# A told number is counted on from, so it must leave room: nobody comes so far by sending.
COUNTER_TOLD_MAX: Final = 2**62
_PAGE: Final = 64  # messages of a lane looked through at once

_REFUSED: Final = (
    "the relay has seen later numbers of this device than its store has, for the second time within a day: close "
    "every other copy of the store, then call accept_rollback(), or open the client with accept_rollback=True"
)


def is_behind(counters: Counters, welcome: Welcome) -> bool:
    """Whether the relay has seen a later number than the store has."""
    return (
        welcome.submission_number > counters.submission_number
        or welcome.delivery_number > counters.delivery_number
        or welcome.upload_number > counters.upload_number
    )


def count_on(counters: Counters, welcome: Welcome) -> tuple[int, int]:
    """Take numbers above the relay's; return how many deliveries and submissions are not known here."""
    received = max(0, welcome.delivery_number - counters.delivery_number)
    sent = max(0, welcome.submission_number - counters.submission_number)
    counters.submission_number = _above(counters.submission_number, welcome.submission_number)
    counters.delivery_number = _above(counters.delivery_number, welcome.delivery_number)
    counters.upload_number = _above(counters.upload_number, welcome.upload_number)
    return received, sent


def recover(step: Step, welcome: Welcome | None) -> None:
    """Give up what another life of the store may have used, and let the connection be made anew.

    *welcome* has the relay's numbers; None: it has refused a number of ours. Raises StoreRolledBack for the second time
    within a day, unless the application has accepted it.
    """
    unit, own = step.unit, (step.user_id, step.account.device_id)
    if unit.heals.load(*own).next_allowed_at > step.now and not step.accepts_rollback:
        raise StoreRolledBack(_REFUSED)
    # The row of our own device, with which there is no session to heal.
    unit.heals.save(*own, Heal(step.now + RECOVERY_INTERVAL_S))
    received = sent = 0
    if welcome is not None:
        received, sent = count_on(unit.counters, welcome)
    step.sessions.retire()
    unit.sender_keys.delete_own()
    unit.prekeys.purge_one_time()
    unit.prekeys.rotate()
    unit.prekeys.publish_again()
    unit.account.take_registration_id()
    step.groups.fall_behind()
    _seal_anew(step)
    step.keep_for_certain(HistoryGap(received=received, sent=sent))
    if step.memory.online:
        step.memory.online = False
        step.tell(Disconnected())
    step.reconnect = True


def _above(ours: int, told: int) -> int:
    return max(ours, min(told, COUNTER_TOLD_MAX))


def _seal_anew(step: Step) -> None:
    """Delete every envelope, and queue what was in them: the keys that sealed them may have sealed something else."""
    unit = step.unit
    for lane in unit.envelopes.lanes():
        undelivered(step, unit.envelopes.in_lane(lane, limit=ROWS_MAX))
    unit.envelopes.delete_all()
    for lane in unit.outgoing.lanes(SUBMITTED):
        while messages := unit.outgoing.next_in(lane, SUBMITTED, limit=_PAGE):
            for message in messages:
                unit.outgoing.set_state(message.message_id, QUEUED)
