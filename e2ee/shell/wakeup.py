"""When an engine wants to be called again: one timer on a clock that never goes back, for times of one that is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Timer, Timers

__all__ = ["WakeUp"]

# Ours: they may change in any release.
TICK_MIN_S: Final = 0.01  # between two ticks of the engine
TICK_MAX_S: Final = 60.0  # between two looks at the wall clock, which may be set


class WakeUp:
    """Calls *tick* with the time, once what was asked for has come."""

    def __init__(self, timers: Timers, wall_clock: Callable[[], float], tick: Callable[[float], None]) -> None:
        self._timers = timers
        self._wall_clock = wall_clock
        self._tick = tick
        self._timer: Timer | None = None
        self._at: float | None = None  # None: nobody wants to be called

    def at(self, when: float | None) -> None:
        """Call at *when*, in seconds since 1970, unless it is to happen sooner; None: nothing to add."""
        if when is not None and (self._at is None or when < self._at):
            self._at = when
            self._arm(when)

    def stop(self) -> None:
        """Let the timer not come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, when: float) -> None:
        self.stop()
        delay = min(max(when - self._wall_clock(), TICK_MIN_S), TICK_MAX_S)
        self._timer = self._timers.call_at(self._timers.time() + delay, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._wall_clock()
        if self._at is None:
            return
        if now < self._at:
            self._arm(self._at)
            return
        self._at = None
        self._tick(now)
