"""The few lines of Protocol Buffers that Signal's messages need: varints, and fields of two wire types.

A generated decoder is not used because it would parse on the hot path three times slower, and
because authentication needs the received slice, not a value to encode again.
Reading follows the common decoders: unknown fields are skipped, of a repeated field the last one
counts, a 32-bit number is its varint's low 32 bits. Groups, which nothing of Signal's has, are refused.
"""

from __future__ import annotations

from typing import Final

from .errors import MalformedMessage
from .limits import FIELDS_MAX

__all__ = ["Fields", "bytes_field", "number_field", "read_fields", "read_varint", "varint"]

Fields = dict[int, int | bytes | None]
"""Field number to its last value: int for a varint, bytes if length-delimited, None if of fixed width."""

_VARINT_BITS_MAX: Final = 63  # shift of a tenth byte; an eleventh would be an endless number
_ONE_BYTE: Final = [bytes([value]) for value in range(128)]


def varint(value: int) -> bytes:
    """Encode a number of 0 to 2^64 - 1."""
    if value < 0x80:
        return _ONE_BYTE[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Decode the varint at *position*; return it and the position after it.

    Raises IndexError past the end of *data* (the parsers turn it into theirs) and MalformedMessage
    for more than ten bytes.
    """
    byte = data[position]
    position += 1
    if byte < 0x80:
        return byte, position
    value = byte & 0x7F
    shift = 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > _VARINT_BITS_MAX:
            raise MalformedMessage("a number of more than ten bytes")


def number_field(number: int, value: int) -> bytes:
    """Encode field *number* (1 to 15) as a varint."""
    return _ONE_BYTE[number << 3] + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Encode field *number* (1 to 15) as length-delimited bytes."""
    return _ONE_BYTE[number << 3 | 2] + varint(len(value)) + value


def read_fields(data: bytes, position: int, end: int) -> Fields:  # noqa: C901 - one loop, unrolled for one-byte numbers
    """Decode the fields in ``data[position:end]``. Raises MalformedMessage, nothing else."""
    fields: Fields = {}
    left = FIELDS_MAX
    try:
        while position < end:
            left -= 1
            if left < 0:
                raise MalformedMessage(f"more than {FIELDS_MAX} fields")
            key = data[position]
            position += 1
            if key > 0x7F:
                key, position = read_varint(data, position - 1)
            wire_type = key & 7
            if wire_type == 2:
                size = data[position]
                position += 1
                if size > 0x7F:
                    size, position = read_varint(data, position - 1)
                start = position
                position += size
                fields[key >> 3] = data[start:position]
            elif wire_type == 0:
                value = data[position]
                position += 1
                if value > 0x7F:
                    value, position = read_varint(data, position - 1)
                fields[key >> 3] = value & 0xFFFFFFFF
            elif wire_type in (1, 5):
                position += 8 if wire_type == 1 else 4
                fields[key >> 3] = None
            else:
                raise MalformedMessage(f"wire type {wire_type}")
            if not 0 < key >> 3 < 1 << 29:
                raise MalformedMessage("a field number out of range")
    except IndexError as cause:
        raise MalformedMessage("the message ends within a field") from cause
    if position != end:
        raise MalformedMessage("a field is longer than the message")
    return fields
