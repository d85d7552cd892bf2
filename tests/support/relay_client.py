"""A client of the relay over a real WebSocket, written by hand: it speaks frames and keeps nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from e2ee.carrier import relay_name
from e2ee.errors import RefusalCode
from e2ee.frames import Acknowledge, Challenge, Closing, Deliver, Delivery, Submitted, UnknownFrame, Uploaded, Welcome
from e2ee.wire import decode_relay_frame, encode_frame

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import AsyncIterator

    from e2ee.frames import ClientFrame, RelayFrame

    from .relay_device import Device

_Frame = TypeVar("_Frame")

PATIENCE_S = 20.0  # for one frame, on a machine that does other things too


class Wire:
    """One WebSocket to the relay."""

    def __init__(self, url: str, websocket: ClientConnection) -> None:
        self.url = url
        self.websocket = websocket
        self.kept: list[RelayFrame] = []  # received while something else was awaited
        self.closed: Closing | None = None

    async def send(self, frame: ClientFrame) -> None:
        await self.websocket.send(encode_frame(frame))

    async def receive(self) -> RelayFrame:
        """The next frame. Raises ConnectionClosed at the end."""
        async with asyncio.timeout(PATIENCE_S):
            data = await self.websocket.recv(decode=False)
        frame = decode_relay_frame(bytes(data))
        assert not isinstance(frame, UnknownFrame)
        if isinstance(frame, Closing):
            self.closed = frame
        return frame

    async def one(self, kind: type[_Frame]) -> _Frame:
        """The next frame of a kind; others that come before it are kept."""
        for position, frame in enumerate(self.kept):
            if isinstance(frame, kind):
                del self.kept[position]
                return frame
        while True:
            received = await self.receive()
            if isinstance(received, kind):
                return received
            self.kept.append(received)

    async def mail(self, count: int) -> list[Delivery]:
        """The next *count* deliveries, at least."""
        found: list[Delivery] = []
        while len(found) < count:
            found += (await self.one(Deliver)).deliveries
        return found

    async def code(self) -> RefusalCode | None:
        """Read to the end: why the relay closed; None if it did without a word."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed:
            return None if self.closed is None else RefusalCode(self.closed.code)

    async def log_in(self, device: Device, *, token: bytes | None = None) -> Welcome:
        challenge = await self.one(Challenge)
        await self.send(device.login(challenge.nonce, name=relay_name(self.url), token=token))
        return await self.one(Welcome)

    async def join(self, device: Device) -> Self:
        """Log in and upload."""
        await self.log_in(device)
        await self.send(device.upload())
        await self.one(Uploaded)
        return self

    async def submitted(self, sender: Device, to: Device | list[Device], *bodies: bytes) -> Submitted:
        await self.send(sender.submit(to, *bodies))
        return await self.one(Submitted)

    async def acknowledge(self, number: int) -> None:
        await self.send(Acknowledge(number))


@asynccontextmanager
async def wire(url: str, *, ssl: tls.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Connect, without logging in."""
    async with connect(url, ssl=ssl, compression=None, max_size=None, ping_interval=None, proxy=None) as websocket:
        yield Wire(url, websocket)
