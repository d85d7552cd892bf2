"""As much of Protocol Buffers as the five messages need: varints and length-delimited fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vectors.reference.faults import Fault, Refused

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
FIXED_SIZES: Final = {FIXED64: 8, FIXED32: 4}
VARINT_BYTES_MAX: Final = 10


def varint(value: int) -> bytes:
    """Return the shortest base-128 form of a number that is not negative."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return (value, offset after it). Raises Refused(WIRE)."""
    value = 0
    for position in range(VARINT_BYTES_MAX):
        if offset + position >= len(data):
            raise Refused(Fault.WIRE, "a varint runs past the end")
        byte = data[offset + position]
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            if value >> 64:
                raise Refused(Fault.WIRE, "a varint is above 64 bits")
            return value, offset + position + 1
    raise Refused(Fault.WIRE, "a varint has more than ten bytes")


def encode(fields: dict[int, int | bytes | None]) -> bytes:
    """Return the fields in ascending order of their numbers; None is left out."""
    encoded = bytearray()
    for number, value in sorted(fields.items()):
        if isinstance(value, int):
            encoded += varint(number << 3 | VARINT) + varint(value)
        elif value is not None:
            encoded += varint(number << 3 | BYTES) + varint(len(value)) + value
    return bytes(encoded)


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a parsed message; of a repeated one the last counts."""

    numbers: dict[int, int] = field(default_factory=dict)
    strings: dict[int, bytes] = field(default_factory=dict)

    def number(self, number: int) -> int:
        """Return a required varint, cut to 32 bits. Raises Refused(FIELD_MISSING)."""
        value = self.optional_number(number)
        if value is None:
            raise Refused(Fault.FIELD_MISSING, f"field {number}")
        return value

    def optional_number(self, number: int) -> int | None:
        """Return a varint, cut to 32 bits, or None."""
        if number in self.strings:
            raise Refused(Fault.WIRE, f"field {number} has another type")
        value = self.numbers.get(number)
        return None if value is None else value & 0xFFFFFFFF

    def string(self, number: int) -> bytes:
        """Return a required string of bytes. Raises Refused(FIELD_MISSING)."""
        value = self.optional_string(number)
        if value is None:
            raise Refused(Fault.FIELD_MISSING, f"field {number}")
        return value

    def optional_string(self, number: int) -> bytes | None:
        """Return a string of bytes, or None."""
        if number in self.numbers:
            raise Refused(Fault.WIRE, f"field {number} has another type")
        return self.strings.get(number)


def decode(data: bytes) -> Fields:
    """Parse a message; unknown fields are skipped. Raises Refused(WIRE)."""
    fields = Fields()
    offset = 0
    while offset < len(data):
        key, offset = read_varint(data, offset)
        number, wire_type = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise Refused(Fault.WIRE, "a field number is out of range")
        if wire_type == VARINT:
            fields.numbers[number], offset = read_varint(data, offset)
            continue
        if wire_type == BYTES:
            size, offset = read_varint(data, offset)
        elif wire_type in FIXED_SIZES:
            size = FIXED_SIZES[wire_type]
        else:
            raise Refused(Fault.WIRE, "a field has an unknown type")
        if offset + size > len(data):
            raise Refused(Fault.WIRE, "a field runs past the end")
        if wire_type == BYTES:
            fields.strings[number] = data[offset : offset + size]
        offset += size
    return fields
