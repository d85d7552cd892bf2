"""Measure entrants side by side: slices of some milliseconds, interleaved, and what the figures say.

The clock of a shared machine drifts by a factor of two within minutes, so figures are compared only
where they were taken milliseconds apart: a *contest* runs one slice of each of its entrants, then
again in rotated order, and a ratio is the median of the ratios round by round.
"""

from __future__ import annotations

import gc
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, median, quantiles
from time import perf_counter
from typing import Final, TypeVar

SLICE_S: Final = 0.004  # seconds: long against the clock's resolution, short against the machine's drift
SLICE_OPERATIONS_MAX: Final = 4096  # bounds the memory of a slice whose messages are made beforehand
CONTEST_BUDGET_S: Final = 20.0  # seconds after which no further round is begun ...
ROUNDS_MIN: Final = 9  # ... unless there were fewer than these: below, quartiles say nothing
SMOKE_ROUNDS: Final = 2
SMOKE_OPERATIONS: Final = 3

Result = TypeVar("Result")

Run = Callable[[int], float]
"""Does that many operations and returns the seconds they took, preparation and checking left out."""

Prepared = tuple[Callable[[], Result], Callable[[Result], None]]
"""What is timed, and what checks its result afterwards (raising if it is wrong)."""


class WrongResultError(Exception):
    """An entrant was fast but wrong; no figure of it is shown."""


def expect(actual: object, expected: object, what: str) -> None:
    """Raise WrongResultError unless *actual* equals *expected*."""
    if actual != expected:
        raise WrongResultError(f"{what}: the result is not what was expected")


def timed(prepare: Callable[[int], Prepared[Result]]) -> Run:
    """Make a run of *prepare*, which is told the number of operations and is not timed itself."""

    def run(operations: int) -> float:
        work, check = prepare(operations)
        start = perf_counter()
        result = work()
        elapsed = perf_counter() - start
        check(result)
        return elapsed

    return run


def repeated(operation: Callable[[], object]) -> Run:
    """Make a run of an *operation* without input and without a result to check: a bare primitive call."""

    def run(operations: int) -> float:
        rounds = range(operations)
        start = perf_counter()
        for _ in rounds:
            operation()
        return perf_counter() - start

    return run


@dataclass(frozen=True, slots=True)
class Settings:
    """How often, in which order, and whether figures matter."""

    repetitions: int = 31  # rounds per contest
    seed: int = 1  # of the order and of the payloads
    smoke: bool = False  # every path once or twice, only for its correctness


@dataclass(frozen=True, slots=True)
class Entrant:
    """One side of a contest; *setup* makes its state and is not timed."""

    name: str
    setup: Callable[[], Run]


@dataclass(frozen=True, slots=True)
class Contest:
    """What is measured side by side."""

    key: str  # stable, for JSON and targets: "ratchet.encrypt"
    title: str
    entrants: Sequence[Entrant]
    operations: int | None = None  # per slice, where one slice must hold a whole cycle; None: as many as fit
    collecting: bool = False  # the garbage collector stays on, as in an application
    references: tuple[str, ...] = ()  # with whom tables compare everybody; empty: with all but ours


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one entrant, in the outcome's unit."""

    name: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the middle sample."""
        return median(self.samples)

    @property
    def mean(self) -> float:
        """Return the arithmetic mean."""
        return fmean(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Return the bounds of the middle half of the samples."""
        if len(self.samples) < 2:
            return self.samples[0], self.samples[0]
        lower, _, upper = quantiles(self.samples, n=4, method="inclusive")
        return lower, upper


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that did not run to its end, with its traceback."""

    key: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a contest gave. Samples of one position in *series* were taken side by side if *paired*."""

    key: str
    title: str
    unit: str  # of the samples: "µs" is per operation
    series: tuple[Series, ...]
    paired: bool = True
    failures: tuple[Failure, ...] = ()
    references: tuple[str, ...] = ()  # as in the contest

    def find(self, name: str) -> Series | None:
        """Return the series of an entrant; None if it did not take part or failed."""
        return next((series for series in self.series if series.name == name), None)

    def ratio(self, name: str, reference: str) -> float | None:
        """Return *name*'s figure over *reference*'s: the median of the rounds' ratios; None if either is missing."""
        ratios = self.ratios(name, reference)
        return ratios.median if ratios is not None else None

    def ratios(self, name: str, reference: str) -> Series | None:
        """Return *name*'s ratios to *reference*: one for each round, or one of the medians if they are not paired."""
        one, other = self.find(name), self.find(reference)
        if one is None or other is None:
            return None
        if not self.paired:
            return Series(f"{name}/{reference}", (one.median / other.median,))
        pairs = zip(one.samples, other.samples, strict=True)
        return Series(f"{name}/{reference}", tuple(left / right for left, right in pairs))


