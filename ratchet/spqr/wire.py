"""SPQR's part of a message: field 5 of a SignalMessage (`signal-protocol` 4.2).

    0x01 version | epoch varint | index varint | type byte | [chunk index varint | 32 bytes]

Bytes after it are ignored, as libsignal does, to leave room for upgrades.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ratchet.errors import MalformedMessage, UnsupportedVersion
from ratchet.limits import CHUNK_INDEX_MAX, COUNTER_MAX
from ratchet.protobuf import read_varint, varint

from .erasure import CHUNK_SIZE

__all__ = ["NONE", "SPQR_VERSION", "BraidMessage"]

SPQR_VERSION: Final = 1

# Message types. All but NONE and CT1_ACK carry a chunk.
NONE: Final = 0
HEADER: Final = 1
EK: Final = 2
EK_CT1_ACK: Final = 3
CT1_ACK: Final = 4
CT1: Final = 5
CT2: Final = 6

_WITHOUT_CHUNK: Final = (NONE, CT1_ACK)


@dataclass(slots=True)
class BraidMessage:
    """One step of the braid: which blob a chunk belongs to, and the chain position of the message's key."""

    epoch: int  # of the braid when the message was sent, from 1; its key is of chain epoch - 1
    index: int  # of the key in the sender's chain, from 1
    type: int
    chunk_index: int  # 0 without a chunk
    chunk: bytes  # 32 bytes, or empty

    @classmethod
    def parse(cls, data: bytes) -> BraidMessage:
        """Read field 5. Raises MalformedMessage, or UnsupportedVersion for a version other than 1."""
        try:
            if data[0] != SPQR_VERSION:
                raise UnsupportedVersion(f"SPQR version {data[0]}, spoken is {SPQR_VERSION}")
            epoch, position = read_varint(data, 1)
            index, position = read_varint(data, position)
            kind = data[position]
            position += 1
            if kind in _WITHOUT_CHUNK:
                chunk_index, chunk = 0, b""
            else:
                chunk_index, position = read_varint(data, position)
                chunk = data[position : position + CHUNK_SIZE]
                if kind > CT2 or chunk_index > CHUNK_INDEX_MAX or len(chunk) != CHUNK_SIZE:
                    raise MalformedMessage("an SPQR chunk is not in its form")
        except IndexError as cause:
            raise MalformedMessage("the SPQR part ends early") from cause
        if epoch == 0 or index > COUNTER_MAX:
            raise MalformedMessage("an SPQR epoch or index is out of range")
        return cls(epoch, index, kind, chunk_index, chunk)


def encode_braid_message(epoch: int, index: int, kind: int, chunk_index: int, chunk: bytes) -> bytes:
    """Return field 5; *chunk* empty for the types that carry none."""
    if chunk:
        return b"\x01%b%b%b%b%b" % (varint(epoch), varint(index), varint(kind), varint(chunk_index), chunk)
    return b"\x01%b%b%b" % (varint(epoch), varint(index), varint(kind))
