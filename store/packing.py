"""Strict msgpack for packed columns: arrays of plain values, with a version in front.

Reading accepts what writing makes and nothing else: exact types and lengths, no extension types,
no trailing bytes.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import msgpack

from .errors import StoreCorrupt, StoreNewer

__all__ = ["PACKED_SIZE_MAX", "pack", "take_bool", "take_bytes", "take_int", "take_list", "take_text", "unpack"]

PACKED_SIZE_MAX: Final = 16 * 1024 * 1024  # bytes of one packed column; bounds the memory of reading a damaged one
INTEGER_MAX: Final = 2**63 - 1  # what both databases hold in a column


def pack(version: int, *values: object) -> bytes:
    """Write the array [*version*, *values*…] as msgpack."""
    packed: bytes = msgpack.packb([version, *values])
    return packed


def _no_extension(code: int, _data: bytes) -> NoReturn:
    raise StoreCorrupt(f"extension type {code} in packed data")


def unpack(data: bytes, *, version: int, length: int, what: str) -> list[Any]:
    """Read the array of *length* values behind *version*; return it without the version.

    Raises StoreCorrupt, or StoreNewer if a newer release wrote it.
    """
    if type(data) is not bytes or len(data) > PACKED_SIZE_MAX:
        raise StoreCorrupt(f"packed {what} is not bytes, or more than {PACKED_SIZE_MAX} of them")
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, max_ext_len=0, ext_hook=_no_extension)
    except StoreCorrupt:
        raise
    except Exception as cause:  # msgpack raises ValueErrors, UnicodeDecodeError, RecursionError and its own
        raise StoreCorrupt(f"packed {what} is not msgpack") from cause
    if type(value) is not list or not value or type(value[0]) is not int:
        raise StoreCorrupt(f"packed {what} is not a versioned array")
    if value[0] > version:
        raise StoreNewer(f"packed {what} has version {value[0]}, this release reads up to {version}")
    if value[0] != version or len(value) != length + 1:
        raise StoreCorrupt(f"packed {what} has the wrong shape")
    return value[1:]


def take_bytes(value: object, what: str, *, size: int | None = None) -> bytes:
    """Return *value* if it is a byte string (of *size* bytes); otherwise raise StoreCorrupt."""
    if type(value) is bytes and size in (None, len(value)):
        return value
    raise StoreCorrupt(f"{what}: not {'bytes' if size is None else f'{size} bytes'}")


def take_int(value: object, what: str, *, minimum: int = 0, maximum: int = INTEGER_MAX) -> int:
    """Return *value* if it is an integer (not a bool) from *minimum* to *maximum*."""
    if type(value) is int and minimum <= value <= maximum:
        return value
    raise StoreCorrupt(f"{what}: not an integer from {minimum} to {maximum}")


def take_bool(value: object, what: str) -> bool:
    """Return *value* if it is a bool."""
    if type(value) is bool:
        return value
    raise StoreCorrupt(f"{what}: not a bool")


def take_text(value: object, what: str, *, size_max: int) -> str:
    """Return *value* if it is text of at most *size_max* UTF-8 bytes."""
    if type(value) is str and len(value.encode()) <= size_max:
        return value
    raise StoreCorrupt(f"{what}: not text of at most {size_max} bytes")


def take_list(value: object, what: str, *, length: int | None = None, length_max: int | None = None) -> list[Any]:
    """Return *value* if it is an array of exactly *length* or at most *length_max* elements."""
    if type(value) is list and length in (None, len(value)) and (length_max is None or len(value) <= length_max):
        return value
    raise StoreCorrupt(f"{what}: not an array of the right length")
