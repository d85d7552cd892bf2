"""Encapsulation in two steps, against published vectors and the decapsulation of `cryptography`."""

from __future__ import annotations

from hashlib import sha3_256, shake_128
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ratchet.errors import MalformedMessage, NotAuthentic
from ratchet.spqr import kem
from ratchet.spqr.kem import (
    CIPHERTEXT_1_SIZE,
    CIPHERTEXT_2_SIZE,
    ENCAPSULATION_KEY_SIZE,
    HEADER_SIZE,
    RANDOMNESS_SIZE,
    SHARED_SECRET_SIZE,
    VECTOR_SIZE,
    check_vector,
    encapsulate_1,
    encapsulate_2,
    split_key,
)
from tests.support import wycheproof

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN_ANSWERS: Final = Path(cryptography_vectors.__file__).parent / "asymmetric" / "MLKEM" / "kat_MLKEM_768.rsp"


class Encapsulated(NamedTuple):
    ciphertext: bytes
    shared_secret: bytes


def encapsulate(encapsulation_key: bytes, randomness: bytes) -> Encapsulated:
    header, vector = split_key(encapsulation_key)
    check_vector(header, vector)
    ciphertext_1, shared_secret = encapsulate_1(header, randomness)
    return Encapsulated(ciphertext_1 + encapsulate_2(header, randomness, vector), shared_secret)


def wycheproof_cases(result: str) -> list[dict[str, Any]]:
    """Those with this result and a key of the right length, which what is parsed before has made sure of."""
    groups = wycheproof.load("mlkem_768_encaps_test.json")["testGroups"]
    cases = [case for group in groups for case in group["tests"] if case["result"] == result]
    return [case for case in cases if len(case["ek"]) == 2 * ENCAPSULATION_KEY_SIZE]


def known_answers() -> Iterator[dict[str, bytes]]:
    fields: dict[str, bytes] = {}
    with KNOWN_ANSWERS.open(encoding="ascii") as lines:
        for line in lines:
            name, _, value = line.strip().partition(" = ")
            if name not in {"", "count"}:
                fields[name] = bytes.fromhex(value)
            if name == "ss":  # the last of one case
                yield fields


def key_pair(seed: int | str) -> tuple[MLKEM768PrivateKey, bytes]:
    private = MLKEM768PrivateKey.from_seed_bytes(Random(seed).randbytes(64))
    return private, private.public_key().public_bytes_raw()


def with_first_coefficient(vector: bytes, coefficient: int) -> bytes:
    return bytes((coefficient & 0xFF, vector[1] & 0xF0 | coefficient >> 8)) + vector[2:]


def header_of(vector: bytes, seed: bytes) -> bytes:
    return seed + sha3_256(vector + seed).digest()


def test_every_valid_case_of_wycheproof_gives_its_ciphertext_and_secret() -> None:
    cases = wycheproof_cases("valid")
    made = [encapsulate(bytes.fromhex(case["ek"]), bytes.fromhex(case["m"])) for case in cases]
    assert len(cases) == 133
    assert made == [Encapsulated(bytes.fromhex(case["c"]), bytes.fromhex(case["K"])) for case in cases]


def test_every_key_that_wycheproof_calls_invalid_is_refused() -> None:
    cases = wycheproof_cases("invalid")
    assert len(cases) == 112
    for case in cases:
        with pytest.raises(MalformedMessage):
            check_vector(*split_key(bytes.fromhex(case["ek"])))


def test_the_first_hundred_known_answers_of_the_standard_are_met() -> None:
    for case in islice(known_answers(), 100):
        assert encapsulate(case["pk"], case["msg"]) == Encapsulated(case["ct"], case["ss"])


@pytest.mark.slow
def test_all_known_answers_of_the_standard_are_met() -> None:
    met = 0
    for case in known_answers():
        assert encapsulate(case["pk"], case["msg"]) == Encapsulated(case["ct"], case["ss"])
        met += 1
    assert met == 1000


@pytest.mark.parametrize("seed", range(50))
def test_the_holder_of_the_key_decapsulates_the_same_secret(seed: int) -> None:
    private, public = key_pair(seed)
    made = encapsulate(public, Random(seed + 1_000).randbytes(RANDOMNESS_SIZE))
    assert private.decapsulate(made.ciphertext) == made.shared_secret


