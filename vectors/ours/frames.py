"""Frames and contents of the first release, read by `e2ee` as it is now."""

from __future__ import annotations

from e2ee.content import decode_content, encode_content
from e2ee.errors import MalformedFrame
from e2ee.frames import UnknownFrame
from e2ee.wire import decode_client_frame, decode_relay_frame, encode_frame
from vectors.reference.expectations import Json, Mismatch, expect
from vectors.reference.frames import decode

__all__ = ["check_frame"]


def check_frame(test: Json) -> None:
    """Read a frame or content, write it again, and find everything where it stood. Raises Mismatch."""
    data = bytes.fromhex(test["bytes"])
    try:
        if test["op"] == "content":
            written = encode_content(decode_content(data)).rstrip(b"\x00")[:-1]
        else:
            frame = decode_client_frame(data) if test["sender"] == "client" else decode_relay_frame(data)
            expect("name", type(frame).__name__, test["name"])
            written = b"" if isinstance(frame, UnknownFrame) else encode_frame(frame)
    except MalformedFrame as error:
        raise Mismatch(f"refused: {error!r}") from error
    if not _is_kept(test["value"], decode(written)):
        raise Mismatch("what is written again is not what was read")


def _is_kept(then: object, now: object) -> bool:
    """Whether *now* has everything of *then* where it stood: arrays may have grown at the end."""
    if isinstance(then, list) and isinstance(now, list):
        return len(now) >= len(then) and all(_is_kept(*pair) for pair in zip(then, now, strict=False))
    return type(then) is type(now) and then == now
