"""What one unit of work does to the database: fixed statements in both databases' forms, the lock, the wake-ups.

Nothing here knows what the rows mean.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from store.database import Dialect, Statement
from store.driver_cursor import DriverCursor
from store.errors import InvalidUse, StaleWriter, StoreError

from .limits import ANNOUNCEMENT_SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection

    from .values import DeviceKey

__all__ = ["Forms", "Transaction", "require"]

_Values = TypeVar("_Values")
_Result = TypeVar("_Result")

# "RELA": the class of advisory locks under which mailboxes, rosters and accounts are written.
WRITE_LOCK: Final = 0x52454C41

_LOCK: Final = f"SELECT pg_advisory_xact_lock({WRITE_LOCK}, hashtext(current_schema()))"
# The payload is the device only; the channel is the schema, which is the relay.
# What is no number is an announcement. Its text is bounded: PostgreSQL takes less than 8,000 bytes.
_ANNOUNCE: Final = "SELECT pg_notify(current_schema(), 'a' || encode(%s, 'base64'))"
_NOTIFY: Final = "SELECT pg_notify(current_schema(), device::text) FROM unnest(%s::bigint[]) device"


@dataclass(frozen=True, slots=True)
class Forms:
    """A statement that the two databases need in different words: most take a list in one go."""

    table: str
    sqlite: str
    postgresql: str


class Transaction:
    """One open transaction on one connection, of one thread."""

    def __init__(self, connection: Connection, now: float) -> None:
        self._cursor: DriverCursor | None = DriverCursor(connection)
        self._postgresql = connection.dialect.name == Dialect.POSTGRESQL
        self._locked = False
        self._failure: StoreError | None = None
        self.now = now  # seconds since 1970, the same for the whole unit
        self.woken: set[DeviceKey] = set()  # devices to be told of at the commit
        self._announced: list[bytes] = []

    def exclusive(self) -> None:
        """Let no other worker write mailboxes, rosters or accounts until this unit ends; wait for those that do.

        What is read after it is what will be so at the commit. On SQLite every unit is alone anyway.
        It ends with the commit, so numbers drawn under it become visible in their order
        (`docs/storage-relay.md` section 3). All that writes takes it first, before any row, but
        `PreKeys.hand_out`: so no two workers wait for each other.
        """
        if not self._locked:
            self._locked = True
            if self._postgresql:
                self._run(DriverCursor.query, _LOCK, ())

    def rows(self, statement: Statement | Forms, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement and return the rows it gives."""
        return self._run(DriverCursor.query, self._text(statement), values)

    def row(self, statement: Statement | Forms, *values: object) -> Any:  # noqa: ANN401 - a row is what the statement says
        """Run a statement and return its only row; None if it gives none."""
        rows = self._run(DriverCursor.query, self._text(statement), values)
        return rows[0] if rows else None

    def change(self, statement: Statement | Forms, *values: object) -> int:
        """Run a statement that changes rows and return how many."""
        return self._run(DriverCursor.change, self._text(statement), values)

    def change_many(self, statement: Forms, many: Sequence[tuple[Any, ...]]) -> int:
        """Run a statement for each of *many* rows and return how many it changed.

        PostgreSQL takes one array for each column, in one statement; SQLite the rows, one after
        the other. Each is what was fastest there (docs/decisions/0020).
        """
        if not many:
            return 0
        if self._postgresql:
            columns = tuple(map(list, zip(*many, strict=True)))
            return self._run(DriverCursor.change, statement.postgresql, columns)
        return self._run(DriverCursor.change_many, statement.sqlite, many)

    def rows_many(self, statement: Forms, many: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows for each of *many* rows."""
        if not many:
            return []
        if self._postgresql:
            columns = tuple(map(list, zip(*many, strict=True)))
            return self._run(DriverCursor.query, statement.postgresql, columns)
        return [found for values in many for found in self._run(DriverCursor.query, statement.sqlite, values)]

    def listing(self, values: Iterable[int | str]) -> object:
        """A list as one parameter: an array for PostgreSQL, JSON for SQLite's `json_each`."""
        return list(values) if self._postgresql else json.dumps(list(values))

    def insert_new(self, statement: Forms, many: Sequence[tuple[Any, ...]]) -> list[bool]:
        """Insert each of *many* rows, all different, unless its key is there; tell for each whether it was new.

        *statement* does nothing on a conflict, and on PostgreSQL returns the ordinals, from 1, of the
        rows that it inserted, its last array being the ordinals.
        """
        if self._postgresql:
            numbered = [(*values, ordinal) for ordinal, values in enumerate(many, 1)]
            new = {row[0] for row in self.rows_many(statement, numbered)}
            return [ordinal in new for ordinal in range(1, len(many) + 1)]
        # Nearly always all are new, and the count says so. Else once more, one by one.
        self._run(DriverCursor.change, "SAVEPOINT insert_new", ())
        if self.change_many(statement, many) == len(many):
            fresh = [True] * len(many)
        else:
            self._run(DriverCursor.change, "ROLLBACK TO insert_new", ())
            fresh = [self._run(DriverCursor.change, statement.sqlite, values) == 1 for values in many]
        self._run(DriverCursor.change, "RELEASE insert_new", ())
        return fresh

    def wake(self, device_keys: Iterable[DeviceKey]) -> None:
        """Tell every worker of these devices when, and only if, the unit is committed."""
        self.woken.update(device_keys)

    def announce(self, data: bytes) -> None:
        """Pass *data* on to every worker when, and only if, the unit is committed. On SQLite there is only one."""
        require(len(data) <= ANNOUNCEMENT_SIZE_MAX, f"an announcement has at most {ANNOUNCEMENT_SIZE_MAX} bytes")
        if self._postgresql:
            self._announced.append(data)

    def finish(self) -> None:
        """Do what comes last; the caller commits."""
        if self._failure is not None:
            raise InvalidUse("the unit failed before: it can only be rolled back") from self._failure
        if self.woken and self._postgresql:
            self._run(DriverCursor.query, _NOTIFY, (sorted(self.woken),))
        for data in self._announced:
            self._run(DriverCursor.query, _ANNOUNCE, (data,))

    def leave(self) -> None:
        """Refuse further calls."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()

    def _text(self, statement: Statement | Forms) -> str:
        return statement.postgresql if self._postgresql else statement.sqlite

    def _run(self, call: Callable[[DriverCursor, str, _Values], _Result], sql: str, values: _Values) -> _Result:
        cursor = self._cursor
        if cursor is None:
            raise InvalidUse("the unit of work is over: begin another")
        if self._failure is not None:
            raise InvalidUse("the unit failed before: it can only be rolled back") from self._failure
        try:
            return call(cursor, sql, values)
        except cursor.integrity_error as cause:
            # Another worker stored what this one had found absent.
            self._failure = StaleWriter("another worker wrote the same row: do the unit again")
            raise self._failure from cause
        except StoreError as error:
            self._failure = error
            raise


def require(condition: bool, what: str) -> None:  # noqa: FBT001 - reads as the sentence that it checks
    """Raise InvalidUse unless *condition*: values are checked by the relay before they come here."""
    if not condition:
        raise InvalidUse(what)
