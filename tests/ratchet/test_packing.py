"""Strict msgpack: one form for one value, exact types and sizes, and everything else is corrupt."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.errors import CorruptSnapshot, UnsupportedVersion
from ratchet.packing import (
    pack,
    pack_positions,
    take_bool,
    take_bytes,
    take_int,
    take_list,
    take_optional_bytes,
    take_positions,
    take_text,
    unpack,
)
from tests.support.naming import case_name


def read(data: Any, *, version: int = 1, length: int = 2, size_max: int = 1_000) -> list[Any]:  # noqa: ANN401
    return unpack(data, version=version, length=length, size_max=size_max, what="thing")


def test_what_was_packed_is_unpacked_without_its_version() -> None:
    assert read(pack([1, b"bytes", [2, None, True]])) == [b"bytes", [2, None, True]]


@pytest.mark.parametrize("data", [None, "text", bytearray(b"\x93\x01\x01\x01"), 5], ids=case_name)
def test_only_bytes_are_unpacked(data: Any) -> None:  # noqa: ANN401
    with pytest.raises(CorruptSnapshot, match="must be bytes"):
        read(data)


def test_more_bytes_than_the_limit_are_not_unpacked() -> None:
    data = pack([1, b"x" * 10, 2])
    assert read(data, size_max=len(data))
    with pytest.raises(CorruptSnapshot, match="larger"):
        read(data, size_max=len(data) - 1)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="a byte that msgpack does not use"),
        pytest.param(b"\x93\x01\x01", id="cut short"),
        pytest.param(pack([1, 1, 1]) + b"\0", id="a trailing byte"),
        pytest.param(b"\x93\x01\x01\xd9\x02\xff\xff", id="text that is no UTF-8"),
        pytest.param(msgpack.packb([1, 1, msgpack.ExtType(5, b"x")]), id="an extension type"),
        pytest.param(msgpack.packb([1, 1, msgpack.Timestamp(5)]), id="a timestamp"),
        pytest.param(b"\x93\x01\x01\xc7\x00\x05", id="an empty extension type"),
        pytest.param(b"\x93\x01\x01\x81\x01\x01", id="a map with a number for a key"),
        pytest.param(b"\x91" * 5_000, id="nested without end"),
    ],
)
def test_what_is_not_our_msgpack_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptSnapshot, match="not msgpack"):
        read(data, size_max=10_000)


@pytest.mark.parametrize("value", [5, b"bytes", {"a": 1}, [], [None, 1, 1], ["1", 1, 1], [True, 1, 1], [1.0, 1, 1]])
def test_what_is_no_versioned_array_is_corrupt(value: Any) -> None:  # noqa: ANN401
    with pytest.raises(CorruptSnapshot, match="not a versioned array"):
        read(pack(value))


def test_a_newer_version_is_told_apart() -> None:
    with pytest.raises(UnsupportedVersion, match="version 2, this release reads up to 1"):
        read(pack([2, "any", "shape", "at all"]))


@pytest.mark.parametrize("value", [[0, 1, 1], [-1, 1, 1], [1, 1], [1, 1, 1, 1]])
def test_another_version_or_shape_is_corrupt(value: list[int]) -> None:
    with pytest.raises(CorruptSnapshot, match="wrong shape"):
        read(pack(value))


@pytest.mark.parametrize("data", [b"\x93\xcc\x01\x01\x01", b"\xdc\x00\x03\x01\x01\x01", b"\x93\x01\x01\xc5\x00\x01x"])
def test_the_same_values_in_a_longer_form_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptSnapshot, match="one form"):
        read(data)


def test_an_error_carries_nothing_of_what_was_read() -> None:
    with pytest.raises(CorruptSnapshot) as caught:
        read(pack([1, b"secret", 1]) + b"\0")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "secret" not in repr(caught.value)


class Numeric(int):
    """An int that is not exactly one."""


def test_bytes_have_their_exact_size() -> None:
    assert take_bytes(b"abc", 3, "x") == b"abc"
    for value in (b"ab", b"abcd", "abc", bytearray(b"abc"), None, 3):
        with pytest.raises(CorruptSnapshot, match="x: not 3 bytes"):
            take_bytes(value, 3, "x")


def test_optional_bytes_may_be_absent_and_nothing_else() -> None:
    assert take_optional_bytes(None, 3, "x") is None
    assert take_optional_bytes(b"abc", 3, "x") == b"abc"
    with pytest.raises(CorruptSnapshot):
        take_optional_bytes(b"", 3, "x")


@pytest.mark.parametrize("value", [1, 5, 9])
def test_integers_within_both_limits_are_taken(value: int) -> None:
    assert take_int(value, 9, "x", minimum=1) == value


@pytest.mark.parametrize("value", [0, 10, -1, 5.0, True, "5", None, Numeric(5)], ids=case_name)
def test_other_integers_and_what_is_none_are_corrupt(value: object) -> None:
    with pytest.raises(CorruptSnapshot, match="from 1 to 9"):
        take_int(value, 9, "x", minimum=1)


def test_a_bool_is_a_bool() -> None:
    assert [take_bool(value, "x") for value in (True, False)] == [True, False]
    for value in (0, 1, None, "True"):
        with pytest.raises(CorruptSnapshot):
            take_bool(value, "x")


def test_text_is_measured_in_bytes() -> None:
    assert take_text("äö", 4, "x") == "äö"
    for value in ("äöü", b"text", None):
        with pytest.raises(CorruptSnapshot):
            take_text(value, 4, "x")


def test_a_list_has_the_length_that_is_asked_for() -> None:
    assert take_list([1, 2], "x", length=2) == [1, 2]
    assert take_list([1, 2], "x", length_max=2) == [1, 2]
    assert take_list([], "x") == []
    assert take_list([1], "x", length_min=1) == [1]
    for value in ([1], [1, 2, 3], (1, 2), None, "ab"):
        with pytest.raises(CorruptSnapshot):
            take_list(value, "x", length=2)
    with pytest.raises(CorruptSnapshot):
        take_list([1, 2, 3], "x", length_max=2)
    with pytest.raises(CorruptSnapshot):
        take_list([], "x", length_min=1)


def joined(count: int) -> bytes:
    return b"".join(bytes([number]) * 32 for number in range(count))


@given(positions=st.sets(st.integers(0, 300), max_size=60))
def test_positions_come_back_in_order_with_their_keys(positions: set[int]) -> None:
    keys = {position: bytes([number]) * 32 for number, position in enumerate(sorted(positions))}
    read_back = take_positions(pack_positions(keys), b"".join(keys.values()), 301, 60)
    assert list(read_back.items()) == list(keys.items())


def test_neighbours_are_packed_as_one_run() -> None:
    assert pack_positions(dict.fromkeys([3, 4, 5, 9, 11, 12], bytes(32))) == [3, 3, 9, 1, 11, 2]


@pytest.mark.parametrize(
    ("runs", "count"),
    [
        pytest.param([5], 0, id="half a run"),
        pytest.param([5, 1, 7], 1, id="a run and a half"),
        pytest.param([5, 0], 0, id="an empty run"),
        pytest.param([5, -1], 0, id="a negative run"),
        pytest.param([-1, 1], 1, id="before the beginning"),
        pytest.param([19, 2], 2, id="beyond the end"),
        pytest.param([21, 1], 1, id="begins beyond the end"),
        pytest.param([5, 2, 6, 1], 3, id="overlapping"),
        pytest.param([5, 2, 7, 1], 3, id="touching"),
        pytest.param([5, 2, 1, 1], 3, id="backwards"),
        pytest.param([0, 5], 5, id="more than the limit"),
        pytest.param([0, 2, 5, 3], 5, id="more than the limit in two runs"),
        pytest.param([5, True], 1, id="no number"),
        pytest.param(["5", 1], 1, id="text"),
        pytest.param([5, 1], 2, id="keys too many"),
        pytest.param([5, 2], 1, id="keys too few"),
        pytest.param([1, 1] * 9, 9, id="too many runs"),
        pytest.param(None, 0, id="nothing"),
    ],
)
def test_positions_in_any_other_form_are_corrupt(runs: object, count: int) -> None:
    with pytest.raises(CorruptSnapshot):
        take_positions(runs, joined(count), 20, 4)


def test_the_last_position_is_the_one_before_the_end() -> None:
    assert list(take_positions([19, 1], bytes(32), 20, 4)) == [19]
