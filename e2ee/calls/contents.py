"""What an application can send, read into memory as far as it may be sent."""

from __future__ import annotations

import asyncio
from typing import BinaryIO, TypeAlias

from e2ee.errors import InvalidArgument
from e2ee.limits import CONTENT_SIZE_MAX

__all__ = ["Content", "read_content"]

Content: TypeAlias = str | bytes | bytearray | memoryview | BinaryIO
"""What can be sent: text, bytes, or a binary file object, read from its present position and not closed."""


async def read_content(content: Content) -> str | bytes:
    """Return text as it is, bytes as bytes, and what a file object has. Raises InvalidArgument."""
    if isinstance(content, str | bytes):
        return content
    if isinstance(content, bytearray | memoryview):
        return bytes(content)
    if not hasattr(content, "read"):
        raise InvalidArgument("a message is text, bytes or a binary file object")
    return await asyncio.to_thread(_read_file, content)


def _read_file(file: BinaryIO) -> bytes:
    parts: list[bytes] = []
    left = CONTENT_SIZE_MAX + 1  # one more than may be sent: enough to know that it is too large
    while left:
        part = file.read(left)  # an unbuffered file may give less than it was asked for
        if not isinstance(part, bytes):
            raise InvalidArgument("a file is sent in binary: open it with 'rb'")
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
