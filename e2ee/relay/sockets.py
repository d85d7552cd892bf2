"""What the server keeps for each connection, and how many there may be."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from e2ee.ids import UserId

from .hooks import Peer
from .worker import Inbox

if TYPE_CHECKING:
    import asyncio

    from e2ee.frames import Closing

    from .connection import Connection

__all__ = ["Gate", "Socket", "peer_of"]

_WebSocket = TypeVar("_WebSocket")


class Gate:
    """Knows every TCP connection, also those before the end of their handshake."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._inside: set[asyncio.Transport] = set()

    def enter(self, transport: asyncio.Transport) -> None:
        """Let a connection in, or end it if it is one too many."""
        self._inside.add(transport)
        if len(self._inside) > self._maximum:
            transport.abort()

    def leave(self, transport: asyncio.Transport) -> None:
        """Forget a connection that has ended."""
        self._inside.discard(transport)

    def end_all(self) -> None:
        """End what is left, at once."""
        for transport in list(self._inside):
            transport.abort()


class Socket(Generic[_WebSocket]):
    """One WebSocket with what waits to be sent. Belongs to the event loop."""

    __slots__ = ("closing", "connection", "inbox", "outbox", "outbox_size", "sent", "websocket", "writer")

    def __init__(self, websocket: _WebSocket, connection: Connection) -> None:
        self.websocket = websocket
        self.connection = connection
        self.inbox = Inbox(connection)
        self.outbox: deque[bytes] = deque()
        self.outbox_size = 0
        self.sent: asyncio.Event | None = None  # made for who waits for the outbox to shrink
        self.writer: asyncio.Task[None] | None = None  # there only while something is to be sent: idle costs nothing
        self.closing: Closing | None = None  # the last frame, once it is queued

    @property
    def peer(self) -> Peer:
        """Who it is, for hooks."""
        return peer_of(self.connection)

    def has_sent(self, size: int) -> None:
        """Count *size* bytes as gone, and let who waits look again."""
        self.outbox_size -= size
        if self.sent is not None:
            self.sent.set()
            self.sent = None

    def discard(self) -> None:
        """Forget what was to be sent."""
        self.outbox.clear()
        self.has_sent(self.outbox_size)


def peer_of(connection: Connection) -> Peer:
    """Whose connection it is, for hooks; before the login is accepted, nobody's."""
    session = connection.session
    if session is None:
        return Peer(connection.number, None, None)
    return Peer(connection.number, UserId(session.device.user_id), session.device.device_id)
