"""Suite ``primitives``: ways to call the hot primitives, beside the one that `ratchet.primitives` takes.

Which library serves which operation is a choice by measurement; this repeats the measurement on
another machine or with other releases of the libraries.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hmac as hmac_objects
from cryptography.hazmat.primitives.asymmetric import ed25519, mlkem, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7
from nacl import bindings

from ratchet import primitives

from .harness import Contest, Entrant, Run, expect, measure, repeated
from .peers.calls import RAW, THIN

if TYPE_CHECKING:
    from .harness import Outcome
    from .peer import Bench

Ways = dict[str, Callable[[], object]]

CHOSEN: Final = "ratchet.primitives"
KEY: Final = bytes(range(32))
SALT: Final = bytes(range(32, 64))
DATA: Final = bytes(256)
TAGGED: Final = bytes(423)  # what a message's tag covers
INFO: Final = b"WhisperMessageKeys"
HASH: Final = SHA256()


def run(bench: Bench) -> Iterator[Outcome]:
    """Measure each group of ways."""
    for title, ways, deterministic in groups():
        setups = [
            Entrant(name, partial(_checked, way, ways[CHOSEN] if deterministic else None)) for name, way in ways.items()
        ]
        yield measure(Contest(f"primitives.{title}", title, setups, references=(CHOSEN,)), bench.settings)


def _checked(way: Callable[[], object], reference: Callable[[], object] | None) -> Run:
    """Compare with the chosen way once, then repeat without looking."""
    if reference is not None:
        expect(way(), reference(), "another way to the same result")
    return repeated(way)


def groups() -> Iterator[tuple[str, Ways, bool]]:
    """Give each group's title, its ways, and whether all of them give the same bytes."""
    yield "HMAC-SHA256 of 1 byte", hmac_ways(b"\x01"), True
    yield "HMAC-SHA256 of a message", hmac_ways(TAGGED), True
    yield (
        "chain step: two HMACs with one key",
        {
            CHOSEN: partial(THIN.chain_step, KEY),
            "by hand, keyed hashes copied": partial(RAW.chain_step, KEY),
        },
        True,
    )
    yield (
        "HKDF to 80 bytes",
        {
            CHOSEN: lambda: primitives.hkdf_sha256(SALT, KEY, INFO, 80),
            "HKDF(...).derive": lambda: HKDF(HASH, 80, SALT, INFO).derive(KEY),
            "chained HKDF.extract": lambda: chained(80),
        },
        True,
    )
    yield (
        "HKDF to 64 bytes, no salt",
        {
            CHOSEN: partial(THIN.spqr_step, KEY),
            "by hand, state after the salt copied": partial(RAW.spqr_step, KEY),
        },
        True,
    )
    yield (
        "AES-256-CBC, encrypt 256 bytes",
        {
            CHOSEN: lambda: primitives.aes_cbc_encrypt(KEY, SALT[:16], DATA),
            "with PKCS7 objects and finalize": encrypt_with_objects,
        },
        True,
    )
    ciphertext = primitives.aes_cbc_encrypt(KEY, SALT[:16], DATA)
    yield (
        "AES-256-CBC, decrypt 256 bytes",
        {
            CHOSEN: lambda: primitives.aes_cbc_decrypt(KEY, SALT[:16], ciphertext),
            "with PKCS7 objects and finalize": partial(decrypt_with_objects, ciphertext),
        },
        True,
    )
    yield "X25519, agree", agreement_ways(), True
    yield "X25519, generate", generation_ways(), False
    yield "Ed25519, sign 33 bytes", signing_ways(), False
    yield "Ed25519, verify 33 bytes", verification_ways(), False
    yield from kem_groups()


def hmac_ways(data: bytes) -> Ways:
    """HMAC-SHA256 with a key of 32 bytes."""
    return {
        CHOSEN: lambda: primitives.hmac_sha256(KEY, data),
        "HKDF.extract": lambda: HKDF.extract(HASH, KEY, data),
        "hmac.digest": lambda: hmac.digest(KEY, data, "sha256"),
        "hmac.new": lambda: hmac.new(KEY, data, "sha256").digest(),
        "by hand, two hashes": lambda: RAW.tag(KEY, data),
        "cryptography's HMAC object": partial(hmac_object, data),
    }


def hmac_object(data: bytes) -> bytes:
    """Use the object with its three calls."""
    keyed = hmac_objects.HMAC(KEY, HASH)
    keyed.update(data)
    return keyed.finalize()


