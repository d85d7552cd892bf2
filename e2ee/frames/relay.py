"""Frames of the relay, those of groups and channels apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parts import Delivery, DeviceChange, Outcome, UserBundles

__all__ = [
    "Bundles",
    "Challenge",
    "Closing",
    "Deliver",
    "Drained",
    "LowPreKeys",
    "Pong",
    "RefusedRequest",
    "Removed",
    "Submitted",
    "Uploaded",
    "Welcome",
]


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
