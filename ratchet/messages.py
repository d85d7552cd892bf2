"""Wire forms: SignalMessage, PreKeySignalMessage, SenderKeyMessage and its distribution message.

Each `parse` takes bytes from outside and may raise only MalformedMessage or UnsupportedVersion.
What a tag or signature covers is kept as the received slice, never encoded again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from uuid import UUID

from .errors import MalformedMessage, UnsupportedVersion
from .keys import PUBLIC_KEY_SIZE, parse_kem_ciphertext, parse_public_key
from .limits import COUNTER_MAX, MESSAGE_SIZE_MAX
from .primitives import SIGNATURE_SIZE
from .protobuf import Fields, bytes_field, number_field, read_fields, read_varint, varint

__all__ = [
    "VERSION_PQXDH",
    "VERSION_X3DH",
    "Ciphertext",
    "CiphertextKind",
    "DistributionMessage",
    "PreKeyMessage",
    "SenderKeyMessage",
    "SignalMessage",
]

VERSION_X3DH: Final = 3
VERSION_PQXDH: Final = 4
SENDER_KEY_VERSION: Final = 3
TAG_SIZE: Final = 8  # bytes of HMAC-SHA256 that a SignalMessage carries
BINDING_SIZE: Final = 36  # bytes of field 6: both service ids and device ids

# The version byte carries the message's version above and the sender's newest below; ours is 4.
_VERSION_BYTES: Final = {VERSION_X3DH: b"\x34", VERSION_PQXDH: b"\x44"}
_SENDER_KEY_VERSION_BYTE: Final = b"\x33"


class CiphertextKind(IntEnum):
    """What a ciphertext's body is; the numbers are libsignal's."""

    SIGNAL = 2
    PREKEY = 3


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """One encrypted message as it travels: the kind says how the body is parsed."""

    kind: CiphertextKind
    body: bytes


class SignalMessage:
    """A message within a session (libsignal's SignalMessage; the specification's header and ciphertext).

    Not a dataclass: one is made for every message received, and this form costs a third.
    """

    __slots__ = (
        "addresses",
        "authenticated",
        "ciphertext",
        "counter",
        "pq_ratchet",
        "ratchet_key",
        "tag",
        "version",
    )

    def __init__(
        self,
        version: int,
        ratchet_key: bytes,
        counter: int,
        ciphertext: bytes,
        pq_ratchet: bytes,
        addresses: bytes | None,
        authenticated: bytes,
        tag: bytes,
    ) -> None:
        self.version = version
        self.ratchet_key = ratchet_key  # 33 bytes
        self.counter = counter  # position in the sender's chain
        self.ciphertext = ciphertext
        self.pq_ratchet = pq_ratchet  # SPQR's part; empty: none
        self.addresses = addresses  # 36 bytes, or None if the sender bound none
        self.authenticated = authenticated  # version byte and protobuf, as received
        self.tag = tag  # 8 bytes

    @classmethod
    def parse(cls, data: bytes) -> SignalMessage:
        """Parse version byte, protobuf and tag (`signal-protocol` 3.3)."""
        version = _version(data, TAG_SIZE)
        end = len(data) - TAG_SIZE
        message = _usual_form(data, version, end)
        if message is not None:
            return message
        fields = read_fields(data, 1, end)
        get = fields.get
        ratchet_key, counter, ciphertext, pq_ratchet, addresses = get(1), get(2), get(4), get(5, b""), get(6)
        if type(ratchet_key) is not bytes or len(ratchet_key) != PUBLIC_KEY_SIZE or ratchet_key[0] != 0x05:
            raise MalformedMessage("a public key is 0x05 and 32 bytes")
        if (
            type(counter) is not int
            or type(ciphertext) is not bytes
            or type(pq_ratchet) is not bytes
            or (type(addresses) is not bytes and (addresses is not None or 6 in fields))
            or type(get(3, 0)) is not int
        ):
            raise MalformedMessage("a field is missing or of the wrong type")
        return cls(
            version,
            ratchet_key,
            counter,
            ciphertext,
            pq_ratchet,
            addresses,
            data[:end],
            data[end:],
        )


def _usual_form(data: bytes, version: int, end: int) -> SignalMessage | None:
    """Read a message whose fields 1 to 5 stand once, in order and with nothing else, as all senders write them.

    None for any other form, which `read_fields` then judges. Half of the parsing time of every message.
    """
    try:
        if data[1:4] != b"\x0a\x21\x05" or data[36] != 0x10:
            return None
        counter, position = data[37], 38
        if counter > 0x7F:
            counter, position = read_varint(data, 37)
        if data[position] != 0x18 or data[position + 1] > 0x7F or data[position + 2] != 0x22:
            return None
        size, start = data[position + 3], position + 4
        if size > 0x7F:
            size, start = read_varint(data, position + 3)
        after = start + size
        if data[after] != 0x2A or data[after + 1] > 0x7F or after + 2 + data[after + 1] != end:
            return None
    except IndexError:
        return None
    return SignalMessage(
        version,
        data[3:36],
        counter & COUNTER_MAX,
        data[start:after],
        data[after + 2 : end],
        None,
        data[:end],
        data[end:],
    )


def encode_signal_message(
    version: int,
    ratchet_key: bytes,
    counter: int,
    previous_counter: int,
    ciphertext: bytes,
    pq_ratchet: bytes,
    addresses: bytes | None,
) -> bytes:
    """Return version byte and protobuf, which the caller's tag covers and follows."""
    encoded = b"%b\x0a\x21%b\x10%b\x18%b\x22%b%b" % (
        _VERSION_BYTES[version],
        ratchet_key,
        varint(counter),
        varint(previous_counter),
        varint(len(ciphertext)),
        ciphertext,
    )
    if pq_ratchet:
        encoded += b"\x2a%b%b" % (varint(len(pq_ratchet)), pq_ratchet)
    return encoded if addresses is None else b"%b\x32\x24%b" % (encoded, addresses)


