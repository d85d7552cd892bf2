"""Strict msgpack, for every stored or packed form of this package (the wire forms are in `messages`).

A packed form is an array whose first element is its version. Reading accepts what writing makes
and nothing else: exact types, exact lengths, no extension types, no trailing bytes.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgpack

from .errors import CorruptSnapshot, UnsupportedVersion

__all__ = [
    "pack",
    "pack_positions",
    "take_bool",
    "take_bytes",
    "take_int",
    "take_list",
    "take_optional_bytes",
    "take_positions",
    "take_text",
    "unpack",
    "unpack_versions",
]


def pack(value: object) -> bytes:
    """Write *value*, arrays of plain values, as msgpack."""
    packed: bytes = msgpack.packb(value)
    return packed


def _no_extension(code: int, _data: bytes) -> NoReturn:
    raise CorruptSnapshot(f"extension type {code} in packed data")


def unpack(data: bytes, *, version: int, length: int, size_max: int, what: str) -> list[Any]:
    """Read the array of *length* elements that starts with *version*; return it without the version.

    Raises CorruptSnapshot, or UnsupportedVersion if a newer release wrote it.
    """
    return unpack_versions(data, oldest=version, newest=version, length=length, size_max=size_max, what=what)[1]


def unpack_versions(
    data: bytes, *, oldest: int, newest: int, length: int, size_max: int, what: str
) -> tuple[int, list[Any]]:
    """`unpack` for a form that has changed inside: return its version, one from *oldest* to *newest*, and the array."""
    if type(data) is not bytes:
        raise CorruptSnapshot(f"packed {what} must be bytes")
    if len(data) > size_max:
        raise CorruptSnapshot(f"packed {what} is larger than {size_max} bytes")
    value: object = None
    one_form = False
    failure = ""
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, max_ext_len=0, ext_hook=_no_extension)
        one_form = pack(value) == data
    except Exception as cause:  # noqa: BLE001 - msgpack raises ValueErrors, UnicodeDecodeError, RecursionError, its own
        failure = type(cause).__name__
    if failure:
        # Raised out here, so that it carries no cause: msgpack's errors hold what they have read, keys included.
        raise CorruptSnapshot(f"packed {what} is not msgpack ({failure})")
    if type(value) is not list or not value or type(value[0]) is not int:
        raise CorruptSnapshot(f"packed {what} is not a versioned array")
    if value[0] > newest:
        raise UnsupportedVersion(f"packed {what} has version {value[0]}, this release reads up to {newest}")
    if value[0] < oldest or len(value) != length + 1:
        raise CorruptSnapshot(f"packed {what} has the wrong shape")
    if not one_form:
        raise CorruptSnapshot(f"packed {what} is not in its one form")
    return value[0], value[1:]


def take_bytes(value: object, size: int, what: str) -> bytes:
    """Return *value* if it is a byte string of *size* bytes; otherwise raise CorruptSnapshot."""
    if type(value) is bytes and len(value) == size:
        return value
    raise CorruptSnapshot(f"{what}: not {size} bytes")


def take_optional_bytes(value: object, size: int, what: str) -> bytes | None:
    """`take_bytes`, or None."""
    return None if value is None else take_bytes(value, size, what)


def take_int(value: object, maximum: int, what: str, *, minimum: int = 0) -> int:
    """Return *value* if it is an integer (not a bool) from *minimum* to *maximum*."""
    if type(value) is int and minimum <= value <= maximum:
        return value
    raise CorruptSnapshot(f"{what}: not an integer from {minimum} to {maximum}")


def take_bool(value: object, what: str) -> bool:
    """Return *value* if it is a bool."""
    if type(value) is bool:
        return value
    raise CorruptSnapshot(f"{what}: not a bool")


def take_text(value: object, size_max: int, what: str) -> str:
    """Return *value* if it is text of at most *size_max* UTF-8 bytes."""
    if type(value) is str and len(value.encode()) <= size_max:
        return value
    raise CorruptSnapshot(f"{what}: not text of at most {size_max} bytes")


def take_list(
    value: object, what: str, *, length: int | None = None, length_min: int = 0, length_max: int | None = None
) -> list[Any]:
    """Return *value* if it is an array of exactly *length*, or of *length_min* to *length_max*, elements."""
    if (
        type(value) is list
        and length in (None, len(value))
        and length_min <= len(value)
        and (length_max is None or len(value) <= length_max)
    ):
        return value
    raise CorruptSnapshot(f"{what}: not an array of the right length")


def pack_positions(keys: dict[int, bytes]) -> list[int]:
    """Write ascending positions as runs: first, length, first, length, …; skipped keys come in few runs."""
    runs: list[int] = []
    following = -1
    for position in keys:
        if position == following:
            runs[-1] += 1
        else:
            runs += [position, 1]
        following = position + 1
    return runs


def take_positions(runs: object, joined: object, end: int, length_max: int) -> dict[int, bytes]:
    """Read runs of ascending positions below *end*, and their 32-byte keys in one string; at most *length_max*."""
    numbers = take_list(runs, "positions", length_max=2 * length_max)
    positions: list[int] = []
    following = 0
    for first, length in zip(numbers[::2], numbers[1::2], strict=False):
        # A run that touches the one before would be a second form of the same positions.
        take_int(first, end, "first position", minimum=following + 1 if following else 0)
        take_int(length, length_max - len(positions), "length of a run of positions", minimum=1)
        following = first + length
        positions += range(first, following)
    if len(numbers) % 2 or following > end:
        raise CorruptSnapshot("positions: not runs below their end")
    keys = take_bytes(joined, 32 * len(positions), "keys of the positions")
    return {position: keys[32 * index : 32 * index + 32] for index, position in enumerate(positions)}
