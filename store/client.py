"""The client's store: opened by one owner, changed in units of work, closed."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from . import maintenance
from .database import Location, checkpoint, parse_url
from .errors import InvalidUse, StoreError, StoreForked, StoreLost
from .identity_export import seal_identity
from .limits import CHECKPOINT_INTERVAL_S, SEAL_KEYS_MAX, SWEEP_INTERVAL_S
from .opening import KeySource, Opened, open_store
from .retention import enforce_ages, enforce_counts
from .unit import Unit
from .vault import INTERACTIVE, Entropy, KeyProvider, PassphraseProfile
from .work import Counters, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType, TracebackType

    from sqlalchemy import Connection, Engine, RootTransaction

    from .maintenance import Finding

__all__ = ["ClientStore"]

_DEFAULT_SCHEMA: Final = "e2ee"  # on PostgreSQL; one store is one schema


class ClientStore:
    """Everything one device must not forget. Made by `open`; one owner at a time, any thread.

    Units of work of several threads follow one another. After `StoreLost` nothing more is written.
    """

    def __init__(self, opened: Opened, key: KeySource, clock: Callable[[], float], entropy: Entropy) -> None:
        self._opened = opened
        self._key = key
        self._clock = clock
        self._entropy = entropy
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._thread: int | None = None  # that holds the lock
        self._connection: Connection | None = None
        self._closed = False
        self._lost = False
        claim = opened.claim
        self._counters: Counters | None = claim.counters  # None: to be loaded
        self._work = Work(opened.location.dialect, claim.vault, clock, entropy)
        self._unit = Unit(self._work)
        self._sweep_at = 0.0  # seconds since 1970; the first unit sweeps
        self._checkpoint_at = clock() + CHECKPOINT_INTERVAL_S

    @classmethod
    def open(
        cls,
        url: str,
        *,
        passphrase: str | None = None,
        key_provider: KeyProvider | None = None,
        profile: PassphraseProfile = INTERACTIVE,
        clock: Callable[[], float] = time.time,
        entropy: Entropy = os.urandom,
        dbapi: ModuleType | None = None,
    ) -> Self:
        """Open the store at *url*, or make a new one; a new one is sealed if a key is given, with *profile*.

        *dbapi* stands in for the driver, for tests of the storage below it.

        Raises UnsupportedDatabase, StoreInUse, StoreUnavailable, StoreCorrupt, StoreNewer,
        PassphraseNeeded, PassphraseNotNeeded, WrongPassphrase, KeyUnavailable.
        """
        if passphrase is not None and key_provider is not None:
            raise InvalidUse("a passphrase or a key provider, not both")
        key = KeySource(passphrase, key_provider, profile)
        location = parse_url(url, default_schema=_DEFAULT_SCHEMA)
        store = cls(open_store(location, key, clock=clock, entropy=entropy, dbapi=dbapi), key, clock, entropy)
        if store._opened.claim.vault.salt_count >= SEAL_KEYS_MAX:
            store._reseal(key)
        return store

    # What it is.

    @property
    def location(self) -> Location:
        """Where it is."""
        return self._opened.location

    @property
    def engine(self) -> Engine:
        """The engine, for tests and tools that look below."""
        return self._opened.engine

    @property
    def sealed(self) -> bool:
        """Whether secrets are encrypted at rest. A store without a key works, and says so here."""
        return self._work.vault.sealed

    @property
    def epoch(self) -> int:
        """How often the store has been opened, this time included."""
        return self._opened.claim.epoch

    # Units of work.

    @contextmanager
    def begin(self) -> Iterator[Unit]:
        """One transaction: committed at the end of the block, rolled back if the block raises.

        Raises StoreForked, StoreLost, StoreUnavailable, StaleWriter, and InvalidUse for a unit inside
        a unit or a closed store.
        """
        self._require_ours()
        if self._thread == threading.get_ident():
            raise InvalidUse("a unit of work is open in this thread already")
        with self._lock:
            self._require_ours()  # it may have been closed or lost meanwhile
            self._thread = threading.get_ident()
            try:
                yield from self._transaction()
            finally:
                self._thread = None
        if self._clock() >= self._checkpoint_at:
            self.checkpoint()

    def _transaction(self) -> Iterator[Unit]:
        connection = self._connected()
        work, unit = self._work, self._unit
        try:
            transaction = connection.begin()
        except BaseException:
            self._disconnect()
            raise
        try:
            work.enter(connection, self._counters)
            yield unit
            enforce_counts(unit)
            sweeps = work.now >= self._sweep_at
            if sweeps:
                enforce_ages(unit)
            counters = work.finish(self.epoch)
            self._counters = None  # unless the commit says that it is done
            transaction.commit()
        except BaseException as error:
            self._lost = self._lost or isinstance(error, StoreLost)
            work.leave(committed=False)
            self._roll_back(transaction)
            unit.settle(committed=False)
            raise
        self._counters = counters
        if sweeps:
            self._sweep_at = work.now + SWEEP_INTERVAL_S
        work.leave(committed=True)
        unit.settle(committed=True)

    def _roll_back(self, transaction: RootTransaction) -> None:
        # After a commit that failed, SQLAlchemy takes the transaction to be over and would not roll it back; SQLite may
        # be in it still, and keep its lock.
        if transaction.is_active:
            with suppress(StoreError):
                transaction.rollback()
                return
        self._disconnect()

    def _connected(self) -> Connection:
        """The writer's connection, kept from unit to unit: taking one from the pool costs more than a statement."""
        if self._connection is not None and self._connection.invalidated:
            self._disconnect()
        if self._connection is None:
            self._connection = self.engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._work.let_go()
        if connection is not None:
            with suppress(StoreError):
                connection.invalidate()
                connection.close()

    def _require_ours(self) -> None:
        if os.getpid() != self._pid:
            raise StoreForked("the store was opened before the process forked: open it anew here")
        if self._closed:
            raise InvalidUse("the store is closed")
        if self._lost:
            raise StoreLost("somebody else has opened the store since: close it, and open it anew")

    # Keeping it.

    def checkpoint(self) -> bool:
        """Empty SQLite's write-ahead log of what was overwritten; False if something was in the way.

        It happens once a minute by itself, and at closing.
        """
        self._require_ours()
        self._checkpoint_at = self._clock() + CHECKPOINT_INTERVAL_S
        return checkpoint(self.engine)

    def export_identity(self, passphrase: str, *, profile: PassphraseProfile = INTERACTIVE) -> bytes:
        """Seal the user's identity under a passphrase of its own; see `store.identity_export`."""
        with self.begin() as unit:
            account = unit.account.require()
        return seal_identity(account.user_id, account.identity, passphrase, profile=profile, entropy=self._entropy)

    def rekey(
        self,
        *,
        passphrase: str | None = None,
        key_provider: KeyProvider | None = None,
        profile: PassphraseProfile = INTERACTIVE,
    ) -> None:
        """Seal everything anew, in one transaction, with another key; with neither, unseal the store.

        The write-ahead log is emptied after it. Raises KeyUnavailable, StoreCorrupt; then the old key stays.
        """
        if passphrase is not None and key_provider is not None:
            raise InvalidUse("a passphrase or a key provider, not both")
        self._reseal(KeySource(passphrase, key_provider, profile))

    def _reseal(self, key: KeySource) -> None:
        old = self._work.vault
        try:
            with self.begin() as unit:
                self._work.vault = maintenance.reseal(unit, key, self._opened.claim.store_id, self._entropy)
        except BaseException:
            self._work.vault = old
            raise
        self._key = key
        self.checkpoint()

    def check(self) -> tuple[Finding, ...]:
        """Read everything, unseal and parse it, and ask the database itself; return what is wrong, if anything."""
        with self.begin() as unit:
            return maintenance.check(unit, self.location.dialect)

    def delete_account(self) -> None:
        """Delete everything, the file or schema included, and close. It cannot be undone."""
        with self.begin() as unit:
            maintenance.delete_rows(unit)
        self.checkpoint()
        self._release(maintenance.remove)

    def close(self) -> None:
        """Empty the write-ahead log, close, let others in. Does nothing the second time, nor in a forked child."""
        if self._closed or os.getpid() != self._pid:
            return
        with self._lock:
            self._disconnect()
            if not self._lost:
                with suppress(StoreError):  # the log then stays, and is read at the next opening
                    checkpoint(self.engine)
            self._release(None)

    def _release(self, remove: Callable[[Engine, Location], None] | None) -> None:
        self._closed = True
        self._disconnect()
        if remove is not None:
            remove(self.engine, self.location)
        self._opened.ownership.release()
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()
