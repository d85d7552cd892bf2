"""Project Wycheproof's cases through our primitives; each group left out says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey

from ratchet.errors import NotAuthentic
from ratchet.primitives import (
    aes_cbc_decrypt,
    aes_cbc_encrypt,
    hkdf_sha256,
    hkdf_sha256_pair,
    hmac_sha256,
    hmac_sha256_pair,
    kem_768_decapsulate,
    kem_768_public,
    kem_1024_decapsulate,
    kem_1024_public,
    kyber_secret,
    x25519,
    xeddsa_verify,
)
from tests.support import wycheproof

if TYPE_CHECKING:
    from collections.abc import Callable

FIELD_PRIME: Final = 2**255 - 19
GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493


def cases(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every case of a file, with its group."""
    return [(group, case) for group in wycheproof.load(name)["testGroups"] for case in group["tests"]]


def unhex(case: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def test_x25519_gives_every_shared_secret_and_refuses_every_zero_one() -> None:
    """Twist points and keys that are not reduced are agreed with, as RFC 7748 has it; only a zero result is not."""
    agreed = refused = 0
    for _group, case in cases("x25519_test.json"):
        private, public, shared = unhex(case, "private", "public", "shared")
        if "ZeroSharedSecret" in case["flags"]:
            with pytest.raises(NotAuthentic):
                x25519(private, public)
            refused += 1
        else:
            assert x25519(private, public) == shared, case["tcId"]
            agreed += 1
    assert (agreed, refused) == (487, 31)


def montgomery(edwards: bytes) -> tuple[bytes, int]:
    """The u-coordinate of an Ed25519 public key, and its sign bit where XEdDSA carries it."""
    y = int.from_bytes(edwards, "little") & (2**255 - 1)
    return ((1 + y) * pow(1 - y, -1, FIELD_PRIME) % FIELD_PRIME).to_bytes(32, "little"), edwards[31] & 0x80


def as_xeddsa(edwards: bytes, signature: bytes) -> tuple[bytes, bytes]:
    """An Ed25519 key and signature as XEdDSA has them: by u, with the key's sign in the signature's top bit."""
    public, sign = montgomery(edwards)
    return public, signature[:63] + bytes([signature[63] | sign]) if len(signature) == 64 else signature


def test_every_valid_ed25519_signature_is_a_valid_xeddsa_signature_once_the_sign_has_moved() -> None:
    valid = [(group, case) for group, case in cases("ed25519_test.json") if case["result"] == "valid"]
    assert len(valid) == 88
    for group, case in valid:
        message, signature = unhex(case, "msg", "sig")
        public, moved = as_xeddsa(bytes.fromhex(group["publicKey"]["pk"]), signature)
        xeddsa_verify(public, message, moved)


def test_every_invalid_ed25519_signature_is_refused_but_the_one_whose_fault_is_the_bit_that_xeddsa_uses() -> None:
    """Left out: a valid signature with 2^255 added to s. XEdDSA has the key's sign in that bit, and clears it for s."""
    refused = 0
    for group, case in cases("ed25519_test.json"):
        if case["result"] != "invalid" or case["comment"].startswith("the encoded s was replaced by s + 2^255."):
            continue
        message, signature = unhex(case, "msg", "sig")
        public, moved = as_xeddsa(bytes.fromhex(group["publicKey"]["pk"]), signature)
        with pytest.raises(NotAuthentic):
            xeddsa_verify(public, message, moved)
        refused += 1
    assert refused == 62


def test_a_scalar_that_is_not_reduced_is_refused_in_every_multiple() -> None:
    group, case = next((group, case) for group, case in cases("ed25519_test.json") if case["result"] == "valid")
    message, signature = unhex(case, "msg", "sig")
    scalar = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 8):
        larger = scalar + multiple * GROUP_ORDER
        public, moved = as_xeddsa(
            bytes.fromhex(group["publicKey"]["pk"]), signature[:32] + larger.to_bytes(32, "little")
        )
        with pytest.raises(NotAuthentic):
            xeddsa_verify(public, message, moved)


