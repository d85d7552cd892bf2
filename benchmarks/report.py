"""Outcomes as tables for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

from .harness import CONTEST_BUDGET_S, ROUNDS_MIN, SLICE_S, Outcome, Series, Settings
from .peer import REPAIR_CHUNK
from .targets import OURS, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .peer import Peer

LINE: Final = 110  # characters
JSON_FORMAT: Final = 1  # raised when a field changes its meaning
VERSIONED: Final = ("cryptography", "pynacl", "msgpack", "vodozemac", "doubleratchet", "sqlalchemy", "websockets")

METHOD: Final = (
    "All contestants in one process run (libsignal in a Node process beside it, timed there). A contest runs slices of "
    f"about {SLICE_S * 1000:g} ms of each contestant in turn, in an order drawn from the seed and rotated by one place "
    "in each round. Making sessions and messages, and checking every result, is not timed. The garbage collector is "
    "off inside slices and runs between rounds, except in sustained contests, whose slices hold as many messages as "
    "their titles say. A figure is the median of the rounds with its quartiles; a ratio is "
    "the median of the ratios within one round, so that the machine's drift falls out. A contest ends after "
    f"{CONTEST_BUDGET_S:g} s if it has had {ROUNDS_MIN} rounds."
)


@dataclass(slots=True)
class Report:
    """Everything that one invocation found out."""

    settings: Settings
    suites: tuple[str, ...]
    peers: tuple[Peer, ...] = ()
    absent: tuple[str, ...] = ()  # one sentence for each peer that could not take part
    outcomes: list[Outcome] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    load_before: tuple[float, ...] = ()


def load_average() -> tuple[float, ...]:
    """Return the load of the machine over 1, 5 and 15 minutes; empty where there is no such figure."""
    return os.getloadavg() if hasattr(os, "getloadavg") else ()


def processor() -> str:
    """Return the processor's name as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python and of each library that a figure may depend on."""
    found = {platform.python_implementation(): platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def heading(report: Report) -> str:
    """Say what is measured, where and how."""
    machine = f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    lines = [
        f"Benchmarks: {', '.join(report.suites)}"
        + (" (smoke run: the figures mean nothing)" if report.settings.smoke else ""),
        machine,
        ", ".join(f"{name} {value}" for name, value in versions().items()),
        "",
        fill(METHOD, LINE),
        "",
        *(f"{peer.name} ({peer.version}): {peer.about}" for peer in report.peers),
        *(f"absent: {reason}" for reason in report.absent),
    ]
    return "\n".join(lines) + "\n"


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align a table: the first column to the left, all others to the right."""
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def amount(value: float) -> str:
    """Show a figure with about three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def references(outcome: Outcome) -> list[str]:
    """Return with whom everybody is compared: all others than ours, whose row shows what we want to know."""
    present = [series.name for series in outcome.series]
    if outcome.references:
        return [name for name in outcome.references if name in present]
    return [name for name in present if name not in {OURS, REPAIR_CHUNK}]


def table(outcome: Outcome) -> str:
    """Show one outcome: a row for each entrant, a ratio to each reference of the same report."""
    if not outcome.series:
        return f"{outcome.title}: nobody could be measured\n"
    against = references(outcome)
    sized = not outcome.paired
    header = [
        "",
        "median",
        "quartiles",
        *(["mean", "max"] if sized else []),
        *(f"× {name}" for name in against),
    ]
    rows = []
    for series in outcome.series:
        lower, upper = series.quartiles
        ratios = (outcome.ratio(series.name, name) for name in against)
        rows.append(
            [
                f"  {series.name}",
                amount(series.median),
                f"{amount(lower)}–{amount(upper)}",
                *([amount(series.mean), amount(max(series.samples))] if sized else []),
                *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
            ]
        )
    return f"{outcome.title} [{outcome.unit}]\n{grid(header, rows)}\n"


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Show each target with its figure."""
    words = {True: "reached", False: "NOT reached", None: "not measured"}
    rows = [
        [v.target.what, str(v.target.condition), "" if v.reached is None else v.figure, words[v.reached]]
        for v in verdicts
    ]
    return grid(["target", "to reach", "figure", ""], rows) + "\n"


def document(report: Report) -> dict[str, Any]:
    """Return the whole run as JSON values."""
    return {
        "format": JSON_FORMAT,
        "suites": list(report.suites),
        "method": {
            "text": METHOD,
            "repetitions": report.settings.repetitions,
            "seed": report.settings.seed,
            "smoke": report.settings.smoke,
            "slice_s": SLICE_S,
            "garbage_collector": "off inside slices, run between rounds; on in sustained contests",
        },
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load_before": list(report.load_before),
            "load_after": list(load_average()),
        },
        "versions": versions(),
        "peers": [{"name": peer.name, "version": peer.version, "about": peer.about} for peer in report.peers],
        "absent": list(report.absent),
        "outcomes": [_outcome(outcome) for outcome in report.outcomes],
        "targets": [
            {
                "key": verdict.target.key,
                "what": verdict.target.what,
                "to_reach": str(verdict.target.condition),
                "reached": verdict.reached,
                "figure": verdict.figure,
            }
            for verdict in report.verdicts
        ],
        "failures": [
            {"key": failure.key, "name": failure.name, "reason": failure.reason}
            for outcome in report.outcomes
            for failure in outcome.failures
        ],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    ratios: dict[str, dict[str, Any]] = {}
    for series in outcome.series:
        for name in references(outcome):
            found = outcome.ratios(series.name, name)
            if found is not None and name != series.name:
                ratios.setdefault(series.name, {})[name] = _figures(found)
    return {
        "key": outcome.key,
        "title": outcome.title,
        "unit": outcome.unit,
        "paired": outcome.paired,
        "series": [
            {
                "name": series.name,
                **_figures(series),
                "mean": round(series.mean, 4),
                "max": round(max(series.samples), 4),
                "samples": [round(sample, 4) for sample in series.samples],
            }
            for series in outcome.series
        ],
        "ratios": ratios,
    }


def _figures(series: Series) -> dict[str, float]:
    lower, upper = series.quartiles
    return {
        "median": round(series.median, 4),
        "lower_quartile": round(lower, 4),
        "upper_quartile": round(upper, 4),
    }
