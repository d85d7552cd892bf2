"""Bodies of the control messages about sender keys (`docs/protocol.md` section 5): they travel pairwise.

SENDER_KEY    [group id, distribution message]
KEY_REQUEST   [device, group id, chain id]
KEY_ACK       [device, group id, chain ids]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .codec import decode_array, encode_array, integer, items, octets, record
from .frames import DEVICE_ID_MAX
from .limits import GROUP_ID_SIZE

__all__ = [
    "KEY_ACK_CHAINS_MAX",
    "KeyAck",
    "KeyRequest",
    "SenderKeyBody",
    "decode_key_ack",
    "decode_key_request",
    "decode_sender_key",
    "encode_body",
]

DISTRIBUTION_SIZE_MAX: Final = 256  # bytes; one is of about 110
CHAIN_ID_MAX: Final = 2**32 - 1
KEY_ACK_CHAINS_MAX: Final = 64  # chains confirmed at once: all that one receipt run finds due to a device


@dataclass(frozen=True, slots=True)
class SenderKeyBody:
    """The sender's chain in a group, from its present position on: it *is* the key."""

    group_id: bytes  # 32 bytes
    distribution: bytes = field(repr=False)  # a sender key distribution message


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """Messages of a chain have arrived without it."""

    device_id: int  # which of the recipient's devices the chain is of
    group_id: bytes  # 32 bytes
    chain_id: int


@dataclass(frozen=True, slots=True)
class KeyAck:
    """Chains that the sender can read now."""

    device_id: int  # which of the recipient's devices the chains are of
    group_id: bytes  # 32 bytes
    chain_ids: tuple[int, ...]


_group_id = octets(GROUP_ID_SIZE, GROUP_ID_SIZE)
_device = integer(DEVICE_ID_MAX, 1)
_chain_id = integer(CHAIN_ID_MAX)
_sender_key = record(SenderKeyBody, _group_id, octets(DISTRIBUTION_SIZE_MAX, 1))
_key_request = record(KeyRequest, _device, _group_id, _chain_id)
_key_ack = record(KeyAck, _device, _group_id, items(_chain_id, KEY_ACK_CHAINS_MAX, 1))


def encode_body(body: SenderKeyBody | KeyRequest | KeyAck) -> bytes:
    """Encode a body."""
    return encode_array(body)


def decode_sender_key(body: bytes) -> SenderKeyBody:
    """Decode the body of a SENDER_KEY. Raises MalformedFrame."""
    found: SenderKeyBody = _sender_key(decode_array(body))
    return found


def decode_key_request(body: bytes) -> KeyRequest:
    """Decode the body of a KEY_REQUEST. Raises MalformedFrame."""
    found: KeyRequest = _key_request(decode_array(body))
    return found


def decode_key_ack(body: bytes) -> KeyAck:
    """Decode the body of a KEY_ACK. Raises MalformedFrame."""
    found: KeyAck = _key_ack(decode_array(body))
    return found
