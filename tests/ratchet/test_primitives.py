"""The primitives: published constants, the forms that are refused, and what does not need a vector to be wrong."""

from __future__ import annotations

import importlib.util
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives import asymmetric
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_open, crypto_sign_seed_keypair

from ratchet import primitives
from ratchet.errors import MalformedMessage, NotAuthentic, UnsupportedPlatform
from tests.support.conversation import seeded

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS: Final = Path(cryptography_vectors.__file__).parent / "asymmetric" / "MLKEM"
FIELD_PRIME: Final = 2**255 - 19
keys = st.binary(min_size=32, max_size=32)


def known_answers(name: str) -> Iterator[dict[str, bytes]]:
    fields: dict[str, bytes] = {}
    with (VECTORS / name).open(encoding="ascii") as lines:
        for line in lines:
            field, _, value = line.strip().partition(" = ")
            if field not in {"", "count"}:
                fields[field] = bytes.fromhex(value)
            if field == "ss":  # the last of one case
                yield fields


def test_ml_kem_1024_meets_the_first_hundred_known_answers() -> None:
    for case in islice(known_answers("kat_MLKEM_1024.rsp"), 100):
        seed = case["d"] + case["z"]
        assert primitives.kem_1024_public(seed) == case["pk"]
        shared = primitives.kem_1024_decapsulate(seed, case["ct"])
        assert shared == primitives.kyber_secret(case["ss"], case["ct"])


def test_ml_kem_768_meets_the_first_hundred_known_answers() -> None:
    for case in islice(known_answers("kat_MLKEM_768.rsp"), 100):
        seed = case["d"] + case["z"]
        assert primitives.kem_768_public(seed) == case["pk"]
        assert primitives.kem_768_decapsulate(seed, case["ct"]) == case["ss"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [768, 1024])
def test_ml_kem_meets_all_known_answers(size: int) -> None:
    met = 0
    for case in known_answers(f"kat_MLKEM_{size}.rsp"):
        seed = case["d"] + case["z"]
        if size == 768:
            assert primitives.kem_768_decapsulate(seed, case["ct"]) == case["ss"]
        else:
            shared = primitives.kem_1024_decapsulate(seed, case["ct"])
            assert shared == primitives.kyber_secret(case["ss"], case["ct"])
        met += 1
    assert met == 1000


def test_hmac_is_that_of_rfc_4231() -> None:
    key, data = b"\x0b" * 20, b"Hi There"  # section 4.2
    expected = bytes.fromhex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    assert primitives.hmac_sha256(key, data) == expected
    assert primitives.hmac_sha256_pair(key, data, data) == (expected, expected)


def test_hkdf_is_that_of_rfc_5869() -> None:
    secret, salt, info = b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA))  # appendix A.1
    expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert primitives.hkdf_sha256(salt, secret, info, 42).hex() == expected


def test_no_salt_is_a_salt_of_zeros() -> None:
    assert primitives.hkdf_sha256(None, b"secret", b"info", 64) == primitives.hkdf_sha256(
        bytes(32), b"secret", b"info", 64
    )


@given(secret=st.binary(min_size=1, max_size=80), info=st.binary(max_size=80))
def test_the_derivation_in_two_halves_is_the_one_in_one_piece(secret: bytes, info: bytes) -> None:
    assert b"".join(primitives.hkdf_sha256_pair(secret, info)) == primitives.hkdf_sha256(None, secret, info, 64)


@given(key=keys, first=st.binary(max_size=80), second=st.binary(max_size=80))
def test_two_macs_under_one_key_are_the_two_macs(key: bytes, first: bytes, second: bytes) -> None:
    pair = primitives.hmac_sha256_pair(key, first, second)
    assert pair == (primitives.hmac_sha256(key, first), primitives.hmac_sha256(key, second))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [(b"tag", b"tag", True), (b"tag", b"tah", False), (b"tag", b"ta", False), (b"", b"", True), (b"", b"t", False)],
)
def test_two_tags_are_equal_if_all_bytes_are(left: bytes, right: bytes, expected: bool) -> None:  # noqa: FBT001
    assert primitives.equal(left, right) is expected


