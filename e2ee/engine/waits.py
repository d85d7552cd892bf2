"""How long something waits before it is tried again: a leaf, for the lanes and the questions that inherit it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["WAIT_MAX_S", "WAIT_MIN_S", "Waiting"]

WAIT_MIN_S: Final = 1.0  # seconds after a refusal, or an answer that is no good; doubled each time
WAIT_MAX_S: Final = 300.0  # seconds


@dataclass(slots=True)
class Waiting:
    """Something that is tried again, and waits twice as long each time that it does not help."""

    delay_s: float = 0.0  # waited last
    not_before: float = 0.0  # seconds since 1970

    def wait(self, now: float, seconds: float | None = None) -> None:
        """Let it wait: for the time that the relay gives, else twice as long as the last time."""
        self.delay_s = min(WAIT_MAX_S, max(WAIT_MIN_S, 2 * self.delay_s))
        self.not_before = now + (self.delay_s if seconds is None else min(seconds, WAIT_MAX_S))

    def go_on(self) -> None:
        """It has helped: go on at once, and start counting anew."""
        self.delay_s = self.not_before = 0.0
