"""Run suites: ``python -m benchmarks ratchet handshake groups --json run.json --plot run.svg``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from .harness import Outcome, Settings
from .peer import Bench, Peer, UnavailableError
from .plot import picture
from .report import Report, document, heading, load_average, table, verdict_table
from .targets import judge

Suite = Callable[[Bench], Iterator[Outcome]]

# A suite is a module of this package with `run(bench)`, which yields outcomes. It is imported when it
# is asked for: what one suite needs, the others do not.
SUITES: Final = (
    "primitives",
    "ratchet",
    "handshake",
    "groups",
    "store",
    "client",
    "relay",
    "relay_groups",
    "relay_store",
)

# A peer is a module and the function in it that opens it, in the order in which tables show them.
PEERS: Final = (
    ("ours", "open_peer"),
    ("floor", "open_floor"),
    ("floor", "open_raw_floor"),
    ("floor", "open_repair_chunk"),
    ("vodozemac", "open_peer"),
    ("doubleratchet", "open_peer"),
    ("libsignal", "open_peer"),
)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ours beside others.")
    parser.add_argument("suites", nargs="*", metavar="NAME", help=f"of {', '.join(SUITES)}; all if none is named")
    parser.add_argument("--smoke", action="store_true", help="every path once or twice: for its correctness only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw bars to FILE.svg")
    parser.add_argument("--repetitions", type=positive, default=defaults.repetitions, metavar="N", help="rounds")
    parser.add_argument("--seed", type=int, default=defaults.seed, metavar="S", help="of the order")
    options = parser.parse_args(given)
    unknown = [name for name in options.suites if name not in SUITES]
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}: there are {', '.join(SUITES)}")
    return options


def positive(text: str) -> int:
    """Read a number of rounds."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def open_peers() -> tuple[list[Peer], list[str]]:
    """Open every peer that can take part, and say why the others cannot."""
    peers: list[Peer] = []
    absent: list[str] = []
    for module, function in PEERS:
        try:
            opened: Peer = getattr(import_module(f"{__package__}.peers.{module}"), function)()
        except UnavailableError as reason:
            absent.append(f"{module}: {reason}")
        else:
            peers.append(opened)
    return peers, absent


def run_suites(names: Sequence[str], settings: Settings) -> Report:
    """Run the suites called *names*, printing each outcome when it is there."""
    peers, absent = open_peers()
    report = Report(settings, tuple(names), tuple(peers), tuple(absent), load_before=load_average())
    print(heading(report))
    try:
        for name in names:
            suite: Suite = import_module(f"{__package__}.{name}").run
            print(f"── {name} ──\n", flush=True)
            for outcome in suite(Bench(settings, report.peers)):
                report.outcomes.append(outcome)
                print(table(outcome), flush=True)
    finally:
        for peer in peers:
            peer.close()
    return report


def conclude(report: Report) -> int:
    """Hold the outcomes against the targets, print what failed to run; the exit code is 1 if anything did."""
    report.verdicts = judge({outcome.key: outcome for outcome in report.outcomes})
    asked = [verdict for verdict in report.verdicts if verdict.target.key.partition(".")[0] in report.suites]
    if asked:
        print(verdict_table(asked))
    failures = [failure for outcome in report.outcomes for failure in outcome.failures]
    for failure in failures:
        print(f"failed: {failure.name} in {failure.key}\n{failure.reason}", file=sys.stderr)
    return 1 if failures else 0


def main(given: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = arguments(given)
    report = run_suites(options.suites or SUITES, Settings(options.repetitions, options.seed, options.smoke))
    code = conclude(report)
    if options.json is not None:
        options.json.write_text(json.dumps(document(report), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if options.plot is not None:
        options.plot.write_text(picture(report.outcomes, f"Benchmarks: {', '.join(report.suites)}"), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
