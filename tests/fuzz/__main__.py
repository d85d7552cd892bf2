"""``python -m tests.fuzz TARGET [--seconds N] [--keep]``: fuzz one target, or ``all``, each in a process of its own.

What a run finds and what it learnt is in ``.fuzz/TARGET``; ``--keep`` puts the smallest inputs that reach something new
into the kept corpus, which the tests replay. Ends with status 1 if anything was found.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .target import CORPUS, kept
from .targets import TARGETS
from .traced import lines_of

if TYPE_CHECKING:
    from .target import Target

WORK: Final = Path(__file__).parents[2] / ".fuzz"
KEPT_SIZE_MAX: Final = 16 * 1024  # bytes kept of one target, well-formed inputs apart: the corpus is part of the source
KEPT_MAX: Final = 40  # inputs of one target, of those that were found: the tests replay them in every run
STARTING_S: Final = 120  # for a process beyond its time, until it is stopped


def fuzz(target: Target, seconds: int) -> tuple[int, list[Path]]:
    """Fuzz *target* for *seconds*; return how many inputs were tried, and those on which it failed."""
    work = WORK / target.name
    for folder in ("corpus", "findings"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.run", target.name, str(seconds), str(work)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + STARTING_S, check=False)
    tried = re.search(r"number_of_executed_units:\s+(\d+)", done.stderr)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    return int(tried[1]) if tried else 0, sorted((work / "findings").iterdir())


def keep(target: Target) -> None:
    """Write well-formed inputs if there are none yet; then add the smallest that reach what those before did not."""
    folder = CORPUS / target.name
    if not folder.exists():
        folder.mkdir(parents=True)
        for number, data in enumerate(target.seeds()):
            (folder / f"seed-{number:02}").write_bytes(data)
    reached = set().union(*(lines_of(target.run, data) for data in kept(target.name)))
    learnt = [path.read_bytes() for path in (WORK / target.name / "corpus").glob("*")]
    sizes = [path.stat().st_size for path in folder.glob("found-*")]
    for data in sorted(learnt, key=lambda data: (len(data), data)):
        lines = lines_of(target.run, data)
        if lines - reached and len(sizes) < KEPT_MAX and sum(sizes) + len(data) <= KEPT_SIZE_MAX:
            reached |= lines
            sizes.append(len(data))
            (folder / f"found-{sha256(data).hexdigest()[:12]}").write_bytes(data)


def main() -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=[*TARGETS, "all"], metavar="TARGET", help=f"all, or {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--keep", action="store_true", help="add to the kept corpus what reaches something new")
    asked = parser.parse_args()
    every = list(TARGETS.values()) if asked.target == "all" else [TARGETS[asked.target]]
    failed = False
    for target in every:
        if asked.keep and not kept(target.name):
            keep(target)
        tried, findings = fuzz(target, asked.seconds) if asked.seconds else (0, [])
        failed = failed or bool(findings)
        sys.stdout.write(f"{target.name:24} {tried:>10,} inputs  {len(findings)} findings\n")
        sys.stdout.writelines(f"    {path}\n" for path in findings)
        sys.stdout.flush()
        if asked.keep:
            keep(target)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
