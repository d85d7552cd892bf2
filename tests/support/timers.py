"""A clock that a test moves, with calls at its times: what a client takes for an event loop's."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeTimer:
    """A call that is still to come, unless it is cancelled."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeTimers:
    """Satisfies `e2ee.shell.connection.Timers`; nothing is called but by `advance`."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self._calls: list[tuple[float, int, FakeTimer]] = []
        self._made = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None], /) -> FakeTimer:
        timer = FakeTimer(callback)
        self._made += 1
        heapq.heappush(self._calls, (when, self._made, timer))
        return timer

    @property
    def next_at(self) -> float | None:
        """When the next call comes; None: there is none."""
        while self._calls and self._calls[0][2].callback is None:
            heapq.heappop(self._calls)
        return self._calls[0][0] if self._calls else None

    def advance(self, seconds: float) -> None:
        """Let time pass, making the calls that fall into it, each at its time."""
        end = self.now + seconds
        while (when := self.next_at) is not None and when <= end:
            self.now = max(self.now, when)
            callback = heapq.heappop(self._calls)[2].callback
            assert callback is not None
            callback()
        self.now = end
