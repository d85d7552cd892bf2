"""Who has mail: every worker hears of the devices that a committed unit has changed.

On PostgreSQL by LISTEN and NOTIFY, so among all workers; on SQLite, where there is one, within it.
A wake-up says only which device: what is there is read from the database. Those that were lost (a
connection that broke) are made up for by polling `Mailboxes.waiting`.
"""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol, Self

from store.errors import StoreUnavailable

from .values import DeviceKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from sqlalchemy import Connection

__all__ = ["Listener", "LocalListener", "ServerListener"]

_ANNOUNCEMENT: Final = "a"  # begins the payload of one; that of a wake-up is a number


class Listener(Protocol):
    """Hears of devices from the moment it was made. Use it from one thread; a context manager."""

    def wait(self, timeout_s: float) -> list[DeviceKey]:
        """Return the devices told of since the last call, each once; wait up to *timeout_s* for the first."""

    def take_announcements(self) -> list[bytes]:
        """Return what was announced (`RelayUnit.announce`) up to the last `wait`, in order; it is not given again."""

    def close(self) -> None:
        """Hear no more."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class LocalListener:
    """Within this worker."""

    def __init__(self, forget: Callable[[LocalListener], None]) -> None:
        self._forget = forget
        self._told: SimpleQueue[frozenset[DeviceKey]] = SimpleQueue()

    def tell(self, devices: Iterable[DeviceKey]) -> None:
        """Pass on the devices of one committed unit; callable from any thread."""
        self._told.put(frozenset(devices))

    def wait(self, timeout_s: float) -> list[DeviceKey]:
        """As `Listener` says."""
        told: set[DeviceKey] = set()
        try:
            told |= self._told.get(timeout=timeout_s)
            while True:
                told |= self._told.get_nowait()
        except Empty:
            return sorted(told)

    def take_announcements(self) -> list[bytes]:
        """As `Listener` says: there is no other worker to announce anything."""
        return []

    def close(self) -> None:
        """As `Listener` says."""
        self._forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class ServerListener:
    """On a PostgreSQL connection of its own. A wait on one that is gone raises StoreUnavailable: make another."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        self._connection.exec_driver_sql(f'LISTEN "{schema}"')  # a name that `parse_url` has let through
        # SQLAlchemy has no call for notifications: psycopg's own connection has.
        self._driver = self._connection.connection.driver_connection
        self._announcements: list[bytes] = []

    def wait(self, timeout_s: float) -> list[DeviceKey]:
        """As `Listener` says."""
        if self._driver is None:
            raise StoreUnavailable("the listener is closed: make another")
        try:
            first = list(self._driver.notifies(timeout=timeout_s, stop_after=1))
            more = list(self._driver.notifies(timeout=0)) if first else []
        except Exception as cause:
            raise StoreUnavailable("the connection that listened is gone: make another listener, and poll") from cause
        payloads = [notice.payload for notice in (*first, *more)]
        self._announcements += [b64decode(one[1:]) for one in payloads if one.startswith(_ANNOUNCEMENT)]
        return sorted({DeviceKey(int(one)) for one in payloads if not one.startswith(_ANNOUNCEMENT)})

    def take_announcements(self) -> list[bytes]:
        """As `Listener` says."""
        taken, self._announcements = self._announcements, []
        return taken

    def close(self) -> None:
        """As `Listener` says."""
        if self._driver is not None:
            self._driver = None
            # Not back into the pool: it would go on listening there.
            with suppress(StoreUnavailable):  # a connection that is gone hears nothing
                self._connection.detach()
                self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
