"""A child that is killed at its n-th storage call: forked from a warm parent, dead by SIGKILL, without a word.

What it had told before is kept: it stands for everything outside the process that it had reached.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ended", "Life", "killed_at"]


class Life:
    """What a child may do besides what it is there for: count its calls, and tell."""

    def __init__(self, number: int, descriptor: int) -> None:
        self._number = number
        self._calls = 0
        self._descriptor = descriptor

    def call(self) -> None:
        """Count a call; at the n-th, die before it is made."""
        self._calls += 1
        if self._calls == self._number:
            os.kill(os.getpid(), signal.SIGKILL)

    def tell(self, *values: object) -> None:
        """Make known outside what has happened so far."""
        os.write(self._descriptor, pickle.dumps(values))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child has ended, and what it had told, in order."""

    killed: bool  # False: it had fewer calls and came to its end
    told: list[tuple[object, ...]]


def killed_at(number: int, live: Callable[[Life], None]) -> Ended:
    """Run *live* in a child that dies at its *number*-th call. Fails if it ends in any other way than these two."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        status = 1
        gc.disable()  # a collection would touch, and so copy, every page of the parent
        try:
            live(Life(number, writer))
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    told: list[tuple[object, ...]] = []
    with os.fdopen(reader, "rb") as pipe:
        while pipe.peek(1):
            told.append(pickle.load(pipe))  # noqa: S301 - from our own child
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL), f"the child that was to be killed at call {number} failed by itself"
    return Ended(status != 0, told)
