"""What stands inside the encryption of a message: who, to whom, when, what (`docs/protocol.md` section 5).

    [version, kind, message id, conversation number, time, sender, device, destination, body] 0x80 0x00…

The receiver compares all of it with the envelope and the session on which it opened; a difference is an
attack or a bug, never repaired. Padding to a multiple of 160 bytes hides the exact length.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from .codec import decode_array, encode_array, integer, items, octets, optional, record, text, user, utf8
from .errors import MalformedFrame
from .frames import DEVICE_ID_MAX
from .ids import ENVELOPE_ID_SIZE, MESSAGE_ID_SIZE
from .limits import (
    CONTENT_SIZE_MAX,
    COUNTER_MAX,
    ENVELOPE_SIZE_MAX,
    READ_COPY_MESSAGES_MAX,
    RECEIPT_RANGES_MAX,
    RETRY_ENVELOPES_MAX,
)

__all__ = [
    "SENT_AGAIN",
    "Content",
    "ContentKind",
    "Destination",
    "Gone",
    "GoneReason",
    "ReadCopy",
    "Receipt",
    "ReceiptState",
    "RetryRequest",
    "content_kind",
    "decode_content",
    "decode_gone",
    "decode_new_device",
    "decode_read_copy",
    "decode_receipt",
    "decode_retry_request",
    "encode_content",
    "encode_gone",
    "encode_new_device",
    "encode_read_copy",
    "encode_receipt",
    "encode_retry_request",
]

CONTENT_VERSION: Final = 1
PADDING_BLOCK: Final = 160  # bytes; Signal's clients use the same
_PADDING_START: Final = b"\x80"
_KIND_AT: Final = 2  # behind the array's length and the version; kinds up to 127 are one byte
GROUP_ID_SIZE: Final = 32
ANSWERS_MAX: Final = 16  # envelopes that one message takes the place of: it is sent again three times at most


class ContentKind(IntEnum):
    """What the body is. A receiver passes over kinds that it does not know, after acknowledging them."""

    TEXT = 1  # UTF-8, from the application
    DATA = 2  # bytes, from the application
    RECEIPT = 3  # a `Receipt`
    SENT_COPY = 4  # from another device of the same user: the content as it was sent, itself encoded
    READ_COPY = 5  # a `ReadCopy`, from another device of the same user
    RETRY_REQUEST = 6  # a `RetryRequest`
    GONE = 7  # a `Gone`
    SENDER_KEY = 8  # a distribution message
    KEY_REQUEST = 9
    KEY_ACK = 10
    NEW_DEVICE = 11  # from another device of the same user, which the relay has listed; it says nothing more


# What a device that could not open it may ask for again. The rest is control messages.
SENT_AGAIN: Final = (ContentKind.TEXT, ContentKind.DATA, ContentKind.SENT_COPY)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a message was sent: to a user, or to a group as it stood."""

    user_id: str | None
    group_id: bytes | None = None  # 32 bytes
    group_epoch: int = 0
    group_number: int = 0  # of the newest entry of the group's log
    group_hash: bytes = b""  # of that entry, 32 bytes


@dataclass(frozen=True, slots=True)
class Content:
    """One message as its sender wrote it."""

    kind: int  # a ContentKind, or one of a later release
    message_id: bytes  # 16 bytes
    conversation_number: int  # from 1 for each sending device and conversation; 0: not counted
    time_ms: int  # since 1970, by the sender's clock
    sender_user_id: str
    sender_device_id: int
    destination: Destination
    body: bytes = field(repr=False)
    answers: tuple[bytes, ...] = ()  # sent again, in the place of these envelopes of the same device


class ReceiptState(IntEnum):
    """What a receipt tells of the messages that it names."""

    DELIVERED = 1
    READ = 2


@dataclass(frozen=True, slots=True)
class Receipt:
    """The conversation numbers of one sending device that reached a state, as ranges."""

    state: ReceiptState
    device_id: int  # which of the sender's devices sent them
    group_id: bytes | None  # of which conversation: a group's, or the direct one
    ranges: tuple[tuple[int, int], ...]  # first and last, ascending


@dataclass(frozen=True, slots=True)
class ReadCopy:
    """What another own device has read: messages of one sender."""

    sender_user_id: str
    message_ids: tuple[bytes, ...]  # 16 bytes each


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """Envelopes that did not open and are asked for again."""

    envelope_ids: tuple[bytes, ...]  # 16 bytes each


class GoneReason(IntEnum):
    """Why what was asked for does not come."""

    NOT_KEPT = 1  # the sender has it no longer
    TOO_OFTEN = 2  # it was sent again three times
    NOT_KNOWN = 3  # the sender knows no such envelope for whoever asks
    IDENTITY_CHANGED = 4  # it was sent to another identity of the user
    NOTHING_LOST = 5  # it held nothing that anybody waits for: receipts and the like
    NOT_A_MEMBER = 6  # it was sent to a group that whoever asks was not in then, or is not in now


@dataclass(frozen=True, slots=True)
class Gone:
    """Envelopes that were asked for and do not come."""

    entries: tuple[tuple[bytes, int], ...]  # envelope id, and a GoneReason or one of a later release


def _state(value: object) -> ReceiptState:
    try:
        return ReceiptState(integer(255)(value))
    except ValueError as cause:
        raise MalformedFrame("not a state of a receipt") from cause


