"""The relay's store: opening it, and units of work on it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy import event, text

from store import migrations
from store.database import Dialect, Location, checkpoint, create_file, open_engine, parse_url, require_file
from store.errors import InvalidUse, StoreForked, UnsupportedDatabase
from store.ownership import FileOwnership, NoOwnership, this_process

from . import limits
from .accounts import Devices, Users
from .groups import Groups
from .mailboxes import Mailboxes
from .prekeys import PreKeys
from .retention import sweep
from .schema import RELAY
from .submissions import Submissions
from .transaction import Transaction
from .wakeups import LocalListener, ServerListener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType, TracebackType

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from store.ownership import Ownership

    from .values import Swept
    from .wakeups import Listener

__all__ = ["RelayStore", "RelayUnit"]

_SQLITE_MIN: Final = (3, 35)  # RETURNING
# "RELB": the class of the lock under which one worker makes or migrates the tables.
_SCHEMA_LOCK: Final = f"SELECT pg_advisory_xact_lock({0x52454C42}, hashtext(:schema))"


class RelayUnit:
    """One transaction over everything the relay keeps. Of one thread; `RelayStore.begin` makes it."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.mailboxes = Mailboxes(transaction)
        self.submissions = Submissions(transaction)
        self.devices = Devices(transaction, self.mailboxes, self.submissions)
        self.users = Users(transaction, self.devices)
        self.prekeys = PreKeys(transaction)
        self.groups = Groups(transaction, self.mailboxes)

    @property
    def now(self) -> float:
        """The time of the unit, in seconds since 1970."""
        return self._transaction.now

    def announce(self, data: bytes) -> None:
        """Pass *data*, at most 5 KiB, on to every listener of every worker, this one's too, if the unit is committed.

        On SQLite nothing is passed on: there is one worker.
        """
        self._transaction.announce(data)

    def exclusive(self) -> None:
        """Wait until no other worker writes, and let none until this unit ends.

        What writes mailboxes, rosters or accounts calls it. Call it before reading what must still
        be so at the commit, and as late as possible: others wait.
        """
        self._transaction.exclusive()

    def sweep(self) -> Swept:
        """Remove some of what is older than its limit; call it about hourly, again while there is more."""
        return sweep(self._transaction, self.mailboxes, self.devices)


