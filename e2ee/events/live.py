"""What is told once, to whoever listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from e2ee.ids import UserId

__all__ = [
    "CaughtUp",
    "Connected",
    "DeliveryRefused",
    "Disconnected",
    "HandshakeWithoutOneTimeKey",
    "InboxFull",
    "LiveEvent",
    "MessagePending",
    "PreKeysLow",
    "RelayRolledBack",
    "UnknownContent",
]


@dataclass(frozen=True, slots=True)
class Connected:
    """The relay has accepted the login."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection to the relay is gone; the client connects again by itself."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Everything that waited in the mailbox has been taken."""


@dataclass(frozen=True, slots=True)
class InboxFull:
    """No more mail is taken until the application acknowledges events."""


@dataclass(frozen=True, slots=True)
class PreKeysLow:
    """Few one-time prekeys were left at the relay; new ones are being made."""

    one_time_prekeys: int
    one_time_kem_prekeys: int


@dataclass(frozen=True, slots=True)
class RelayRolledBack:
    """The relay has forgotten what it had confirmed: prekeys are uploaded again, unconfirmed envelopes sent again."""


@dataclass(frozen=True, slots=True)
class HandshakeWithoutOneTimeKey:
    """A first message used no one-time prekey: its first keys have less forward secrecy until we answer."""

    sender: UserId
    sender_device: int


@dataclass(frozen=True, slots=True)
class UnknownContent:
    """An authentic message of a kind that this release does not have; it is not kept."""

    sender: UserId
    sender_device: int
    kind: int


@dataclass(frozen=True, slots=True)
class MessagePending:
    """An envelope does not open yet; it is kept."""

    sender: UserId
    sender_device: int
    envelope_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryRefused:
    """An envelope was dropped: malformed, or its content does not belong to its envelope."""

    sender: UserId
    sender_device: int
    reason: str


LiveEvent: TypeAlias = (
    Connected
    | Disconnected
    | CaughtUp
    | InboxFull
    | PreKeysLow
    | RelayRolledBack
    | HandshakeWithoutOneTimeKey
    | UnknownContent
    | MessagePending
    | DeliveryRefused
)
