"""The only file that touches `cryptography` and PyNaCl: their primitives, with our errors.

Keys here are raw: X25519 32 bytes, ML-KEM without a type byte; `keys` knows Signal's serialised
forms. Sizes are the caller's duty (libsodium reads 32 bytes from whatever it is given), so every
function states them, and the parsers in `keys` and `messages` are where they are checked.

Which library serves which operation was chosen by measurement (`docs/decisions/0001-primitives.md`).
"""

from __future__ import annotations

import hmac
from hashlib import sha3_256, sha512, shake_256
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import exceptions as nacl_exceptions
from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult,
    crypto_scalarmult_base,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)

from .errors import MalformedMessage, NotAuthentic, UnsupportedPlatform
from .labels import XEDDSA_NONCE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

try:
    from cryptography.hazmat.primitives.asymmetric import mlkem

    mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes(64))
except Exception as cause:  # ImportError before 47, UnsupportedAlgorithm with 47, an internal error with an old OpenSSL
    from cryptography import __version__ as _cryptography_version
    from cryptography.hazmat.backends.openssl import backend as _backend

    raise UnsupportedPlatform(
        f"ratchet needs ML-KEM, which cryptography {_cryptography_version} on {_backend.openssl_version_text()} "
        "lacks: install cryptography 48 or newer from its own wheels, or a build against OpenSSL 3.5 or newer"
    ) from cause

PUBLIC_KEY_SIZE: Final = 32  # bytes, X25519 u-coordinate
SEED_SIZE: Final = 32  # bytes, Ed25519 seed
SIGNATURE_SIZE: Final = 64  # bytes
KEM_SEED_SIZE: Final = 64  # bytes, d || z of FIPS 203
KEM_1024_PUBLIC_SIZE: Final = 1568  # bytes, as its ciphertext
KEM_1024_CIPHERTEXT_SIZE: Final = 1568
KEM_768_PUBLIC_SIZE: Final = 1184

_FIELD_PRIME: Final = 2**255 - 19
_U_MASK: Final = 2**255 - 1
_SHA256: Final = SHA256()
_NO_SALT: Final = bytes(32)

# Copied for each use, never updated itself.
_EXTRACT_WITHOUT_SALT: Final = HMAC(_NO_SALT, _SHA256)

# HMAC-SHA256(key, data); `HKDF.extract` is exactly that, in one call of the library.
_extract = HKDF.extract


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of *data* (RFC 2104)."""
    return _extract(_SHA256, key, data)


def hkdf_sha256(salt: bytes | None, secret: bytes, info: bytes, size: int) -> bytes:
    """Derive *size* bytes from *secret* (RFC 5869); no *salt* means 32 zero bytes."""
    return HKDF(_SHA256, size, salt or _NO_SALT, info).derive(secret)


def hmac_sha256_pair(key: bytes, first: bytes, second: bytes) -> tuple[bytes, bytes]:
    """Return the HMAC-SHA256 of two messages under one key, which is scheduled only once."""
    one = HMAC(key, _SHA256)
    other = one.copy()
    one.update(first)
    other.update(second)
    return one.finalize(), other.finalize()


def hkdf_sha256_pair(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Return ``hkdf_sha256(None, secret, info, 64)`` in two halves; the empty salt is scheduled in advance."""
    extract = _EXTRACT_WITHOUT_SALT.copy()
    extract.update(secret)
    one = HMAC(extract.finalize(), _SHA256)
    other = one.copy()
    one.update(info + b"\x01")
    first = one.finalize()
    other.update(first + info + b"\x02")
    return first, other.finalize()


def equal(left: bytes, right: bytes) -> bool:
    """Compare two byte strings in constant time."""
    return hmac.compare_digest(left, right)


# AES-256-CBC with PKCS#7 (RFC 5652 section 6.3). The padding is two lines here and an object with
# three calls there; it is only ever removed after the tag has verified, so it is no oracle.

_PADDING: Final = [bytes([size]) * size for size in range(17)]


def aes_cbc_encrypt(key: bytes, initialization_vector: bytes, plaintext: bytes) -> bytes:
    """Encrypt under a 32-byte key and a 16-byte IV; the result is 1 to 16 bytes longer."""
    encryptor = Cipher(AES256(key), CBC(initialization_vector)).encryptor()
    return encryptor.update(plaintext + _PADDING[16 - (len(plaintext) & 15)])


def aes_cbc_decrypt(key: bytes, initialization_vector: bytes, ciphertext: bytes) -> bytes:
    """Decrypt what `aes_cbc_encrypt` made. Raises NotAuthentic for a wrong size or padding."""
    if not ciphertext or len(ciphertext) & 15:
        raise NotAuthentic("the ciphertext is not a positive number of blocks")
    padded = Cipher(AES256(key), CBC(initialization_vector)).decryptor().update(ciphertext)
    size = padded[-1]
    if not 1 <= size <= 16 or not padded.endswith(_PADDING[size]):
        raise NotAuthentic("the padding is wrong")
    return padded[:-size]


# X25519 (RFC 7748).


def clamp(private: bytes) -> bytes:
    """Return *private* (32 bytes) as the scalar that X25519 uses (RFC 7748 section 5)."""
    return bytes([private[0] & 248]) + private[1:31] + bytes([private[31] & 127 | 64])


def x25519_public(private: bytes) -> bytes:
    """Return the public key (32 bytes) of *private* (32 bytes)."""
    return crypto_scalarmult_base(private)


def x25519(private: bytes, public: bytes) -> bytes:
    """Return the shared secret, 32 bytes. Raises NotAuthentic if it is all zero (a low-order key)."""
    try:
        return crypto_scalarmult(private, public)
    except nacl_exceptions.RuntimeError as cause:
        raise NotAuthentic("the public key has a low order") from cause