@dataclass(frozen=True, slots=True, eq=False)
class PreKeyMessage:
    """A first message (libsignal's PreKeySignalMessage): the handshake's public values around a SignalMessage.

    It has no tag of its own; the inner message's tag holds only if all of it was right.
    """

    version: int
    registration_id: int
    one_time_prekey_id: int | None
    signed_prekey_id: int
    kem_prekey_id: int | None  # None in version 3, as the ciphertext
    kem_ciphertext: bytes | None  # 1,569 bytes
    base_key: bytes  # 33 bytes
    identity_key: bytes  # 33 bytes
    message: SignalMessage

    @classmethod
    def parse(cls, data: bytes) -> PreKeyMessage:
        """Parse version byte and protobuf; the inner message too (`signal-protocol` 3.3)."""
        version = _version(data, 0)
        fields = read_fields(data, 1, len(data))
        registration_id = fields.get(5, 0)
        if type(registration_id) is not int:
            raise MalformedMessage("the registration id is of the wrong type")
        kem_prekey_id = _optional_number(fields, 7)
        kem_ciphertext = parse_kem_ciphertext(_bytes(fields, 8)) if 8 in fields else None
        if (kem_prekey_id is None) != (kem_ciphertext is None) or (kem_prekey_id is None and version >= VERSION_PQXDH):
            raise MalformedMessage("a PQXDH message needs both KEM fields, an X3DH message both or none")
        message = SignalMessage.parse(_bytes(fields, 4))
        if message.version != version:
            raise MalformedMessage(f"a message of version {message.version} in a first message of version {version}")
        return cls(
            version,
            registration_id,
            _optional_number(fields, 1),
            _number(fields, 6),
            kem_prekey_id,
            kem_ciphertext,
            parse_public_key(_bytes(fields, 2)),
            parse_public_key(_bytes(fields, 3)),
            message,
        )


@dataclass(frozen=True, slots=True, eq=False)
class PendingPreKey:
    """What an initiator repeats around each message until the peer answers."""

    registration_id: int  # the initiator's own
    one_time_prekey_id: int | None
    signed_prekey_id: int
    kem_prekey_id: int | None
    kem_ciphertext: bytes | None  # 1,569 bytes
    base_key: bytes  # 33 bytes
    identity_key: bytes  # 33 bytes, the initiator's own

    def wrap(self, version: int, message: bytes) -> bytes:
        """Encode a PreKeyMessage around *message*, an encoded SignalMessage with its tag."""
        parts = [_VERSION_BYTES[version]]
        if self.one_time_prekey_id is not None:
            parts.append(number_field(1, self.one_time_prekey_id))
        parts += [bytes_field(2, self.base_key), bytes_field(3, self.identity_key), bytes_field(4, message)]
        parts += [number_field(5, self.registration_id), number_field(6, self.signed_prekey_id)]
        if self.kem_prekey_id is not None and self.kem_ciphertext is not None:
            parts += [number_field(7, self.kem_prekey_id), bytes_field(8, self.kem_ciphertext)]
        return b"".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class SenderKeyMessage:
    """A group message: signed by the chain's signing key, encrypted under one key of the chain."""

    distribution_id: UUID
    chain_id: int
    iteration: int
    ciphertext: bytes
    signed: bytes  # version byte and protobuf, as received
    signature: bytes  # 64 bytes

    @classmethod
    def parse(cls, data: bytes) -> SenderKeyMessage:
        """Parse version byte, protobuf and signature (`signal-protocol` 5.1)."""
        _sender_key_version(data, SIGNATURE_SIZE)
        end = len(data) - SIGNATURE_SIZE
        fields = read_fields(data, 1, end)
        return cls(
            _distribution_id(fields),
            _number(fields, 2),
            _number(fields, 3),
            _bytes(fields, 4),
            data[:end],
            data[end:],
        )


