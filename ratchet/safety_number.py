"""Safety numbers: two people compare them, or scan one, to rule out that somebody stands between (section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha512
from typing import Final

from .errors import InvalidArgument, MalformedMessage, SafetyNumberMismatch
from .keys import parse_public_key
from .limits import SAFETY_NUMBER_ITERATIONS_MAX, SAFETY_NUMBER_ITERATIONS_MIN, USER_ID_SIZE_MAX
from .primitives import equal
from .protobuf import bytes_field, number_field, read_fields

__all__ = ["SafetyNumber", "safety_number"]

SCANNABLE_VERSION: Final = 2  # the parties are named by service ids; libsignal's clients show version 2
_HASH_VERSION: Final = b"\x00\x00"  # inside the hash; always 0
_SCANNABLE_SIZE: Final = 32  # bytes of each party's hash in a scannable number
_SCANNED_SIZE_MAX: Final = 1024  # bytes; a scannable number has 78


@dataclass(frozen=True, slots=True)
class SafetyNumber:
    """The same for both parties as `digits`; mirrored in `scannable`, which one shows and the other scans."""

    digits: str  # 60 decimal digits
    scannable: bytes  # what a QR code holds
    local_hash: bytes  # 32 bytes
    remote_hash: bytes  # 32 bytes
    version: int = SCANNABLE_VERSION

    def check_scanned(self, scanned: bytes) -> None:
        """Compare with what was scanned from the peer's screen.

        Raises SafetyNumberMismatch if it is another pair's (or another version's), MalformedMessage if
        it is no safety number at all.
        """
        if type(scanned) is not bytes or len(scanned) > _SCANNED_SIZE_MAX:
            raise MalformedMessage("a scanned safety number is some 80 bytes")
        fields = read_fields(scanned, 0, len(scanned))
        version = fields.get(1, 0)
        if type(version) is not int:
            raise MalformedMessage("a scanned safety number has a number as its version")
        if version != self.version:
            raise SafetyNumberMismatch(f"the scanned safety number has version {version}, ours has {self.version}")
        theirs = _content(fields.get(2))
        ours = _content(fields.get(3))
        # Both are compared in any case, and in constant time.
        if not equal(theirs, self.remote_hash) & equal(ours, self.local_hash):
            raise SafetyNumberMismatch("the scanned safety number is of other identities")


def safety_number(
    local_id: bytes,
    local_identity_key: bytes,
    remote_id: bytes,
    remote_identity_key: bytes,
    iterations: int = 5200,
    *,
    version: int = SCANNABLE_VERSION,
) -> SafetyNumber:
    """Compute the safety number of two parties (some 5 ms).

    *local_id* and *remote_id* are stable ids in bytes: the 16 bytes of a service id in today's clients,
    with *version* 2; version 1 was over phone numbers in ASCII. Identity keys have 33 bytes.

    Raises InvalidArgument, or MalformedMessage for a key that is none.
    """
    if type(iterations) is not int or not SAFETY_NUMBER_ITERATIONS_MIN <= iterations <= SAFETY_NUMBER_ITERATIONS_MAX:
        raise InvalidArgument(
            f"iterations are {SAFETY_NUMBER_ITERATIONS_MIN} to {SAFETY_NUMBER_ITERATIONS_MAX}, not {iterations!r}"
        )
    if type(version) is not int or version not in (1, 2):
        raise InvalidArgument("a scannable safety number has version 1 or 2")
    local = _party(local_id, local_identity_key, iterations)
    remote = _party(remote_id, remote_identity_key, iterations)
    scannable = (
        number_field(1, version)
        + bytes_field(2, bytes_field(1, local[:_SCANNABLE_SIZE]))
        + bytes_field(3, bytes_field(1, remote[:_SCANNABLE_SIZE]))
    )
    digits = "".join(sorted((_digits(local), _digits(remote))))
    return SafetyNumber(digits, scannable, local[:_SCANNABLE_SIZE], remote[:_SCANNABLE_SIZE], version)


def _party(stable_id: bytes, identity_key: bytes, iterations: int) -> bytes:
    if type(stable_id) is not bytes or not 1 <= len(stable_id) <= USER_ID_SIZE_MAX:
        raise InvalidArgument(f"a stable id has 1 to {USER_ID_SIZE_MAX} bytes")
    key = parse_public_key(identity_key)
    digest = sha512(_HASH_VERSION + key + stable_id + key).digest()
    for _ in range(iterations - 1):
        digest = sha512(digest + key).digest()
    return digest


def _digits(digest: bytes) -> str:
    """30 digits: six groups of five, each of five bytes."""
    return "".join(f"{int.from_bytes(digest[at : at + 5], 'big') % 100_000:05d}" for at in range(0, 30, 5))


def _content(value: object) -> bytes:
    if type(value) is not bytes:
        raise MalformedMessage("a scanned safety number names both parties")
    content = read_fields(value, 0, len(value)).get(1)
    if type(content) is not bytes:
        raise MalformedMessage("a scanned safety number has a hash of both parties")
    return content
