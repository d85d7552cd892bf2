"""Key pairs and serialised forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ratchet import primitives
from ratchet.errors import CorruptSnapshot, InvalidArgument, MalformedMessage, NotAuthentic
from ratchet.keys import (
    IdentityKeyPair,
    KeyPair,
    SigningKeyPair,
    draw,
    parse_kem_ciphertext,
    parse_kem_public_key,
    parse_public_key,
    signed_data,
    verify_signature,
)
from tests.support.conversation import seeded
from tests.support.naming import case_name

if TYPE_CHECKING:
    from collections.abc import Callable


def no_entropy(_size: int) -> bytes:
    raise AssertionError("nothing is to be drawn")


def test_entropy_of_the_right_size_is_taken() -> None:
    assert draw(lambda size: b"\x07" * size, 5) == b"\x07" * 5


@pytest.mark.parametrize(
    "entropy",
    [
        lambda _size: b"",
        lambda size: bytes(size + 1),
        bytearray,
        lambda _size: None,
        lambda _size: "12345",
        None,
        b"12345",
    ],
)
def test_anything_else_is_no_entropy(entropy: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        draw(entropy, 5)


PARSERS: list[tuple[Callable[[bytes], bytes], int, int]] = [
    (parse_public_key, 0x05, 33),
    (parse_kem_public_key, 0x08, 1569),
    (parse_kem_ciphertext, 0x08, 1569),
]


@pytest.mark.parametrize(("parse", "first", "size"), PARSERS)
def test_a_serialised_key_is_a_type_byte_and_the_key(parse: Callable[[bytes], bytes], first: int, size: int) -> None:
    data = bytes([first]) + bytes(size - 1)
    assert parse(data) is data


@pytest.mark.parametrize(("parse", "first", "size"), PARSERS)
def test_another_type_size_or_kind_of_value_is_malformed(parse: Callable[[Any], bytes], first: int, size: int) -> None:
    data = bytes([first]) + bytes(size - 1)
    for bad in (data[:-1], data + b"\0", b"", bytes([first ^ 1]) + data[1:], bytearray(data), None, "x" * size, 5):
        with pytest.raises(MalformedMessage):
            parse(bad)


def test_a_key_pair_is_made_from_32_bytes_of_entropy_and_clamped() -> None:
    pair = KeyPair.generate(lambda size: b"\xff" * size)
    assert pair.private == primitives.clamp(b"\xff" * 32)
    assert pair.public == b"\x05" + primitives.x25519_public(pair.private)


def test_two_key_pairs_agree() -> None:
    one, other = KeyPair.generate(seeded(1)), KeyPair.generate(seeded(2))
    assert one.agree(other.public) == other.agree(one.public)


def test_a_key_of_low_order_agrees_on_nothing() -> None:
    with pytest.raises(NotAuthentic):
        KeyPair.generate(seeded(1)).agree(b"\x05" + bytes(32))


def test_a_signing_key_pair_from_a_seed_agrees_signs_and_draws_nothing() -> None:
    pair = SigningKeyPair.from_seed(seeded(1)(32))
    other = KeyPair.generate(seeded(2))
    assert pair.agree(other.public) == other.agree(pair.public)
    primitives.xeddsa_verify(pair.public[1:], b"message", pair.sign(b"message", no_entropy))


def test_a_loaded_signing_key_pair_draws_64_bytes_for_a_signature() -> None:
    pair = SigningKeyPair.from_private(seeded(1)(32))
    drawn: list[int] = []

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    primitives.xeddsa_verify(pair.public[1:], b"message", pair.sign(b"message", entropy))
    assert drawn == [64]


@pytest.mark.parametrize("made", [SigningKeyPair.from_seed, SigningKeyPair.from_private])
def test_a_signing_key_pair_is_the_same_from_what_a_snapshot_keeps(made: Callable[[bytes], SigningKeyPair]) -> None:
    pair = made(seeded(3)(32))
    again = SigningKeyPair.from_secret(*pair.secret())
    assert (again.public, again.private, again.secret()) == (pair.public, pair.private, pair.secret())


def test_a_stored_private_key_that_is_not_clamped_is_corrupt() -> None:
    with pytest.raises(CorruptSnapshot):
        SigningKeyPair.from_secret(*(False, b"\xff" * 32))


def test_key_pairs_print_their_public_half_only() -> None:
    for pair in (KeyPair.generate(seeded(1)), SigningKeyPair.from_seed(seeded(1)(32))):
        assert repr(pair.public) in repr(pair)
        assert repr(pair.private)[2:-1] not in repr(pair)


def test_an_identity_is_generated_from_32_bytes() -> None:
    identity = IdentityKeyPair.generate(lambda size: b"\x01" * size)
    assert identity.public_key == SigningKeyPair.from_seed(b"\x01" * 32).public
    assert identity.pair.public == identity.public_key


def test_an_identity_exported_by_its_private_key_is_the_same_identity() -> None:
    identity = IdentityKeyPair.generate(seeded(1))
    loaded = IdentityKeyPair.from_private_key(identity.private_key)
    assert loaded.public_key == identity.public_key
    other = KeyPair.generate(seeded(2))
    assert loaded.agree(other.public) == identity.agree(other.public)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), "x" * 32, None, bytearray(32)], ids=case_name)
def test_an_identity_is_loaded_from_32_bytes_only(key: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        IdentityKeyPair.from_private_key(key)


def test_an_identity_agrees_with_serialised_keys_only() -> None:
    identity = IdentityKeyPair.generate(seeded(1))
    bad: Any
    for bad in (b"", bytes(32), b"\x05" + bytes(31), b"\x05" + bytes(33), None):
        with pytest.raises(MalformedMessage):
            identity.agree(bad)


def test_an_identity_prints_its_public_key() -> None:
    identity = IdentityKeyPair.generate(seeded(1))
    assert repr(identity) == f"IdentityKeyPair(public_key={identity.public_key.hex()})"


def test_what_a_label_signs_has_one_form() -> None:
    assert signed_data("ab", b"data") == b"e2ee\x00\x02abdata"
    assert signed_data("ä", b"") == b"e2ee\x00\x02\xc3\xa4"


@pytest.mark.parametrize("label", ["", "x" * 256, "ä" * 128, None, b"label", "\ud800"], ids=case_name)
def test_a_label_is_1_to_255_bytes_of_text(label: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        signed_data(label, b"data")


@pytest.mark.parametrize("data", [None, "text", bytearray(b"x")], ids=case_name)
def test_signed_data_is_bytes(data: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        signed_data("label", data)


def test_the_longest_label_signs() -> None:
    identity = IdentityKeyPair.generate(seeded(1))
    verify_signature(identity.public_key, "x" * 255, b"data", identity.sign("x" * 255, b"data"))


@pytest.mark.parametrize("loaded", [False, True])
def test_a_signature_verifies_for_its_key_label_and_data_only(loaded: bool) -> None:  # noqa: FBT001
    identity = IdentityKeyPair.generate(seeded(1))
    if loaded:
        identity = IdentityKeyPair.from_private_key(identity.private_key)
    signature = identity.sign("label", b"data", entropy=seeded(2))
    verify_signature(identity.public_key, "label", b"data", signature)
    other = IdentityKeyPair.generate(seeded(3)).public_key
    for wrong in (
        (other, "label", b"data", signature),
        (identity.public_key, "other", b"data", signature),
        (identity.public_key, "label", b"other", signature),
        (identity.public_key, "label", b"data", bytes(64)),
        (identity.public_key, "label", b"data", b""),
        (identity.public_key, "label", b"data", bytearray(signature)),
    ):
        with pytest.raises(NotAuthentic):
            verify_signature(*wrong)


def test_a_key_that_is_none_verifies_nothing() -> None:
    with pytest.raises(MalformedMessage):
        verify_signature(bytes(33), "label", b"data", bytes(64))
