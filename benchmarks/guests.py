"""Clients whose applications read every event and count what came, for suites from application to application."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final

from e2ee import Client, DeliveryState, DirectMessage, GroupMessage, MessageState

from .harness import expect
from .peer import payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from e2ee import ClientOptions

TEXT: Final = payload(256)
WAIT_S: Final = 600.0  # seconds for any one step


class Guest:
    """A client at a relay, and what its application has read."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.stored: set[str] = set()  # ids of messages that the relay has
        self.read = 0  # messages of others
        self._changed = asyncio.Event()

    async def listen(self) -> None:
        """Read every event."""
        async for event in self.client.events():
            match event:
                case MessageState(state=DeliveryState.SENT):
                    self.stored.add(event.message_id)
                case GroupMessage(data=data) | DirectMessage(data=data):
                    expect(data, TEXT, "a message")
                    self.read += 1
                case _:
                    continue
            self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def guest(name: str, url: str, folder: Path, options: ClientOptions) -> AsyncIterator[Guest]:
    """A client with a store in a file of its own, connected; the same name again opens the same store."""
    async with Client(name, relay=url, store=f"sqlite:///{folder / name}.db", options=options) as client:
        await client.connected(WAIT_S)
        one = Guest(client)
        listening = asyncio.create_task(one.listen())
        yield one
        listening.cancel()


async def seconds(call: Awaitable[object]) -> float:
    """How long a call takes."""
    start = perf_counter()
    await call
    return perf_counter() - start


def in_ms(times: list[float]) -> list[float]:
    """Seconds as milliseconds."""
    return [one * 1e3 for one in times]
