"""One target, fuzzed for a time in a process of its own: by atheris where it is installed, else by a loop of our own.

Both are guided by coverage, begin with the kept corpus, write what reached something new into ``WORK/corpus``, and end
at the first finding, whose input is then in ``WORK/findings``.
"""

from __future__ import annotations

import importlib
import random
import sys
import time
import traceback
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .mutation import drawn_edits, edited
from .target import CORPUS, INPUT_SIZE_MAX, kept

if TYPE_CHECKING:
    from .target import Target

TIMEOUT_S: Final = 20  # for one input; what takes longer is a finding
MEMORY_MAX_MB: Final = 2_048  # of the whole process; what needs more is a finding
FINDING_STATUS: Final = 77  # the process ends with, as libFuzzer's do


def main(name: str, seconds: int, work: Path) -> None:
    """Fuzz the target called *name*; end the process."""
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        _loop(_target(name), seconds, work)
        return
    with atheris.instrument_imports(include=["ratchet", "store", "e2ee"]):
        target = _target(name)
    libfuzzer = [
        name,
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_SIZE_MAX}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MAX_MB}",
        f"-artifact_prefix={work / 'findings'}/",
        "-print_final_stats=1",
        str(work / "corpus"),
        str(CORPUS / name),
    ]
    atheris.Setup(libfuzzer, target.run)
    atheris.Fuzz()


def _target(name: str) -> Target:
    targets = importlib.import_module("tests.fuzz.targets")  # late: atheris changes what is imported
    target: Target = targets.TARGETS[name]
    return target


def _loop(target: Target, seconds: int, work: Path) -> None:
    lines_of = importlib.import_module("tests.fuzz.traced").lines_of
    dice = random.Random()  # what was tried is kept, not repeated
    end = time.monotonic() + seconds
    pool = [*kept(target.name), b""]
    reached: set[object] = set()
    tried = 0
    while time.monotonic() < end:
        data = pool[tried] if tried < len(pool) else edited(dice.choice(pool), drawn_edits(dice))[:INPUT_SIZE_MAX]
        begun = time.monotonic()
        try:
            lines = lines_of(target.run, data)
            if time.monotonic() - begun > TIMEOUT_S:
                raise TimeoutError(f"one input took more than {TIMEOUT_S} s")  # noqa: TRY301 - a finding like others
        except Exception:  # noqa: BLE001 - whatever it is, it is a finding
            traceback.print_exc()
            (work / "findings" / f"crash-{sha256(data).hexdigest()[:16]}").write_bytes(data)
            sys.exit(FINDING_STATUS)
        tried += 1
        if lines - reached:
            reached |= lines
            pool.append(data)
            (work / "corpus" / sha256(data).hexdigest()[:16]).write_bytes(data)
    sys.stderr.write(f"stat::number_of_executed_units: {tried}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
