"""What we set out to reach, and whether a run reached it.

The figures stand here before anything was measured, and stay when they are missed: a run says
"not reached" then, with the number. Nothing depends on it: benchmarks inform, tests decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .harness import Outcome, Series

OURS: Final = "ours"


class Figure(Enum):
    """Which of a series' figures a target speaks of."""

    MEDIAN = "median"
    MEAN = "mean"
    P99 = "p99"

    def of(self, series: Series) -> float:
        """Take the figure from *series*."""
        match self:
            case Figure.MEDIAN:
                return series.median
            case Figure.MEAN:
                return series.mean
            case Figure.P99:
                ordered = sorted(series.samples)
                return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


@dataclass(frozen=True, slots=True)
class AtMostTimes:
    """Ours takes at most *times* as long (or as much) as *reference*, in the same contest."""

    times: float
    reference: str
    entrant: str = OURS

    def __str__(self) -> str:
        return f"at most {self.times:g} × {self.reference}"

    def judge(self, outcome: Outcome) -> tuple[bool, str] | None:
        """Whether it is reached, and the figure; None if one side is missing."""
        ratio = outcome.ratio(self.entrant, self.reference)
        return None if ratio is None else (ratio <= self.times, f"{ratio:.2f} ×")


@dataclass(frozen=True, slots=True)
class TimesAsFast:
    """Ours is at least *times* as fast as *reference*, in the same contest."""

    times: float
    reference: str
    entrant: str = OURS

    def __str__(self) -> str:
        return f"at least {self.times:g} × as fast as {self.reference}"

    def judge(self, outcome: Outcome) -> tuple[bool, str] | None:
        """Whether it is reached, and the figure; None if one side is missing."""
        ratio = outcome.ratio(self.reference, self.entrant)
        return None if ratio is None else (ratio >= self.times, f"{ratio:.2f} × as fast")


@dataclass(frozen=True, slots=True)
class AtMost:
    """A figure of ours is at most *limit*, in the outcome's own unit."""

    limit: float
    unit: str
    figure: Figure = Figure.MEDIAN
    entrant: str = OURS

    def __str__(self) -> str:
        return f"{self.figure.value} at most {self.limit:,g} {self.unit}"

    def judge(self, outcome: Outcome) -> tuple[bool, str] | None:
        """Whether it is reached, and the figure; None if it is missing."""
        series = outcome.find(self.entrant)
        if series is None:
            return None
        value = self.figure.of(series)
        return value <= self.limit, f"{value:,.1f} {self.unit}"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A figure of ours (a rate) is at least *limit*, in the outcome's own unit."""

    limit: float
    unit: str
    figure: Figure = Figure.MEDIAN
    entrant: str = OURS

    def __str__(self) -> str:
        return f"{self.figure.value} at least {self.limit:,g} {self.unit}"

    def judge(self, outcome: Outcome) -> tuple[bool, str] | None:
        """Whether it is reached, and the figure; None if it is missing."""
        series = outcome.find(self.entrant)
        if series is None:
            return None
        value = self.figure.of(series)
        return value >= self.limit, f"{value:,.0f} {self.unit}"


Condition = AtMostTimes | TimesAsFast | AtMost | AtLeast


@dataclass(frozen=True, slots=True)
class Target:
    """One condition on one outcome."""

    key: str  # of the outcome
    what: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run says about a target."""

    target: Target
    reached: bool | None  # None: not measured in this run
    figure: str


def _each(key: str, what: str, *conditions: Condition) -> list[Target]:
    return [Target(key, what, condition) for condition in conditions]


TARGETS: Final = (
    *_each(
        "ratchet.encrypt and decrypt",
        "encrypt and decrypt, one way",
        AtMostTimes(1.4, "floor"),
        TimesAsFast(5, "libsignal"),
        TimesAsFast(5, "doubleratchet"),
        AtMostTimes(3, "vodozemac"),
    ),
    *_each("ratchet.ping-pong", "ping-pong", TimesAsFast(4, "libsignal"), AtMostTimes(1.6, "vodozemac")),
    # The same with every collector on, in slices long enough for Node's to run: what a long-lived program sees.
    *_each(
        "ratchet.encrypt and decrypt, sustained",
        "encrypt and decrypt, sustained",
        TimesAsFast(5, "libsignal"),
        TimesAsFast(5, "doubleratchet"),
    ),
    *_each("ratchet.ping-pong, sustained", "ping-pong, sustained", TimesAsFast(4, "libsignal")),
    *_each("handshake.initiate and encrypt", "initiate, first message", TimesAsFast(2, "libsignal")),
    *_each("handshake.accept", "accept first message", TimesAsFast(2, "libsignal")),
    *_each("groups.group encrypt", "sender key encrypt", TimesAsFast(4, "libsignal"), AtMostTimes(2, "vodozemac")),
    *_each("groups.group decrypt", "sender key decrypt", TimesAsFast(4, "libsignal"), AtMostTimes(2, "vodozemac")),
    *_each(
        "ratchet.decrypt, skipped keys stored",
        "decrypt with 2,000 skipped keys stored",
        AtMostTimes(1.2, "ours, without"),
    ),
    *_each("ratchet.record size", "session record in ping-pong", AtMost(4_096, "bytes", Figure.MEAN)),
    *_each("ratchet.save and load", "session record, save and load", AtMost(40, "µs")),
    # Measured by the suites store and relay.
    *_each("store.batch from one peer", "client, persisted: 64 from one peer", AtMostTimes(2.5, "in memory")),
    *_each("store.batch from 64 peers", "client, persisted: 64 from 64 peers", AtMostTimes(5, "in memory")),
    *_each("store.single", "client, persisted: one message", AtMostTimes(2, "bare commit + in memory")),
    *_each("store.event loop delay", "event loop while 64-message batches run", AtMost(20, "ms", Figure.P99)),
    *_each("relay.throughput", "relay, durable store-and-forward", AtMostTimes(1 / 0.4, "bare websockets echo")),
    *_each("relay.latency at half load", "relay, latency at half that load", AtMost(50, "ms", Figure.P99)),
    *_each("relay.idle connection", "relay, memory per idle connection", AtMostTimes(1.5, "bare websockets echo")),
    *_each("relay.group fan-out", "group send to 1,000 members", AtLeast(10_000, "deliveries/s")),
)


def judge(outcomes: Mapping[str, Outcome], targets: Iterable[Target] = TARGETS) -> list[Verdict]:
    """Hold *outcomes*, by key, against *targets*."""
    verdicts: list[Verdict] = []
    for target in targets:
        outcome = outcomes.get(target.key)
        found = None if outcome is None else target.condition.judge(outcome)
        verdicts.append(Verdict(target, *found) if found is not None else Verdict(target, None, "not measured"))
    return verdicts