# --- AES-CBC -----------------------------------------------------------------------------------------------


@given(key=keys, vector=st.binary(min_size=16, max_size=16), plaintext=st.binary(max_size=70))
def test_what_was_encrypted_is_decrypted_the_same_and_is_one_to_sixteen_bytes_longer(
    key: bytes, vector: bytes, plaintext: bytes
) -> None:
    ciphertext = primitives.aes_cbc_encrypt(key, vector, plaintext)
    assert 1 <= len(ciphertext) - len(plaintext) <= 16
    assert primitives.aes_cbc_decrypt(key, vector, ciphertext) == plaintext


@pytest.mark.parametrize("size", [0, 1, 15, 17, 31])
def test_a_ciphertext_that_is_no_number_of_blocks_is_refused(size: int) -> None:
    with pytest.raises(NotAuthentic):
        primitives.aes_cbc_decrypt(bytes(32), bytes(16), bytes(size))


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x0f" * 15 + b"\x00", id="zero bytes of padding"),
        pytest.param(b"\x11" * 16, id="seventeen"),
        pytest.param(b"\x0f" * 14 + b"\x01\x02", id="two that differ"),
        pytest.param(b"\x00" + b"\x10" * 15, id="sixteen, the first of which is wrong"),
        pytest.param(b"\xff" * 16, id="255"),
    ],
)
def test_padding_that_nobody_makes_is_refused(block: bytes) -> None:
    ciphertext = primitives.aes_cbc_encrypt(bytes(32), bytes(16), block)[:16]
    with pytest.raises(NotAuthentic):
        primitives.aes_cbc_decrypt(bytes(32), bytes(16), ciphertext)


# --- X25519 --------------------------------------------------------------------------------------------------


def test_agreement_is_that_of_rfc_7748() -> None:
    private = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")  # section 5.2
    public = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    shared = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    assert primitives.x25519(private, public).hex() == shared


@given(private=keys)
def test_a_clamped_key_has_the_public_key_and_the_secrets_of_the_key_as_it_was(private: bytes) -> None:
    clamped = primitives.clamp(private)
    assert primitives.clamp(clamped) == clamped
    assert primitives.x25519_public(clamped) == primitives.x25519_public(private)
    assert clamped[0] & 7 == 0
    assert clamped[31] & 0xC0 == 0x40


@given(one=keys, other=keys)
def test_two_sides_agree(one: bytes, other: bytes) -> None:
    assert primitives.x25519(one, primitives.x25519_public(other)) == primitives.x25519(
        other, primitives.x25519_public(one)
    )


@given(private=keys)
def test_every_public_key_of_ours_is_canonical(private: bytes) -> None:
    primitives.require_canonical(primitives.x25519_public(private))


@pytest.mark.parametrize(
    "u",
    [
        pytest.param(0, id="low order"),
        pytest.param(1, id="low order, too"),
        pytest.param(FIELD_PRIME - 1, id="no image"),
        pytest.param(FIELD_PRIME, id="the prime"),
        pytest.param(FIELD_PRIME + 9, id="the generator, not reduced"),
        pytest.param(2**255 + 9, id="the generator, with the high bit"),
        pytest.param(2, id="not on the curve, but on its twist"),
        pytest.param(2**256 - 1, id="all ones"),
    ],
)
def test_what_no_honest_key_looks_like_is_not_canonical(u: int) -> None:
    with pytest.raises(NotAuthentic):
        primitives.require_canonical(u.to_bytes(32, "little"))


def test_the_generator_is_canonical() -> None:
    primitives.require_canonical((9).to_bytes(32, "little"))


# --- XEdDSA --------------------------------------------------------------------------------------------------


@given(seed=keys, message=st.binary(max_size=100))
def test_a_signature_made_with_a_seed_verifies_for_its_x25519_key(seed: bytes, message: bytes) -> None:
    private, public, signing = primitives.keys_from_seed(seed)
    assert primitives.x25519_public(private) == public
    primitives.xeddsa_verify(public, message, primitives.sign_with_seed(signing, message))


