"""What is told once, to whoever listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from e2ee.diagnostics import Reason, correlation_of

if TYPE_CHECKING:
    from e2ee.errors import RefusalCode
    from e2ee.ids import MessageId, UserId

__all__ = [
    "CaughtUp",
    "ChannelMessage",
    "ClientFault",
    "Connected",
    "ConnectionFailed",
    "DeliveryRefused",
    "Disconnected",
    "HandshakeWithoutOneTimeKey",
    "HealingPaused",
    "InboxFull",
    "LiveEvent",
    "MessagePending",
    "MessagesResent",
    "PreKeysLow",
    "RawMessage",
    "RelayRolledBack",
    "Subscribed",
    "UnknownContent",
    "Unsubscribed",
    "UserCreated",
    "UserDeleted",
]


@dataclass(frozen=True, slots=True)
class Connected:
    """The relay has accepted the login."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection to the relay is gone; the client connects again by itself."""

    code: RefusalCode | None = None  # the relay's reason, if it gave one
    reason: str = field(default="", compare=False)  # one line for a person


@dataclass(frozen=True, slots=True)
class ConnectionFailed:
    """The relay could not be reached, or did not let us in; the client tries again by itself."""

    reason: str  # one line for a person
    next_attempt_s: float  # seconds from now


@dataclass(frozen=True, slots=True)
class ClientFault:
    """Our own code failed, not on one envelope; the client connects anew and goes on. Please report it."""

    error: str  # the type of the error, no text of it


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
    """The relay has forgotten what it had confirmed: prekeys are uploaded again, messages without a receipt sent again.

    What others had sent to us and the relay has lost, they send again when they connect. `docs/recovery.md` says what
    does not come back.
    """

    sent_again: int = 0  # messages that go again, under the ids that they had; receivers tell them once
    left: int = 0  # messages without a receipt that do not: too old, sent again too often, or not for a newcomer


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
    reason: str  # the text of a `Reason`

    @property
    def why(self) -> Reason:
        """The reason, with what to do."""
        return Reason.of(self.reason)

    @property
    def correlation(self) -> str:
        """What both ends' reports call the envelope."""
        return correlation_of(self.envelope_id)


@dataclass(frozen=True, slots=True)
class HealingPaused:
    """Envelopes of a device do not open, and renewing the session has not helped: no more is done before *until*.

    Told once for each pause, however many envelopes wait. Both ends' reports show the same correlations.
    """

    user: UserId
    device: int
    until: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class MessagesResent:
    """A device could not open what we had sent; it has asked, and these have gone again."""

    recipient: UserId
    recipient_device: int
    messages: tuple[MessageId, ...]
    gone: int  # envelopes that were asked for and do not go again


@dataclass(frozen=True, slots=True)
class DeliveryRefused:
    """An envelope was dropped: malformed, or its content does not belong to its envelope."""

    sender: UserId
    sender_device: int
    reason: str  # the text of a `Reason`

    @property
    def why(self) -> Reason:
        """The reason, with what to do."""
        return Reason.of(self.reason)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The relay has confirmed a subscription, also after each reconnection."""

    channel: str


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A subscription has ended: asked for, or refused by the relay."""

    channel: str


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """Somebody published to a channel. **Not encrypted**: the relay has read it and could have made it up."""

    channel: str
    sender: UserId  # as the relay says
    sender_device: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RawMessage:
    """Raw text or bytes of the relay's application, **not encrypted**."""

    data: str | bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UserCreated:
    """A user is known to the relay, which says so."""

    user: UserId


@dataclass(frozen=True, slots=True)
class UserDeleted:
    """A user's account is gone, as the relay says."""

    user: UserId


LiveEvent: TypeAlias = (
    Subscribed
    | Unsubscribed
    | ChannelMessage
    | RawMessage
    | UserCreated
    | UserDeleted
    | ConnectionFailed
    | ClientFault
    | Connected
    | Disconnected
    | CaughtUp
    | InboxFull
    | PreKeysLow
    | RelayRolledBack
    | HandshakeWithoutOneTimeKey
    | UnknownContent
    | MessagePending
    | HealingPaused
    | MessagesResent
    | DeliveryRefused
)
