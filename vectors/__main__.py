"""`python -m vectors`: check the forms, derive every vector again, run every vector through `ratchet`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vectors.files import InvalidFile, VectorFile, load, load_all
from vectors.reference.expectations import Mismatch
from vectors.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OK: Final = 0
FAILED: Final = 1


@dataclass(slots=True)
class Row:
    """What came of one file."""

    name: str
    kind: str
    tests: int
    verified: str = "-"
    checked: str = "-"
    seconds: float = 0.0
    failure: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vectors", description=__doc__)
    parser.add_argument(
        "command",
        nargs="?",
        choices=("all", "verify", "generate", "record"),
        default="all",
        help="all: verify, and run through ratchet; verify: only derive again, without importing ratchet; "
        "generate: make our own vectors again; record: talk to libsignal (needs Node)",
    )
    parser.add_argument("files", nargs="*", type=Path, help="only these files (for all and verify)")
    options = parser.parse_args(arguments)
    if options.command == "generate":
        from vectors.generate import generated_files  # noqa: PLC0415 - verify must not import ratchet

        return _write(generated_files())
    if options.command == "record":
        from vectors.record import recorded_files  # noqa: PLC0415 - needs the tests' oracle

        return _write(recorded_files())
    chosen = [load(path.resolve()) for path in options.files] or load_all()
    return _report([_run(file, with_ratchet=options.command == "all") for file in chosen])


def _run(file: VectorFile, *, with_ratchet: bool) -> Row:
    row = Row(file.name, file.kind, file.test_count)
    started = time.perf_counter()
    try:
        file.validate()
        verify(file.content)
        row.verified = str(row.tests)
        if with_ratchet:
            from vectors.check import check  # noqa: PLC0415 - verify must not import ratchet

            row.checked = str(check(file.content))
    except (InvalidFile, Mismatch) as error:
        row.failure = str(error)
    row.seconds = time.perf_counter() - started
    return row


def _report(rows: list[Row]) -> int:
    header = ("file", "kind", "tests", "verified", "ratchet", "seconds")
    cells = [(row.name, row.kind, str(row.tests), row.verified, row.checked, f"{row.seconds:.2f}") for row in rows]
    total = str(sum(row.tests for row in rows))
    cells.append((f"{len(rows)} files", "", total, "", "", f"{sum(row.seconds for row in rows):.2f}"))
    widths = [max(len(line[column]) for line in (header, *cells)) for column in range(len(header))]
    for line in (header, *cells):
        padded = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        padded[:2] = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        print("  ".join(padded).rstrip())
    failures = [row for row in rows if row.failure is not None]
    for row in failures:
        print(f"\n{row.name}: {row.failure}")
    return FAILED if failures else OK


def _write(files: Iterable[VectorFile]) -> int:
    from vectors.generate import write  # noqa: PLC0415 - verify must not import ratchet

    for file in files:
        print(f"{'written' if write(file) else 'unchanged':9}  {file.name}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