def encode_sender_key_message(distribution_id: bytes, chain_id: int, iteration: int, ciphertext: bytes) -> bytes:
    """Return version byte and protobuf, which the caller's signature covers and follows."""
    return b"\x33\x0a\x10%b\x10%b\x18%b\x22%b%b" % (
        distribution_id,
        varint(chain_id),
        varint(iteration),
        varint(len(ciphertext)),
        ciphertext,
    )


@dataclass(frozen=True, slots=True, eq=False)
class DistributionMessage:
    """What lets a member read a sender's chain from one position on. It must travel encrypted: it *is* the key."""

    distribution_id: UUID
    chain_id: int
    iteration: int
    chain_key: bytes  # 32 bytes, secret
    signing_key: bytes  # 33 bytes, public

    def __repr__(self) -> str:
        return f"DistributionMessage({self.distribution_id}, chain_id={self.chain_id}, iteration={self.iteration})"

    @classmethod
    def parse(cls, data: bytes) -> DistributionMessage:
        """Parse version byte and protobuf (`signal-protocol` 5.1)."""
        _sender_key_version(data, 0)
        fields = read_fields(data, 1, len(data))
        chain_key = _bytes(fields, 4)
        if len(chain_key) != 32:
            raise MalformedMessage("a chain key has 32 bytes")
        return cls(
            _distribution_id(fields),
            _number(fields, 2),
            _number(fields, 3),
            chain_key,
            parse_public_key(_bytes(fields, 5)),
        )

    def encode(self) -> bytes:
        """Return the wire form, about 96 bytes."""
        return b"".join(
            (
                _SENDER_KEY_VERSION_BYTE,
                bytes_field(1, self.distribution_id.bytes),
                number_field(2, self.chain_id),
                number_field(3, self.iteration),
                bytes_field(4, self.chain_key),
                bytes_field(5, self.signing_key),
            )
        )


def _require_message(data: bytes, trailer_size: int) -> None:
    if type(data) is not bytes:
        raise MalformedMessage("a message must be bytes")
    if len(data) <= trailer_size:
        raise MalformedMessage(f"a message of {len(data)} bytes is too short")
    if len(data) > MESSAGE_SIZE_MAX:
        raise MalformedMessage(f"a message of {len(data)} bytes is larger than {MESSAGE_SIZE_MAX}")


def _version(data: bytes, trailer_size: int) -> int:
    _require_message(data, trailer_size)
    version = data[0] >> 4
    if version not in _VERSION_BYTES:
        raise UnsupportedVersion(f"message version {version}, spoken are 3 and 4")
    return version


def _sender_key_version(data: bytes, trailer_size: int) -> None:
    _require_message(data, trailer_size)
    if data[0] >> 4 != SENDER_KEY_VERSION:
        raise UnsupportedVersion(f"sender key message version {data[0] >> 4}, spoken is 3")


def _bytes(fields: Fields, number: int) -> bytes:
    value = fields.get(number)
    if type(value) is not bytes:
        raise MalformedMessage(f"field {number} is missing or of the wrong type")
    return value


def _number(fields: Fields, number: int) -> int:
    value = fields.get(number)
    if type(value) is not int:
        raise MalformedMessage(f"field {number} is missing or of the wrong type")
    return value


def _optional_number(fields: Fields, number: int) -> int | None:
    return _number(fields, number) if number in fields else None


def _distribution_id(fields: Fields) -> UUID:
    value = _bytes(fields, 1)
    if len(value) != 16:
        raise MalformedMessage("a distribution id has 16 bytes")
    return UUID(bytes=value)
