"""Dumps of the client's store, one for each version of the schema, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
PASSPHRASE: Final = "snapshot"
TEXT: Final = b"text of the snapshot"
TIME: Final = 1_000_000.0  # seconds since 1970, at which it was made


def dumps() -> list[Path]:
    """The dumps, by version."""
    return sorted(FOLDER.glob("client-*.sql"), key=lambda path: int(path.stem.rpartition("-")[2]))
