"""The drivers' own classes, with every call that may reach the disk or the server reported before it is made.

They stand in for the driver of a store (`ClientStore.open(…, dbapi=…)`), so that nothing is missed, whichever way a
statement takes: connecting, its settings, creation, migration, units of work, checkpoints, closing.
"""

from __future__ import annotations

import sqlite3
from types import ModuleType
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["counting_driver"]


def counting_driver(
    url: str, call: Callable[[], None], *, before_commit: Callable[[], None] | None = None
) -> ModuleType:
    """The driver for *url* that calls *call* before each connection, statement, commit, rollback and close.

    *before_commit* takes its place before commits.
    """
    make = _psycopg if url.startswith("postgresql") else _sqlite3
    return make(call, before_commit or call)


def _module(driver: ModuleType, connect: Callable[..., Any]) -> ModuleType:
    module = ModuleType(f"counting_{driver.__name__}")
    module.__dict__.update({name: value for name, value in vars(driver).items() if name not in vars(ModuleType)})
    module.__dict__["connect"] = connect
    return module


def _sqlite3(call: Callable[[], None], before_commit: Callable[[], None]) -> ModuleType:
    class Cursor(sqlite3.Cursor):
        def execute(self, *arguments: Any) -> Cursor:  # noqa: ANN401 - the driver's
            call()
            return super().execute(*arguments)

        def executemany(self, *arguments: Any) -> Cursor:  # noqa: ANN401
            call()
            return super().executemany(*arguments)

    class Connection(sqlite3.Connection):
        def cursor(self, _factory: object = None) -> Cursor:  # type: ignore[override]
            return super().cursor(Cursor)

        def commit(self) -> None:
            before_commit()
            super().commit()

        def rollback(self) -> None:
            call()
            super().rollback()

        def close(self) -> None:
            call()
            super().close()

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401
        call()
        return sqlite3.connect(*arguments, factory=Connection, **options)

    return _module(sqlite3, connect)


def _psycopg(call: Callable[[], None], before_commit: Callable[[], None]) -> ModuleType:
    class Cursor(psycopg.Cursor[Any]):
        def execute(self, *arguments: Any, **options: Any) -> Cursor:  # noqa: ANN401
            call()
            super().execute(*arguments, **options)
            return self

        def executemany(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            call()
            super().executemany(*arguments, **options)

    class Connection(psycopg.Connection[Any]):
        def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            super().__init__(*arguments, **options)
            self.cursor_factory = Cursor

        def commit(self) -> None:
            before_commit()
            super().commit()

        def rollback(self) -> None:
            call()
            super().rollback()

        def close(self) -> None:
            call()
            super().close()

    def connect(*arguments: Any, **options: Any) -> psycopg.Connection[Any]:  # noqa: ANN401
        call()
        return Connection.connect(*arguments, **options)

    return _module(psycopg, connect)
