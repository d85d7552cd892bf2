"""What a client tells its application: frozen values, to be matched by type (messaging section 12).

*Durable* events wait in the inbox, in a packed form, until the application has acknowledged them; a crash
delivers them again, counted in ``redelivered``. *Live* events are told once, to whoever listens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import Final, TypeAlias

from .codec import Reader, decode_array, encode_array, flag, integer, octets, optional, text, user
from .errors import MalformedFrame
from .frames import DEVICE_ID_MAX
from .ids import MESSAGE_ID_SIZE, MessageId, UserId
from .limits import CONTENT_SIZE_MAX, COUNTER_MAX, TEXT_SIZE_MAX

__all__ = [
    "CaughtUp",
    "Connected",
    "DeliveryQuarantined",
    "DeliveryRefused",
    "DeliveryState",
    "DirectMessage",
    "Disconnected",
    "DurableEvent",
    "Event",
    "HandshakeWithoutOneTimeKey",
    "IdentityChanged",
    "InboxFull",
    "LiveEvent",
    "MessageLost",
    "MessagePending",
    "MessageState",
    "OwnMessage",
    "PreKeysLow",
    "RelayRolledBack",
    "UnknownContent",
    "pack_event",
    "unpack_event",
]


class DeliveryState(IntEnum):
    """How far a message has come. `send` has queued it when it returns; the numbers are stored ones."""

    HELD = 1  # waits for what the reason names, and goes on by itself
    SENT = 2  # the relay has stored it
    DELIVERED = 3  # a device of the recipient has decrypted and committed it
    READ = 4  # the recipient's application has marked it as read
    FAILED = 5  # will not be sent; the reason says why
    EXPIRED = 6  # no receipt for 30 days


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableEvent:
    """An event that stays until it is acknowledged."""

    number: int = field(default=0, compare=False)  # its place in the inbox; what acknowledges it
    redelivered: int = field(default=0, compare=False)  # how often it was given to the application before


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectMessage(DurableEvent):
    """A message from another user, authenticated."""

    sender: UserId
    sender_device: int
    message_id: MessageId
    conversation_number: int  # of this message, among those of this device to us
    sent_at_ms: int  # since 1970, by the sender's clock
    text: str | None = field(repr=False)  # None: the content was bytes
    data: bytes = field(repr=False)  # the content, of a text its UTF-8
    late: bool = False  # a later message of the same device came before it


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMessage(DurableEvent):
    """A message that another device of the same user has sent."""

    recipient: UserId
    own_device: int
    message_id: MessageId
    sent_at_ms: int  # since 1970, by that device's clock
    text: str | None = field(repr=False)
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageState(DurableEvent):
    """A message of ours came further, for one recipient."""

    message_id: MessageId
    recipient: UserId
    state: DeliveryState
    reason: str = ""  # of HELD and FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChanged(DurableEvent):
    """A user shows another identity key than the one on record: decide, after comparing safety numbers."""

    user: UserId
    on_record: bytes  # 33 bytes
    shown: bytes  # 33 bytes
    adopted: bool  # the policy has taken it already


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLost(DurableEvent):
    """A message that did not open has been given up."""

    sender: UserId
    sender_device: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryQuarantined(DurableEvent):
    """Our own code failed on an envelope three times; it is kept aside. Please report it."""

    sender: UserId
    sender_device: int
    cause: str  # the type of the error and where it was raised, no contents


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
Event: TypeAlias = DurableEvent | LiveEvent


# The packed forms: [version, the fields in order]. They only grow at the end.

_VERSION: Final = 1


def _message_id(value: object) -> MessageId:
    found = text(2 * MESSAGE_ID_SIZE)(value)
    if len(found) != 2 * MESSAGE_ID_SIZE:
        raise MalformedFrame("not a message id")
    return MessageId(found)


def _state(value: object) -> DeliveryState:
    try:
        return DeliveryState(integer(255)(value))
    except ValueError as cause:
        raise MalformedFrame("not a delivery state") from cause


_device = integer(DEVICE_ID_MAX, 1)
_counter = integer(COUNTER_MAX)
_key = octets(33, 33)
_reason = text(TEXT_SIZE_MAX)
_content: tuple[Reader, Reader] = (optional(text(CONTENT_SIZE_MAX)), octets(CONTENT_SIZE_MAX))
_FORMS: Final[dict[str, tuple[type[DurableEvent], tuple[Reader, ...]]]] = {
    "direct_message": (DirectMessage, (user, _device, _message_id, _counter, _counter, *_content, flag)),
    "own_message": (OwnMessage, (user, _device, _message_id, _counter, *_content)),
    "message_state": (MessageState, (_message_id, user, _state, _reason)),
    "identity_changed": (IdentityChanged, (user, _key, _key, flag)),
    "message_lost": (MessageLost, (user, _device, _reason)),
    "delivery_quarantined": (DeliveryQuarantined, (user, _device, _reason)),
}
_KINDS: Final = {kind: name for name, (kind, _) in _FORMS.items()}
_PLACE: Final = ("number", "redelivered")  # of every durable event; not packed: the inbox knows them


def _names(kind: type[DurableEvent]) -> list[str]:
    return [part.name for part in fields(kind) if part.name not in _PLACE]


def pack_event(event: DurableEvent) -> tuple[str, bytes]:
    """Return the name of the event's kind and its packed form."""
    kind = type(event)
    values = [getattr(event, name) for name in _names(kind)]
    if isinstance(event, DirectMessage | OwnMessage):
        # The text is the data: it is not stored twice, only that it is a text.
        values[_names(kind).index("text")] = None if event.text is None else ""
    return _KINDS[kind], encode_array([_VERSION, *values])


def unpack_event(name: str, body: bytes, *, number: int, redelivered: int) -> DurableEvent:
    """Undo `pack_event`, for an event at its place in the inbox. Raises MalformedFrame if it is damaged."""
    if name not in _FORMS:
        raise MalformedFrame("an event of a newer release")
    kind, readers = _FORMS[name]
    values = decode_array(body)
    if not values or values[0] != _VERSION or len(values) <= len(readers):
        raise MalformedFrame("an event in another form")
    found = [read(value) for read, value in zip(readers, values[1:], strict=False)]
    event = kind(**dict(zip(_names(kind), found, strict=True)), number=number, redelivered=redelivered)
    if isinstance(event, DirectMessage | OwnMessage) and event.text is not None:
        return replace(event, text=event.data.decode())
    return event