def require_canonical(public: bytes) -> None:
    """Raise NotAuthentic unless *public* (32 bytes) is reduced and has no small-order component.

    libsignal checks the base key of every first message so: without it one key has several
    encodings, and remembering used base keys would not stop a replay.
    """
    u = int.from_bytes(public, "little")
    # u = -1 has no image on the Edwards curve, so it is not in the prime-order group either.
    if u >= _FIELD_PRIME - 1 or not crypto_core_ed25519_is_valid_point(edwards_public(public)):
        raise NotAuthentic("the public key is not canonical")


# XEdDSA as libsignal does it: the sign of A travels in the top bit of the signature.


def edwards_public(public: bytes) -> bytes:
    """Return the Ed25519 form, sign bit clear, of an X25519 public key: y = (u - 1) / (u + 1).

    The top bit is ignored, as X25519 does. Raises NotAuthentic for u = -1, which has no image.
    """
    u = int.from_bytes(public, "little") & _U_MASK
    try:
        return ((u - 1) * pow(u + 1, -1, _FIELD_PRIME) % _FIELD_PRIME).to_bytes(32, "little")
    except ValueError as cause:
        raise NotAuthentic("the public key has no Edwards form") from cause


def xeddsa_verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise NotAuthentic unless *signature* (64 bytes) is *public*'s over *message*."""
    xeddsa_verify_edwards(edwards_public(public), message, signature)


def xeddsa_verify_edwards(edwards: bytes, message: bytes, signature: bytes) -> None:
    """`xeddsa_verify` with the key already in its Ed25519 form, sign bit clear: for keys used often."""
    if len(signature) != SIGNATURE_SIZE:
        raise NotAuthentic("a signature has 64 bytes")
    top = signature[63]
    try:
        # libsodium rejects s >= q, which covers the three top bits that XEdDSA requires to be clear.
        crypto_sign_open(
            signature[:63] + bytes([top & 0x7F]) + message,
            edwards[:31] + bytes([edwards[31] | top & 0x80]),
        )
    except nacl_exceptions.BadSignatureError as cause:
        raise NotAuthentic("the signature is wrong") from cause


def xeddsa_sign(private: bytes, message: bytes, random: bytes) -> bytes:
    """Sign with a clamped X25519 private key and 64 fresh random bytes (XEdDSA section 3, sign bit kept)."""
    scalar = crypto_core_ed25519_scalar_reduce(private + bytes(32))
    public = crypto_scalarmult_ed25519_base_noclamp(scalar)
    nonce = crypto_core_ed25519_scalar_reduce(sha512(XEDDSA_NONCE + private + message + random).digest())
    commitment = crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = crypto_core_ed25519_scalar_reduce(sha512(commitment + public + message).digest())
    response = crypto_core_ed25519_scalar_add(nonce, crypto_core_ed25519_scalar_mul(challenge, scalar))
    return commitment + response[:31] + bytes([response[31] | public[31] & 0x80])


def keys_from_seed(seed: bytes) -> tuple[bytes, bytes, bytes]:
    """Return X25519 private and public key (32 bytes each) and the Ed25519 signing key (64) of a 32-byte seed.

    A signature by the signing key is a valid XEdDSA signature by the X25519 key, made in one
    constant-time call instead of five.
    """
    _edwards, signing = crypto_sign_seed_keypair(seed)
    private = clamp(sha512(seed).digest()[:32])
    return private, x25519_public(private), signing


def sign_with_seed(signing: bytes, message: bytes) -> bytes:
    """Sign with the signing key of `keys_from_seed`; deterministic (RFC 8032)."""
    signature = crypto_sign(message, signing)[:64]
    return signature[:63] + bytes([signature[63] | signing[63] & 0x80])


# ML-KEM (FIPS 203). Private keys are their 64-byte seeds.


def kem_1024_public(seed: bytes) -> bytes:
    """Return the public key (1,568 bytes) of a 64-byte seed."""
    return mlkem.MLKEM1024PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def kem_1024_encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """Return a round-3 Kyber1024 shared secret (32 bytes) and ciphertext (1,568 bytes) for *public*.

    Raises MalformedMessage if *public* is no valid key. Its randomness is the library's own.
    """
    try:
        secret, ciphertext = mlkem.MLKEM1024PublicKey.from_public_bytes(public).encapsulate()
    except ValueError as cause:
        raise MalformedMessage("the KEM public key is not valid") from cause
    return kyber_secret(secret, ciphertext), ciphertext


def kem_1024_decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """Return the round-3 Kyber1024 shared secret; for a forged ciphertext, another one (implicit rejection)."""
    secret = mlkem.MLKEM1024PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
    return kyber_secret(secret, ciphertext)


def kyber_secret(secret: bytes, ciphertext: bytes) -> bytes:
    """Turn FIPS 203's shared secret into round-3 Kyber's, which hashes the ciphertext in once more."""
    return shake_256(secret + sha3_256(ciphertext).digest()).digest(32)


def kem_768_private(seed: bytes) -> MLKEM768PrivateKey:
    """Load the ML-KEM-768 key pair of a 64-byte seed."""
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)


def kem_768_public(seed: bytes) -> bytes:
    """Return the encapsulation key (1,184 bytes) of a 64-byte seed."""
    return kem_768_private(seed).public_key().public_bytes_raw()


def kem_768_decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """Return the shared secret (32 bytes) of an ML-KEM-768 ciphertext (1,088 bytes)."""
    return kem_768_private(seed).decapsulate(ciphertext)
