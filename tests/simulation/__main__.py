"""``python -m tests.simulation --seeds 100000``: as many runs as there is time for; ``--seed N`` replays one."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from .run import Report, run

if TYPE_CHECKING:
    from collections.abc import Iterable


def main() -> int:
    """Run the seeds asked for, print what came, and fail if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many runs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this one alone")
    parser.add_argument("--trace", action="store_true", help="print what happened in it, in order")
    parser.add_argument("--processes", type=int, default=None, help="how many run at a time; one for each core")
    given = parser.parse_args()
    started = time.monotonic()
    _let_runs_clear_up()
    if given.seed is not None:
        report = run(given.seed, trace=given.trace)
        print(*report.trace, sep="\n")
        return _show([report], started)
    with ProcessPoolExecutor(given.processes, initializer=_let_runs_clear_up) as pool:
        try:
            return _show(pool.map(run, range(given.first, given.first + given.seeds), chunksize=8), started)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def _let_runs_clear_up() -> None:
    """End at SIGTERM as at an interrupt: a run then deletes its stores."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _show(reports: Iterable[Report], started: float) -> int:
    totals: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for report in reports:
        for violation in report.violations:
            print(f"seed {report.seed}: {violation}", flush=True)
        totals.update(
            runs=1,
            broken=bool(report.violations),
            messages=report.messages,
            crashes=report.crashes,
            steps=report.steps,
        )
        faults.update(report.faults)
    print(f"{totals['runs']} runs in {time.monotonic() - started:.0f} s, {totals['steps']} steps")
    print(f"{totals['messages']} messages, {totals['crashes']} deaths of clients")
    print(", ".join(f"{name}: {count}" for name, count in sorted(faults.items())))
    print(f"runs in which something did not hold: {totals['broken']}")
    return 1 if totals["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
