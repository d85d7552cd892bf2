"""What a client signs to log in (`docs/protocol.md` R4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from e2ee.codec import decode_array, integer, octets, record, text, user
from e2ee.errors import MalformedFrame
from e2ee.frames import DEVICE_ID_MAX
from e2ee.ids import has_unknown_characters
from e2ee.limits import COUNTER_MAX
from e2ee.wire import NONCE_SIZE, REGISTRATION_ID_MAX

if TYPE_CHECKING:
    from e2ee.ids import UserId

__all__ = ["Claim", "parse_claim"]

CLAIM_SIZE_MAX: Final = 1024  # bytes, as in `Login`
NAME_SIZE_MAX: Final = 261  # bytes: 253 of a host name, colon, port, brackets of an address


@dataclass(frozen=True, slots=True)
class Claim:
    """Who logs in, where, and what it remembers of its own counters."""

    version: int
    name: str  # host:port as the client dialled: a login cannot be passed on to another relay
    nonce: bytes  # of the challenge
    user_id: UserId
    device_id: int
    registration_id: int
    submission_number: int
    delivery_number: int  # up to which everything is committed
    upload_number: int


_read = record(
    Claim,
    integer(255, 1),
    text(NAME_SIZE_MAX),
    octets(NONCE_SIZE, NONCE_SIZE),
    user,
    integer(DEVICE_ID_MAX, 1),
    integer(REGISTRATION_ID_MAX, 1),
    integer(COUNTER_MAX),
    integer(COUNTER_MAX),
    integer(COUNTER_MAX),
)


def parse_claim(data: bytes) -> Claim:
    """Read a claim. Raises MalformedFrame."""
    claim: Claim = _read(decode_array(data, size_max=CLAIM_SIZE_MAX))
    if has_unknown_characters(claim.user_id):
        raise MalformedFrame("a user id with characters that this relay's Unicode does not have")
    return claim
