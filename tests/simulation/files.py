"""SQLite files: copied while they are in use, replaced while they are not."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .judge import Account

__all__ = ["Backup", "copy_database", "replace_database"]


@dataclass(frozen=True, slots=True)
class Backup:
    """A device's machine as it was once."""

    path: Path
    account: Account
    sent: int  # messages that everybody together had sent by then


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite file that may be in use."""
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def replace_database(target: Path, source: Path | None) -> None:
    """Put a copy of *source* in the place of a SQLite file that nobody uses; None: nothing."""
    for end in ("", "-wal", "-shm"):
        target.with_name(target.name + end).unlink(missing_ok=True)
    if source is not None:
        shutil.copyfile(source, target)
