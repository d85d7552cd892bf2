"""The few lines of Protocol Buffers: known encodings, and what is refused."""

from __future__ import annotations

import pytest

from ratchet.errors import MalformedMessage
from ratchet.limits import FIELDS_MAX
from ratchet.protobuf import bytes_field, number_field, read_fields, read_varint, varint


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),  # the example of the Protocol Buffers documentation
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2**32 - 1, "ffffffff0f"),
        (2**64 - 1, "ffffffffffffffffff01"),
    ],
)
def test_numbers_are_written_and_read_in_groups_of_seven_bits(value: int, encoded: str) -> None:
    assert varint(value).hex() == encoded
    assert read_varint(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)


def test_a_number_is_read_from_the_middle() -> None:
    assert read_varint(b"\xff\xac\x02\xff", 1) == (300, 3)


def test_a_number_of_ten_bytes_keeps_its_low_64_bits() -> None:
    assert read_varint(b"\xff" * 9 + b"\x7f", 0) == (2**64 - 1, 10)


def test_a_number_of_eleven_bytes_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        read_varint(b"\x80" * 10 + b"\x00", 0)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff\xff"])
def test_a_number_that_does_not_end_is_an_index_error_for_the_parser_to_turn(data: bytes) -> None:
    with pytest.raises(IndexError):
        read_varint(data, 0)


def read(data: bytes) -> dict[int, int | bytes | None]:
    return read_fields(data, 0, len(data))


def test_fields_of_both_types_are_read_by_number() -> None:
    assert read(number_field(1, 300) + bytes_field(15, b"abc")) == {1: 300, 15: b"abc"}


def test_a_field_number_of_two_bytes_is_read() -> None:
    assert read(varint(16 << 3) + b"\x05" + varint(2_000 << 3 | 2) + b"\x01x") == {16: 5, 2_000: b"x"}


def test_a_length_of_two_bytes_is_read() -> None:
    assert read(bytes_field(2, bytes(300))) == {2: bytes(300)}


def test_a_number_above_32_bits_keeps_its_low_32() -> None:
    assert read(number_field(1, 2**32 + 7)) == {1: 7}


def test_fixed_widths_are_skipped_and_show_as_none() -> None:
    assert read(b"\x09" + bytes(8) + b"\x15" + bytes(4) + number_field(3, 1)) == {1: None, 2: None, 3: 1}


def test_of_a_repeated_field_the_last_counts() -> None:
    assert read(number_field(1, 1) + bytes_field(1, b"two") + number_field(1, 3)) == {1: 3}


def test_nothing_is_no_field() -> None:
    assert read(b"") == {}


def test_only_the_slice_is_read() -> None:
    data = b"\xff" + number_field(1, 5) + b"\xff"
    assert read_fields(data, 1, len(data) - 1) == {1: 5}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x08", id="a number without value"),
        pytest.param(b"\x08\x80", id="a number that does not end"),
        pytest.param(b"\x0a", id="bytes without length"),
        pytest.param(b"\x0a\x02x", id="bytes longer than the message"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", id="bytes longer than any message"),
        pytest.param(b"\x0a\x80", id="a length that does not end"),
        pytest.param(b"\x09" + bytes(7), id="64 bits cut short"),
        pytest.param(b"\x0d" + bytes(3), id="32 bits cut short"),
        pytest.param(b"\x0b\x0c", id="a group"),
        pytest.param(b"\x0e\x00", id="wire type 6"),
        pytest.param(b"\x0f\x00", id="wire type 7"),
        pytest.param(b"\x00\x00", id="field 0"),
        pytest.param(b"\x02\x00", id="field 0 of bytes"),
        pytest.param(varint(1 << 32) + b"\x00", id="field 2^29"),
        pytest.param(b"\x80", id="a key that does not end"),
        pytest.param(b"\x80" * 10 + b"\x00", id="a key of eleven bytes"),
        pytest.param(b"\x08" + b"\x80" * 10 + b"\x00", id="a number of eleven bytes"),
    ],
)
def test_what_is_no_message_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(data)


def test_a_field_may_not_reach_into_what_follows_the_slice() -> None:
    data = bytes_field(1, b"four") + bytes(8)
    with pytest.raises(MalformedMessage):
        read_fields(data, 0, len(data) - 9)


def test_the_largest_field_number_is_read() -> None:
    assert read(varint((2**29 - 1) << 3) + b"\x01") == {2**29 - 1: 1}


def test_one_field_more_than_the_limit_is_malformed() -> None:
    assert read(number_field(1, 1) * FIELDS_MAX) == {1: 1}
    with pytest.raises(MalformedMessage):
        read(number_field(1, 1) * (FIELDS_MAX + 1))