class RelayStore:
    """The relay's tables. Its threads may each have a unit open on PostgreSQL; on SQLite one waits for the other."""

    def __init__(self, engine: Engine, location: Location, ownership: Ownership, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._location = location
        self._ownership = ownership
        self._clock = clock
        self._pid = os.getpid()
        self._closed = False
        self._turn = threading.Lock()  # one unit at a time, on SQLite: waiting here is fair, in SQLite it is not
        self._busy = threading.local()  # whether this thread has a unit open
        self._listeners: set[LocalListener] = set()
        self._listeners_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        connections: int = limits.CONNECTIONS,
        dbapi: ModuleType | None = None,
    ) -> RelayStore:
        """Open the store at *url*, making or migrating its tables.

        SQLite is for one worker: a second one, in whatever process, gets StoreInUse. PostgreSQL is
        for any number on one schema; *connections* is how many units one worker has open at a time
        (waiting 5 s for one, then StoreUnavailable). *dbapi* stands in for the driver, for tests of the
        storage below it. Raises UnsupportedDatabase, StoreCorrupt, StoreNewer, StoreUnavailable.
        """
        location = parse_url(url, default_schema="e2ee_relay")
        if location.dialect is Dialect.POSTGRESQL:
            return cls._open_postgresql(location, clock, connections, dbapi)
        if sqlite3.sqlite_version_info < _SQLITE_MIN:
            raise UnsupportedDatabase(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 is needed")
        ownership: Ownership = NoOwnership()
        if location.path is not None:
            ownership = FileOwnership(location.path, this_process(clock()))
        engine: Engine | None = None
        try:
            if location.path is not None and not require_file(location):
                create_file(location, _create, dbapi=dbapi)
            engine = open_engine(location, pool_size=1, dbapi=dbapi)
            with engine.begin() as connection:
                if location.in_memory:
                    _create(connection)
                # A file under its name is complete (`create_file`): one without our tables has lost them, or is
                # somebody else's.
                migrations.migrate(connection, RELAY)
        except BaseException:
            if engine is not None:
                engine.dispose()
            ownership.release()
            raise
        return cls(engine, location, ownership, clock)

    @classmethod
    def _open_postgresql(
        cls, location: Location, clock: Callable[[], float], connections: int, dbapi: ModuleType | None
    ) -> RelayStore:
        engine = open_engine(location, pool_size=connections + 1, dbapi=dbapi)
        event.listen(engine, "connect", _limit_stalling)
        # READ COMMITTED, whatever the server's default: what is read under the lock must be the newest.
        engine = engine.execution_options(isolation_level="READ COMMITTED")
        try:
            with engine.begin() as connection:
                connection.execute(text(_SCHEMA_LOCK), {"schema": location.schema})
                connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{location.schema}"')
                if migrations.is_empty(connection, RELAY):
                    _create(connection)
                migrations.migrate(connection, RELAY)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, location, NoOwnership(), clock)

    @property
    def shared(self) -> bool:
        """Whether other workers may be on the same tables."""
        return self._location.dialect is Dialect.POSTGRESQL

    @contextmanager
    def begin(self) -> Iterator[RelayUnit]:
        """Open a unit of work: committed at the end of the block, rolled back if it is left by an exception.

        Raises StoreForked in a child of the process that opened the store; InvalidUse inside another unit
        of the same thread; StoreUnavailable, StaleWriter from the commit: nothing was stored, or, if the
        connection broke in it, perhaps everything.
        """
        self._check()
        if getattr(self._busy, "open", False):
            raise InvalidUse("this thread has a unit open: end it first")
        alone = self._location.dialect is Dialect.SQLITE
        if alone:
            self._turn.acquire()
        self._busy.open = True
        try:
            self._check()  # closed while we waited
            with self._engine.begin() as connection:
                transaction = Transaction(connection, self._clock())
                try:
                    yield RelayUnit(transaction)
                    transaction.finish()
                finally:
                    transaction.leave()
        finally:
            self._busy.open = False
            if alone:
                self._turn.release()
        if alone and transaction.woken:
            with self._listeners_lock:
                for listener in self._listeners:
                    listener.tell(transaction.woken)

    def listen(self) -> Listener:
        """Hear, from now on, of devices whose mailbox, connection or registration a worker has changed.

        Takes a connection of its own on PostgreSQL. Its `wait` blocks: give it a thread.
        """
        self._check()
        if self._location.dialect is Dialect.POSTGRESQL:
            return ServerListener(self._engine.connect(), str(self._location.schema))
        listener = LocalListener(self._forget)
        with self._listeners_lock:
            self._listeners.add(listener)
        return listener

    def checkpoint(self) -> bool:
        """Empty SQLite's write-ahead log into the file, so that deleted mail is on no page; False if it was busy."""
        self._check()
        with self._turn:
            return checkpoint(self._engine)

    def close(self) -> None:
        """Let go of the database. Does nothing the second time. Units that are open end first, on SQLite."""
        if self._closed or os.getpid() != self._pid:
            return
        with self._turn:
            self._closed = True
            if not self._location.in_memory:
                checkpoint(self._engine)
            self._engine.dispose()
            self._ownership.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise StoreForked("the process has forked since the relay's store was opened: open it anew")
        if self._closed:
            raise InvalidUse("the relay's store is closed: open it anew")

    def _forget(self, listener: LocalListener) -> None:
        with self._listeners_lock:
            self._listeners.discard(listener)


def _limit_stalling(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Let the server end a unit whose worker hangs: it may hold the lock that all others wait for."""
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout TO {limits.STALLED_UNIT_MS}")
    cursor.close()
    connection.autocommit = False


def _create(connection: Connection) -> None:
    migrations.create(connection, RELAY)
