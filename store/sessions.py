"""Sessions, one row per peer device, saved only over the version that was loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ratchet import CorruptSnapshot, Session, UnsupportedVersion

from .accounts import require_device
from .database import Statement
from .errors import StoreCorrupt, StoreNewer
from .kept import Kept
from .limits import SESSIONS_KEPT_SIZE_MAX
from .schema import device_row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .work import Work

__all__ = ["LoadedSession", "Sessions"]

_TABLE: Final = "sessions"
_MANY: Final = 16  # devices asked for in one statement, whose text is then always the same

_LOAD: Final = Statement(_TABLE, "SELECT version, state FROM sessions WHERE user_id = ? AND device_id = ?")
_LOAD_MANY: Final = Statement(
    _TABLE,
    "SELECT user_id, device_id, version, state FROM sessions WHERE "  # noqa: S608 - signs of our own
    + " OR ".join(["(user_id = ? AND device_id = ?)"] * _MANY),
)
_ADD: Final = Statement(_TABLE, "INSERT INTO sessions (user_id, device_id, version, state) VALUES (?, ?, 1, ?)")
_SAVE: Final = Statement(
    _TABLE, "UPDATE sessions SET version = ?, state = ? WHERE user_id = ? AND device_id = ? AND version = ?"
)
_DELETE: Final = Statement(_TABLE, "DELETE FROM sessions WHERE user_id = ? AND device_id = ?")
_DELETE_ALL: Final = Statement(_TABLE, "DELETE FROM sessions")
_DEVICES: Final = Statement(_TABLE, "SELECT device_id FROM sessions WHERE user_id = ? ORDER BY device_id")
_EVERYONE: Final = Statement(_TABLE, "SELECT user_id, device_id FROM sessions ORDER BY user_id, device_id")
_COUNT: Final = Statement(_TABLE, "SELECT COUNT(*) FROM sessions")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedSession:
    """A session and the version it was loaded as; the object is the caller's to change and to save, in this unit."""

    user_id: str
    device_id: int
    session: Session
    version: int  # of the stored row; 0: not stored yet


class Sessions:
    """The sessions of the account. Those saved last stay in memory, unpacked, for the next unit that loads them."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._kept: Kept[tuple[str, int], LoadedSession] = Kept(SESSIONS_KEPT_SIZE_MAX)

    def load(self, user_id: str, device_id: int) -> LoadedSession | None:
        """Return the session with a device; None if there is none. Raises StoreCorrupt."""
        kept = self._kept.take((user_id, device_id))
        if kept is not None:
            return kept
        row = self._work.row(_LOAD, (user_id, device_id))
        return None if row is None else self._loaded(user_id, device_id, row[0], row[1])

    def load_many(self, devices: Iterable[tuple[str, int]]) -> dict[tuple[str, int], LoadedSession]:
        """Return the sessions with *devices* (user id, device id), as far as there are any, in few statements."""
        found: dict[tuple[str, int], LoadedSession] = {}
        wanted: list[tuple[str, int]] = []
        for device in dict.fromkeys(devices):
            kept = self._kept.take(device)
            if kept is None:
                wanted.append(device)
            else:
                found[device] = kept
        if len(wanted) == 1:
            loaded = self.load(*wanted[0])
            if loaded is not None:
                found[wanted[0]] = loaded
            return found
        for start in range(0, len(wanted), _MANY):
            some = wanted[start : start + _MANY]
            some += [some[0]] * (_MANY - len(some))
            for user_id, device_id, version, state in self._work.rows(
                _LOAD_MANY, tuple(x for one in some for x in one)
            ):
                found[user_id, device_id] = self._loaded(user_id, device_id, version, state)
        return found

    def add(self, user_id: str, device_id: int, session: Session) -> LoadedSession:
        """Store the first session with a device, which is the store's from the end of this unit on.

        Raises StaleWriter, at the latest at the end of the unit, if there is one.
        """
        require_device(user_id, device_id)
        sealed = self._work.vault.seal(_TABLE, device_row(user_id, device_id), 1, session.to_bytes())
        self._work.defer(_ADD, (user_id, device_id, sealed))
        return self._keep(LoadedSession(user_id, device_id, session, 1), len(sealed))

    def save(self, loaded: LoadedSession) -> LoadedSession:
        """Store the session over the version that it was loaded as; return it as it is stored now.

        Whoever changes the session after the unit changes what the next unit loads. Raises StaleWriter, at the
        latest at the end of the unit, if another version is stored: nothing is overwritten.
        """
        version = loaded.version + 1
        row = device_row(loaded.user_id, loaded.device_id)
        sealed = self._work.vault.seal(_TABLE, row, version, loaded.session.to_bytes())
        self._work.defer(_SAVE, (version, sealed, loaded.user_id, loaded.device_id, loaded.version))
        return self._keep(LoadedSession(loaded.user_id, loaded.device_id, loaded.session, version), len(sealed))

    def delete(self, user_id: str, device_id: int) -> bool:
        """Delete the session with a device; False if there was none."""
        self._kept.drop((user_id, device_id))
        return self._work.change(_DELETE, (user_id, device_id)) == 1

    def delete_all(self) -> None:
        """Delete every session: the account has another identity."""
        self._kept.clear()
        self._work.change(_DELETE_ALL)

    def devices(self, user_id: str) -> list[int]:
        """The devices of a user with which there is a session, in order."""
        return [device_id for (device_id,) in self._work.rows(_DEVICES, (user_id,))]

    def everyone(self) -> list[tuple[str, int]]:
        """Every device (user id, device id) with which there is a session, in order."""
        return [(user_id, device_id) for user_id, device_id in self._work.rows(_EVERYONE)]

    def count(self) -> int:
        """How many there are."""
        count: int = self._work.rows(_COUNT)[0][0]
        return count

    def settle(self, *, committed: bool) -> None:
        """Take note of the unit's end: the sessions that it saved are kept, or none."""
        self._kept.settle(committed=committed)

    def _keep(self, saved: LoadedSession, size: int) -> LoadedSession:
        self._kept.put((saved.user_id, saved.device_id), saved, size)
        return saved

    def _loaded(self, user_id: str, device_id: int, version: int, state: bytes) -> LoadedSession:
        packed = self._work.vault.open(_TABLE, device_row(user_id, device_id), version, state)
        try:
            return LoadedSession(user_id, device_id, Session.from_bytes(packed), version)
        except CorruptSnapshot as cause:
            raise StoreCorrupt("a stored session is damaged") from cause
        except UnsupportedVersion as cause:
            raise StoreNewer("a newer release wrote a stored session") from cause
