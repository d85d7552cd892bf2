"""Packed columns: what was written is read, everything else is damage or a newer release's."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import StoreCorrupt, StoreNewer
from store.packing import PACKED_SIZE_MAX, pack, take_bool, take_bytes, take_int, take_list, take_text, unpack

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=10,
)


@given(st.lists(PLAIN, max_size=5))
def test_what_was_packed_is_unpacked(values: list[object]) -> None:
    assert unpack(pack(3, *values), version=3, length=len(values), what="example") == values


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_the_two_errors(data: bytes) -> None:
    with suppress(StoreCorrupt, StoreNewer):
        assert len(unpack(data, version=1, length=2, what="example")) == 2


@pytest.mark.parametrize(
    "data",
    [
        pack(1, 2) + b"\x00",
        pack(1, 2)[:-1],
        pack(1),
        pack(1, 2, 3),
        pack(0, 2),
        msgpack.packb([True, 2]),
        msgpack.packb({1: 2}),
        msgpack.packb([]),
        msgpack.packb([1, msgpack.ExtType(5, b"x")]),
        bytes(PACKED_SIZE_MAX + 1),
        "text",
    ],
)
def test_every_other_form_is_corrupt(data: object) -> None:
    with pytest.raises(StoreCorrupt):
        unpack(data, version=1, length=1, what="example")  # type: ignore[arg-type]


def test_a_newer_version_is_told_apart_from_damage() -> None:
    with pytest.raises(StoreNewer, match="version 2"):
        unpack(pack(2, b"x"), version=1, length=1, what="example")


@pytest.mark.parametrize(
    ("take", "value"),
    [
        (lambda value: take_bytes(value, "v", size=2), b"x"),
        (lambda value: take_bytes(value, "v"), "x"),
        (lambda value: take_int(value, "v"), True),
        (lambda value: take_int(value, "v"), -1),
        (lambda value: take_int(value, "v", maximum=5), 6),
        (lambda value: take_bool(value, "v"), 1),
        (lambda value: take_text(value, "v", size_max=1), "é"),
        (lambda value: take_text(value, "v", size_max=9), b"x"),
        (lambda value: take_list(value, "v", length=1), []),
        (lambda value: take_list(value, "v", length_max=1), [1, 2]),
        (lambda value: take_list(value, "v"), (1,)),
    ],
)
def test_a_value_of_another_type_or_size_is_corrupt(take: object, value: object) -> None:
    with pytest.raises(StoreCorrupt, match="v: not"):
        take(value)  # type: ignore[operator]
