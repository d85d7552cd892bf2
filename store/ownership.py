"""One owner of a store: a lock that the operating system or the server drops when its holder dies.

The lock keeps others out. The epoch in the table `store` is the fence behind it: each opening
increments it, each commit of a unit compares it, so a lock lost by accident costs nothing.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from filelock import FileLock, Timeout

from .errors import StoreInUse, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

__all__ = [
    "FileOwnership",
    "Holder",
    "NoOwnership",
    "Ownership",
    "ServerOwnership",
    "opening_lock",
    "this_process",
]

_HOLDER_OFFSET: Final = 1  # bytes: Windows locks the file's first byte, which nobody else can read then
_HOLDER_SIZE_MAX: Final = 1024  # bytes
_HOST_SIZE_MAX: Final = 255  # bytes of a host's name
# How long a server may take to notice that a killed owner's connection is gone. A living owner costs this too.
SERVER_LOCK_TIMEOUT_MS: Final = 500  # milliseconds
_LOCK_NOT_AVAILABLE: Final = "55P03"  # SQLSTATE
_LOCK_LABEL: Final = b"e2ee store owner v1\x00"
_OPENING_LABEL: Final = b"e2ee store opening v1\x00"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has opened a store, for people to read."""

    pid: int
    host: str
    since: float  # seconds since 1970


def this_process(since: float) -> Holder:
    """The process that runs this, as a holder."""
    return Holder(os.getpid(), socket.gethostname()[:_HOST_SIZE_MAX], since)


class Ownership(Protocol):
    """What keeps others out until it is released, or its process dies."""

    def release(self) -> None:
        """Let others in. Does nothing the second time."""


class NoOwnership:
    """Of a database in memory: nobody else can see it."""

    def release(self) -> None:
        """Do nothing."""


class FileOwnership:
    """The lock of a SQLite file: ``<file>.lock``, which stays there, and names its last holder.

    Raises StoreInUse if somebody else holds it, in this process or another.
    """

    def __init__(self, path: Path, holder: Holder) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._lock = FileLock(self._path, mode=0o600, timeout=0, thread_local=False)
        known = _read_holder(self._path)  # before the attempt: some releases of filelock empty the file
        try:
            self._lock.acquire()
        except Timeout as cause:
            known = _read_holder(self._path) or known
            if known is None:
                raise StoreInUse(str(path)) from cause
            raise StoreInUse(str(path), pid=known.pid, host=known.host, since=known.since) from cause
        except OSError as cause:
            raise StoreUnavailable(f"cannot lock {self._path}: {cause.strerror}") from cause
        text = json.dumps([holder.pid, holder.host, holder.since]).encode()
        with self._path.open("r+b") as file:
            file.write(b"\n" + text)
            file.truncate()

    def release(self) -> None:
        """Let others in. The file stays: removing it would let two processes lock two files of one name."""
        self._lock.release()


class ServerOwnership:
    """An advisory lock of PostgreSQL, on a connection kept for it: the server drops it with the connection.

    Raises StoreInUse, which then names no holder: the caller may know it from the table.
    """

    def __init__(self, engine: Engine, schema: str) -> None:
        self._connection: Connection | None = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._key = _lock_key(_LOCK_LABEL, schema)
        try:
            self._connection.exec_driver_sql(f"SET lock_timeout TO {SERVER_LOCK_TIMEOUT_MS}")
            self._connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (self._key,))
        except StoreUnavailable as error:
            self._close()
            if getattr(error.__cause__, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                raise StoreInUse(f"schema {schema}") from error
            raise

    def release(self) -> None:
        """Let others in: at once, and not only when the server has noticed that the connection is closed."""
        if self._connection is not None:
            with suppress(StoreUnavailable):  # a connection that is gone holds nothing
                self._connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (self._key,))
            self._close()

    def _close(self) -> None:
        """Close the connection itself, instead of giving it back to the pool, lock and all."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(StoreUnavailable):
                if not connection.invalidated:
                    connection.detach()
                connection.close()


def opening_lock(schema: str) -> int:
    """Return the key of the lock that an opening on a server holds until its transaction ends.

    The owner's lock and its transactions are on connections of their own. When its process is killed, the server
    may let go of the lock while a transaction that was being committed goes on.
    """
    return _lock_key(_OPENING_LABEL, schema)


def _lock_key(label: bytes, schema: str) -> int:
    """Locks are the database's, so the schema, which is the store, makes the key."""
    return int.from_bytes(sha256(label + schema.encode()).digest()[:8], "big", signed=True)


def _read_holder(path: Path) -> Holder | None:
    try:
        with path.open("rb") as file:
            file.seek(_HOLDER_OFFSET)
            pid, host, since = json.loads(file.read(_HOLDER_SIZE_MAX))
        return Holder(int(pid), str(host), float(since))
    except (OSError, TypeError, ValueError):  # for the text of an error only: what cannot be read is not known
        return None
