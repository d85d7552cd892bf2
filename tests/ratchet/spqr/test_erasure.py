"""The erasure code, against a slow evaluation that follows its definition and shares nothing with it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from functools import cache
from itertools import combinations
from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.errors import InvalidArgument
from ratchet.spqr import erasure
from ratchet.spqr.erasure import (
    ALONE_IN_FIRST_BLOCK,
    BLOB_CHUNKS_MAX,
    BLOCKS_REMEMBERED_MAX,
    CHUNK_SIZE,
    Decoder,
    encode_chunk,
)

# Chunks of what the protocol sends: header, second and first part of the ciphertext, key vector.
PROTOCOL_COUNTS: Final = (3, 5, 30, 36)
# Those, powers of two and their neighbours, some that are no sum of two powers, and the longest.
COUNTS: Final = (1, 2, *PROTOCOL_COUNTS, 4, 7, 8, 16, 17, 25, 31, 32, 33, 47, 60, 63, 64)
LAST_INDEX: Final = 65_535


def product(left: int, right: int) -> int:
    """In GF(2^16) with the polynomial 0x1100B, by long multiplication."""
    result = 0
    while right:
        if right & 1:
            result ^= left
        right >>= 1
        left <<= 1
        if left > 0xFFFF:
            left ^= 0x1100B
    return result


@cache
def inverse(element: int) -> int:
    result = 1
    for _ in range(15):  # the power 2^16 - 2 = 2 + 4 + 8 + ... + 2^15
        element = product(element, element)
        result = product(result, element)
    return result


def chunk_by_definition(blob: bytes, index: int) -> bytes:
    """Evaluate the 16 polynomials at *index*, each by Lagrange's formula as it stands."""
    count = len(blob) // 32
    elements = [int.from_bytes(blob[start : start + 2], "big") for start in range(0, len(blob), 2)]
    values = [0] * 16
    for i in range(count):
        weight = 1
        for j in range(count):
            if j != i:
                weight = product(weight, product(index ^ j, inverse(i ^ j)))
        for polynomial in range(16):
            values[polynomial] ^= product(weight, elements[16 * i + polynomial])
    return b"".join(value.to_bytes(2, "big") for value in values)


def decoder_with(blob: bytes, indices: list[int]) -> Decoder:
    decoder = Decoder(len(blob))
    for index in indices:
        decoder = decoder.add(index, encode_chunk(blob, index))
    return decoder


def a_blob(count: int, seed: int = 0) -> bytes:
    return Random(f"{count} {seed}").randbytes(CHUNK_SIZE * count)


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    erasure._block.cache_clear()
    erasure._polynomial.cache_clear()


@pytest.mark.parametrize("count", COUNTS)
def test_the_first_chunks_are_the_blob_itself(count: int) -> None:
    blob = a_blob(count)
    assert b"".join(encode_chunk(blob, index) for index in range(count)) == blob


@pytest.mark.parametrize("index", [64, 65, 1_000, 32_768, LAST_INDEX])
@pytest.mark.parametrize("count", COUNTS)
def test_a_single_repair_chunk_is_the_polynomials_at_its_index(count: int, index: int) -> None:
    blob = a_blob(count)
    assert encode_chunk(blob, index) == chunk_by_definition(blob, index)


@pytest.mark.parametrize("first", [64, 640, 32_768, LAST_INDEX - 63])
@pytest.mark.parametrize("count", COUNTS)
def test_the_repair_chunks_of_a_long_run_are_the_polynomials_at_their_indices(count: int, first: int) -> None:
    blob = a_blob(count)
    chunks = [encode_chunk(blob, first + offset) for offset in range(64)]
    assert all(chunks[offset] == chunk_by_definition(blob, first + offset) for offset in (0, 1, 2, 31, 32, 62, 63))


