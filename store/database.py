"""Engines: which databases there are, how each connection is set up, and what their errors mean.

Shared by the client's store and the relay's. Nothing here knows a table but `schema_version`.
"""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy import exc as sqlalchemy_exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool, StaticPool

from .errors import InvalidUse, StoreCorrupt, StoreError, StoreUnavailable, UnsupportedDatabase

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = [
    "SQLITE_SETTINGS",
    "Dialect",
    "Location",
    "Statement",
    "checkpoint",
    "create_file",
    "meaning",
    "open_engine",
    "parse_url",
    "require_file",
]

BUSY_TIMEOUT_MS: Final = 5_000  # milliseconds to wait for another connection's transaction; then StoreUnavailable
POOL_SIZE: Final = 2  # connections that a client's store keeps: its writer's, and one for a check or an export

# name, value to set, value to read back; messaging.md section 3. What each is for:
SQLITE_SETTINGS: Final = (
    ("busy_timeout", str(BUSY_TIMEOUT_MS), BUSY_TIMEOUT_MS),  # first: the others may have to wait
    ("journal_mode", "WAL", "wal"),  # a torn write never touches the database itself
    ("synchronous", "FULL", 2),  # a commit returns when it is on the disk
    ("fullfsync", "ON", 1),  # macOS: on the disk and not in the disk's cache; ignored elsewhere
    ("checkpoint_fullfsync", "ON", 1),
    ("secure_delete", "ON", 1),  # an overwritten ratchet state is not left readable in a free page
    ("foreign_keys", "ON", 1),
    ("trusted_schema", "OFF", 0),  # a planted view or trigger calls no function with side effects
    ("cell_size_check", "ON", 1),  # notice a damaged page when it is read
    ("temp_store", "MEMORY", 2),  # no plaintext in a temporary file
)
_IN_MEMORY: Final = {"journal_mode": "memory"}  # all that a database in memory can do

# Result codes of SQLite (the low byte): damage, not a passing trouble.
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT})
# SQLSTATE classes of PostgreSQL: data corrupted; table, column or schema that is not there.
_DAMAGE_STATES: Final = ("XX001", "XX002", "42P01", "42703", "3F000")
_SCHEMA_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class Dialect(StrEnum):
    """The two kinds of database."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a store is. The password that *url* may hold is not shown."""

    dialect: Dialect
    url: URL
    path: Path | None  # of the file; None: in memory, or a server
    schema: str | None  # on PostgreSQL

    def __str__(self) -> str:
        """The place without its secrets, for error texts."""
        if self.dialect is Dialect.POSTGRESQL:
            return f"schema {self.schema} of database {self.url.database} on {self.url.host or 'this host'}"
        return str(self.path) if self.path is not None else "a store in memory"

    @property
    def in_memory(self) -> bool:
        """Whether it is gone when it is closed."""
        return self.dialect is Dialect.SQLITE and self.path is None


@dataclass(frozen=True, slots=True, init=False)
class Statement:
    """A fixed statement of one table, with ``?`` where a parameter goes; both databases' forms of it."""

    table: str
    sqlite: str
    postgresql: str

    def __init__(self, table: str, sql: str) -> None:
        if "%" in sql or "'" in sql:  # psycopg's own sign, and text that could hold a question mark
            raise InvalidUse("a statement has parameters instead of literals")
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "sqlite", sql)
        object.__setattr__(self, "postgresql", sql.replace("?", "%s"))


def parse_url(url: str, *, default_schema: str = "e2ee") -> Location:
    """Read a SQLAlchemy URL: ``sqlite:///file``, ``sqlite://`` (memory) or ``postgresql[+psycopg]://…[?schema=name]``.

    Raises UnsupportedDatabase for every other one.
    """
    try:
        parsed = make_url(url)
    except (sqlalchemy_exc.ArgumentError, AttributeError, TypeError, ValueError) as cause:
        raise UnsupportedDatabase("not a SQLAlchemy URL; sqlite:///file.db is one") from cause
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.query or parsed.host:
            raise UnsupportedDatabase("a SQLite URL is sqlite:///file.db (four slashes for an absolute path)")
        database = parsed.database
        path = None if database in (None, "", ":memory:") else Path(str(database)).absolute()
        return Location(Dialect.SQLITE, URL.create("sqlite", database=str(path) if path else None), path, None)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        schema = parsed.query.get("schema", default_schema)
        if not isinstance(schema, str) or not _SCHEMA_NAME.fullmatch(schema) or schema.startswith("pg_"):
            raise UnsupportedDatabase("schema is a name of lower-case letters, digits and underscores")
        parsed = parsed.set(drivername="postgresql+psycopg").difference_update_query(["schema"])
        return Location(Dialect.POSTGRESQL, parsed, None, schema)
    raise UnsupportedDatabase(f"{parsed.drivername}: there are sqlite and postgresql+psycopg")


def open_engine(location: Location, *, pool_size: int = POOL_SIZE, dbapi: ModuleType | None = None) -> Engine:
    """Make an engine whose every connection is set up and read back, and which raises this package's errors only.

    Integrity errors alone stay SQLAlchemy's: what they mean depends on the statement. Nothing is
    opened yet. *dbapi* stands in for the driver (a DB-API module), for tests of the storage below it.
    """
    options: dict[str, Any] = {"poolclass": QueuePool, "pool_size": pool_size, "max_overflow": 0, "pool_timeout": 5}
    if location.in_memory:
        options = {"poolclass": StaticPool}  # one connection: a second one would have a database of its own
    if location.dialect is Dialect.SQLITE:
        options["connect_args"] = {"check_same_thread": False}
    if dbapi is not None:
        options["module"] = dbapi
    try:
        engine = create_engine(location.url, hide_parameters=True, **options)
    except ImportError as cause:
        raise UnsupportedDatabase("PostgreSQL needs psycopg: install e2ee-messaging[postgres]") from cause
    if location.dialect is Dialect.SQLITE:
        _set_up_sqlite(engine, in_memory=location.in_memory)
    else:
        _set_up_postgresql(engine, str(location.schema))
    event.listen(engine, "handle_error", _translate, retval=True)
    return engine


