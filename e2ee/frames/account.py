"""About the account itself: its devices, its identity, its end. Kinds 30 to 32 of the client, 94 to 96 of the relay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parts import DeviceRef

__all__ = [
    "AccountDeleted",
    "DeleteAccount",
    "DeviceList",
    "IdentityReplaced",
    "ListDevices",
    "ReplaceIdentity",
]


@dataclass(frozen=True, slots=True)
class DeleteAccount:
    """Deletes the user with devices, mail and prekeys; logs of groups keep what they say. The id is free again."""

    acknowledged: int
    request: int


@dataclass(frozen=True, slots=True)
class ReplaceIdentity:
    """Binds the user id to another identity key, which proves itself as in a `Login` on this connection."""

    acknowledged: int
    request: int
    claim: bytes  # as of a login, over this connection's challenge
    identity_key: bytes  # the new one, 33 bytes
    signature: bytes  # by it, 64 bytes, label `login v1`


@dataclass(frozen=True, slots=True)
class ListDevices:
    """Asks for the devices of one's own user, with or without prekeys."""

    acknowledged: int
    request: int


@dataclass(frozen=True, slots=True)
class AccountDeleted:
    """It is deleted; the connection ends."""

    request: int


@dataclass(frozen=True, slots=True)
class IdentityReplaced:
    """The id is bound to the new key, what was the old key's is removed; the connection ends."""

    request: int


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The devices of one's own user, the asking one included."""

    request: int
    devices: tuple[DeviceRef, ...]
