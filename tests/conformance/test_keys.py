"""libsignal's kem.rs, identity_key.rs, core/curve.rs and curve25519.rs: keys, agreement and signatures."""

from __future__ import annotations

from random import Random

import pytest
from kyber_py.kyber import Kyber1024
from nacl.bindings import crypto_core_ed25519_add, crypto_core_ed25519_is_valid_point

from ratchet import (
    Account,
    IdentityKeyPair,
    InvalidArgument,
    MalformedMessage,
    NotAuthentic,
    primitives,
    verify_signature,
)
from ratchet.keys import (
    KeyPair,
    SigningKeyPair,
    parse_kem_ciphertext,
    parse_kem_public_key,
    parse_public_key,
)
from ratchet.prekeys import KemPreKey
from tests.conformance.forging import FIELD_PRIME, SMALL_ORDER_POINT, flip_bit, torsioned, with_high_bit
from tests.support.conversation import account, seeded

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493

# kem.rs


def kem_prekey(seed: str = "kem") -> KemPreKey:
    entropy = seeded(seed)
    return KemPreKey.generate(IdentityKeyPair.generate(entropy), 1, entropy, 0, last_resort=False)


def test_kem_keys_and_ciphertexts_are_a_type_byte_and_1568_bytes() -> None:
    key = kem_prekey()
    _secret, ciphertext = primitives.kem_1024_encapsulate(key.public[1:])

    assert parse_kem_public_key(key.public) == key.public
    assert (key.public[0], len(key.public), len(ciphertext)) == (0x08, 1569, 1568)
    assert parse_kem_ciphertext(b"\x08" + ciphertext)[1:] == ciphertext


def test_both_sides_of_the_kem_have_the_same_secret() -> None:
    key = kem_prekey()
    for _ in range(10):
        secret, ciphertext = primitives.kem_1024_encapsulate(key.public[1:])
        assert key.decapsulate(b"\x08" + ciphertext) == secret
        assert len(secret) == 32


def test_the_kem_is_round_3_kyber_as_an_independent_implementation_has_it() -> None:
    key = kem_prekey()

    theirs, ciphertext = Kyber1024.encaps(key.public[1:])
    their_public, their_private = Kyber1024.keygen()
    ours, our_ciphertext = primitives.kem_1024_encapsulate(their_public)

    assert key.decapsulate(b"\x08" + ciphertext) == theirs
    assert Kyber1024.decaps(their_private, our_ciphertext) == ours


def test_a_changed_ciphertext_gives_another_secret_and_no_error() -> None:
    key = kem_prekey()
    secret, ciphertext = primitives.kem_1024_encapsulate(key.public[1:])
    for position in Random(1).sample(range(8 * 1568), 20):
        assert key.decapsulate(b"\x08" + flip_bit(ciphertext, position)) != secret


def test_another_private_key_gives_another_secret_and_no_error() -> None:
    secret, ciphertext = primitives.kem_1024_encapsulate(kem_prekey("one").public[1:])

    assert kem_prekey("other").decapsulate(b"\x08" + ciphertext) != secret


@pytest.mark.parametrize("type_byte", [0x00, 0x05, 0x07, 0x09, 0x0A, 0xFF])
def test_kem_values_of_another_type_are_malformed(type_byte: int) -> None:
    value = bytes([type_byte]) + bytes(1568)
    for parse in (parse_kem_public_key, parse_kem_ciphertext):
        with pytest.raises(MalformedMessage):
            parse(value)


@pytest.mark.parametrize("size", [0, 1, 1568, 1570])
def test_kem_values_of_another_size_are_malformed(size: int) -> None:
    for parse in (parse_kem_public_key, parse_kem_ciphertext):
        with pytest.raises(MalformedMessage):
            parse((b"\x08" + bytes(1569))[:size])


def test_a_kem_public_key_with_a_coefficient_above_the_modulus_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        primitives.kem_1024_encapsulate(b"\xff" * 1568)


# identity_key.rs


def test_an_identity_is_the_same_after_being_exported_and_loaded() -> None:
    identity = IdentityKeyPair.generate(seeded("identity"))
    loaded = IdentityKeyPair.from_private_key(identity.private_key)

    assert loaded.public_key == identity.public_key
    assert (len(identity.public_key), len(identity.private_key), identity.public_key[0]) == (33, 32, 0x05)


def test_an_identity_made_here_and_the_same_one_loaded_sign_for_each_other() -> None:
    identity = IdentityKeyPair.generate(seeded("identity"))
    for one in (identity, IdentityKeyPair.from_private_key(identity.private_key)):
        verify_signature(identity.public_key, "label", b"data", one.sign("label", b"data"))


def test_an_identity_is_the_same_in_a_stored_account() -> None:
    for identity in (
        IdentityKeyPair.generate(seeded("made here")),
        IdentityKeyPair.from_private_key(bytes(range(32))),
    ):
        stored = Account.from_bytes(account("device", identity=identity).to_bytes())
        assert stored.identity.public_key == identity.public_key
        assert stored.identity.private_key == identity.private_key


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_identity_of_another_size_is_not_loaded(size: int) -> None:
    with pytest.raises(InvalidArgument):
        IdentityKeyPair.from_private_key(bytes(size))


# core/curve.rs


@pytest.mark.parametrize("size", [0, 1, 32, 34, 66])
def test_a_public_key_of_another_size_than_33_bytes_is_malformed(size: int) -> None:
    with pytest.raises(MalformedMessage):
        parse_public_key((b"\x05" + bytes(size))[:size])


