"""Groups: their logs and names, and our own operations on them that are under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .database import Statement
from .outbox import require_id, require_text

if TYPE_CHECKING:
    from .work import Work

__all__ = ["GroupOperation", "GroupOperations", "Groups", "LogEntry", "StoredGroup"]


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A group as far as its log was read."""

    group_id: bytes  # 32 bytes
    name: str
    epoch: int
    log_number: int  # of the last entry held
    head: bytes  # the hash of that entry
    state: bytes = field(repr=False)  # what the engine keeps of it, packed by the engine
    version: int = 0  # of the stored row; 0: not stored yet


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of a group's log, as its bytes were signed."""

    number: int
    entry: bytes
    hash: bytes


_GROUP_COLUMNS: Final = "group_id, name, epoch, log_number, head, state, version"
_GROUP: Final = Statement("groups", f"SELECT {_GROUP_COLUMNS} FROM groups WHERE group_id = ?")  # noqa: S608 - ours
_GROUPS: Final = Statement("groups", f"SELECT {_GROUP_COLUMNS} FROM groups ORDER BY group_id")  # noqa: S608
_ADD: Final = Statement("groups", f"INSERT INTO groups ({_GROUP_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, 1)")  # noqa: S608
_SAVE: Final = Statement(
    "groups",
    "UPDATE groups SET name = ?, epoch = ?, log_number = ?, head = ?, state = ?, version = ? "
    "WHERE group_id = ? AND version = ?",
)
_APPEND: Final = Statement("group_log", "INSERT INTO group_log (group_id, number, entry, hash) VALUES (?, ?, ?, ?)")
_LOG: Final = Statement(
    "group_log", "SELECT number, entry, hash FROM group_log WHERE group_id = ? AND number > ? ORDER BY number LIMIT ?"
)
_PIN: Final = Statement(
    "group_names",
    "INSERT INTO group_names (name, group_id, pinned_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
)
_PINNED: Final = Statement("group_names", "SELECT group_id FROM group_names WHERE name = ?")
_UNPIN: Final = Statement("group_names", "DELETE FROM group_names WHERE name = ?")
_TRUNCATE: Final = Statement("group_log", "DELETE FROM group_log WHERE group_id = ? AND number > ?")
_COUNT: Final = Statement("groups", "SELECT count(*) FROM groups")
_DELETIONS: Final = (
    Statement("group_log", "DELETE FROM group_log WHERE group_id = ?"),
    Statement("group_names", "DELETE FROM group_names WHERE group_id = ?"),
    Statement("group_operations", "DELETE FROM group_operations WHERE group_id = ?"),
    Statement("own_sender_keys", "DELETE FROM own_sender_keys WHERE group_id = ?"),
    Statement("peer_sender_keys", "DELETE FROM peer_sender_keys WHERE group_id = ?"),
    Statement("distributions", "DELETE FROM distributions WHERE group_id = ?"),
    Statement("groups", "DELETE FROM groups WHERE group_id = ?"),
)


class Groups:
    """The groups of the account."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def load(self, group_id: bytes) -> StoredGroup | None:
        """Return a group; None if it is not known."""
        row = self._work.row(_GROUP, (group_id,))
        return None if row is None else StoredGroup(*row)

    def all(self) -> list[StoredGroup]:
        """Every group, in order of their ids."""
        return [StoredGroup(*row) for row in self._work.rows(_GROUPS)]

    def save(self, group: StoredGroup) -> StoredGroup:
        """Store a group over the version it was loaded as; return it as it is stored now. Raises StaleWriter."""
        values = (group.name, group.epoch, group.log_number, group.head, group.state)
        if group.version == 0:
            self._work.change(_ADD, (group.group_id, *values))
        else:
            self._work.replace(_SAVE, (*values, group.version + 1, group.group_id, group.version))
        return StoredGroup(group.group_id, *values, version=group.version + 1)

    def append(self, group_id: bytes, entry: LogEntry) -> None:
        """Add an entry to a group's log. Raises StaleWriter (at the latest at the end) if its number is taken."""
        self._work.defer(_APPEND, (group_id, entry.number, entry.entry, entry.hash))

    def log(self, group_id: bytes, *, after: int = -1, limit: int) -> list[LogEntry]:
        """The entries behind number *after*, in order."""
        return [LogEntry(*row) for row in self._work.rows(_LOG, (group_id, after, limit))]

    def pin_name(self, name: str, group_id: bytes) -> bytes:
        """Let a name stand for a group from now on; return the group that it stands for, which is the first pinned."""
        self._work.change(_PIN, (name, group_id, self._work.now))
        pinned: bytes = self._work.rows(_PINNED, (name,))[0][0]
        return pinned

    def pinned(self, name: str) -> bytes | None:
        """The group that a name stands for."""
        row = self._work.row(_PINNED, (name,))
        return None if row is None else row[0]

    def unpin_name(self, name: str) -> None:
        """Let a name stand for no group any more."""
        self._work.change(_UNPIN, (name,))

    def truncate(self, group_id: bytes, after: int) -> None:
        """Delete the entries of a group's log behind number *after*: another log goes on there."""
        self._work.change(_TRUNCATE, (group_id, after))

    def count(self) -> int:
        """How many groups there are."""
        found: int = self._work.rows(_COUNT, ())[0][0]
        return found

    def delete(self, group_id: bytes) -> None:
        """Delete a group with its log, names, operations and keys. Erased chains stay: replays stay duplicates."""
        for statement in _DELETIONS:
            self._work.change(statement, (group_id,))


@dataclass(frozen=True, slots=True)
class GroupOperation:
    """A signed entry of ours whose fate is not known."""

    operation_id: bytes  # 16 bytes
    group_id: bytes
    entry: bytes = field(repr=False)
    state: str
    attempts: int
    created_at: float  # seconds since 1970


_OPERATION_COLUMNS: Final = "operation_id, group_id, entry, state, attempts, created_at"
_ADD_OPERATION: Final = Statement(
    "group_operations",
    f"INSERT INTO group_operations ({_OPERATION_COLUMNS}, number) VALUES (?, ?, ?, ?, 0, ?, ?)",  # noqa: S608
)
_OPERATIONS: Final = Statement(
    "group_operations",
    f"SELECT {_OPERATION_COLUMNS} FROM group_operations ORDER BY number",  # noqa: S608
)
_SET_OPERATION: Final = Statement(
    "group_operations",
    "UPDATE group_operations SET entry = ?, state = ?, attempts = attempts + 1 WHERE operation_id = ?",
)
_DELETE_OPERATION: Final = Statement("group_operations", "DELETE FROM group_operations WHERE operation_id = ?")


class GroupOperations:
    """Our own operations on groups, stored before they are sent."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, operation_id: bytes, group_id: bytes, entry: bytes, *, state: str) -> None:
        """Store a signed entry."""
        values = (require_id(operation_id), group_id, entry, require_text(state), self._work.now)
        self._work.change(_ADD_OPERATION, (*values, self._work.next_number()))

    def all(self) -> list[GroupOperation]:
        """Those whose fate is not known, oldest first."""
        return [GroupOperation(*row) for row in self._work.rows(_OPERATIONS)]

    def retry(self, operation_id: bytes, entry: bytes, *, state: str) -> None:
        """Store the entry signed again for another try, which is counted. Raises StaleWriter if it is not here."""
        self._work.replace(_SET_OPERATION, (entry, require_text(state), operation_id))

    def delete(self, operation_id: bytes) -> bool:
        """Delete an operation whose fate is known; False if it was gone."""
        return self._work.change(_DELETE_OPERATION, (operation_id,)) == 1
