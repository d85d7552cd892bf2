"""What is known of other users: identity keys, devices, when a session may be healed, who is blocked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .accounts import require_device
from .database import Statement
from .errors import InvalidUse
from .limits import IDENTITIES_PER_USER_MAX
from .outbox import require_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from .work import Work

__all__ = ["Blocked", "Devices", "Heal", "Heals", "Identities", "IdentityRecord", "PeerDevice"]


@dataclass(frozen=True, slots=True)
class IdentityRecord:
    """One identity key that a user has shown."""

    user_id: str
    identity_key: bytes  # 33 bytes
    first_seen_at: float  # seconds since 1970
    current: bool  # the one on record: exactly one of a user's is
    verification: str  # how it was verified; empty: it was not
    decision: str  # what was decided about it; empty: nothing yet


_IDENTITY_COLUMNS: Final = "user_id, identity_key, first_seen_at, current, verification, decision"
_CURRENT: Final = Statement(
    "identities",
    f"SELECT {_IDENTITY_COLUMNS} FROM identities WHERE user_id = ? AND current = 1",  # noqa: S608 - our own names
)
_HISTORY: Final = Statement(
    "identities",
    f"SELECT {_IDENTITY_COLUMNS} FROM identities WHERE user_id = ? ORDER BY first_seen_at, identity_key",  # noqa: S608
)
_SEE: Final = Statement(
    "identities",
    f"INSERT INTO identities ({_IDENTITY_COLUMNS}) VALUES (?, ?, ?, 0, ?, ?)",  # noqa: S608
)
_NONE_CURRENT: Final = Statement("identities", "UPDATE identities SET current = 0 WHERE user_id = ? AND current = 1")
_MAKE_CURRENT: Final = Statement(
    "identities", "UPDATE identities SET current = 1 WHERE user_id = ? AND identity_key = ?"
)
_DECIDE: Final = Statement(
    "identities", "UPDATE identities SET verification = ?, decision = ? WHERE user_id = ? AND identity_key = ?"
)
_FORGET: Final = Statement("identities", "DELETE FROM identities WHERE user_id = ? AND identity_key = ?")


class Identities:
    """The identity keys of each user, past ones too: a change is judged by its history."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def current(self, user_id: str) -> IdentityRecord | None:
        """The key on record; None for a stranger."""
        row = self._work.row(_CURRENT, (user_id,))
        return None if row is None else _identity(row)

    def history(self, user_id: str) -> list[IdentityRecord]:
        """Every key that the user has shown, oldest first."""
        return [_identity(row) for row in self._work.rows(_HISTORY, (user_id,))]

    def see(
        self, user_id: str, identity_key: bytes, *, current: bool = False, expendable: Collection[str] = ()
    ) -> IdentityRecord:
        """Note a key that was shown; the first of a user, or with *current*, is the one on record from now on.

        Beyond 100 keys of a user one goes that is not on record and was never verified: the oldest that nobody
        decided about, else the oldest whose decision is *expendable*, else the oldest.
        """
        require_device(user_id, 1)
        if type(identity_key) is not bytes or len(identity_key) != 33:
            raise InvalidUse("an identity key has 33 bytes")
        history = self.history(user_id)
        if all(record.identity_key != identity_key for record in history):
            if len(history) >= IDENTITIES_PER_USER_MAX:
                # False comes before True, and of equals the oldest.
                rest = [one for one in history if not (one.current or one.verification)]
                rest.sort(key=lambda one: (bool(one.decision), one.decision not in expendable))
                for least in rest[:1]:
                    self._work.change(_FORGET, (user_id, least.identity_key))
            self._work.change(_SEE, (user_id, identity_key, self._work.now, "", ""))
        if current or not history:
            self.make_current(user_id, identity_key)
        return next(one for one in self.history(user_id) if one.identity_key == identity_key)

    def make_current(self, user_id: str, identity_key: bytes) -> None:
        """Put a key that was seen on record. Raises StaleWriter if it was not."""
        self._work.change(_NONE_CURRENT, (user_id,))
        self._work.replace(_MAKE_CURRENT, (user_id, identity_key))

    def decide(self, user_id: str, identity_key: bytes, *, verification: str, decision: str) -> None:
        """Note how a key was verified and what was decided. Raises StaleWriter if it was never seen."""
        self._work.replace(_DECIDE, (require_text(verification), require_text(decision), user_id, identity_key))


def _identity(row: tuple[object, ...]) -> IdentityRecord:
    user_id, identity_key, first_seen_at, current, verification, decision = row
    return IdentityRecord(user_id, identity_key, first_seen_at, bool(current), verification, decision)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class PeerDevice:
    """A device as the relay names it: a hint until its bundle has shown the identity on record."""

    user_id: str
    device_id: int
    registration_id: int
    last_seen_at: float  # seconds since 1970


_DEVICES: Final = Statement(
    "devices",
    "SELECT user_id, device_id, registration_id, last_seen_at FROM devices WHERE user_id = ? ORDER BY device_id",
)
_PUT: Final = Statement(
    "devices",
    "INSERT INTO devices (user_id, device_id, registration_id, last_seen_at) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (user_id, device_id) DO UPDATE SET registration_id = excluded.registration_id, "
    "last_seen_at = excluded.last_seen_at",
)
_DELETE: Final = Statement("devices", "DELETE FROM devices WHERE user_id = ? AND device_id = ?")


