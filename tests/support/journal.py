"""Append-only files of JSON lines: what a process knew when it was killed, and what its successor begins with."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Journal", "read_journal"]


class Journal:
    """One file, written by one process at a time. What `write` has returned from survives the process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *values: object, sync: bool = False) -> None:
        """Append a line, in one call of the operating system; *sync*: on the disk when it returns."""
        os.write(self._descriptor, json.dumps(values).encode() + b"\n")
        if sync:
            os.fsync(self._descriptor)


def read_journal(path: Path) -> list[list[Any]]:
    """Return the lines of a journal; none if there is no such file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
