"""User ids, service ids and the other names that travel (`docs/protocol.md` section 2)."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from typing import Final, NewType
from uuid import UUID

from .errors import InvalidUserId

__all__ = [
    "ENVELOPE_ID_SIZE",
    "MESSAGE_ID_SIZE",
    "GroupId",
    "MessageId",
    "UserId",
    "has_unknown_characters",
    "parse_user_id",
    "service_id",
]

UserId = NewType("UserId", str)
"""A user's name at the relay: 1 to 128 bytes of UTF-8 in NFC, compared byte by byte."""

MessageId = NewType("MessageId", str)
"""Names one message to everybody who has it: 32 hexadecimal digits."""

GroupId = NewType("GroupId", str)
"""Names a group for ever, whatever it is called: 64 hexadecimal digits, the hash of its first entry."""

USER_ID_SIZE_MAX: Final = 128  # bytes of UTF-8
ENVELOPE_ID_SIZE: Final = 16  # random bytes, new for every ciphertext
MESSAGE_ID_SIZE: Final = 16  # random bytes, kept when a message is encrypted again

_SERVICE_ID_LABEL: Final = b"e2ee service id v1\x00"
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)
# What cannot be seen, or makes two names look alike.
_REFUSED_CATEGORIES: Final = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs")
_UNASSIGNED: Final = "Cn"
# Code points without a character for ever, and those set aside for more that cannot be seen.
_NEVER_SEEN: Final = (range(0x2065, 0x2066), range(0xFDD0, 0xFDF0), range(0xFFF0, 0xFFF9), range(0xE0000, 0xE1000))
_LAST_OF_PLANE: Final = 0xFFFE  # and the one behind it, in each plane


def parse_user_id(text: object) -> UserId:
    """Return *text* if it is a user id. Raises InvalidUserId, which says what is wrong with it."""
    if type(text) is not str:
        raise InvalidUserId("a user id is text")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as cause:
        raise InvalidUserId("a user id has a UTF-8 form") from cause
    if not 1 <= size <= USER_ID_SIZE_MAX:
        raise InvalidUserId(f"a user id has 1 to {USER_ID_SIZE_MAX} bytes of UTF-8, this has {size}")
    if not text.isascii() and unicodedata.normalize("NFC", text) != text:
        raise InvalidUserId("a user id is normalised (NFC)")
    # Of ASCII only control characters and the space are refused: what is printable and no space needs no closer look.
    plain = text.isascii() and text.isprintable() and " " not in text
    if not plain and any(map(_is_refused, text)):
        raise InvalidUserId("a user id has no control characters, white space, format or bidirectional marks")
    shape = _UUID.fullmatch(text)
    if shape is not None and (shape[1] != "4" or shape[2].lower() not in "89ab" or text != text.lower()):
        # Version 8 is what other names become: a UUID of it could meet one of them.
        raise InvalidUserId("a UUID as a user id has version 4 and lower-case digits")
    return UserId(text)


def has_unknown_characters(user_id: UserId) -> bool:
    """Whether this Python's Unicode does not have a character of *user_id*, so that nobody can say what it looks like.

    A relay lets nobody take such a name. Once a relay with a newer Unicode has, everybody else goes by the relay:
    a client that refused the name could not read the frame in which it stands.
    """
    return not user_id.isascii() and any(unicodedata.category(one) == _UNASSIGNED for one in user_id)


def _is_refused(character: str) -> bool:
    """Whether no user id has this character. The same for every version of Unicode that has it, or does not yet."""
    point = ord(character)
    return (
        unicodedata.category(character) in _REFUSED_CATEGORIES
        or point & _LAST_OF_PLANE == _LAST_OF_PLANE
        or any(point in some for some in _NEVER_SEEN)
    )


def service_id(user_id: UserId) -> UUID:
    """Return the UUID that stands for a user in the protocol: a version-4 UUID as it is, of any other id its hash.

    It is the name in `ratchet.Address`, and its 16 bytes are the stable id of a safety number.
    """
    if _UUID.fullmatch(user_id):
        return UUID(user_id)
    digest = bytearray(sha256(_SERVICE_ID_LABEL + user_id.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))
