"""What a relay counts: numbers only, never who."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

__all__ = ["BATCH_SECONDS", "Statistics"]

BATCH_SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)  # upper bounds of a histogram


@dataclass(slots=True)
class Statistics:
    """Counts since the relay was opened. Written by the store thread, read by whoever asks: numbers, each whole."""

    connections: int = 0  # open now
    strangers: int = 0  # of them, not logged in
    logins: int = 0
    frames: int = 0  # received
    envelopes: Counter[str] = field(default_factory=Counter)  # by outcome
    deliveries: int = 0  # pushed; more than stored: what comes again counts again
    acknowledged: int = 0
    refusals: Counter[str] = field(default_factory=Counter)  # of requests, by code
    closings: Counter[str] = field(default_factory=Counter)  # by code
    bundles: int = 0
    one_time_keys_withheld: int = 0
    failures: int = 0  # batches that the store did not take
    batches: int = 0
    batch_seconds: float = 0.0
    batch_buckets: list[int] = field(default_factory=lambda: [0] * (len(BATCH_SECONDS) + 1))

    def batch(self, seconds: float) -> None:
        """Count one batch."""
        self.batches += 1
        self.batch_seconds += seconds
        self.batch_buckets[sum(seconds > bound for bound in BATCH_SECONDS)] += 1