def test_hmac_gives_every_tag_and_tells_the_modified_ones_apart() -> None:
    """Truncated tags are compared at their length, as a message's tag of 8 bytes is."""
    for group, case in cases("hmac_sha256_test.json"):
        key, message, tag = unhex(case, "key", "msg", "tag")
        made = hmac_sha256(key, message)[: group["tagSize"] // 8]
        assert (made == tag) == (case["result"] == "valid"), case["tcId"]
        assert hmac_sha256_pair(key, message, b"other")[0] == hmac_sha256(key, message)


def test_hkdf_gives_every_key() -> None:
    """Left out: the three cases that ask for more than 255 blocks, which no caller here can."""
    derived = 0
    for _group, case in cases("hkdf_sha256_test.json"):
        secret, salt, info, okm = unhex(case, "ikm", "salt", "info", "okm")
        if case["result"] == "valid":
            assert hkdf_sha256(salt or None, secret, info, case["size"]) == okm, case["tcId"]
            derived += 1
    assert derived == 83


def test_the_derivation_in_two_halves_is_hkdf_without_salt() -> None:
    for _group, case in cases("hkdf_sha256_test.json"):
        secret, info = unhex(case, "ikm", "info")
        assert b"".join(hkdf_sha256_pair(secret, info)) == hkdf_sha256(None, secret, info, 64)


def test_aes_cbc_encrypts_and_decrypts_every_valid_case_and_refuses_every_wrong_padding() -> None:
    """Left out: keys of 16 and 24 bytes; the protocol has AES-256 only."""
    used = 0
    for group, case in cases("aes_cbc_pkcs5_test.json"):
        if group["keySize"] != 256:
            continue
        key, vector, message, ciphertext = unhex(case, "key", "iv", "msg", "ct")
        used += 1
        if case["result"] == "valid":
            assert aes_cbc_encrypt(key, vector, message) == ciphertext
            assert aes_cbc_decrypt(key, vector, ciphertext) == message
        else:
            with pytest.raises(NotAuthentic):
                aes_cbc_decrypt(key, vector, ciphertext)
    assert used == 72


KEMS: Final = [
    ("mlkem_768_test.json", 1088, kem_768_public, kem_768_decapsulate, lambda secret, _ciphertext: secret),
    ("mlkem_1024_test.json", 1568, kem_1024_public, kem_1024_decapsulate, kyber_secret),
]


@pytest.mark.parametrize(("name", "size", "public", "decapsulate", "shared"), KEMS, ids=["ML-KEM-768", "ML-KEM-1024"])
def test_ml_kem_gives_every_key_and_secret(
    name: str,
    size: int,
    public: Callable[[bytes], bytes],
    decapsulate: Callable[[bytes, bytes], bytes],
    shared: Callable[[bytes, bytes], bytes],
) -> None:
    """Also for forged ciphertexts, where both give a secret that nobody knows (implicit rejection).

    Left out: the 40 invalid cases, seeds and ciphertexts of a wrong length. Their length is checked where they
    are parsed; ML-KEM-1024's secret is turned into Kyber's, as every use of it is.
    """
    used = 0
    for _group, case in cases(name):
        seed, ciphertext = unhex(case, "seed", "c")
        if case["result"] != "valid":
            assert len(seed) != 64 or len(ciphertext) != size
            continue
        key, secret = unhex(case, "ek", "K")
        assert public(seed) == key
        assert decapsulate(seed, ciphertext) == shared(secret, ciphertext)
        used += 1
    assert used == 153


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("mlkem_768_test.json", MLKEM768PrivateKey.from_seed_bytes),
        ("mlkem_1024_test.json", MLKEM1024PrivateKey.from_seed_bytes),
    ],
)
def test_the_library_itself_refuses_seeds_and_ciphertexts_of_a_wrong_length(name: str, load: Any) -> None:  # noqa: ANN401
    for _group, case in cases(name):
        if case["result"] == "invalid":
            seed, ciphertext = unhex(case, "seed", "c")
            with pytest.raises(ValueError, match=r"seed|ciphertext"):
                load(seed).decapsulate(ciphertext)
