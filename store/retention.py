"""The limits by count and by age, in the transaction that adds: what may be forgotten, oldest first.

Counts hold at every commit. Ages are looked at once an hour. Pending messages are not forgotten here:
`Pending.add` and `Pending.expire` hand what goes to the caller, who tells somebody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .database import Statement
from .inbox import RECEIPTS
from .limits import QUARANTINE_AGE_S, RETRY_ATTEMPTS_AGE_S
from .send_log import SEND_LOG
from .sender_keys import ERASED_CHAINS
from .sent import SENT_ENVELOPES
from .trouble import QUARANTINE

if TYPE_CHECKING:
    from .unit import Unit

__all__ = ["enforce_ages", "enforce_counts"]

_AGING: Final = (SEND_LOG, QUARANTINE, ERASED_CHAINS, SENT_ENVELOPES)
_OLD_RETRIES: Final = Statement("retry_attempts", "DELETE FROM retry_attempts WHERE attempted_at < ?")
_OLD_ATTEMPTS: Final = Statement("delivery_attempts", "DELETE FROM delivery_attempts WHERE attempted_at < ?")


def enforce_counts(unit: Unit) -> None:
    """Delete what is over a count, where that is not done by what adds. Costs nothing if nothing was added."""
    unit.seen.write()
    if unit.work.has_changed(RECEIPTS.name):
        RECEIPTS.evict(unit.work)
    if unit.work.has_changed(SENT_ENVELOPES.name):
        SENT_ENVELOPES.evict(unit.work)


def enforce_ages(unit: Unit) -> None:
    """Delete what is too old, whatever this unit did."""
    work = unit.work
    unit.seen.expire()
    for table in _AGING:
        table.expire(work)
    work.change(_OLD_RETRIES, (work.now - RETRY_ATTEMPTS_AGE_S,))
    work.change(_OLD_ATTEMPTS, (work.now - QUARANTINE_AGE_S,))
    unit.recipients.forget_orphans()
    unit.prekeys.expire()
