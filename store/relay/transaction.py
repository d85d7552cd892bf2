"""What one unit of work does to the database: fixed statements in both databases' forms, the lock, the wake-ups.

Nothing here knows what the rows mean.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import IntegrityError

from store.database import Dialect, Statement
from store.errors import InvalidUse, StaleWriter, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, CursorResult

    from .values import DeviceKey

__all__ = ["Forms", "Transaction", "require"]

# "RELA": the class of advisory locks under which mailboxes, rosters and accounts are written.
WRITE_LOCK: Final = 0x52454C41

_LOCK: Final = f"SELECT pg_advisory_xact_lock({WRITE_LOCK}, hashtext(current_schema()))"
# The payload is the device only; the channel is the schema, which is the relay.
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
        self._connection = connection
        self._postgresql = connection.dialect.name == Dialect.POSTGRESQL
        self._locked = False
        self._failure: StoreError | None = None
        self._over = False
        self.now = now  # seconds since 1970, the same for the whole unit
        self.woken: set[DeviceKey] = set()  # devices to be told of at the commit

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
                self._run(_LOCK, None)

    def rows(self, statement: Statement | Forms, *values: object) -> Sequence[Any]:
        """Run a statement and return the rows it gives."""
        return self._run(self._text(statement), values).fetchall()

    def row(self, statement: Statement | Forms, *values: object) -> Any:  # noqa: ANN401 - a row is what the statement says
        """Run a statement and return its only row; None if it gives none."""
        return self._run(self._text(statement), values).fetchone()

    def change(self, statement: Statement | Forms, *values: object) -> int:
        """Run a statement that changes rows and return how many."""
        return self._run(self._text(statement), values).rowcount

    def change_many(self, statement: Forms, many: Sequence[tuple[Any, ...]]) -> int:
        """Run a statement for each of *many* rows and return how many it changed.

        PostgreSQL takes one array for each column, in one statement; SQLite the rows, one after
        the other. Each is what was fastest there (docs/decisions/0020).
        """
        if not many:
            return 0
        if self._postgresql:
            return self._run(statement.postgresql, tuple(map(list, zip(*many, strict=True)))).rowcount
        return self._run(statement.sqlite, many[0] if len(many) == 1 else list(many)).rowcount

    def rows_many(self, statement: Forms, many: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """Run a statement that returns rows for each of *many* rows."""
        if not many:
            return []
        if self._postgresql:
            return self._run(statement.postgresql, tuple(map(list, zip(*many, strict=True)))).fetchall()
        return [found for values in many for found in self._run(statement.sqlite, values).fetchall()]

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
        self._run("SAVEPOINT insert_new", None)
        if self.change_many(statement, many) == len(many):
            fresh = [True] * len(many)
        else:
            self._run("ROLLBACK TO insert_new", None)
            fresh = [self._run(statement.sqlite, values).rowcount == 1 for values in many]
        self._run("RELEASE insert_new", None)
        return fresh

    def wake(self, device_keys: Iterable[DeviceKey]) -> None:
        """Tell every worker of these devices when, and only if, the unit is committed."""
        self.woken.update(device_keys)

    def finish(self) -> None:
        """Do what comes last; the caller commits."""
        if self._failure is not None:
            raise InvalidUse("the unit failed before: it can only be rolled back") from self._failure
        if self.woken and self._postgresql:
            self._run(_NOTIFY, (sorted(self.woken),))

    def leave(self) -> None:
        """Refuse further calls."""
        self._over = True

    def _text(self, statement: Statement | Forms) -> str:
        return statement.postgresql if self._postgresql else statement.sqlite

    def _run(self, text: str, values: Any) -> CursorResult[Any]:  # noqa: ANN401 - a row of parameters, many, or none
        if self._over:
            raise InvalidUse("the unit of work is over: begin another")
        if self._failure is not None:
            raise InvalidUse("the unit failed before: it can only be rolled back") from self._failure
        try:
            return self._connection.exec_driver_sql(text, values)
        except IntegrityError as cause:
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
