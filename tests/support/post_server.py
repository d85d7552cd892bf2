"""The relay in memory behind real WebSockets, for tests of whole clients."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from e2ee.frames import Acknowledge, Closing, Login, Ping, Pong, UnknownFrame
from e2ee.wire import decode_client_frame, encode_frame
from tests.support.post_office import DeviceName, PostOffice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from e2ee.errors import RefusalCode
    from e2ee.frames import ClientFrame, RelayFrame


class PostServer:
    """Speaks for one `PostOffice`; a test may cut connections and refuse logins."""

    def __init__(self, office: PostOffice | None = None) -> None:
        self.office = office or PostOffice()
        self.connections: dict[DeviceName, ServerConnection] = {}
        self.logins = 0
        self.refusal: RefusalCode | None = None  # of every login
        self.silent_to: set[str] = set()  # users whose frames are dropped
        self.url = ""

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one client until its connection ends."""
        name: DeviceName | None = None
        try:
            challenge = self.office.challenge()
            await connection.send(encode_frame(challenge))
            login = await _next(connection)
            assert isinstance(login, Login)
            if self.refusal is not None:
                await connection.send(encode_frame(Closing(self.refusal, "", None)))
                return
            name, welcome = self.office.login(login, challenge)
            self.logins += 1
            self.connections[name] = connection
            await connection.send(encode_frame(welcome))
            await self._push(name, connection)
            while True:
                await self._answer(name, connection, await _next(connection))
        except ConnectionClosed:
            pass
        finally:
            if name is not None and self.connections.get(name) is connection:
                del self.connections[name]

    def cut(self) -> None:
        """Break every connection without a word."""
        for connection in self.connections.values():
            connection.transport.abort()

    async def _answer(self, name: DeviceName, connection: ServerConnection, frame: ClientFrame) -> None:
        if name[0] in self.silent_to:
            return
        reply: RelayFrame | None = Pong(0) if isinstance(frame, Ping) else self.office.handle(name, frame)
        if reply is not None:
            assert not isinstance(frame, Login | Acknowledge)
            await connection.send(encode_frame(replace(reply, request=frame.request)))  # type: ignore[arg-type]
        for device, other in list(self.connections.items()):
            try:
                await self._push(device, other)
            except ConnectionClosed:
                continue  # its own task will notice

    async def _push(self, name: DeviceName, connection: ServerConnection) -> None:
        while (frame := self.office.push(name)) is not None:
            await connection.send(encode_frame(frame))


async def _next(connection: ServerConnection) -> ClientFrame:
    data = await connection.recv()
    assert isinstance(data, bytes)
    frame = decode_client_frame(data)
    assert not isinstance(frame, UnknownFrame)
    return frame


@asynccontextmanager
async def post_server(office: PostOffice | None = None, *, port: int = 0) -> AsyncIterator[PostServer]:
    """A running server; its address is in *url*."""
    server = PostServer(office)
    async with serve(server.serve, "127.0.0.1", port, compression=None) as listening:
        server.url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server
