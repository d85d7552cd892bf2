"""A clock that runs, and that a test can put forward."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from e2ee.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock"]


class _Call:
    """One call that is still to come."""

    def __init__(self, clock: Clock, when: float, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._when = when
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self.arm()

    def arm(self) -> None:
        """Wait for its moment, as the clock has it now."""
        if self._handle is not None:
            self._handle.cancel()
        loop = asyncio.get_running_loop()
        self._handle = loop.call_at(self._when - self._clock.ahead_s, self._run)

    def cancel(self) -> None:
        """Let it not come."""
        if self._handle is not None:
            self._handle.cancel()
        self._clock.forget(self)

    def _run(self) -> None:
        self._clock.forget(self)
        self._callback()


class Clock:
    """Both clocks of a client: what it shows runs with the machine's, *ahead_s* seconds before it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._calls: dict[_Call, None] = {}

    def time(self) -> float:
        """Seconds of the clock that never goes back: that of the event loop, put forward."""
        return asyncio.get_running_loop().time() + self.ahead_s

    def wall(self) -> float:
        """Seconds since 1970, put forward. May be asked from any thread."""
        return time.time() + self.ahead_s

    def call_at(self, when: float, callback: Callable[[], None], /) -> _Call:
        """Call *callback* when `time` shows *when*."""
        call = _Call(self, when, callback)
        self._calls[call] = None
        return call

    async def advance(self, seconds: float) -> None:
        """Put the clock forward: what is due by then happens now. Raises InvalidArgument for a step back."""
        if seconds < 0:
            raise InvalidArgument("time does not go back")
        self.ahead_s += seconds
        for call in list(self._calls):
            call.arm()
        await asyncio.sleep(0)

    def forget(self, call: _Call) -> None:
        """Take note that a call is over."""
        self._calls.pop(call, None)