@pytest.mark.parametrize("count", [count for count in COUNTS if count < 64])
def test_the_repair_chunks_of_the_first_block_are_the_polynomials_at_their_indices(count: int) -> None:
    blob = a_blob(count)
    chunks = {index: encode_chunk(blob, index) for index in range(count, 64)}
    sample = {count, (count + 64) // 2, 62, 63} & set(chunks)
    assert all(chunks[index] == chunk_by_definition(blob, index) for index in sample)


@pytest.mark.parametrize("count", PROTOCOL_COUNTS)
def test_a_chunk_does_not_depend_on_what_was_asked_for_before(count: int) -> None:
    dice = Random(count)
    blob = a_blob(count)
    indices = list(range(256)) + dice.sample(range(LAST_INDEX + 1), 64)
    in_order = {index: encode_chunk(blob, index) for index in sorted(indices)}
    erasure._block.cache_clear()
    erasure._polynomial.cache_clear()
    dice.shuffle(indices)
    assert {index: encode_chunk(blob, index) for index in indices} == in_order


def test_chunks_stay_right_while_more_blobs_are_sent_than_are_remembered() -> None:
    blobs = [a_blob(3, seed) for seed in range(BLOCKS_REMEMBERED_MAX + 1)]
    decoders = [Decoder(3 * CHUNK_SIZE)] * len(blobs)
    for index in (70, 71, 72):
        decoders = [
            decoder.add(index, encode_chunk(blob, index)) for decoder, blob in zip(decoders, blobs, strict=True)
        ]
    assert [decoder.blob() for decoder in decoders] == blobs


def test_no_block_is_made_for_the_first_chunks_after_the_blob() -> None:
    blob = a_blob(36)
    for index in range(36, 36 + ALONE_IN_FIRST_BLOCK):
        encode_chunk(blob, index)
    assert erasure._polynomial.cache_info().misses == 0


def test_a_block_that_is_forgotten_is_not_made_again_for_every_chunk() -> None:
    blob = a_blob(36)
    blocks_made = 0
    for index in range(128, 192):
        encode_chunk(blob, index)
        blocks_made += erasure._polynomial.cache_info().misses
        erasure._block.cache_clear()
        erasure._polynomial.cache_clear()
    assert blocks_made == 1


@pytest.mark.parametrize(("count", "sent"), [(1, 6), (2, 9), (3, 12), (4, 10), (5, 10)])
def test_every_choice_of_n_chunks_gives_a_small_blob_back(count: int, sent: int) -> None:
    blob = a_blob(count)
    assert all(decoder_with(blob, list(choice)).blob() == blob for choice in combinations(range(sent), count))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", PROTOCOL_COUNTS)
def test_random_chunks_of_all_indices_give_the_blob_back(count: int, seed: int) -> None:
    blob = a_blob(count, seed)
    indices = Random(f"{count} {seed}").sample(range(LAST_INDEX + 1), count)
    assert decoder_with(blob, indices).blob() == blob


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", PROTOCOL_COUNTS)
def test_the_blob_comes_back_over_a_line_that_loses_every_third_chunk(count: int, seed: int) -> None:
    dice = Random(f"{count} {seed}")
    blob = a_blob(count, seed)
    decoder, index = Decoder(len(blob)), 0
    while not decoder.complete:
        if dice.random() > 1 / 3:
            decoder = decoder.add(index, encode_chunk(blob, index))
        index += 1
    assert decoder.blob() == blob


@pytest.mark.parametrize("count", [*PROTOCOL_COUNTS, BLOB_CHUNKS_MAX])
def test_repair_chunks_alone_give_the_blob_back(count: int) -> None:
    blob = a_blob(count)
    assert decoder_with(blob, list(range(count, 2 * count))).blob() == blob


@pytest.mark.parametrize("count", PROTOCOL_COUNTS)
def test_the_chunks_around_the_wrap_of_the_index_give_the_blob_back(count: int) -> None:
    blob = a_blob(count)
    indices = [(LAST_INDEX - count // 2 + step) % (LAST_INDEX + 1) for step in range(count)]
    assert decoder_with(blob, indices).blob() == blob


@given(data=st.data(), count=st.integers(1, 24))
def test_any_n_chunks_in_any_order_give_any_blob_back(data: st.DataObject, count: int) -> None:
    blob = data.draw(st.binary(min_size=CHUNK_SIZE * count, max_size=CHUNK_SIZE * count))
    index = st.integers(0, 2 * count) | st.integers(0, LAST_INDEX)
    indices = data.draw(st.lists(index, min_size=count, max_size=count, unique=True))
    assert decoder_with(blob, indices).blob() == blob


@given(count=st.integers(1, 8), seed=st.integers(0, 99), index=st.integers(0, LAST_INDEX))
def test_every_chunk_is_the_polynomials_at_its_index(count: int, seed: int, index: int) -> None:
    blob = a_blob(count, seed)
    assert encode_chunk(blob, index) == chunk_by_definition(blob, index)


def test_a_decoder_is_complete_with_the_nth_chunk() -> None:
    blob = a_blob(3)
    assert [decoder_with(blob, indices).complete for indices in ([], [7], [7, 1], [7, 1, 9])] == [
        False,
        False,
        False,
        True,
    ]


def test_a_decoder_that_lacks_a_chunk_gives_no_blob() -> None:
    with pytest.raises(InvalidArgument):
        decoder_with(a_blob(3), [0, 2]).blob()


def test_a_chunk_that_arrives_twice_counts_once() -> None:
    decoder = decoder_with(a_blob(3), [4])
    assert decoder.add(4, bytes(CHUNK_SIZE)) is decoder


def test_of_two_chunks_with_one_index_the_first_is_kept() -> None:
    blob = a_blob(3)
    decoder = decoder_with(blob, [4]).add(4, bytes(CHUNK_SIZE))
    assert decoder.chunks == {4: encode_chunk(blob, 4)}


def test_a_repair_chunk_is_not_kept_once_the_decoder_is_complete() -> None:
    blob = a_blob(3)
    decoder = decoder_with(blob, [0, 5, 6])
    assert decoder.add(7, encode_chunk(blob, 7)) is decoder


def test_a_chunk_of_the_blob_is_kept_even_when_the_decoder_is_complete() -> None:
    blob = a_blob(3)
    assert set(decoder_with(blob, [0, 5, 6, 2]).chunks) == {0, 2, 5, 6}


def test_a_decoder_with_more_chunks_than_it_needs_gives_the_blob_back() -> None:
    blob = a_blob(5)
    assert decoder_with(blob, [9, 8, 7, 6, 5, 0, 4]).blob() == blob


def test_adding_a_chunk_leaves_the_decoder_as_it_was() -> None:
    blob = a_blob(3)
    decoder = decoder_with(blob, [1])
    decoder.add(2, encode_chunk(blob, 2))
    assert decoder == Decoder(len(blob), {1: encode_chunk(blob, 1)})


def test_a_decoder_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Decoder(96).size = 64  # type: ignore[misc]
