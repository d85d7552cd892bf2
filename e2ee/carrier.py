"""What carries frames between client and relay: a small protocol, and WebSockets behind it.

An application that has a connection of its own wraps it in an object with the four methods of `Carrier`.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidURI
from websockets.uri import parse_uri

from .errors import ConnectionEnded, InvalidArgument
from .limits import FRAME_SIZE_MAX

if TYPE_CHECKING:
    import ssl as tls

__all__ = ["Carrier", "WebSocketCarrier", "relay_name"]

# Ours: they may change in any release.
OPEN_TIMEOUT_S: Final = 10.0  # for name, TCP, TLS and the WebSocket handshake together
CLOSE_TIMEOUT_S: Final = 2.0  # for the relay's answer to our goodbye, after which the socket is cut
FRAMES_UNREAD_MAX: Final = 4  # messages kept for a slow reader before TCP is stopped: at most 4 MiB


class Carrier(Protocol):
    """Carries whole messages of at most 1 MiB, in order, over one connection at a time.

    A client calls `connect` again after an end. One task sends, another receives, a third may close.
    """

    async def connect(self) -> None:
        """Connect to the relay. Raises ConnectionEnded."""

    async def send(self, data: bytes) -> None:
        """Send one message; return when more may follow. Raises ConnectionEnded."""

    async def receive(self) -> bytes:
        """Wait for the next message. Raises ConnectionEnded at once when there will be none."""

    async def close(self) -> None:
        """End the connection, if there is one, within seconds; what was sent before still goes. Raises nothing."""


class WebSocketCarrier:
    """Frames as binary WebSocket messages to the relay at *url*.

    *ssl*: the TLS context for ``wss://``, by default the system's authorities. ``ws://`` is taken for a loopback
    address only, unless *allow_cleartext* says that something else protects the line: the messages stay encrypted,
    but who talks to whom is then open to anybody on the way. Redirects are not followed: the login is signed for the
    name in *url*. Proxies are taken from the environment, as usual. Raises InvalidArgument.
    """

    def __init__(self, url: str, *, ssl: tls.SSLContext | None = None, allow_cleartext: bool = False) -> None:
        secure, host, _port = _parse(url)
        loopback = _is_loopback(host)
        if not (secure or loopback or allow_cleartext):
            raise InvalidArgument(
                "ws:// to another machine is open to anybody on the way: use wss://, or allow_cleartext"
            )
        if ssl is not None and not secure:
            raise InvalidArgument("a TLS context is of no use for ws://: use wss://")
        self._url = url
        self._ssl = ssl
        self._secure = secure
        self._loopback = loopback
        self._connection: ClientConnection | None = None

    async def connect(self) -> None:
        """Connect and shake hands. Raises ConnectionEnded."""
        try:
            self._connection = await _Connect(
                self._url,
                ssl=(self._ssl or True) if self._secure else None,
                proxy=None if self._loopback else True,
                compression=None,  # ciphertext does not compress
                max_size=FRAME_SIZE_MAX,
                max_queue=FRAMES_UNREAD_MAX,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,  # the link asks for signs of life itself
            )
        except (OSError, InvalidHandshake, InvalidProxy) as cause:  # TimeoutError and ssl.SSLError are OSErrors
            raise ConnectionEnded(
                f"the relay could not be reached ({type(cause).__name__}): is it running, and its address right?"
            ) from cause

    async def send(self, data: bytes) -> None:
        """Send one binary message. Raises ConnectionEnded."""
        try:
            await self._connected().send(data)
        except ConnectionClosed as cause:
            raise ConnectionEnded(_ending(cause)) from cause

    async def receive(self) -> bytes:
        """Wait for the next binary message; text is no frame and is passed over (R1.7). Raises ConnectionEnded."""
        connection = self._connected()
        try:
            while True:
                data = await connection.recv()
                if isinstance(data, bytes):
                    return data
        except ConnectionClosed as cause:
            raise ConnectionEnded(_ending(cause)) from cause

    async def close(self) -> None:
        """Say goodbye and end the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _connected(self) -> ClientConnection:
        if self._connection is None:
            raise ConnectionEnded("not connected")
        return self._connection


class _Connect(connect):
    """`connect` that stays where it was sent: a redirect is a failure."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def relay_name(url: str) -> str:
    """Return host and port as the login is signed for them: ``relay.example:443``. Raises InvalidArgument."""
    _secure, host, port = _parse(url)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse(url: str) -> tuple[bool, str, int]:
    try:
        parsed = parse_uri(url)
    except (InvalidURI, ValueError) as cause:
        # Raised without its cause, whose text has the whole URL: there may be a password in it.
        reason = cause.msg if isinstance(cause, InvalidURI) else "not a host and port"
        raise InvalidArgument(f"not a relay's address: {reason}") from None
    return parsed.secure, parsed.host, parsed.port


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _ending(cause: ConnectionClosed) -> str:
    """Say how a connection ended, with its code and without the other end's words."""
    return "the connection broke" if cause.rcvd is None else f"the relay ended the connection ({cause.rcvd.code})"
