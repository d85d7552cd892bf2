"""One connection to the relay: a carrier and a link, joined until one of them ends.

The loop around the link that `link` describes. It decides nothing: what the link says goes to one callback.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from e2ee.errors import ConnectionEnded
from e2ee.link import Link, LinkDown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from e2ee.carrier import Carrier
    from e2ee.frames import ClientFrame, Login
    from e2ee.link import LinkEvent

__all__ = ["Connection", "Timer", "Timers", "wait"]

FLUSH_TIMEOUT_S: Final = 1.0  # for the last frames of a connection that ends from this side


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Timers(Protocol):
    """A clock that never goes back, in seconds, and calls at its times: an event loop is one."""

    def time(self) -> float:
        """What the clock shows."""

    def call_at(self, when: float, callback: Callable[[], None], /) -> Timer:
        """Call *callback* when the clock shows *when*."""


class Connection:
    """Joins *carrier* and a new link; every event of the link but its last goes to *on_event*, in order.

    Before it reads another message it waits for *ready*: a relay that sends faster than the events are handled is
    stopped by TCP.
    """

    def __init__(
        self,
        carrier: Carrier,
        timers: Timers,
        *,
        on_event: Callable[[LinkEvent], None],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._carrier = carrier
        self._timers = timers
        self._on_event = on_event
        self._ready = ready
        self._link: Link | None = None  # None: not connected yet
        self._ended: asyncio.Future[LinkDown] = asyncio.get_running_loop().create_future()
        self._outgoing: deque[bytes] = deque()
        self._more = asyncio.Event()  # there is something to send, or nothing more will come
        self._timer: Timer | None = None
        self._tick_at = 0.0  # when the timer calls

    @property
    def is_up(self) -> bool:
        """Whether requests may be made."""
        return self._link is not None and self._link.is_up

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for a reply."""
        return self._link is None or self._link.is_idle

    async def run(self) -> LinkDown:
        """Connect, converse until the end, close the carrier; return how it ended."""
        tasks: list[asyncio.Task[None]] = []
        try:
            try:
                await self._carrier.connect()
            except ConnectionEnded as error:
                return LinkDown(None, None, str(error))
            self._link = link = Link(now=self._timers.time())
            self._turn(link)
            reader, writer = asyncio.create_task(self._read(link)), asyncio.create_task(self._write(link))
            tasks += (reader, writer)
            either: set[asyncio.Future[Any]] = {self._ended, *tasks}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # raises what a carrier raised that is no ConnectionEnded
            down = await self._ended
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_TIMEOUT_S):
                    await writer
            return down
        finally:
            self._stop_timer()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._carrier.close()

    def login(self, login: Login) -> None:
        """Answer the challenge."""
        if self._link is not None:
            self._link.login(login, self._timers.time())
            self._turn(self._link)

    def request(self, request: ClientFrame) -> None:
        """Ask the relay; nothing is sent while the link is not up."""
        if self._link is not None:
            self._link.request(request, self._timers.time())
            self._turn(self._link)

    def write_raw(self, data: str | bytes) -> bool:
        """Send raw text or bytes; False while the link is not up. Raises InvalidArgument."""
        if self._link is None:
            return False
        sent = self._link.write_raw(data)
        self._turn(self._link)
        return sent

    def acknowledge(self, number: int) -> None:
        """Tell that everything up to delivery *number* is committed."""
        if self._link is not None:
            self._link.acknowledge(number, self._timers.time())
            self._turn(self._link)

    def close(self) -> None:
        """End the connection from this side; `run` then returns."""
        if self._link is not None:
            self._link.close()
            self._turn(self._link)

    def _turn(self, link: Link) -> None:
        """Pass on what the link has to send and to say, and call it again when it wants to be called."""
        self._outgoing.extend(link.take_data())
        for event in link.take_events():
            if isinstance(event, LinkDown):
                self._ended.set_result(event)
            else:
                self._on_event(event)
        if self._outgoing or self._ended.done():
            self._more.set()
        deadline = link.deadline
        # A deadline moves back with every message; the timer stays, and calling a link too early is harmless.
        if deadline is not None and (self._timer is None or deadline < self._tick_at):
            self._stop_timer()
            self._timer, self._tick_at = self._timers.call_at(deadline, partial(self._tick, link)), deadline

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, link: Link) -> None:
        self._timer = None
        link.tick(self._timers.time())
        self._turn(link)

    def _lost(self, link: Link, error: ConnectionEnded) -> None:
        self._outgoing.clear()
        link.lost(str(error))
        self._turn(link)

    async def _read(self, link: Link) -> None:
        try:
            while not self._ended.done():
                data = await self._carrier.receive()
                link.receive(data, self._timers.time())
                self._turn(link)
                await self._ready()
        except ConnectionEnded as error:
            self._lost(link, error)

    async def _write(self, link: Link) -> None:
        """Send until the link has ended and everything that it had to say is said."""
        try:
            while True:
                while self._outgoing:
                    await self._carrier.send(self._outgoing.popleft())
                if self._ended.done():
                    return
                self._more.clear()
                await self._more.wait()
        except ConnectionEnded as error:
            self._lost(link, error)


async def wait(timers: Timers, seconds: float) -> None:
    """Wait until the clock of *timers* has gone on by *seconds*."""
    over = asyncio.Event()
    timer = timers.call_at(timers.time() + seconds, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()
