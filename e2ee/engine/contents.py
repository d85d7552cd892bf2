"""A content inside a content: copies to own devices hold it without padding (`docs/protocol.md` section 5)."""

from __future__ import annotations

from typing import Final

from e2ee.content import PADDING_BLOCK, Content, decode_content, encode_content

__all__ = ["encode_unpadded", "unpadded_content"]

_PADDING_START: Final = b"\x80"


def encode_unpadded(content: Content) -> bytes:
    """Encode *content* as it stands inside a SENT_COPY."""
    return encode_content(content).rstrip(b"\x00")[:-1]


def unpadded_content(body: bytes) -> Content:
    """Undo `encode_unpadded`. Raises MalformedFrame."""
    padded = body + _PADDING_START
    return decode_content(padded + bytes(-len(padded) % PADDING_BLOCK))
