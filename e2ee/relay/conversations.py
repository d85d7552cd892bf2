"""The sockets of a relay: frames in, from socket to core; frames out, from core to socket; hooks on the way.

Everything here belongs to the event loop, and nothing is decided: that is the core's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Final

from websockets.exceptions import ConnectionClosed

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import PROTOCOL_VERSION, Challenge, Login, Published, RefusedRequest, Welcome
from e2ee.limits import FRAME_SIZE_MAX
from e2ee.raw import is_raw, raw_message, take_raw
from e2ee.wire import NONCE_SIZE, decode_client_frame, encode_frame

from .connection import (
    Arrived,
    Ask,
    Authorized,
    Close,
    Connection,
    Ended,
    Malformed,
    Opened,
    Send,
    Subscription,
    Sweep,
    SweepOn,
    TooSlow,
)
from .hooks import Verdict, judge, tell
from .sockets import Socket, peer_of

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from e2ee.frames import ClientFrame, RelayFrame, UnknownFrame
    from e2ee.ids import UserId

    from .connection import Output
    from .hooks import Peer, RelayHooks
    from .limits import RelayOptions
    from .worker import Worker

__all__ = ["Conversations"]

_log: Final = logging.getLogger("e2ee.relay")

OUTBOX_SIZE_MAX: Final = 4 * 1024 * 1024  # bytes of replies that wait for a slow reader; then it is not read either
CLOSE_GOING_AWAY, CLOSE_POLICY = 1001, 1008  # RFC 6455 section 7.4.1


class Conversations:
    """Every WebSocket of one relay."""

    def __init__(self, options: RelayOptions, hooks: RelayHooks) -> None:
        self._options = options
        self._hooks = hooks
        self._sockets: dict[Connection, Socket[ServerConnection]] = {}
        self._opened = 0
        self._stopping = False
        self.asking: set[asyncio.Task[None]] = set()

    def start(self, worker: Worker) -> None:
        """Hand what comes in to *worker*."""
        self._worker = worker

    def stop(self) -> None:
        """Take nothing more."""
        self._stopping = True

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._sockets)

    def peers(self) -> list[Peer]:
        """Those that are logged in."""
        return [one.peer for one in self._sockets.values() if one.connection.session is not None]

    def disconnect(self, peer: Peer) -> None:
        """Cut a connection."""
        for socket in self._sockets.values():
            if socket.connection.number == peer.connection:
                socket.websocket.transport.abort()

    async def written(self) -> None:
        """Wait until everything that is queued is sent."""
        writers = [socket.writer for socket in self._sockets.values() if socket.writer is not None]
        await asyncio.gather(*writers, return_exceptions=True)

    def write_raw(self, user_id: UserId, data: str | bytes, device_id: int | None) -> int:
        """Send raw text or bytes to a user's connections. Raises InvalidArgument."""
        message = raw_message(data)
        chosen = [
            one
            for one in self._sockets.values()
            if one.peer.user_id == user_id and device_id in (None, one.peer.device_id)
        ]
        for socket in chosen:
            self._queue(socket, message)
        return len(chosen)

    # In: from the socket to the core.

    async def converse(self, websocket: ServerConnection) -> None:
        """Talk with one client until the end."""
        self._opened += 1
        connection = Connection(self._opened, os.urandom(NONCE_SIZE), time.monotonic(), self._options)
        socket = self._sockets[connection] = Socket(websocket, connection)
        self._worker.put(Opened(connection), socket.inbox)
        self._send(socket, Challenge((PROTOCOL_VERSION,), connection.nonce, ()))
        try:
            while True:
                await self._receive(socket, await websocket.recv(decode=None))
                await self._worker.room(socket.inbox)
                while socket.outbox_size > OUTBOX_SIZE_MAX:
                    socket.sent = asyncio.Event()
                    await socket.sent.wait()
        except ConnectionClosed:
            pass
        finally:
            del self._sockets[connection]
            self._worker.put(Ended(connection), socket.inbox)
            gone = self._hooks.on_disconnect
            if gone is not None and connection.session is not None:
                code = None if socket.closing is None else RefusalCode(socket.closing.code)
                tell(partial(gone, socket.peer, code))
            if socket.writer is not None:
                await asyncio.gather(socket.writer, return_exceptions=True)

    async def _receive(self, socket: Socket[ServerConnection], message: str | bytes) -> None:
        if self._stopping or socket.closing is not None:
            return
        hook = self._hooks.on_raw
        if hook is not None and judge(partial(hook, socket.peer, message)) is Verdict.DROP:
            return
        try:
            if isinstance(message, str) or is_raw(message):
                _check_raw(socket, message)
                return
            frame = decode_client_frame(message)
        except MalformedFrame as error:
            self._worker.put(Malformed(socket.connection, str(error)), socket.inbox)
            return
        inbound = self._hooks.on_inbound
        if inbound is not None and judge(partial(inbound, socket.peer, frame)) is Verdict.DROP:
            self._dropped(socket, frame)
            return
        self._worker.put(Arrived(socket.connection, frame), socket.inbox)

    def _dropped(self, socket: Socket[ServerConnection], frame: ClientFrame | UnknownFrame) -> None:
        """Refuse what a filter dropped: who asks is not left waiting."""
        request = None if isinstance(frame, Login) else getattr(frame, "request", None)
        if request is not None and socket.connection.session is not None:
            self._send(socket, RefusedRequest(request, RefusalCode.NOT_AUTHORIZED, None))

    # Out: from the core to the socket.

    def emit(self, outputs: list[Output]) -> None:
        """Pass on what the core says."""
        for output in outputs:
            if isinstance(output, SweepOn):
                self._worker.put(Sweep())
                continue
            if isinstance(output, Subscription):
                hook = self._hooks.on_subscription if output.on else self._hooks.on_unsubscription
                if hook is not None:
                    tell(partial(hook, peer_of(output.connection), output.channel))
                continue
            socket = self._sockets.get(output.connection)
            if socket is None:
                continue
            try:
                self._pass_on(socket, output)
            except Exception:  # noqa: BLE001 - a bug of ours costs one connection: the others' outputs follow
                _log.exception("an output could not be sent", extra={"connection": socket.connection.number})
                socket.websocket.transport.abort()

    def _pass_on(self, socket: Socket[ServerConnection], output: Send | Close | Ask) -> None:
        match output:
            case Send(frame=frame):
                if isinstance(frame, Welcome):
                    socket.websocket.protocol.max_message_size = FRAME_SIZE_MAX
                    _log.info("login", extra={"connection": socket.connection.number})
                self._send(socket, frame)
                if isinstance(frame, Welcome) and self._hooks.on_connect is not None:
                    tell(partial(self._hooks.on_connect, socket.peer))
            case Close(frame=frame):
                code = RefusalCode(frame.code).name.lower()
                _log.info("closing", extra={"connection": socket.connection.number, "code": code})
                self._send(socket, frame)
                socket.closing = frame
                if socket.writer is None:  # a filter has dropped the frame: the end is not for it to decide
                    socket.writer = asyncio.create_task(self._write(socket))
            case Ask(user_id=user_id, token=token):
                task = asyncio.create_task(self._authorize(socket, user_id, token))
                self.asking.add(task)
                task.add_done_callback(self.asking.discard)

    def _send(self, socket: Socket[ServerConnection], frame: RelayFrame) -> None:
        if socket.closing is not None:
            return
        hook = self._hooks.on_outbound
        if hook is not None and judge(partial(hook, socket.peer, frame)) is Verdict.DROP:
            return
        if isinstance(frame, Published) and socket.outbox_size > OUTBOX_SIZE_MAX:
            return  # nothing is kept of a publication: a slow reader misses some
        self._queue(socket, encode_frame(frame))

    def _queue(self, socket: Socket[ServerConnection], data: bytes) -> None:
        socket.outbox.append(data)
        socket.outbox_size += len(data)
        if socket.writer is None:
            socket.writer = asyncio.create_task(self._write(socket))

    async def _write(self, socket: Socket[ServerConnection]) -> None:
        websocket = socket.websocket
        try:
            while socket.outbox:
                data = socket.outbox.popleft()
                async with asyncio.timeout(self._options.write_age_max_s):
                    await websocket.send(data)
                socket.has_sent(len(data))
            if socket.closing is not None:
                going = socket.closing.code == RefusalCode.SHUTTING_DOWN
                await websocket.close(CLOSE_GOING_AWAY if going else CLOSE_POLICY)
        except TimeoutError:
            # The reader takes nothing: its mail stays in the store, our memory is for the others.
            _log.info("cut off", extra={"connection": socket.connection.number, "code": "too_slow"})
            self._worker.put(TooSlow(socket.connection), socket.inbox)
            websocket.transport.abort()
        except ConnectionClosed:
            pass
        finally:
            socket.writer = None
            socket.discard()

    async def _authorize(self, socket: Socket[ServerConnection], user_id: UserId, token: bytes | None) -> None:
        allowed: bool | None = None
        authorize = self._hooks.authorize
        try:
            if authorize is not None:
                answer = authorize(user_id, token)
                allowed = (await answer if isawaitable(answer) else answer) is True
        except Exception:  # noqa: BLE001 - it is the application's: whatever it raises, nobody is let in
            _log.exception("the hook authorize failed: the login is refused")
        self._worker.put(Authorized(socket.connection, allowed), socket.inbox)


def _check_raw(socket: Socket[ServerConnection], message: str | bytes) -> None:
    """Raise MalformedFrame unless raw data has a form and an author. The hook `on_raw` has had it (R1.7, R1.8)."""
    if socket.connection.session is None:
        raise MalformedFrame("raw data before the login")
    if isinstance(message, bytes):
        take_raw(message)
