"""The lines between clients and the relay, which a test cuts and mends."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from e2ee.carrier import WebSocketCarrier
from e2ee.errors import ConnectionEnded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2ee.carrier import Carrier

__all__ = ["Network"]


class Network:
    """Every line of a `World`. Users are named by their ids; no name means everybody."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._cut_off: dict[str | None, int] = {}  # user, or None for all, and how many partitions cut it off

    def carrier(self, user_id: str, relay_url: str) -> Carrier:
        """A line for a client of that user."""
        line = _Line(self, user_id, relay_url)
        self._lines.append(line)
        return line

    def drop(self, *users: str) -> None:
        """Cut the connections there are, with what is under way on them; the clients connect again by themselves."""
        for line in self._lines:
            if not users or line.user_id in users:
                line.cut()

    @contextmanager
    def partition(self, *users: str) -> Iterator[None]:
        """Cut users off, and keep them cut off as long as the block lasts."""
        names: tuple[str | None, ...] = users or (None,)
        for name in names:
            self._cut_off[name] = self._cut_off.get(name, 0) + 1
        self.drop(*users)
        try:
            yield
        finally:
            for name in names:
                self._cut_off[name] -= 1

    def is_cut_off(self, user_id: str) -> bool:
        """Whether a user cannot reach the relay."""
        return any(self._cut_off.get(name) for name in (user_id, None))


class _Line:
    """A WebSocket that breaks when it is told to: the carrier of one client."""

    def __init__(self, network: Network, user_id: str, relay_url: str) -> None:
        self.user_id = user_id
        self._network = network
        self._carrier = WebSocketCarrier(relay_url)
        self._broken = asyncio.Event()

    def cut(self) -> None:
        """Break the connection."""
        self._broken.set()

    async def connect(self) -> None:
        """Connect, unless the user is cut off. Raises ConnectionEnded."""
        self._broken = asyncio.Event()
        if self._network.is_cut_off(self.user_id):
            raise ConnectionEnded("the network is partitioned")
        await self._carrier.connect()

    async def send(self, data: bytes) -> None:
        """Send one message. Raises ConnectionEnded."""
        if self._broken.is_set():
            raise ConnectionEnded("the network has dropped the connection")
        await self._carrier.send(data)

    async def receive(self) -> bytes:
        """Wait for a message, or for the end. Raises ConnectionEnded."""
        receiving = asyncio.ensure_future(self._carrier.receive())
        breaking = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait({receiving, breaking}, return_when=asyncio.FIRST_COMPLETED)
            if self._broken.is_set():
                raise ConnectionEnded("the network has dropped the connection")
            return receiving.result()
        finally:
            for waiting in (receiving, breaking):
                waiting.cancel()
            await asyncio.gather(receiving, breaking, return_exceptions=True)

    async def close(self) -> None:
        """End the connection, if there is one."""
        await self._carrier.close()
