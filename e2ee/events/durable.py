"""What stays in the inbox until the application has acknowledged it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from e2ee.diagnostics import Reason

if TYPE_CHECKING:
    from e2ee.ids import GroupId, MessageId, UserId

__all__ = [
    "DeliveryQuarantined",
    "DeliveryState",
    "DirectMessage",
    "DurableEvent",
    "HistoryGap",
    "IdentityChanged",
    "MessageHealed",
    "MessageLost",
    "MessageState",
    "MessagesMissing",
    "OwnMessage",
    "OwnRead",
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
class OwnRead(DurableEvent):
    """Another device of the same user has marked messages as read."""

    sender: UserId  # who sent them
    own_device: int  # where they were read
    message_ids: tuple[MessageId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageState(DurableEvent):
    """A message of ours came further: for one recipient, or for all members of a group alike."""

    message_id: MessageId
    recipient: UserId | None  # None: the group's members, who share what becomes of a message until it is delivered
    state: DeliveryState
    reason: str = ""  # of HELD and FAILED: the text of a `Reason`
    group: GroupId | None = None  # to which it was sent; None: it was sent to the recipient

    @property
    def why(self) -> Reason | None:
        """The reason, with what to do; None for a state that has none."""
        return Reason.of(self.reason) if self.reason else None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChanged(DurableEvent):
    """A user shows another identity key than the one on record: decide, after comparing safety numbers."""

    user: UserId
    on_record: bytes  # 33 bytes
    shown: bytes  # 33 bytes
    adopted: bool  # the policy has taken it already
    on_record_number: str  # our safety number with the key on record, 60 digits
    shown_number: str  # and with the one shown: what the user reads out if it is theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLost(DurableEvent):
    """Messages that did not open have been given up."""

    sender: UserId
    sender_device: int
    reason: str  # the text of a `Reason`
    count: int = 1
    correlations: tuple[str, ...] = ()  # what both ends' reports call their envelopes

    @property
    def why(self) -> Reason:
        """The reason, with what to do."""
        return Reason.of(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageHealed(DurableEvent):
    """A message that did not open was sent again and has arrived: its event came just before this one."""

    sender: UserId
    sender_device: int
    message_id: MessageId
    correlations: tuple[str, ...]  # what both ends' reports call the envelopes that did not open


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesMissing(DurableEvent):
    """Messages of a device have not arrived for 10 minutes although later ones have: the relay may be dropping some.

    Told once. One that arrives after all is ``late``.
    """

    sender: UserId
    sender_device: int
    numbers: tuple[tuple[int, int], ...]  # conversation numbers: first and last of each run, ascending
    group: GroupId | None = None  # of whose messages; None: of those to this user


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryQuarantined(DurableEvent):
    """Our own code failed on an envelope three times; it is kept aside. Please report it."""

    sender: UserId
    sender_device: int
    cause: str  # the type of the error and where it was raised, no contents


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryGap(DurableEvent):
    """This store is older than what the relay has seen of it: it was restored, or a copy of it was used elsewhere.

    Messages that came or went in the meantime are not here, and those that came do not come again. Old keys were given
    up and the device has registered anew; conversations go on by themselves. The numbers are the relay's word.
    """

    received: int  # envelopes that were taken in the meantime, receipts and the like included; 0: not known
    sent: int  # submissions that were made in the meantime; 0: not known