class Devices:
    """The device list of each user."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def of(self, user_id: str) -> list[PeerDevice]:
        """The devices of a user, in order."""
        return [PeerDevice(*row) for row in self._work.rows(_DEVICES, (user_id,))]

    def put(self, user_id: str, device_id: int, registration_id: int) -> None:
        """Note a device, the first time or again."""
        require_device(user_id, device_id)
        self._work.defer(_PUT, (user_id, device_id, registration_id, self._work.now))

    def delete(self, user_id: str, device_id: int) -> bool:
        """Delete a device; False if it was not there."""
        return self._work.change(_DELETE, (user_id, device_id)) == 1


@dataclass(frozen=True, slots=True)
class Heal:
    """When the session with a device may be healed next."""

    next_allowed_at: float = 0.0  # seconds since 1970
    delay_s: float = 0.0  # seconds that were waited last; the engine doubles them


_HEAL: Final = Statement("heals", "SELECT next_allowed_at, delay_s FROM heals WHERE user_id = ? AND device_id = ?")
_SAVE_HEAL: Final = Statement(
    "heals",
    "INSERT INTO heals (user_id, device_id, next_allowed_at, delay_s) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (user_id, device_id) DO UPDATE SET next_allowed_at = excluded.next_allowed_at, "
    "delay_s = excluded.delay_s",
)
_DELETE_HEAL: Final = Statement("heals", "DELETE FROM heals WHERE user_id = ? AND device_id = ?")
_UNPROVEN: Final = Statement(
    "heals", "SELECT user_id, device_id, next_allowed_at, delay_s FROM heals WHERE delay_s > 0"
)
_FORGET_HEAL_ROWS: Final = Statement("heals", "DELETE FROM heals WHERE next_allowed_at < ?")
_LOG_HEAL: Final = Statement("heal_log", "INSERT INTO heal_log (number, healed_at, stranger) VALUES (?, ?, ?)")
_COUNT_HEALS: Final = Statement("heal_log", "SELECT COUNT(*) FROM heal_log WHERE healed_at > ? AND stranger >= ?")
_FORGET_HEALS: Final = Statement("heal_log", "DELETE FROM heal_log WHERE healed_at <= ?")
HEAL_WINDOW_S: Final = 3600.0  # seconds for which heals are counted: the limits are per hour


class Heals:
    """Limits on healing: per device, and per account in the last hour."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def load(self, user_id: str, device_id: int) -> Heal:
        """When a device's session may be healed next."""
        row = self._work.row(_HEAL, (user_id, device_id))
        return Heal() if row is None else Heal(*row)

    def save(self, user_id: str, device_id: int, heal: Heal) -> None:
        """Store it, in the transaction of the session."""
        self._work.change(_SAVE_HEAL, (user_id, device_id, heal.next_allowed_at, heal.delay_s))

    def unproven(self) -> list[tuple[str, int, Heal]]:
        """The devices that were healed and of which nothing has opened since: user, device, row."""
        return [(row[0], row[1], Heal(row[2], row[3])) for row in self._work.rows(_UNPROVEN)]

    def delete(self, user_id: str, device_id: int) -> None:
        """Forget a device that is no more."""
        self._work.change(_DELETE_HEAL, (user_id, device_id))

    def forget(self, age_s: float) -> None:
        """Forget devices that may have been healed for longer than that and were not."""
        self._work.change(_FORGET_HEAL_ROWS, (self._work.now - age_s,))

    def log(self, *, stranger: bool) -> None:
        """Count a heal, of a device of a known user or of a stranger."""
        self._work.change(_FORGET_HEALS, (self._work.now - HEAL_WINDOW_S,))
        self._work.change(_LOG_HEAL, (self._work.next_number(), self._work.now, int(stranger)))

    def in_last_hour(self, *, strangers_only: bool = False) -> int:
        """How many heals there were in the last hour."""
        count: int = self._work.rows(_COUNT_HEALS, (self._work.now - HEAL_WINDOW_S, int(strangers_only)))[0][0]
        return count


_BLOCK: Final = Statement(
    "blocked", "INSERT INTO blocked (user_id, blocked_at) VALUES (?, ?) ON CONFLICT (user_id) DO NOTHING"
)
_UNBLOCK: Final = Statement("blocked", "DELETE FROM blocked WHERE user_id = ?")
_BLOCKED: Final = Statement("blocked", "SELECT user_id FROM blocked ORDER BY user_id")


class Blocked:
    """Users from whom nothing is wanted."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, user_id: str) -> None:
        """Block a user; again is the same."""
        require_device(user_id, 1)
        self._work.change(_BLOCK, (user_id, self._work.now))

    def remove(self, user_id: str) -> bool:
        """Let a user in again; False if it was not blocked."""
        return self._work.change(_UNBLOCK, (user_id,)) == 1

    def all(self) -> frozenset[str]:
        """Every blocked user."""
        return frozenset(row[0] for row in self._work.rows(_BLOCKED))
