"""Frames to bytes and back: one table of kinds for each direction, one reader for each field.

Whatever bytes come, decoding returns a frame or raises MalformedFrame (`docs/protocol.md` section 3).
"""

from __future__ import annotations

from typing import Any, Final

from e2ee.codec import Reader, decode_array, encode_array, field_values, integer
from e2ee.errors import MalformedFrame
from e2ee.frames import ClientFrame, RelayFrame, UnknownFrame
from e2ee.limits import FRAME_SIZE_MAX, REQUEST_NUMBER_MAX

from . import account, channels, conversation, groups
from .readers import NONCE_SIZE, REGISTRATION_ID_MAX

__all__ = ["NONCE_SIZE", "REGISTRATION_ID_MAX", "decode_client_frame", "decode_relay_frame", "encode_frame"]

_KIND_MAX: Final = 127  # kinds are one byte of msgpack

_kind: Final = integer(_KIND_MAX)
_CLIENT: Final = {**conversation.CLIENT, **groups.CLIENT, **channels.CLIENT, **account.CLIENT}
_RELAY: Final = {**conversation.RELAY, **groups.RELAY, **channels.RELAY, **account.RELAY}
_KINDS: Final[dict[type[ClientFrame | RelayFrame], int]] = {
    frame: kind for table in (_CLIENT, _RELAY) for kind, (frame, _read) in table.items()
}


def encode_frame(frame: ClientFrame | RelayFrame) -> bytes:
    """Encode one frame. It is not checked: the types are the caller's promise."""
    return encode_array((_KINDS[type(frame)], *field_values(frame)))


def decode_client_frame(data: bytes, *, size_max: int = FRAME_SIZE_MAX) -> ClientFrame | UnknownFrame:
    """Decode a frame that a client sent. Raises MalformedFrame."""
    frame: ClientFrame | UnknownFrame = _decode(data, _CLIENT, size_max)
    return frame


def decode_relay_frame(data: bytes, *, size_max: int = FRAME_SIZE_MAX) -> RelayFrame | UnknownFrame:
    """Decode a frame that a relay sent. Raises MalformedFrame."""
    frame: RelayFrame | UnknownFrame = _decode(data, _RELAY, size_max)
    return frame


def _decode(data: bytes, table: dict[int, tuple[Any, Reader]], size_max: int) -> Any:  # noqa: ANN401 - of the table
    values = decode_array(data, size_max=size_max)
    if not values:
        raise MalformedFrame("an empty frame")
    kind = _kind(values[0])
    known = table.get(kind)
    if known is not None:
        return known[1](values[1:])
    request = values[2] if len(values) > 2 and type(values[2]) is int and 0 <= values[2] <= REQUEST_NUMBER_MAX else None
    return UnknownFrame(kind, request)
