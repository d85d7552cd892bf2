"""What client and relay say to each other: each frame a frozen type, encoded as ``[kind, field, …]``.

`docs/protocol.md` section 3 has every byte and the numbered rules, `wire` the codec. Requests carry a
number that the reply repeats; every frame of the client also acknowledges, cumulatively, the deliveries
that it has committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

__all__ = [
    "PROTOCOL_VERSION",
    "Acknowledge",
    "Bundles",
    "Challenge",
    "ClientFrame",
    "Closing",
    "Deliver",
    "Delivery",
    "DeviceBundle",
    "DeviceChange",
    "DeviceRef",
    "Drained",
    "EnvelopeFor",
    "EnvelopeKind",
    "GetBundles",
    "KemPreKey",
    "Login",
    "LowPreKeys",
    "OneTimePreKey",
    "Outcome",
    "Ping",
    "Pong",
    "RefusedRequest",
    "RelayFrame",
    "RemoveDevice",
    "Removed",
    "SignedPreKey",
    "Submission",
    "Submit",
    "Submitted",
    "UnknownFrame",
    "UploadPreKeys",
    "Uploaded",
    "UserBundles",
    "WantedDevices",
    "Welcome",
]

PROTOCOL_VERSION: Final = 1
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


# Parts of frames.


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


@dataclass(frozen=True, slots=True)
class EnvelopeFor:
    """One ciphertext for one device."""

    device_id: int
    envelope_id: bytes  # 16 bytes
    kind: EnvelopeKind
    body: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """One message to one user: a ciphertext for each of its devices. The number is the sender device's counter."""

    number: int
    envelopes: tuple[EnvelopeFor, ...]


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """Why a device list was refused: what the relay has and the sender has not, and the other way round."""

    missing: tuple[DeviceRef, ...]  # also those that registered again, with the new id
    extra: tuple[int, ...]  # device ids


@dataclass(frozen=True, slots=True)
class Delivery:
    """One envelope out of the mailbox."""

    number: int
    sender_user_id: str
    sender_device_id: int
    envelope_id: bytes  # 16 bytes
    kind: EnvelopeKind
    body: bytes
    stored_at_ms: int  # since 1970, by the relay's clock


# Frames of the client.


@dataclass(frozen=True, slots=True)
class Login:
    """The answer to the challenge. *claim* is what the signature covers, as it was signed (`docs/protocol.md` 4)."""

    claim: bytes
    identity_key: bytes  # 33 bytes
    signature: bytes  # 64 bytes, label `login v1`
    token: bytes | None  # the application's own, for its own rules
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Nothing but the acknowledgement that every frame carries."""

    acknowledged: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a sign of life."""

    acknowledged: int
    request: int


@dataclass(frozen=True, slots=True)
class UploadPreKeys:
    """New prekeys; with *purge* every one-time prekey uploaded before is forgotten first."""

    acknowledged: int
    request: int
    number: int  # the device's upload counter
    purge: bool
    signed_prekey: SignedPreKey | None
    last_resort_kem_prekey: KemPreKey | None
    one_time_prekeys: tuple[OneTimePreKey, ...]
    one_time_kem_prekeys: tuple[KemPreKey, ...]


@dataclass(frozen=True, slots=True)
class GetBundles:
    """Asks for bundles, at most 100 devices; the same *request_id* has the same answer for 10 minutes."""

    acknowledged: int
    request: int
    request_id: bytes  # 16 bytes
    wanted: tuple[WantedDevices, ...]


@dataclass(frozen=True, slots=True)
class Submit:
    """Messages to one user, in order, for the devices that the sender knows."""

    acknowledged: int
    request: int
    user_id: str
    devices: tuple[DeviceRef, ...]
    submissions: tuple[Submission, ...]


@dataclass(frozen=True, slots=True)
class RemoveDevice:
    """Removes another device of the same user, with its mailbox and prekeys."""

    acknowledged: int
    request: int
    device_id: int


# Frames of the relay.


@dataclass(frozen=True, slots=True)
class Challenge:
    """The first frame of a connection."""

    versions: tuple[int, ...]  # of this protocol that the relay speaks
    nonce: bytes  # 32 bytes
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Welcome:
    """The login is accepted. The counters are the highest that the relay has seen of this device."""

    connection_number: int
    submission_number: int
    delivery_number: int
    upload_number: int
    one_time_prekeys: int  # left at the relay
    one_time_kem_prekeys: int
    time_ms: int  # since 1970, by the relay's clock


@dataclass(frozen=True, slots=True)
class Pong:
    """The sign of life."""

    request: int


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The prekeys are stored."""

    request: int
    one_time_prekeys: int  # now left at the relay
    one_time_kem_prekeys: int


@dataclass(frozen=True, slots=True)
class Bundles:
    """The bundles asked for, in the order of the request."""

    request: int
    users: tuple[UserBundles, ...]


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a `Submit`: outcomes of the submissions accepted, from the first on, then why it stopped."""

    request: int
    outcomes: tuple[tuple[Outcome, ...], ...]  # one for each envelope, in the order sent
    refusal: int | None  # a RefusalCode for the first submission that is not in `outcomes`
    change: DeviceChange | None  # with DEVICES_CHANGED
    retry_after_ms: int | None


@dataclass(frozen=True, slots=True)
class Removed:
    """The device is removed (or was not there)."""

    request: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Mail, in order; pushed until the window of unacknowledged deliveries is full."""

    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Drained:
    """The mailbox had nothing after this delivery number when the frame was made."""

    number: int


@dataclass(frozen=True, slots=True)
class LowPreKeys:
    """One-time prekeys are running out."""

    one_time_prekeys: int
    one_time_kem_prekeys: int


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """One request was refused as a whole, and nothing of it stored."""

    request: int
    code: int  # a RefusalCode
    retry_after_ms: int | None


@dataclass(frozen=True, slots=True)
class Closing:
    """The last frame of a connection."""

    code: int  # a RefusalCode
    explanation: str
    retry_after_ms: int | None


@dataclass(frozen=True, slots=True)
class UnknownFrame:
    """A frame of a kind that this release does not have: a relay refuses it, a client passes over it."""

    kind: int
    request: int | None  # where a request's number stands, if the frame has one


ClientFrame: TypeAlias = Login | Acknowledge | Ping | UploadPreKeys | GetBundles | Submit | RemoveDevice
RelayFrame: TypeAlias = (
    Challenge
    | Welcome
    | Pong
    | Uploaded
    | Bundles
    | Submitted
    | Removed
    | Deliver
    | Drained
    | LowPreKeys
    | RefusedRequest
    | Closing
)
