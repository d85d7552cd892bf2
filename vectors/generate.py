"""Makes our own vectors again: the same bytes every time, from the dice that the generators name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vectors.files import FOLDER, VectorFile, dump
from vectors.generators import (
    conversations,
    derivations,
    frames,
    handshakes,
    post_quantum,
    rejects,
    safety_numbers,
    sender_keys,
    signatures,
    snapshots,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

GENERATORS = (
    signatures,
    derivations,
    handshakes,
    conversations,
    rejects,
    post_quantum,
    sender_keys,
    safety_numbers,
    snapshots,
    frames,
)


def generated_files() -> Iterator[VectorFile]:
    """Make every file, without writing it."""
    for generator in GENERATORS:
        for name, content in generator.files().items():
            yield VectorFile(FOLDER / name, content)


def write(file: VectorFile) -> bool:
    """Write a file if it is new or differs; say whether it did. Raises InvalidFile."""
    file.validate()
    text = dump(file.content).encode()
    if file.path.is_file() and file.path.read_bytes() == text:
        return False
    file.path.parent.mkdir(exist_ok=True)
    file.path.write_bytes(text)
    return True
