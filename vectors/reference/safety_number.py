"""Safety numbers: what two people compare to know that they have each other's identity keys."""

from __future__ import annotations

import hashlib
from typing import Final

from vectors.reference import protobuf
from vectors.reference.faults import Fault, Refused

HASH_VERSION: Final = bytes(2)  # inside the hash it is 0 for ever, whatever version the code has
SCANNED_SIZE: Final = 32  # bytes of each hash in the scannable code
GROUPS: Final = 6
GROUP_SIZE: Final = 5  # bytes, and digits


def fingerprint(stable_id: bytes, identity_key: bytes, iterations: int) -> bytes:
    """Return one party's 64-byte hash over its 33-byte identity key."""
    digest = hashlib.sha512(HASH_VERSION + identity_key + stable_id + identity_key).digest()
    for _ in range(iterations - 1):
        digest = hashlib.sha512(digest + identity_key).digest()
    return digest


def digits(local: bytes, remote: bytes) -> str:
    """Return the 60 digits for two 64-byte hashes, the same at both ends."""
    return "".join(sorted((_thirty_digits(local), _thirty_digits(remote))))


def _thirty_digits(digest: bytes) -> str:
    groups = (digest[GROUP_SIZE * group : GROUP_SIZE * (group + 1)] for group in range(GROUPS))
    return "".join(f"{int.from_bytes(group, 'big') % 100_000:05}" for group in groups)


def scannable(version: int, local: bytes, remote: bytes) -> bytes:
    """Return the bytes of the code that the other end scans."""
    return protobuf.encode(
        {
            1: version,
            2: protobuf.encode({1: local[:SCANNED_SIZE]}),
            3: protobuf.encode({1: remote[:SCANNED_SIZE]}),
        }
    )


def check_scanned(scanned: bytes, version: int, local: bytes, remote: bytes) -> None:
    """Compare a scanned code with what we have computed. Raises Refused."""
    fields = protobuf.decode(scanned)
    if (fields.optional_number(1) or 0) != version:
        raise Refused(Fault.SAFETY_NUMBER_VERSION)
    theirs = protobuf.decode(fields.string(2)).string(1)
    ours = protobuf.decode(fields.string(3)).string(1)
    if theirs != remote[:SCANNED_SIZE] or ours != local[:SCANNED_SIZE]:
        raise Refused(Fault.SAFETY_NUMBER_OTHER)
