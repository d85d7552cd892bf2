"""The simulated time: what happens next is the earliest thing that was planned."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Schedule"]

EPOCH: Final = 1_700_000_000.0  # seconds since 1970 when the simulation begins


class Schedule:
    """A clock that jumps from one thing to the next."""

    def __init__(self) -> None:
        self.now = 0.0  # seconds, never going back
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.trace: list[str] = []  # what happened, in order

    def wall(self) -> float:
        """Seconds since 1970."""
        return EPOCH + self.now

    def note(self, what: str) -> None:
        """Write down what has happened."""
        self.trace.append(f"{self.now:10.3f} {what}")

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do *what* at *when*, or now if that is past."""
        heapq.heappush(self._planned, (max(when, self.now), next(self._numbers), what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Do *what* in so many seconds."""
        self.at(self.now + seconds, what)

    def step(self, until: float) -> bool:
        """Do the next thing, if there is one before *until*; else let the time pass up to it."""
        if not self._planned or self._planned[0][0] > until:
            self.now = max(self.now, until)
            return False
        when, _, what = heapq.heappop(self._planned)
        self.now = max(self.now, when)
        what()
        return True