@given(seed=st.binary(min_size=64, max_size=64), randomness=st.binary(min_size=32, max_size=32))
def test_any_randomness_encapsulates_to_any_key(seed: bytes, randomness: bytes) -> None:
    private = MLKEM768PrivateKey.from_seed_bytes(seed)
    made = encapsulate(private.public_key().public_bytes_raw(), randomness)
    assert private.decapsulate(made.ciphertext) == made.shared_secret


def test_a_matrix_that_needs_more_of_its_stream_than_usual_is_sampled_in_full() -> None:
    def accepted(seed: bytes) -> int:
        stream = int.from_bytes(shake_128(seed).digest(kem.MATRIX_STREAM_SIZE), "little")
        return sum((stream >> shift & 0xFFF) < 3329 for shift in range(0, 8 * kem.MATRIX_STREAM_SIZE, 12))

    private, public = next(
        (private, public)
        for private, public in (key_pair(seed) for seed in count())
        if any(accepted(public[VECTOR_SIZE:] + bytes((row, column))) < 256 for row in range(3) for column in range(3))
    )
    made = encapsulate(public, bytes(RANDOMNESS_SIZE))
    assert private.decapsulate(made.ciphertext) == made.shared_secret


def test_the_pieces_have_the_sizes_of_the_protocol() -> None:
    assert (HEADER_SIZE, VECTOR_SIZE, CIPHERTEXT_1_SIZE, CIPHERTEXT_2_SIZE) == (64, 1152, 960, 128)


def test_what_is_made_has_the_sizes_that_are_promised() -> None:
    header, vector = split_key(key_pair(1)[1])
    ciphertext_1, shared_secret = encapsulate_1(header, bytes(RANDOMNESS_SIZE))
    ciphertext_2 = encapsulate_2(header, bytes(RANDOMNESS_SIZE), vector)
    assert [len(piece) for piece in (header, vector, ciphertext_1, ciphertext_2, shared_secret)] == [
        HEADER_SIZE,
        VECTOR_SIZE,
        CIPHERTEXT_1_SIZE,
        CIPHERTEXT_2_SIZE,
        SHARED_SECRET_SIZE,
    ]


def test_a_key_is_its_vector_and_the_seed_of_its_header() -> None:
    public = key_pair(1)[1]
    header, vector = split_key(public)
    assert vector + header[:32] == public


def test_a_header_carries_the_hash_of_the_whole_key() -> None:
    public = key_pair(1)[1]
    header, _ = split_key(public)
    assert header[32:] == sha3_256(public).digest()


def test_the_vector_of_its_header_is_accepted() -> None:
    check_vector(*split_key(key_pair(1)[1]))


@pytest.mark.parametrize("position", [0, 1, 575, VECTOR_SIZE - 1])
def test_a_vector_with_one_changed_bit_is_refused(position: int) -> None:
    header, vector = split_key(key_pair(1)[1])
    changed = vector[:position] + bytes((vector[position] ^ 1,)) + vector[position + 1 :]
    with pytest.raises(NotAuthentic):
        check_vector(header, changed)


def test_the_vector_of_another_header_is_refused() -> None:
    header, _ = split_key(key_pair(1)[1])
    _, vector = split_key(key_pair(2)[1])
    with pytest.raises(NotAuthentic):
        check_vector(header, vector)


@pytest.mark.parametrize("size", [0, VECTOR_SIZE - 1, VECTOR_SIZE + 1])
def test_a_vector_of_another_size_is_refused_even_with_its_hash_in_the_header(size: int) -> None:
    vector = bytes(size)
    with pytest.raises(MalformedMessage):
        check_vector(header_of(vector, bytes(32)), vector)


def test_the_largest_coefficient_is_accepted() -> None:
    header, vector = split_key(key_pair(1)[1])
    vector = with_first_coefficient(vector, 3328)
    check_vector(header_of(vector, header[:32]), vector)


@pytest.mark.parametrize("coefficient", [3329, 4095])
def test_a_coefficient_that_is_not_reduced_is_refused_even_with_its_hash_in_the_header(coefficient: int) -> None:
    header, vector = split_key(key_pair(1)[1])
    vector = with_first_coefficient(vector, coefficient)
    with pytest.raises(MalformedMessage):
        check_vector(header_of(vector, header[:32]), vector)


def test_the_noise_does_not_print() -> None:
    transformed = kem._ntt(kem._sample_noise(bytes(32), 0))
    assert str(transformed.even[0]) not in repr(transformed).partition(" at ")[0]
