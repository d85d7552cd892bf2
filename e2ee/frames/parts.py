"""What frames are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

__all__ = [
    "DEVICE_ID_MAX",
    "Delivery",
    "DeviceBundle",
    "DeviceChange",
    "DeviceRef",
    "EnvelopeFor",
    "EnvelopeKind",
    "KemPreKey",
    "OneTimePreKey",
    "Outcome",
    "SignedPreKey",
    "Submission",
    "UserBundles",
    "WantedDevices",
]

DEVICE_ID_MAX: Final = 127


class EnvelopeKind(IntEnum):
    """How the recipient reads an envelope's body; the numbers of ciphertexts are libsignal's."""

    SIGNAL = 2
    PREKEY = 3
    SENDER_KEY = 7
    GROUP_ENTRY = 9


class Outcome(IntEnum):
    """What became of one envelope for one device."""

    STORED = 0
    DUPLICATE = 1  # stored before: counts as stored
    FULL = 2  # the mailbox, or the sender's share of it, is full
    GONE = 3  # the device was removed


@dataclass(frozen=True, slots=True)
class DeviceRef:
    """A device as a sender knows it."""

    device_id: int
    registration_id: int


@dataclass(frozen=True, slots=True)
class SignedPreKey:
    """The public half of a signed prekey."""

    id: int
    public_key: bytes  # 33 bytes
    signature: bytes  # 64 bytes


@dataclass(frozen=True, slots=True)
class KemPreKey:
    """The public half of a KEM prekey."""

    id: int
    public_key: bytes  # 1,569 bytes
    signature: bytes  # 64 bytes


@dataclass(frozen=True, slots=True)
class OneTimePreKey:
    """The public half of a one-time prekey."""

    id: int
    public_key: bytes  # 33 bytes


@dataclass(frozen=True, slots=True)
class WantedDevices:
    """Whose bundles are asked for: the devices named, or all of the user's."""

    user_id: str
    device_ids: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class DeviceBundle:
    """One device's keys for one handshake; the user's identity key stands once in `UserBundles`."""

    device_id: int
    registration_id: int
    signed_prekey: SignedPreKey
    kem_prekey: KemPreKey
    one_time_prekey: OneTimePreKey | None


@dataclass(frozen=True, slots=True)
class UserBundles:
    """The answer for one user; no identity key: the user is unknown."""

    user_id: str
    identity_key: bytes | None  # 33 bytes
    bundles: tuple[DeviceBundle, ...]


class EnvelopeFor(NamedTuple):
    """One ciphertext for one device."""

    device_id: int
    envelope_id: bytes  # 16 bytes
    kind: EnvelopeKind
    body: bytes


class Submission(NamedTuple):
    """One message to one user: a ciphertext for each of its devices. The number is the sender device's counter."""

    number: int
    envelopes: tuple[EnvelopeFor, ...]


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """Why a device list was refused: what the relay has and the sender has not, and the other way round."""

    missing: tuple[DeviceRef, ...]  # also those that registered again, with the new id
    extra: tuple[int, ...]  # device ids


class Delivery(NamedTuple):
    """One envelope out of the mailbox."""

    number: int
    sender_user_id: str
    sender_device_id: int
    envelope_id: bytes  # 16 bytes
    kind: EnvelopeKind
    body: bytes
    stored_at_ms: int  # since 1970, by the relay's clock