def measure(contest: Contest, settings: Settings) -> Outcome:
    """Run *contest*. An entrant that raises is left out of the figures and reported."""
    # A fixed order would give each entrant always the same predecessor, whose caches it inherits.
    entrants = list(contest.entrants)
    random.Random(f"{settings.seed} {contest.key}").shuffle(entrants)
    failures: list[Failure] = []
    runs: dict[str, Run] = {}
    operations: dict[str, int] = {}
    for entrant in entrants:
        try:
            run = entrant.setup()
            operations[entrant.name] = _slice_operations(run, contest, settings)
            runs[entrant.name] = run
        except Exception:  # noqa: BLE001 - whatever stops one entrant, the others are still measured
            failures.append(Failure(contest.key, entrant.name, traceback.format_exc()))
    samples: dict[str, list[float]] = {name: [] for name in runs}
    with _collector_held(held=not contest.collecting):
        _run_rounds(contest, settings, runs, operations, samples, failures)
    series = tuple(Series(e.name, tuple(samples[e.name])) for e in contest.entrants if e.name in runs)
    return Outcome(contest.key, contest.title, "µs", series, failures=tuple(failures), references=contest.references)


def _run_rounds(
    contest: Contest,
    settings: Settings,
    runs: dict[str, Run],
    operations: dict[str, int],
    samples: dict[str, list[float]],
    failures: list[Failure],
) -> None:
    begun = perf_counter()
    for turn in range(SMOKE_ROUNDS if settings.smoke else settings.repetitions):
        if turn >= ROUNDS_MIN and perf_counter() - begun > CONTEST_BUDGET_S:
            return
        for name in rotated(list(runs), turn):
            try:
                samples[name].append(runs[name](operations[name]) / operations[name] * 1e6)
            except Exception:  # noqa: BLE001 - whatever stops one entrant, the others are still measured
                failures.append(Failure(contest.key, name, traceback.format_exc()))
                del runs[name]
        gc.collect()


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """Return *names* beginning *turn* places later, cyclically."""
    start = turn % len(names) if names else 0
    return [*names[start:], *names[:start]]


def _slice_operations(run: Run, contest: Contest, settings: Settings) -> int:
    """Find how many operations fill a slice; this also warms the entrant up."""
    if settings.smoke:
        return min(contest.operations or SMOKE_OPERATIONS, SMOKE_OPERATIONS)
    if contest.operations is not None:
        run(contest.operations)
        return contest.operations
    # Twice, for the larger number: what is made once for all (tables, code loaded lazily, an optimising
    # compiler's work) must not pass for the cost of an operation.
    return max(_fitting(run), _fitting(run))


def _fitting(run: Run) -> int:
    """Double the operations until they can be timed, and return how many of them a slice has room for."""
    operations = 1
    while (elapsed := run(operations)) < SLICE_S / 4 and operations < SLICE_OPERATIONS_MAX:
        operations *= 2
    return min(max(1, round(operations * SLICE_S / elapsed)), SLICE_OPERATIONS_MAX)


@contextmanager
def _collector_held(*, held: bool) -> Iterator[None]:
    """Keep the garbage collector out of the slices if *held*: it runs between rounds, over what the rounds made."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    if held:
        gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
