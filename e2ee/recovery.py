"""When something that does not open may be asked for, and what may be sent again: pure policy (messaging section 9).

Nothing that is not authentic changes a key; it may cause a *heal*, which adds a ratchet from a bundle with the
identity key on record. So heals are what an attacker can cause, and what this limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = [
    "GAP_AGE_S",
    "HEALS_PER_HOUR_MAX",
    "HEAL_DELAY_MAX_S",
    "HEAL_DELAY_MIN_S",
    "HEAL_ROW_AGE_S",
    "REQUESTS_MAX",
    "RESENDS_MAX",
    "RESEND_SIZE_MAX",
    "STRANGER_HEALS_PER_HOUR_MAX",
    "HealSchedule",
    "ResendVerdict",
    "heal_allowed_at",
    "judge_resend",
]

# Ours: they may change in any release.
HEAL_DELAY_MIN_S: Final = 60.0  # seconds between two heals of a device: the peer has had time to answer
HEAL_DELAY_MAX_S: Final = 6 * 3600.0  # seconds; doubled until then: a peer in a loop costs four prekeys a day
HEALS_PER_HOUR_MAX: Final = 60  # of one account: each costs a handshake, and a prekey of somebody
STRANGER_HEALS_PER_HOUR_MAX: Final = 5  # in all, of users without an identity on record: anybody can be one
BUDGET_RETRY_S: Final = 300.0  # seconds until the hour's budget is looked at again
HEAL_ROW_AGE_S: Final = 14 * 24 * 3600.0  # seconds that a row is kept after its time: as long as what it was for
REQUESTS_MAX: Final = 5  # times that one envelope is asked for; then it waits for its age limit
RESENDS_MAX: Final = 3  # times that a message is sent again to one device
RESEND_SIZE_MAX: Final = 4 * 1024 * 1024  # bytes of content sent again for one request; what is left is asked for again
GAP_AGE_S: Final = 600.0  # seconds that a gap in conversation numbers is open before it is told


@dataclass(frozen=True, slots=True)
class HealSchedule:
    """When the session with one device may be healed next; stored in its heal row."""

    next_allowed_at: float = 0.0  # seconds since 1970
    delay_s: float = 0.0  # seconds waited last; 0: nothing since a message opened on the new ratchet

    def after_heal(self, now: float) -> HealSchedule:
        """The schedule after one more heal, or one that could not be made: twice as long as the last time."""
        delay = min(max(HEAL_DELAY_MIN_S, 2 * self.delay_s), HEAL_DELAY_MAX_S)
        return HealSchedule(now + delay, delay)

    def after_opening(self, now: float) -> HealSchedule:
        """The schedule after a message opened on the new ratchet: back to one minute."""
        return HealSchedule(min(self.next_allowed_at, now + HEAL_DELAY_MIN_S), 0.0)

    def allowed_at(self, now: float) -> float:
        """When the next heal is allowed. A clock that was set back does not lock a device out."""
        return min(self.next_allowed_at, now + max(self.delay_s, HEAL_DELAY_MIN_S))

    @property
    def healed_at(self) -> float:
        """When the last heal was, as long as nothing has opened since."""
        return self.next_allowed_at - self.delay_s

    @property
    def repeated(self) -> bool:
        """Whether heals in a row have not helped: somebody should know."""
        return self.delay_s > HEAL_DELAY_MIN_S


def heal_allowed_at(schedule: HealSchedule, now: float, *, heals: int, stranger_heals: int, stranger: bool) -> float:
    """When a device may be healed (*now* or before: at once), with so many *heals* of the account in the last hour."""
    if heals >= HEALS_PER_HOUR_MAX or (stranger and stranger_heals >= STRANGER_HEALS_PER_HOUR_MAX):
        return max(schedule.allowed_at(now), now + BUDGET_RETRY_S)
    return schedule.allowed_at(now)


class ResendVerdict(Enum):
    """Whether a message goes again to a device that asks for it."""

    RESEND = "resend"
    NOT_A_RECIPIENT = "not a recipient"  # answered like an envelope that is not known: nothing is told to others
    IDENTITY_CHANGED = "identity changed"  # and nobody has decided that the new key is the same person's
    TOO_OFTEN = "too often"


def judge_resend(*, recipient_keys: frozenset[bytes], asking_key: bytes, trusted: bool, attempts: int) -> ResendVerdict:
    """Judge the *attempts*-th request of a user for a message.

    *recipient_keys* are the identity keys under which the user was sent the message (none: it never was), *asking_key*
    the one that asks, *trusted* whether the application has decided for it by name. A new device of the same identity
    may ask.
    """
    if not recipient_keys:
        return ResendVerdict.NOT_A_RECIPIENT
    if asking_key not in recipient_keys and not trusted:
        return ResendVerdict.IDENTITY_CHANGED
    return ResendVerdict.RESEND if attempts <= RESENDS_MAX else ResendVerdict.TOO_OFTEN
