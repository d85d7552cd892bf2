"""Frames of the client, those of groups and channels apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parts import DeviceRef, KemPreKey, OneTimePreKey, SignedPreKey, Submission, WantedDevices

__all__ = [
    "Acknowledge",
    "GetBundles",
    "Login",
    "Ping",
    "RemoveDevice",
    "Submit",
    "UploadPreKeys",
]


@dataclass(frozen=True, slots=True)
class Login:
    """The answer to the challenge. *claim* is what the signature covers, as it was signed (`docs/protocol.md` 4)."""

    claim: bytes
    identity_key: bytes  # 33 bytes
    signature: bytes  # 64 bytes, label `login v1`
    token: bytes | None = field(repr=False)  # the application's own, for its own rules
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