def _range(value: object) -> tuple[int, int]:
    first, last = items(integer(COUNTER_MAX, 1), 2, 2)(value)
    if last < first:
        raise MalformedFrame("a range that ends before it begins")
    return first, last


_group_id = octets(GROUP_ID_SIZE, GROUP_ID_SIZE)
_destination = record(
    Destination,
    optional(user),
    optional(_group_id),
    integer(COUNTER_MAX),
    integer(COUNTER_MAX),
    octets(32),
)
_content = record(
    Content,
    integer(255, 1),
    octets(MESSAGE_ID_SIZE, MESSAGE_ID_SIZE),
    integer(COUNTER_MAX),
    integer(COUNTER_MAX),
    user,
    integer(DEVICE_ID_MAX, 1),
    _destination,
    # A copy to an own device holds a whole content: hence more than CONTENT_SIZE_MAX.
    octets(CONTENT_SIZE_MAX + 1024),
)
_FIELDS: Final = 8  # of a content that is not sent again
_receipt = record(
    Receipt,
    _state,
    integer(DEVICE_ID_MAX, 1),
    optional(_group_id),
    items(_range, RECEIPT_RANGES_MAX, 1),
)
_retry_request = record(RetryRequest, items(octets(MESSAGE_ID_SIZE, MESSAGE_ID_SIZE), RETRY_ENVELOPES_MAX, 1))
_read_copy = record(ReadCopy, user, items(octets(MESSAGE_ID_SIZE, MESSAGE_ID_SIZE), READ_COPY_MESSAGES_MAX, 1))
_gone = record(
    Gone,
    items(
        record(lambda *parts: parts, octets(ENVELOPE_ID_SIZE, ENVELOPE_ID_SIZE), integer(255, 1)),
        RETRY_ENVELOPES_MAX,
        1,
    ),
)
_answers = items(octets(ENVELOPE_ID_SIZE, ENVELOPE_ID_SIZE), ANSWERS_MAX)
_text_body = text(CONTENT_SIZE_MAX)


def encode_content(content: Content) -> bytes:
    """Encode and pad *content*, ready to be encrypted."""
    encoded = encode_array([CONTENT_VERSION, *_values(content)]) + _PADDING_START
    return encoded + bytes(-len(encoded) % PADDING_BLOCK)


def _values(content: Content) -> list[object]:
    return [
        content.kind,
        content.message_id,
        content.conversation_number,
        content.time_ms,
        content.sender_user_id,
        content.sender_device_id,
        content.destination,
        content.body,
        *([content.answers] if content.answers else []),
    ]


def content_kind(encoded: bytes) -> int:
    """The kind of a content that `encode_content` of this release has encoded, without decoding the rest."""
    return encoded[_KIND_AT]


def decode_content(plaintext: bytes) -> Content:
    """Remove the padding and decode. Raises MalformedFrame, also for a newer version of the form."""
    end = plaintext.rstrip(b"\x00")
    if len(plaintext) % PADDING_BLOCK or not end.endswith(_PADDING_START):
        raise MalformedFrame("the padding is wrong")
    values = decode_array(end[:-1], size_max=ENVELOPE_SIZE_MAX)
    if not values or values[0] != CONTENT_VERSION or type(values[0]) is not int:
        raise MalformedFrame("not a content of version 1")
    content: Content = _content(values[1:])
    if len(values) > 1 + _FIELDS:
        content = replace(content, answers=_answers(values[1 + _FIELDS]))
    destination = content.destination
    if (destination.user_id is None) == (destination.group_id is None):
        raise MalformedFrame("a destination is a user or a group")
    if content.kind == ContentKind.TEXT:
        _text_body(utf8(content.body))
    return content


def encode_receipt(receipt: Receipt) -> bytes:
    """Encode the body of a RECEIPT."""
    return encode_array(receipt)


def decode_receipt(body: bytes) -> Receipt:
    """Decode the body of a RECEIPT. Raises MalformedFrame."""
    receipt: Receipt = _receipt(decode_array(body))
    return receipt


def encode_read_copy(copy: ReadCopy) -> bytes:
    """Encode the body of a READ_COPY."""
    return encode_array(copy)


def decode_read_copy(body: bytes) -> ReadCopy:
    """Decode the body of a READ_COPY. Raises MalformedFrame."""
    copy: ReadCopy = _read_copy(decode_array(body))
    return copy


def encode_new_device() -> bytes:
    """Encode the body of a NEW_DEVICE."""
    return encode_array([])


def decode_new_device(body: bytes) -> None:
    """Check the body of a NEW_DEVICE: an array, of which this release knows no elements. Raises MalformedFrame."""
    decode_array(body)


def encode_retry_request(request: RetryRequest) -> bytes:
    """Encode the body of a RETRY_REQUEST."""
    return encode_array(request)


def encode_gone(gone: Gone) -> bytes:
    """Encode the body of a GONE."""
    return encode_array(gone)


def decode_gone(body: bytes) -> Gone:
    """Decode the body of a GONE. Raises MalformedFrame."""
    gone: Gone = _gone(decode_array(body))
    return gone


def decode_retry_request(body: bytes) -> RetryRequest:
    """Decode the body of a RETRY_REQUEST. Raises MalformedFrame."""
    request: RetryRequest = _retry_request(decode_array(body))
    return request
