"""A carrier without a network: its other end is in the hands of a test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from e2ee.errors import ConnectionEnded
from e2ee.wire import decode_client_frame, encode_frame

if TYPE_CHECKING:
    from e2ee.frames import ClientFrame, RelayFrame, UnknownFrame


class RelayEnd:
    """The relay's end of one connection."""

    def __init__(self) -> None:
        self.to_client: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: there will be no more
        self.from_client: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = asyncio.Event()  # by the client

    def says(self, *frames: RelayFrame) -> None:
        """Send frames to the client."""
        for frame in frames:
            self.to_client.put_nowait(encode_frame(frame))

    async def hears(self) -> ClientFrame | UnknownFrame:
        """Wait for the client's next frame. Raises ConnectionEnded."""
        data = await self.from_client.get()
        if data is None:
            raise ConnectionEnded("the client has closed the connection")
        return decode_client_frame(data)

    def break_off(self) -> None:
        """End the connection without a word."""
        self.to_client.put_nowait(None)


class MemoryCarrier:
    """Satisfies `e2ee.carrier.Carrier`; *connections* has the other end of each connection made."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[RelayEnd] = asyncio.Queue()
        self.attempts = 0
        self.reachable = True
        self._end: RelayEnd | None = None

    async def connect(self) -> None:
        self.attempts += 1
        if not self.reachable:
            raise ConnectionEnded("unreachable")
        self._end = RelayEnd()
        self.connections.put_nowait(self._end)

    async def send(self, data: bytes) -> None:
        self._connected().from_client.put_nowait(data)

    async def receive(self) -> bytes:
        data = await self._connected().to_client.get()
        if data is None:
            raise ConnectionEnded("broken off")
        return data

    async def close(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end.to_client.put_nowait(None)
            end.from_client.put_nowait(None)
            end.closed.set()

    def _connected(self) -> RelayEnd:
        if self._end is None:
            raise ConnectionEnded("not connected")
        return self._end
