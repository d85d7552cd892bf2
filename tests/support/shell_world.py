"""A shell with a tiny engine in it and a relay's end in the test's hands, on a clock that the test moves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from e2ee.errors import ClientEnded
from e2ee.shell import Shell, Surroundings
from tests.support.memory_carrier import MemoryCarrier
from tests.support.scripted_relay import CHALLENGE, WELCOME
from tests.support.timers import FakeTimers
from tests.support.tiny_engine import TinyEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.memory_carrier import RelayEnd

EPOCH = 1_700_000_000.0  # what the wall clock shows when the other one shows nothing


class ShellWorld:
    """Everything around one shell."""

    def __init__(self) -> None:
        self.timers = FakeTimers(0.0)
        self.carrier = MemoryCarrier()
        self.engine = TinyEngine()
        self.shell = Shell(self.carrier, Surroundings(self.timers, lambda: EPOCH + self.timers.now, lambda: 1.0))
        self.is_closed = False

    async def accept(self) -> RelayEnd:
        """Take the client's next connection and let it log in."""
        relay = await self.carrier.connections.get()
        relay.says(CHALLENGE)
        await relay.hears()
        relay.says(WELCOME)
        await self.shell.wait_connected(10)
        return relay

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something that follows from a step or a connection."""
        while True:
            changed = self.shell.changed.next
            if happened():
                return
            await changed.wait()

    async def after_disconnection(self, relay: RelayEnd) -> None:
        """Wait until a connection is over and the pause before the next has begun."""
        await relay.closed.wait()
        await self.until(lambda: self.timers.next_at is not None and not self.engine.online)

    async def close(self, drain_s: float = 0.0) -> None:
        self.is_closed = True
        await self.shell.close(drain_s)


@asynccontextmanager
async def opened(engine: TinyEngine | None = None) -> AsyncIterator[ShellWorld]:
    """A world whose shell is open, and closed at the end."""
    world = ShellWorld()
    world.engine = engine or world.engine
    await world.shell.open(lambda: world.engine)
    try:
        yield world
    finally:
        if not world.is_closed:
            await world.close()


async def error_of(world: ShellWorld) -> ClientEnded:
    """Wait until the client has ended; return with what."""
    try:
        await world.shell.wait_connected(10)
    except ClientEnded as error:
        return error
    raise AssertionError("the client is connected")
