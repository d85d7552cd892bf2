"""The driver's own cursor, inside a transaction that SQLAlchemy began and will end.

`Connection.exec_driver_sql` costs 5 µs a statement and 9 more for its result, which is as much as SQLite takes for
a whole unit of a few rows. What it does besides running the statement is done here: a failure gets its meaning, and a
connection that cannot be trusted any more leaves the pool.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .database import meaning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

__all__ = ["DriverCursor"]


class DriverCursor:
    """Runs statements in the database's own form; one for all units of a connection.

    Raises StoreError for what the driver reports, except `integrity_error`: what that means depends on
    the statement. Results are fetched whole, so that no error comes later and no query stays open.
    """

    __slots__ = ("_connection", "_cursor", "_driver_connection", "integrity_error")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor: Any = None
        self._driver_connection: Any = None
        self.integrity_error: type[Exception] = connection.dialect.loaded_dbapi.IntegrityError
        try:
            self._driver_connection = connection.connection.dbapi_connection
            self._cursor = self._driver_connection.cursor()
        except BaseException as error:  # an interruption too: see _failure
            raise self._failure(error) from error

    def is_on(self, connection: Connection) -> bool:
        """Whether it is this connection's, and that is not gone."""
        return self._connection is connection and not connection.invalidated

    def query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows, and return them."""
        try:
            self._cursor.execute(sql, values)
            rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        except BaseException as error:
            raise self._failure(error) from error
        return rows

    def change(self, sql: str, values: Sequence[Any]) -> int:
        """Run a statement that changes rows, and return how many."""
        try:
            self._cursor.execute(sql, values)
            count: int = self._cursor.rowcount
        except BaseException as error:
            raise self._failure(error) from error
        return count

    def change_many(self, sql: str, many: Sequence[Sequence[Any]]) -> int:
        """Run a statement that changes rows once for each of *many*, and return how many it changed in all."""
        try:
            self._cursor.executemany(sql, many)
            count: int = self._cursor.rowcount
        except BaseException as error:
            raise self._failure(error) from error
        return count

    def close(self) -> None:
        """Let the cursor go; on a connection that is gone it is gone already."""
        if not self._connection.invalidated:
            self._cursor.close()

    def _failure(self, error: BaseException) -> BaseException:
        """Return what to raise for *error*: its meaning, or itself.

        The connection is thrown away if the driver says that it is broken, and if the statement was
        interrupted (KeyboardInterrupt, SystemExit): then nobody knows what it is waiting for. Whatever
        broke it may have broken the idle ones in the pool, so they go with it.
        """
        connection = self._connection
        dialect = connection.dialect
        broken = not isinstance(error, Exception) or (
            isinstance(error, dialect.loaded_dbapi.Error)
            and dialect.is_disconnect(error, self._driver_connection, self._cursor)
        )
        if broken and not connection.invalidated:
            # A statement that its cursor still holds would keep SQLite's connection, and its lock, for as long as
            # somebody holds the cursor: the traceback does.
            if self._cursor is not None:
                with suppress(dialect.loaded_dbapi.Error):
                    self._cursor.close()
            connection.invalidate(error)
            connection.engine.dispose()
        return meaning(error) or error
