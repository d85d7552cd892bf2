"""Hashes, key derivation, AES-CBC and X25519, each as its standard words it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vectors.reference.faults import Fault, Refused

BLOCK_SIZE: Final = 16  # bytes, AES
ZERO_SALT: Final = bytes(32)


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA-256 of *data* (RFC 2104)."""
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(material: bytes, info: bytes, size: int, salt: bytes | None = None) -> bytes:
    """Return *size* bytes of HKDF-SHA-256 (RFC 5869). An absent salt is 32 zero bytes."""
    pseudorandom_key = hmac_sha256(ZERO_SALT if salt is None else salt, material)
    output = block = b""
    counter = 0
    while len(output) < size:
        counter += 1
        block = hmac_sha256(pseudorandom_key, block + info + bytes([counter]))
        output += block
    return output[:size]


def clamp(private_key: bytes) -> bytes:
    """Set and clear the bits that every X25519 private key has set and cleared (RFC 7748, section 5)."""
    clamped = bytearray(private_key)
    clamped[0] &= 248
    clamped[31] &= 127
    clamped[31] |= 64
    return bytes(clamped)


def x25519_public(private_key: bytes) -> bytes:
    """Return the 32-byte u-coordinate that belongs to *private_key* (RFC 7748)."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def x25519(private_key: bytes, public_key: bytes) -> bytes:
    """Return the 32-byte shared secret of two raw keys.

    Raises Refused(LOW_ORDER) if it is all zeros, which only a key of low order gives.
    """
    try:
        return X25519PrivateKey.from_private_bytes(private_key).exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:
        raise Refused(Fault.LOW_ORDER) from error


def aes_cbc_encrypt(key: bytes, initial_vector: bytes, plaintext: bytes) -> bytes:
    """Return AES-256-CBC of *plaintext* with PKCS #7 padding."""
    padder = padding.PKCS7(8 * BLOCK_SIZE).padder()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(initial_vector)).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def aes_cbc_decrypt(key: bytes, initial_vector: bytes, ciphertext: bytes) -> bytes:
    """Undo :func:`aes_cbc_encrypt`. Raises Refused(PADDING)."""
    if not ciphertext or len(ciphertext) % BLOCK_SIZE:
        raise Refused(Fault.PADDING)
    decryptor = Cipher(algorithms.AES256(key), modes.CBC(initial_vector)).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    unpadder = padding.PKCS7(8 * BLOCK_SIZE).unpadder()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise Refused(Fault.PADDING) from error
