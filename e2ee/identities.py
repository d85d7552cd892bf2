"""What an application gets to see of identities and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ratchet import SafetyNumber

if TYPE_CHECKING:
    from .ids import UserId

__all__ = ["BY_SAFETY_NUMBER", "BY_SCAN", "Identity", "OwnDevice", "SafetyNumber"]

# How a key was verified, as it is recorded.
BY_SAFETY_NUMBER: Final = "safety number"
BY_SCAN: Final = "scanned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One identity key that a user has shown."""

    user: UserId
    identity_key: bytes  # 33 bytes, public
    first_seen_at: float  # seconds since 1970
    on_record: bool  # the one in use: of each user's keys, exactly one is
    verification: str  # how it was verified: "safety number", "scanned"; empty: it was not
    decision: str  # what was decided about it, of `e2ee.trust`'s words; empty: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDevice:
    """A device of our own user, as the relay lists it."""

    device_id: int
    registration_id: int  # tells one installation of the device from another
    this: bool  # it is this very device
