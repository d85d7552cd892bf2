"""The wire forms: serialised keys, Signal, prekey, sender-key and distribution messages, post-quantum field."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from vectors.reference import kem, protobuf
from vectors.reference.faults import Fault, Refused

KEY_SIZE: Final = 33  # bytes: type and u-coordinate
MAC_SIZE: Final = 8
SIGNATURE_SIZE: Final = 64
ADDRESSES_SIZE: Final = 36
CHUNK_SIZE: Final = 32
SIGNAL_MESSAGE_SIZE_MIN: Final = 1 + MAC_SIZE
CURVE_TYPE: Final = 0x05
KYBER_TYPE: Final = 0x08
VERSION_LOW_NIBBLE: Final = 4  # the sender's own newest version, in every version byte of the pairwise messages
SENDER_KEY_VERSION_BYTE: Final = 0x33
PQ_VERSION: Final = 1
CHUNK_INDEX_MAX: Final = 65_535
UINT32_MAX: Final = 0xFFFFFFFF


def serialise_key(public_key: bytes) -> bytes:
    """Return the 33-byte form of a raw 32-byte elliptic-curve key."""
    return bytes([CURVE_TYPE]) + public_key


def raw_key(serialised: bytes) -> bytes:
    """Return the raw 32 bytes of a 33-byte key. Raises Refused(KEY_TYPE) or Refused(FIELD_SIZE)."""
    if not serialised:
        raise Refused(Fault.FIELD_SIZE, "an empty key")
    if serialised[0] != CURVE_TYPE:
        raise Refused(Fault.KEY_TYPE)
    if len(serialised) != KEY_SIZE:
        raise Refused(Fault.FIELD_SIZE, "an elliptic-curve key")
    return serialised[1:]


def raw_kem(serialised: bytes) -> bytes:
    """Return the raw 1,568 bytes of a KEM key or ciphertext. Raises Refused(KEY_TYPE) or Refused(FIELD_SIZE)."""
    if not serialised:
        raise Refused(Fault.FIELD_SIZE, "an empty KEM key or ciphertext")
    if serialised[0] != KYBER_TYPE:
        raise Refused(Fault.KEY_TYPE)
    if len(serialised) != 1 + kem.KYBER_CIPHERTEXT_SIZE:
        raise Refused(Fault.FIELD_SIZE, "a KEM key or ciphertext")
    return serialised[1:]


def check_version(version_byte: int, oldest: int, newest: int) -> int:
    """Return the version in the high nibble. Raises Refused(VERSION_OLD) or Refused(VERSION_NEW)."""
    version = version_byte >> 4
    if version < oldest:
        raise Refused(Fault.VERSION_OLD)
    if version > newest:
        raise Refused(Fault.VERSION_NEW)
    return version


@dataclass(frozen=True, slots=True)
class SignalMessage:
    """A message of an established ratchet."""

    version: int
    ratchet_key: bytes  # 32
    counter: int
    ciphertext: bytes
    pq_ratchet: bytes  # empty: the sender has no post-quantum ratchet
    addresses: bytes | None
    authenticated: bytes  # version byte and protobuf as they arrived
    mac: bytes

    @classmethod
    def decode(cls, data: bytes) -> SignalMessage:
        """Parse the wire form. Raises Refused."""
        if len(data) < SIGNAL_MESSAGE_SIZE_MIN:
            raise Refused(Fault.TRUNCATED)
        version = check_version(data[0], 3, 4)
        fields = protobuf.decode(data[1:-MAC_SIZE])
        fields.optional_number(3)  # the previous counter: nothing needs it, but it must be a number
        return cls(
            version=version,
            ratchet_key=raw_key(fields.string(1)),
            counter=fields.number(2),
            ciphertext=fields.string(4),
            pq_ratchet=fields.optional_string(5) or b"",
            addresses=fields.optional_string(6),
            authenticated=data[:-MAC_SIZE],
            mac=data[-MAC_SIZE:],
        )


@dataclass(frozen=True, slots=True)
class PreKeyMessage:
    """A first message: what the handshake needs, and a Signal message inside."""

    version: int
    registration_id: int
    one_time_prekey_id: int | None
    signed_prekey_id: int
    kem_prekey_id: int | None
    kem_ciphertext: bytes | None  # 1,568
    base_key: bytes  # 32
    identity_key: bytes  # 32
    message: bytes

    @classmethod
    def decode(cls, data: bytes) -> PreKeyMessage:
        """Parse the wire form. Raises Refused."""
        if not data:
            raise Refused(Fault.TRUNCATED)
        version = check_version(data[0], 3, 4)
        fields = protobuf.decode(data[1:])
        kem_prekey_id, kem_ciphertext = fields.optional_number(7), fields.optional_string(8)
        both_or_neither = (kem_prekey_id is None) == (kem_ciphertext is None)
        if not both_or_neither or (version == 4 and kem_ciphertext is None):
            raise Refused(Fault.FIELD_MISSING, "fields 7 and 8")
        return cls(
            version=version,
            registration_id=fields.optional_number(5) or 0,
            one_time_prekey_id=fields.optional_number(1),
            signed_prekey_id=fields.number(6),
            kem_prekey_id=kem_prekey_id,
            kem_ciphertext=None if kem_ciphertext is None else raw_kem(kem_ciphertext),
            base_key=raw_key(fields.string(2)),
            identity_key=raw_key(fields.string(3)),
            message=fields.string(4),
        )

    def fields(self) -> dict[int, int | bytes | None]:
        """Return the fields of the protobuf."""
        return {
            1: self.one_time_prekey_id,
            2: serialise_key(self.base_key),
            3: serialise_key(self.identity_key),
            4: self.message,
            5: self.registration_id,
            6: self.signed_prekey_id,
            7: self.kem_prekey_id,
            8: None if self.kem_ciphertext is None else bytes([KYBER_TYPE]) + self.kem_ciphertext,
        }

    def encode(self) -> bytes:
        """Return the wire form."""
        return bytes([self.version << 4 | VERSION_LOW_NIBBLE]) + protobuf.encode(self.fields())


class PqType(IntEnum):
    """What a post-quantum message carries."""

    NONE = 0
    HEADER = 1
    KEY = 2
    KEY_AND_CT1_ACK = 3
    CT1_ACK = 4
    CT1 = 5
    CT2 = 6


CHUNKLESS: Final = frozenset({PqType.NONE, PqType.CT1_ACK})


@dataclass(frozen=True, slots=True)
class PqMessage:
    """The content of field 5: which chain key, and one piece of the running key agreement."""

    epoch: int
    index: int
    type: PqType
    chunk: tuple[int, bytes] | None

    def encode(self) -> bytes:
        """Return the wire form."""
        head = bytes([PQ_VERSION]) + protobuf.varint(self.epoch) + protobuf.varint(self.index) + bytes([self.type])
        return head if self.chunk is None else head + protobuf.varint(self.chunk[0]) + self.chunk[1]

    @classmethod
    def decode(cls, data: bytes) -> PqMessage:
        """Parse the wire form; what follows it is ignored. Raises Refused."""
        if not data or data[0] != PQ_VERSION:
            raise Refused(Fault.PQ_VERSION)
        epoch, offset = protobuf.read_varint(data, 1)
        index, offset = protobuf.read_varint(data, offset)
        if epoch == 0:
            raise Refused(Fault.PQ_EPOCH_ZERO)
        if index > UINT32_MAX or offset >= len(data):
            raise Refused(Fault.WIRE, "the post-quantum message")
        if index == 0:
            raise Refused(Fault.PQ_INDEX_ZERO)
        if data[offset] > max(PqType):
            raise Refused(Fault.PQ_TYPE)
        pq_type = PqType(data[offset])
        if pq_type in CHUNKLESS:
            return cls(epoch, index, pq_type, None)
        chunk_index, offset = protobuf.read_varint(data, offset + 1)
        chunk = data[offset : offset + CHUNK_SIZE]
        if chunk_index > CHUNK_INDEX_MAX or len(chunk) < CHUNK_SIZE:
            raise Refused(Fault.PQ_CHUNK)
        return cls(epoch, index, pq_type, (chunk_index, chunk))


@dataclass(frozen=True, slots=True)
class DistributionMessage:
    """What a group's member needs to read one sender's chain."""

    distribution_id: bytes  # 16, a UUID
    chain_id: int
    iteration: int
    chain_key: bytes  # 32
    signing_key: bytes  # 32

    def encode(self) -> bytes:
        """Return the wire form."""
        return bytes([SENDER_KEY_VERSION_BYTE]) + protobuf.encode(
            {
                1: self.distribution_id,
                2: self.chain_id,
                3: self.iteration,
                4: self.chain_key,
                5: serialise_key(self.signing_key),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> DistributionMessage:
        """Parse the wire form. Raises Refused."""
        if not data:
            raise Refused(Fault.TRUNCATED)
        check_version(data[0], 3, 3)
        if len(data) < 65:
            raise Refused(Fault.TRUNCATED)
        fields = protobuf.decode(data[1:])
        return cls(
            distribution_id=_sized(fields.string(1), 16),
            chain_id=fields.number(2),
            iteration=fields.number(3),
            chain_key=_sized(fields.string(4), 32),
            signing_key=raw_key(fields.string(5)),
        )


@dataclass(frozen=True, slots=True)
class SenderKeyMessage:
    """One message to a group."""

    distribution_id: bytes  # 16, a UUID
    chain_id: int
    iteration: int
    ciphertext: bytes
    signed: bytes  # version byte and protobuf as they arrived
    signature: bytes

    @classmethod
    def decode(cls, data: bytes) -> SenderKeyMessage:
        """Parse the wire form. Raises Refused."""
        if not data:
            raise Refused(Fault.TRUNCATED)
        check_version(data[0], 3, 3)
        if len(data) < 1 + SIGNATURE_SIZE:
            raise Refused(Fault.TRUNCATED)
        fields = protobuf.decode(data[1:-SIGNATURE_SIZE])
        return cls(
            distribution_id=_sized(fields.string(1), 16),
            chain_id=fields.number(2),
            iteration=fields.number(3),
            ciphertext=fields.string(4),
            signed=data[:-SIGNATURE_SIZE],
            signature=data[-SIGNATURE_SIZE:],
        )


def encode_sender_key_message(*, distribution_id: bytes, chain_id: int, iteration: int, ciphertext: bytes) -> bytes:
    """Return version byte and protobuf, the part that is signed."""
    return bytes([SENDER_KEY_VERSION_BYTE]) + protobuf.encode(
        {1: distribution_id, 2: chain_id, 3: iteration, 4: ciphertext}
    )


def _sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise Refused(Fault.FIELD_SIZE)
    return data