def chained(size: int) -> bytes:
    """HKDF (RFC 5869) from one-shot HMACs."""
    extracted = HKDF.extract(HASH, SALT, KEY)
    block, derived = b"", b""
    while len(derived) < size:
        block = HKDF.extract(HASH, extracted, block + INFO + bytes([len(derived) // 32 + 1]))
        derived += block
    return derived[:size]


def encrypt_with_objects() -> bytes:
    """Encrypt as the library's documentation does."""
    padder = PKCS7(128).padder()
    encryptor = Cipher(AES256(KEY), CBC(SALT[:16])).encryptor()
    return encryptor.update(padder.update(DATA) + padder.finalize()) + encryptor.finalize()


def decrypt_with_objects(ciphertext: bytes) -> bytes:
    """Decrypt as the library's documentation does."""
    decryptor = Cipher(AES256(KEY), CBC(SALT[:16])).decryptor()
    unpadder = PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(ciphertext) + decryptor.finalize()) + unpadder.finalize()


def agreement_ways() -> Ways:
    """X25519 with a peer's key in bytes, as it always arrives."""
    public = primitives.x25519_public(SALT)
    ready = x25519.X25519PrivateKey.from_private_bytes(KEY)
    load_public, load_private = x25519.X25519PublicKey.from_public_bytes, x25519.X25519PrivateKey.from_private_bytes
    return {
        CHOSEN: lambda: primitives.x25519(KEY, public),
        "PyNaCl": lambda: bindings.crypto_scalarmult(KEY, public),
        "cryptography, private key loaded before": lambda: ready.exchange(load_public(public)),
        "cryptography, private key from bytes": lambda: load_private(KEY).exchange(load_public(public)),
    }


def generation_ways() -> Ways:
    """X25519 key pairs; the last way loads the raw forms too, which a snapshot needs."""
    return {
        CHOSEN: THIN.generate,
        "PyNaCl": RAW.generate,
        "cryptography, object only": x25519.X25519PrivateKey.generate,
        "cryptography, raw private and public key": raw_pair,
        "ratchet.primitives, pair that also signs": THIN.generate_signing,
    }


def raw_pair() -> tuple[bytes, bytes]:
    """Make a key pair and take both halves out."""
    private = x25519.X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def signing_ways() -> Ways:
    """Sign a prekey: XEdDSA by a key made from a seed and by an imported one, and plain Ed25519."""
    private, _, signing = primitives.keys_from_seed(KEY)
    ready = ed25519.Ed25519PrivateKey.from_private_bytes(KEY)
    prekey = DATA[:33]
    return {
        CHOSEN: lambda: primitives.sign_with_seed(signing, prekey),
        "ratchet.primitives, imported key": lambda: primitives.xeddsa_sign(private, prekey, os.urandom(64)),
        "PyNaCl": lambda: bindings.crypto_sign(prekey, signing)[:64],
        "cryptography, key loaded before": lambda: ready.sign(prekey),
        "cryptography, key from bytes": lambda: ed25519.Ed25519PrivateKey.from_private_bytes(KEY).sign(prekey),
    }


def verification_ways() -> Ways:
    """Verify a prekey's signature: XEdDSA from a peer's X25519 key, and plain Ed25519."""
    _, public, signing = primitives.keys_from_seed(KEY)
    prekey = DATA[:33]
    plain = bindings.crypto_sign(prekey, signing)[:64]
    converted = primitives.sign_with_seed(signing, prekey)
    edwards = primitives.edwards_public(public)
    ready = ed25519.Ed25519PublicKey.from_public_bytes(signing[32:])
    return {
        CHOSEN: lambda: primitives.xeddsa_verify(public, prekey, converted),
        "ratchet.primitives, Edwards form at hand": lambda: primitives.xeddsa_verify_edwards(
            edwards, prekey, converted
        ),
        "PyNaCl": lambda: bindings.crypto_sign_open(plain + prekey, signing[32:]),
        "cryptography, key loaded before": lambda: ready.verify(plain, prekey),
    }


def kem_groups() -> Iterator[tuple[str, Ways, bool]]:
    """What handshakes and epochs do with ML-KEM; loading a key costs more than using it."""
    seed = hashlib.sha512(KEY).digest()
    large, small = mlkem.MLKEM1024PrivateKey.from_seed_bytes(seed), mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
    large_public = large.public_key()
    raw = large_public.public_bytes_raw()
    ciphertext, small_ciphertext = large_public.encapsulate()[1], small.public_key().encapsulate()[1]
    ways: Ways = {CHOSEN: lambda: primitives.kem_1024_encapsulate(raw), "key loaded before": large_public.encapsulate}
    yield "ML-KEM-1024, encapsulate", ways, False
    ways = {
        CHOSEN: lambda: primitives.kem_1024_decapsulate(seed, ciphertext),
        "key loaded before": lambda: large.decapsulate(ciphertext),
    }
    yield "ML-KEM-1024, decapsulate from a seed", ways, False
    ways = {
        CHOSEN: lambda: primitives.kem_1024_public(seed),
        "key loaded before": lambda: large.public_key().public_bytes_raw(),
    }
    yield "ML-KEM-1024, public key of a seed", ways, True
    ways = {
        CHOSEN: lambda: primitives.kem_768_decapsulate(seed, small_ciphertext),
        "key loaded before": lambda: small.decapsulate(small_ciphertext),
    }
    yield "ML-KEM-768, decapsulate from a seed", ways, True
    ways = {
        CHOSEN: lambda: primitives.kem_768_public(seed),
        "key loaded before": lambda: small.public_key().public_bytes_raw(),
    }
    yield "ML-KEM-768, public key of a seed", ways, True
