"""The bare primitive calls that the protocol cannot do without, in two forms.

`THIN` is made of the functions of `ratchet.primitives`, each of which is one library call or two.
`RAW` is the fastest form that we know of on the same libraries, wrapped in nothing, whether or not
anybody would want to maintain it: what the thin form itself costs is the distance between the two.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from hashlib import sha3_256, sha256, shake_256
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_scalarmult,
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)

from ratchet import primitives

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT_INFO: Final = b"WhisperRatchet"
_MESSAGE_INFO: Final = b"WhisperMessageKeys"
_GROUP_INFO: Final = b"WhisperGroup"
_SPQR_INFO: Final = b"\0\0\0\1Signal PQ Ratchet V1 Chain Next"
_HANDSHAKE_INFO: Final = b"WhisperText_X25519_SHA-256_CRYSTALS-KYBER-1024"


@dataclass(frozen=True, slots=True)
class Calls:
    """The primitives by what the protocol uses them for; sizes in bytes."""

    chain_step: Callable[[bytes], tuple[bytes, bytes]]  # message seed and next chain key: HMAC twice
    spqr_step: Callable[[bytes], bytes]  # HKDF, no salt, to 64
    root_step: Callable[[bytes, bytes], bytes]  # root key, shared secret: HKDF to 64
    message_keys: Callable[[bytes, bytes], bytes]  # SPQR key, message seed: HKDF to 80
    group_keys: Callable[[bytes], bytes]  # message seed: HKDF, no salt, to 48
    handshake: Callable[[bytes], bytes]  # 32 * 6 of secrets: HKDF, no salt, to 96
    encrypt: Callable[[bytes, bytes, bytes], bytes]  # AES-256-CBC with PKCS#7: key, IV, plaintext
    decrypt: Callable[[bytes, bytes, bytes], bytes]
    tag: Callable[[bytes, bytes], bytes]  # HMAC: key, data
    equal: Callable[[bytes, bytes], bool]
    generate: Callable[[], tuple[bytes, bytes]]  # X25519: private and public
    agree: Callable[[bytes, bytes], bytes]  # X25519: private, public
    generate_signing: Callable[[], tuple[bytes, bytes, bytes]]  # X25519 private and public, Ed25519 signing key
    sign: Callable[[bytes, bytes], bytes]  # signing key, data
    edwards: Callable[[bytes], bytes]  # a public key in the form that verification takes
    verify: Callable[[bytes, bytes, bytes], object]  # Ed25519 public key, data, signature
    require_canonical: Callable[[bytes], None]
    kem_generate: Callable[[bytes], bytes]  # ML-KEM-1024: seed; public key
    kem_encapsulate: Callable[[bytes], tuple[bytes, bytes]]
    kem_decapsulate: Callable[[bytes, bytes], bytes]
    braid_generate: Callable[[bytes], bytes]  # ML-KEM-768: seed; public key


def _thin_chain_step(key: bytes) -> tuple[bytes, bytes]:
    return primitives.hmac_sha256(key, b"\x01"), primitives.hmac_sha256(key, b"\x02")


def _thin_generate() -> tuple[bytes, bytes]:
    private = primitives.clamp(os.urandom(32))
    return private, primitives.x25519_public(private)


THIN: Final = Calls(
    chain_step=_thin_chain_step,
    spqr_step=lambda key: primitives.hkdf_sha256(None, key, _SPQR_INFO, 64),
    root_step=lambda root, shared: primitives.hkdf_sha256(root, shared, _ROOT_INFO, 64),
    message_keys=lambda salt, seed: primitives.hkdf_sha256(salt, seed, _MESSAGE_INFO, 80),
    group_keys=lambda seed: primitives.hkdf_sha256(None, seed, _GROUP_INFO, 48),
    handshake=lambda secrets: primitives.hkdf_sha256(None, secrets, _HANDSHAKE_INFO, 96),
    encrypt=primitives.aes_cbc_encrypt,
    decrypt=primitives.aes_cbc_decrypt,
    tag=primitives.hmac_sha256,
    equal=primitives.equal,
    generate=_thin_generate,
    agree=primitives.x25519,
    generate_signing=lambda: primitives.keys_from_seed(os.urandom(32)),
    sign=primitives.sign_with_seed,
    edwards=primitives.edwards_public,
    verify=primitives.xeddsa_verify_edwards,
    require_canonical=primitives.require_canonical,
    kem_generate=primitives.kem_1024_public,
    kem_encapsulate=primitives.kem_1024_encapsulate,
    kem_decapsulate=primitives.kem_1024_decapsulate,
    braid_generate=primitives.kem_768_public,
)


# HMAC-SHA256 by hand: two hashes over a key of 32 bytes in its two pads, 25 % under the library's one-shot.

_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST: Final = b"\x36" * 32
_OUTER_REST: Final = b"\x5c" * 32
_NO_SALT_INNER: Final = sha256(b"\x36" * 64)
_NO_SALT_OUTER: Final = sha256(b"\x5c" * 64)
_HASH: Final = SHA256()
_PADDING: Final = [bytes([size]) * size for size in range(17)]


def _raw_hmac(key: bytes, data: bytes) -> bytes:
    inner = sha256(key.translate(_INNER) + _INNER_REST + data)
    return sha256(key.translate(_OUTER) + _OUTER_REST + inner.digest()).digest()


def _raw_chain_step(key: bytes) -> tuple[bytes, bytes]:
    inner = sha256(key.translate(_INNER) + _INNER_REST)
    outer = sha256(key.translate(_OUTER) + _OUTER_REST)
    next_inner, next_outer = inner.copy(), outer.copy()
    inner.update(b"\x01")
    outer.update(inner.digest())
    next_inner.update(b"\x02")
    next_outer.update(next_inner.digest())
    return outer.digest(), next_outer.digest()


def _raw_expand_64(secret: bytes, info: bytes) -> bytes:
    """HKDF without salt to 64 bytes."""
    inner, outer = _NO_SALT_INNER.copy(), _NO_SALT_OUTER.copy()
    inner.update(secret)
    outer.update(inner.digest())
    extracted = outer.digest()
    inner_key = extracted.translate(_INNER) + _INNER_REST
    outer_key = extracted.translate(_OUTER) + _OUTER_REST
    first = sha256(outer_key + sha256(inner_key + info + b"\x01").digest()).digest()
    return first + sha256(outer_key + sha256(inner_key + first + info + b"\x02").digest()).digest()


def _raw_encrypt(key: bytes, initialization_vector: bytes, plaintext: bytes) -> bytes:
    padded = plaintext + _PADDING[16 - (len(plaintext) & 15)]
    return Cipher(AES256(key), CBC(initialization_vector)).encryptor().update(padded)


def _raw_decrypt(key: bytes, initialization_vector: bytes, ciphertext: bytes) -> bytes:
    padded = Cipher(AES256(key), CBC(initialization_vector)).decryptor().update(ciphertext)
    return padded[: -padded[-1]]


def _raw_generate() -> tuple[bytes, bytes]:
    private = os.urandom(32)
    return private, crypto_scalarmult_base(private)


def _raw_generate_signing() -> tuple[bytes, bytes, bytes]:
    seed = os.urandom(32)
    _, signing = crypto_sign_seed_keypair(seed)
    return seed, crypto_scalarmult_base(seed), signing


def _raw_encapsulate(public: bytes) -> tuple[bytes, bytes]:
    secret, ciphertext = MLKEM1024PublicKey.from_public_bytes(public).encapsulate()
    return shake_256(secret + sha3_256(ciphertext).digest()).digest(32), ciphertext


def _raw_decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    secret = MLKEM1024PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
    return shake_256(secret + sha3_256(ciphertext).digest()).digest(32)


RAW: Final = Calls(
    chain_step=_raw_chain_step,
    spqr_step=lambda key: _raw_expand_64(key, _SPQR_INFO),
    root_step=lambda root, shared: HKDF(_HASH, 64, root, _ROOT_INFO).derive(shared),
    message_keys=lambda salt, seed: HKDF(_HASH, 80, salt, _MESSAGE_INFO).derive(seed),
    group_keys=lambda seed: _raw_expand_64(seed, _GROUP_INFO),
    handshake=lambda secrets: HKDF(_HASH, 96, None, _HANDSHAKE_INFO).derive(secrets),
    encrypt=_raw_encrypt,
    decrypt=_raw_decrypt,
    tag=_raw_hmac,
    equal=hmac.compare_digest,
    generate=_raw_generate,
    agree=crypto_scalarmult,
    generate_signing=_raw_generate_signing,
    sign=lambda signing, data: crypto_sign(data, signing)[:64],
    edwards=primitives.edwards_public,
    verify=lambda public, data, signature: crypto_sign_open(signature + data, public),
    require_canonical=primitives.require_canonical,
    kem_generate=lambda seed: MLKEM1024PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw(),
    kem_encapsulate=_raw_encapsulate,
    kem_decapsulate=_raw_decapsulate,
    braid_generate=lambda seed: MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw(),
)
