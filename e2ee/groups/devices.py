"""What a group upload was made for: a digest over all devices that were keyed (`docs/protocol.md` R7.6)."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from e2ee.codec import encode_array

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2ee.frames import MemberDevices

__all__ = ["device_digest"]

_LABEL: Final = b"e2ee group devices v1\x00"


def device_digest(members: Iterable[MemberDevices]) -> bytes:
    """Digest the devices of *members*, in whatever order they are given; 32 bytes."""
    devices = sorted(
        (one.user_id, device.device_id, device.registration_id) for one in members for device in one.devices
    )
    return sha256(_LABEL + encode_array(devices)).digest()
