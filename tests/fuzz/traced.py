"""Which lines of ours an input reaches: what makes one worth keeping."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Lines", "lines_of"]

Lines: TypeAlias = set[tuple[str, int, int]]
"""File, line, and the line before it in the same call."""

_ROOT: Final = Path(__file__).parents[2]
_OURS: Final = tuple(str(_ROOT / package) for package in ("ratchet", "store", "e2ee"))


def lines_of(run: Callable[[bytes], None], data: bytes) -> Lines:
    """Run *run* on *data* and return where it went. Raises what *run* raises."""
    reached: Lines = set()

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:  # noqa: ANN401 - what sys.settrace wants
        name = frame.f_code.co_filename
        if not name.startswith(_OURS):
            return None
        before = 0

        def line(frame: FrameType, event: str, _argument: Any) -> Any:  # noqa: ANN401
            nonlocal before
            if event == "line":
                reached.add((name, frame.f_lineno, before))
                before = frame.f_lineno
            return line

        return line

    others = sys.gettrace()
    sys.settrace(enter)
    try:
        run(data)
    finally:
        sys.settrace(others)
    return reached
