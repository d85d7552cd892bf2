"""What a unit of work does to the database: fixed statements, rows gathered and written together, the fence.

Nothing here knows what the rows mean; `unit` puts the repositories on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .database import Dialect, Statement
from .driver_cursor import DriverCursor
from .errors import InvalidUse, StaleWriter, StoreError, StoreLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from .vault import Entropy, Vault

__all__ = ["Counters", "Tally", "Work"]

_Values = TypeVar("_Values")
_Result = TypeVar("_Result")

_STALE: Final = "a newer version of the row is stored"

_SALT: Final = Statement("seal_keys", "INSERT INTO seal_keys (number, salt) VALUES (?, ?)")
_FENCE: Final = Statement("store", "SELECT epoch FROM store WHERE id = 1")
# FOR SHARE: nobody may take the store over between this and the commit. SQLite's lock is held anyway.
_FENCE_POSTGRESQL: Final = Statement("store", "SELECT epoch FROM store WHERE id = 1 FOR SHARE")
_LOAD_COUNTERS: Final = Statement(
    "store",
    "SELECT submission_number, delivery_number, upload_number, prekey_id, row_number, confirmed_submission_number, "
    "confirmed_upload_number FROM store WHERE id = 1",
)
_SAVE_COUNTERS: Final = Statement(
    "store",
    "UPDATE store SET submission_number = ?, delivery_number = ?, upload_number = ?, prekey_id = ?, row_number = ?, "
    "confirmed_submission_number = ?, confirmed_upload_number = ? WHERE id = 1 AND epoch = ?",
)


@dataclass(slots=True)
class Counters:
    """The counters that are written in the transaction that they count."""

    submission_number: int  # of the last envelope that was given one (messaging.md section 4)
    delivery_number: int  # of the last envelope that the relay delivered and we committed
    upload_number: int  # of the last upload of prekeys
    prekey_id: int  # the next prekey's, 24 bits
    row_number: int  # of the last row numbered; one sequence for all tables
    confirmed_submission_number: int  # the highest that the relay has said it has; lower at the relay: it lost data
    confirmed_upload_number: int  # the same of uploads

    def copy(self) -> Counters:
        """The counters as they are now."""
        return Counters(*self.values())

    def values(self) -> tuple[int, ...]:
        """The counters in the order of their columns."""
        return (
            self.submission_number,
            self.delivery_number,
            self.upload_number,
            self.prekey_id,
            self.row_number,
            self.confirmed_submission_number,
            self.confirmed_upload_number,
        )


@dataclass(slots=True)
class Tally:
    """How many rows a limited table has, and how many bytes in its column `size` (0 if it has none)."""

    count: int
    size: int


class Work:
    """One transaction at a time on one connection. Repositories call it; nobody else does.

    Inserts may be deferred: they are written together, before the next statement on their table or
    at the end. A statement that fails spoils the unit: it can only be rolled back.
    """

    def __init__(self, dialect: Dialect, vault: Vault, clock: Callable[[], float], entropy: Entropy) -> None:
        self._postgresql = dialect is Dialect.POSTGRESQL
        self._cursor: DriverCursor | None = None  # kept from unit to unit, as the connection is
        self._entered = False
        self._failure: StoreError | None = None
        self._deferred: dict[str, tuple[Statement, list[tuple[Any, ...]]]] = {}
        self._tallies: dict[str, Tally] = {}  # as committed; loaded when they are first asked for
        self._changed_tallies: dict[str, Tally] = {}
        self._committed: Counters | None = None
        self.counters = Counters(0, 0, 0, 0, 0, 0, 0)
        self.vault = vault
        self.clock = clock
        self.entropy = entropy
        self.now = 0.0  # seconds since 1970, the same for the whole unit

    # The transaction.

    def enter(self, connection: Connection, counters: Counters | None) -> None:
        """Begin on *connection*, whose transaction has begun, with *counters* as committed.

        None: whether the last unit was committed is not known. All that was remembered is loaded again.
        """
        if self._cursor is None or not self._cursor.is_on(connection):
            self.let_go()
            self._cursor = DriverCursor(connection)
        self._entered = True
        if counters is None:
            self._tallies.clear()
            counters = Counters(*self.rows(_LOAD_COUNTERS)[0])
        self._committed = counters
        self.counters = counters.copy()
        self.now = self.clock()

    def finish(self, epoch: int) -> Counters:
        """Write what is deferred and check the fence; the caller commits. Returns the counters as they will be.

        Raises StoreLost if the store was taken over: nothing of this unit may then be committed.
        """
        if self._failure is not None:
            raise InvalidUse("the unit failed before: it can only be rolled back") from self._failure
        if self.vault.unstored:
            self._execute_many(_SALT, list(self.vault.unstored.items()))
        self.flush()
        counters = self.counters
        values = counters.values()
        if self._committed is None or values != self._committed.values():
            owned = self.change(_SAVE_COUNTERS, (*values, epoch)) == 1
        else:
            owned = self.row(_FENCE_POSTGRESQL if self._postgresql else _FENCE) == (epoch,)
        if not owned:
            raise StoreLost("somebody else has opened the store since")
        return counters

    def leave(self, *, committed: bool) -> None:
        """Forget the unit."""
        if committed:
            self._tallies.update(self._changed_tallies)
            self.vault.forget_unstored()
        else:
            self.vault.renew()
        self._changed_tallies.clear()
        self._deferred.clear()
        self._entered = False
        self._failure = None

    def let_go(self) -> None:
        """Let the cursor go, and with it the connection: it is not used any more."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()

    # Statements.

    def rows(self, statement: Statement, values: tuple[Any, ...] = ()) -> Sequence[tuple[Any, ...]]:
        """Run a query and return its rows."""
        self._flush_before(statement)
        return self._run(DriverCursor.query, statement, values)

    def row(self, statement: Statement, values: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """Run a query and return its only row; None if there is none."""
        rows = self.rows(statement, values)
        return rows[0] if rows else None

    def change(self, statement: Statement, values: tuple[Any, ...] = ()) -> int:
        """Run a statement that changes rows and return how many."""
        self._flush_before(statement)
        return self._run(DriverCursor.change, statement, values)

    def change_many(self, statement: Statement, many: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement that changes one row for each of *many*."""
        if many and self._execute_many(statement, list(many)) != len(many):
            raise self._spoil(StaleWriter(f"{statement.table}: {_STALE}"))

    def replace(self, statement: Statement, values: tuple[Any, ...]) -> None:
        """Run an update of one row that is only right for the version loaded. Raises StaleWriter."""
        if self.change(statement, values) != 1:
            raise self._spoil(StaleWriter(f"{statement.table}: {_STALE}"))

    def defer(self, statement: Statement, values: tuple[Any, ...]) -> None:
        """Write one row with *statement*, which must change exactly one, together with others of its kind.

        What it raises, StaleWriter if it changed none, comes from whatever writes it: at the latest
        from the end of the unit.
        """
        waiting = self._deferred.get(statement.table)
        if waiting is not None:
            if waiting[0] is statement:
                waiting[1].append(values)
                return
            self.flush(statement.table)
        self._deferred[statement.table] = (statement, [values])

    def flush(self, table: str | None = None) -> None:
        """Write the rows deferred for *table*, or all."""
        for name in [table] if table is not None else list(self._deferred):
            statement, many = self._deferred.pop(name, (None, []))
            if statement is not None and self._execute_many(statement, many) != len(many):
                raise self._spoil(StaleWriter(f"{name}: {_STALE}"))

    def next_number(self) -> int:
        """A number for a new row, above all before it."""
        self.counters.row_number += 1
        return self.counters.row_number

    # What limited tables hold.

    def tally(self, table: str, load: Statement) -> Tally:
        """What *table* holds in this unit, as the caller keeps it up to date; *load* counts it the first time."""
        tally = self._changed_tallies.get(table)
        if tally is None:
            known = self._tallies.get(table)
            if known is None:
                count, size = self.rows(load)[0]
                known = self._tallies[table] = Tally(count, int(size))
            tally = self._changed_tallies[table] = Tally(known.count, known.size)
        return tally

    def has_changed(self, table: str) -> bool:
        """Whether this unit has asked for the tally of *table*, which whoever changes it does first."""
        return table in self._changed_tallies

    # Below.

    def _text(self, statement: Statement) -> str:
        return statement.postgresql if self._postgresql else statement.sqlite

    def _flush_before(self, statement: Statement) -> None:
        if self._deferred and statement.table in self._deferred:
            self.flush(statement.table)

    def _execute_many(self, statement: Statement, many: list[tuple[Any, ...]]) -> int:
        if len(many) == 1:
            return self._run(DriverCursor.change, statement, many[0])
        return self._run(DriverCursor.change_many, statement, many)

    def _run(
        self, call: Callable[[DriverCursor, str, _Values], _Result], statement: Statement, values: _Values
    ) -> _Result:
        cursor = self._cursor
        if cursor is None or not self._entered:
            raise InvalidUse("the unit of work is over: begin another")
        if self._failure is not None:
            raise InvalidUse("the unit failed before: it can only be rolled back") from self._failure
        try:
            return call(cursor, self._text(statement), values)
        except cursor.integrity_error as cause:
            # Somebody stored what we found absent, or the caller adds what is there.
            raise self._spoil(StaleWriter(f"{statement.table}: {_STALE}")) from cause
        except StoreError as error:
            raise self._spoil(error)  # noqa: B904 - it is the same error, with its own cause

    def _spoil(self, failure: StoreError) -> StoreError:
        self._failure = failure
        return failure