@pytest.mark.parametrize("type_byte", [0x00, 0x01, 0x04, 0x06, 0x08, 0xFF])
def test_a_public_key_of_another_type_is_malformed(type_byte: int) -> None:
    with pytest.raises(MalformedMessage):
        parse_public_key(bytes([type_byte]) + bytes(32))


def test_honest_keys_are_canonical() -> None:
    for seed in range(50):
        primitives.require_canonical(KeyPair.generate(seeded(seed)).public[1:])


@pytest.mark.parametrize("seed", range(5))
def test_a_key_with_a_part_of_small_order_is_not_canonical(seed: int) -> None:
    key = KeyPair.generate(seeded(seed)).public

    with pytest.raises(NotAuthentic):
        primitives.require_canonical(torsioned(key)[1:])


def test_a_key_with_the_high_bit_set_is_not_canonical() -> None:
    key = KeyPair.generate(seeded("key")).public

    with pytest.raises(NotAuthentic):
        primitives.require_canonical(with_high_bit(key)[1:])


def test_the_last_key_below_the_prime_has_no_image_and_all_above_are_not_canonical() -> None:
    for u in range(FIELD_PRIME - 1, 2**255):
        with pytest.raises(NotAuthentic):
            primitives.require_canonical(u.to_bytes(32, "little"))


def test_the_generator_is_canonical_and_written_above_the_prime_it_is_not() -> None:
    primitives.require_canonical((9).to_bytes(32, "little"))

    with pytest.raises(NotAuthentic):
        primitives.require_canonical((FIELD_PRIME + 9).to_bytes(32, "little"))


@pytest.mark.parametrize("u", [0, 1, FIELD_PRIME - 1, FIELD_PRIME, FIELD_PRIME + 1])
def test_a_key_of_small_order_agrees_on_nothing(u: int) -> None:
    with pytest.raises(NotAuthentic):
        KeyPair.generate(seeded("key")).agree(b"\x05" + u.to_bytes(32, "little"))


def test_a_loaded_private_key_is_clamped() -> None:
    loaded = KeyPair.from_private(b"\xff" * 32)

    assert loaded.private == b"\xf8" + b"\xff" * 30 + b"\x7f"
    assert KeyPair.from_private(loaded.private).public == loaded.public


# curve25519.rs


def test_two_pairs_agree_on_one_secret_and_a_third_on_another() -> None:
    for seed in range(20):
        one, other, third = (KeyPair.generate(seeded(f"{seed} {name}")) for name in ("one", "other", "third"))
        assert one.agree(other.public) == other.agree(one.public) != one.agree(third.public)


def test_agreement_gives_the_secret_of_rfc_7748() -> None:
    # Section 6.1: Bob's private key and Alice's public key.
    bob = KeyPair.from_private(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    alices = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")

    assert bob.agree(b"\x05" + alices).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert bob.public.hex() == "05de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"


@pytest.mark.parametrize("size", [0, 1, 64, 1024])
def test_both_kinds_of_signing_keys_sign_for_their_public_key(size: int) -> None:
    made = SigningKeyPair.from_seed(bytes(range(32)))
    loaded = SigningKeyPair.from_private(made.private)
    message = Random(size).randbytes(size)
    for pair in (made, loaded):
        primitives.xeddsa_verify(made.public[1:], message, pair.sign(message, seeded(size)))


def test_a_signature_with_any_bit_flipped_is_refused() -> None:
    pair = SigningKeyPair.from_private(bytes(range(32)))
    signature = pair.sign(b"message", seeded("nonce"))

    for position in range(8 * 64):
        with pytest.raises(NotAuthentic):
            primitives.xeddsa_verify(pair.public[1:], b"message", flip_bit(signature, position))


def test_a_signature_is_refused_for_another_message_or_key() -> None:
    pair, other = SigningKeyPair.from_seed(bytes(32)), SigningKeyPair.from_seed(bytes(range(32)))
    signature = pair.sign(b"message", seeded("nonce"))

    with pytest.raises(NotAuthentic):
        primitives.xeddsa_verify(pair.public[1:], b"another message", signature)
    with pytest.raises(NotAuthentic):
        primitives.xeddsa_verify(other.public[1:], b"message", signature)


def test_signatures_carry_both_signs_of_the_edwards_key() -> None:
    signs = set()
    for seed in range(32):
        pair = SigningKeyPair.from_private(Random(seed).randbytes(32))
        signature = pair.sign(b"message", seeded(seed))
        primitives.xeddsa_verify(pair.public[1:], b"message", signature)
        signs.add(signature[63] >> 7)

    assert signs == {0, 1}


def test_a_signature_whose_scalar_is_not_reduced_is_refused() -> None:
    pair = SigningKeyPair.from_seed(bytes(32))
    signature = pair.sign(b"message", seeded("nonce"))
    sign = signature[63] & 0x80
    scalar = int.from_bytes(signature[32:], "little") & (2**255 - 1)

    unreduced = (scalar + ED25519_ORDER).to_bytes(32, "little")

    with pytest.raises(NotAuthentic):
        primitives.xeddsa_verify(
            pair.public[1:], b"message", signature[:32] + unreduced[:31] + bytes([unreduced[31] | sign])
        )


def test_the_point_of_small_order_used_above_has_order_eight() -> None:
    assert not crypto_core_ed25519_is_valid_point(SMALL_ORDER_POINT)
    point, zero = SMALL_ORDER_POINT, (1).to_bytes(32, "little")
    doublings = [point := crypto_core_ed25519_add(point, point) for _ in range(3)]
    assert [doubled == zero for doubled in doublings] == [False, False, True]
