"""From operations to outcomes: who takes part in what, for suites that compare peers."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from .harness import Contest, Entrant, Failure, Outcome, Series, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .peer import Bench, Factory, Operation

PAYLOAD: Final = 256  # bytes, unless a discipline says otherwise


@dataclass(frozen=True, slots=True)
class Discipline:
    """One operation as a contest between all peers that have it."""

    operation: Operation
    title: str
    size: int = PAYLOAD
    operations: int | None = None  # per slice, where a slice must hold a whole cycle
    sustained: bool = False  # the collector stays on; told apart in the key

    def key(self, suite: str) -> str:
        """Return the stable name of the outcome."""
        size = f", {self.size} bytes" if self.size != PAYLOAD else ""
        return f"{suite}.{self.operation}{size}{', sustained' if self.sustained else ''}"

    def entrants(self, bench: Bench) -> list[Entrant]:
        """Everybody who can take part."""
        return [Entrant(peer.name, partial(factory, self.size)) for peer, factory in bench.offering(self.operation)]

    def measure(self, suite: str, bench: Bench) -> Outcome:
        """Run the contest."""
        contest = Contest(self.key(suite), self.title, self.entrants(bench), self.operations, collecting=self.sustained)
        return measure(contest, bench.settings)

    def against(self, suite: str, bench: Bench, other: Operation, label: str) -> Outcome:
        """Run each peer against itself doing *other*, which stands as its name and *label*."""
        entrants: list[Entrant] = []
        for peer, factory in bench.offering(self.operation):
            plain: Factory = peer.operations[other]
            entrants.append(Entrant(peer.name, partial(factory, self.size)))
            entrants.append(Entrant(f"{peer.name}, {label}", partial(plain, self.size)))
        return measure(Contest(self.key(suite), self.title, entrants, self.operations), bench.settings)


def contests(suite: str, bench: Bench, disciplines: Iterable[Discipline]) -> Iterator[Outcome]:
    """Measure each of *disciplines*."""
    for discipline in disciplines:
        yield discipline.measure(suite, bench)


def sizes(key: str, title: str, bench: Bench, messages: int) -> Outcome:
    """Take the size of each peer's session at rest after each of *messages*."""
    series: list[Series] = []
    failures: list[Failure] = []
    for peer in bench.peers:
        if peer.record_sizes is None:
            continue
        try:
            series.append(Series(peer.name, tuple(peer.record_sizes(messages))))
        except Exception:  # noqa: BLE001 - whatever stops one peer, the others are still measured
            failures.append(Failure(key, peer.name, traceback.format_exc()))
    return Outcome(key, title, "bytes", tuple(series), paired=False, failures=tuple(failures))