def _set_up_sqlite(engine: Engine, *, in_memory: bool) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver's own transactions leave loads outside of any and do not roll back DDL.
        connection.isolation_level = None
        for name, value, expected in SQLITE_SETTINGS:
            _run(connection, f"PRAGMA {name}={value}")
            found = _run(connection, f"PRAGMA {name}", fetch=True)
            if found != (_IN_MEMORY.get(name, expected) if in_memory else expected):
                raise StoreUnavailable(f"SQLite does not take {name}={value} here")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE: a transaction that reads first and writes later must not fail in between. Straight to the
        # driver: through SQLAlchemy it is 15 µs, a tenth of a unit of work for one message.
        _run(connection.connection, "BEGIN IMMEDIATE")


def _set_up_postgresql(engine: Engine, schema: str) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.autocommit = True
        _run(connection, f'SET search_path TO "{schema}"')
        _run(connection, "SET synchronous_commit TO on")  # a commit returns when it is on the server's disk
        _run(connection, f"SET lock_timeout TO {BUSY_TIMEOUT_MS}")
        connection.autocommit = False


def _run(connection: DBAPIConnection, sql: str, *, fetch: bool = False) -> object:
    """Run *sql* on the driver's own connection; return the first value of its first row, if asked to *fetch*."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        row = cursor.fetchone() if fetch else None
    except Exception as error:
        raise meaning(error) or error from error
    finally:
        cursor.close()
    return row[0] if row else None


def _translate(context: ExceptionContext) -> BaseException | None:
    """Give a driver's error its meaning for us; None leaves it as it is."""
    original = context.original_exception
    return original if isinstance(original, StoreError) else meaning(original)


def meaning(error: BaseException) -> StoreError | None:
    """Return the StoreError that a driver's *error* is; None for an integrity error and what no driver raised."""
    if hasattr(error, "sqlite_errorcode"):
        code = error.sqlite_errorcode & 0xFF  # the rest says more exactly what we do not tell apart
        if code == sqlite3.SQLITE_CONSTRAINT:
            return None
        damaged = code in _DAMAGE
    elif type(error).__module__.startswith("psycopg"):
        state = getattr(error, "sqlstate", None) or ""  # none: the connection is gone
        if state.startswith("23"):
            return None
        damaged = state in _DAMAGE_STATES
    else:
        return None
    if damaged:
        return _caused(StoreCorrupt(f"the database is damaged or is not a store: {error}"), error)
    return _caused(StoreUnavailable(f"the database does not take the call: {error}"), error)


def _caused(meaning: StoreError, error: BaseException) -> StoreError:
    meaning.__cause__ = error
    return meaning


def require_file(location: Location) -> bool:
    """Tell whether a SQLite file is there. Raises StoreCorrupt for one that cannot be a store, whatever it was.

    A store is never an empty file (`create_file`): one that is empty has lost what it held.
    """
    path = location.path
    if path is None:
        raise InvalidUse("only a store in a file has one")
    if not path.exists():
        write_ahead_log = path.with_name(path.name + "-wal")
        if write_ahead_log.exists() and write_ahead_log.stat().st_size:
            raise StoreCorrupt(f"{path} is gone, but its {write_ahead_log.name} is there: restore both")
        return False
    if path.is_file() and path.stat().st_size == 0:
        raise StoreCorrupt(f"{path} is empty, which no store is: restore it, or remove it to start afresh")
    return True


def create_file(location: Location, build: Callable[[Connection], None], *, dbapi: ModuleType | None = None) -> None:
    """Make a new SQLite file (mode 0600): *build* its tables under another name, then give it its own.

    So a file under its own name is complete, and a crash leaves nothing behind that looks like an
    empty store. The caller holds the lock and has found no file there.
    """
    path = location.path
    if path is None:
        raise InvalidUse("only a store in a file has one")
    building = path.with_name(path.name + ".new")
    try:
        for leftover in (building, *(building.with_name(building.name + end) for end in ("-wal", "-shm"))):
            leftover.unlink(missing_ok=True)  # of a creation that was cut short
        os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as cause:
        raise StoreUnavailable(f"cannot create {path}: {cause.strerror}") from cause
    unfinished = Location(Dialect.SQLITE, URL.create("sqlite", database=str(building)), building, None)
    engine = open_engine(unfinished, dbapi=dbapi)
    try:
        with engine.begin() as connection:
            build(connection)
        checkpoint(engine)
    finally:
        engine.dispose()
    building.replace(path)
    if os.name == "posix":  # elsewhere a folder cannot be opened to be synced
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def checkpoint(engine: Engine) -> bool:
    """Move SQLite's write-ahead log into the database and empty it; False if a reader was in the way.

    Until then, what was overwritten or deleted stays readable in the log. Does nothing on PostgreSQL.
    """
    if engine.dialect.name != Dialect.SQLITE:
        return True
    raw = engine.raw_connection()
    try:
        connection = raw.dbapi_connection
        return connection is None or _run(connection, "PRAGMA wal_checkpoint(TRUNCATE)", fetch=True) == 0
    finally:
        raw.close()