@given(seed=keys, message=st.binary(max_size=100))
def test_a_signature_made_with_a_seed_is_ed25519_but_for_one_bit(seed: bytes, message: bytes) -> None:
    edwards, signing = crypto_sign_seed_keypair(seed)
    signature = primitives.sign_with_seed(signing, message)
    assert signature[63] & 0x80 == edwards[31] & 0x80
    assert crypto_sign_open(signature[:63] + bytes([signature[63] & 0x7F]) + message, edwards) == message


@given(private=keys, message=st.binary(max_size=100), random=st.binary(min_size=64, max_size=64))
def test_a_signature_made_with_an_x25519_key_verifies(private: bytes, message: bytes, random: bytes) -> None:
    clamped = primitives.clamp(private)
    signature = primitives.xeddsa_sign(clamped, message, random)
    primitives.xeddsa_verify(primitives.x25519_public(clamped), message, signature)


def test_both_ways_of_signing_with_one_key_carry_the_same_sign() -> None:
    signs = set()
    for number in range(20):
        private, _public, signing = primitives.keys_from_seed(seeded(number)(32))
        one = primitives.sign_with_seed(signing, b"m")[63] & 0x80
        assert primitives.xeddsa_sign(private, b"m", bytes(64))[63] & 0x80 == one
        signs.add(one)
    assert signs == {0, 0x80}


def test_other_randomness_or_another_message_makes_another_commitment() -> None:
    private = primitives.clamp(seeded(1)(32))
    signatures = [
        primitives.xeddsa_sign(private, message, random)
        for message in (b"one", b"other")
        for random in (bytes(64), b"\x01" * 64)
    ]
    assert len({signature[:32] for signature in signatures}) == 4


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(NotAuthentic):
        primitives.xeddsa_verify(primitives.x25519_public(bytes(32)), b"message", bytes(size))


def test_a_key_without_edwards_form_verifies_nothing() -> None:
    for u in (FIELD_PRIME - 1, 2**255 + FIELD_PRIME - 1):  # the top bit is ignored
        with pytest.raises(NotAuthentic, match="Edwards"):
            primitives.xeddsa_verify(u.to_bytes(32, "little"), b"message", bytes(64))


def test_a_point_that_is_not_on_the_curve_verifies_nothing() -> None:
    with pytest.raises(NotAuthentic):
        primitives.xeddsa_verify((2).to_bytes(32, "little"), b"message", bytes(64))


@pytest.mark.parametrize("bit", [0x20, 0x40])
def test_the_two_bits_below_the_sign_must_be_clear(bit: int) -> None:
    _private, public, signing = primitives.keys_from_seed(seeded(2)(32))
    signature = primitives.sign_with_seed(signing, b"message")
    with pytest.raises(NotAuthentic):
        primitives.xeddsa_verify(public, b"message", signature[:63] + bytes([signature[63] | bit]))


# --- ML-KEM --------------------------------------------------------------------------------------------------


def test_what_was_encapsulated_is_decapsulated_to_the_same_secret() -> None:
    seed = seeded(3)(64)
    secret, ciphertext = primitives.kem_1024_encapsulate(primitives.kem_1024_public(seed))
    assert (len(secret), len(ciphertext)) == (32, 1568)
    assert primitives.kem_1024_decapsulate(seed, ciphertext) == secret


def test_no_two_encapsulations_are_alike() -> None:
    public = primitives.kem_1024_public(seeded(3)(64))
    assert primitives.kem_1024_encapsulate(public) != primitives.kem_1024_encapsulate(public)


def test_a_kem_key_with_a_coefficient_that_is_not_reduced_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        primitives.kem_1024_encapsulate(b"\xff" * 1568)


def test_a_private_kem_key_has_the_public_key_of_its_seed() -> None:
    seed = seeded(4)(64)
    assert primitives.kem_768_private(seed).public_key().public_bytes_raw() == primitives.kem_768_public(seed)


def test_a_cryptography_without_ml_kem_is_named_at_import_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"{asymmetric.__name__}.mlkem", None)
    monkeypatch.delattr(asymmetric, "mlkem")
    spec = importlib.util.spec_from_file_location("ratchet.primitives_again", primitives.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(UnsupportedPlatform, match="install cryptography 48 or newer") as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert isinstance(caught.value, ImportError)
