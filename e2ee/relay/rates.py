"""A rate: so much a second, and so much at once after a pause."""

from __future__ import annotations

__all__ = ["Rate"]


class Rate:
    """A bucket of tokens that fills steadily. *now* is everywhere the same clock, in seconds."""

    __slots__ = ("_burst", "_left", "_per_s", "_since")

    def __init__(self, per_s: float, burst: int, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._since = now

    def wait(self, count: int, now: float, *, promised: int = 0) -> int:
        """The milliseconds after which *count* could be taken beside what is *promised*; 0: now. Takes nothing.

        What is more than there ever is at once may be had when everything is there.
        """
        left = min(self._burst, self._left + (now - self._since) * self._per_s) - promised
        missing = min(count, self._burst) - left
        return int(missing / self._per_s * 1000) + 1 if missing > 0 else 0

    def spend(self, count: int, now: float) -> None:
        """Take *count*, whether it is there or not: what is owed is paid first."""
        self._left = min(self._burst, self._left + (now - self._since) * self._per_s) - count
        self._since = now

    def take(self, count: int, now: float) -> int:
        """Take *count* and return 0, or take nothing and return the milliseconds after which there will be enough."""
        self._left = min(self._burst, self._left + (now - self._since) * self._per_s)
        self._since = now
        if count <= self._left:
            self._left -= count
            return 0
        return int((count - self._left) / self._per_s * 1000) + 1
