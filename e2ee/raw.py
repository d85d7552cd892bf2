"""Raw messages: an application's own text and bytes on the same socket, never encrypted (`docs/protocol.md` R1.8).

A raw message is binary: the byte 0xC1, which begins no msgpack and so no frame, one byte that says what follows
(0 bytes, 1 text), and the data. So a carrier has to carry nothing but bytes.
"""

from __future__ import annotations

from typing import Final

from .codec import utf8
from .errors import InvalidArgument, MalformedFrame
from .limits import FRAME_SIZE_MAX

__all__ = ["is_raw", "raw_message", "take_raw"]

_PREFIX: Final = b"\xc1"
_BYTES: Final = _PREFIX + b"\x00"
_TEXT: Final = _PREFIX + b"\x01"


def raw_message(data: str | bytes) -> bytes:
    """Make the message of raw text or bytes. Raises InvalidArgument for other types and for too much."""
    try:
        if isinstance(data, str):
            message = _TEXT + data.encode()
        elif isinstance(data, bytes):
            message = _BYTES + data
        else:
            raise InvalidArgument("raw data is text or bytes")
    except UnicodeEncodeError as cause:
        raise InvalidArgument("raw text has a UTF-8 form") from cause
    if len(message) > FRAME_SIZE_MAX:
        raise InvalidArgument(f"raw data has at most {FRAME_SIZE_MAX - len(_TEXT)} bytes")
    return message


def is_raw(message: bytes) -> bool:
    """Whether a binary message is raw, and no frame."""
    return message.startswith(_PREFIX)


def take_raw(message: bytes) -> str | bytes:
    """What a raw message carries. Raises MalformedFrame."""
    kind, data = message[: len(_TEXT)], message[len(_TEXT) :]
    if kind == _BYTES:
        return data
    if kind != _TEXT:
        raise MalformedFrame("raw data is text or bytes")
    return utf8(data)
