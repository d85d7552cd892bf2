"""Root, chain and message keys: the symmetric steps of the double ratchet, each a pure function."""

from __future__ import annotations

from .labels import MESSAGE_KEYS, MESSAGE_SEED, NEXT_CHAIN_KEY, ROOT_STEP
from .primitives import aes_cbc_decrypt, aes_cbc_encrypt, hkdf_sha256, hmac_sha256, hmac_sha256_pair

__all__ = ["chain_step", "message_keys", "open_message", "root_step", "seal_message", "tag"]


def root_step(root_key: bytes, shared_secret: bytes) -> tuple[bytes, bytes]:
    """Mix a DH output into the root key (KDF_RK, Double Ratchet section 3.1).

    Returns the new root key and the key of a fresh chain, 32 bytes each.
    """
    derived = hkdf_sha256(root_key, shared_secret, ROOT_STEP, 64)
    return derived[:32], derived[32:]


def chain_step(chain_key: bytes) -> tuple[bytes, bytes]:
    """Return this step's message seed and the following chain key, 32 bytes each (KDF_CK, section 3.1)."""
    return hmac_sha256_pair(chain_key, MESSAGE_SEED, NEXT_CHAIN_KEY)


def message_keys(seed: bytes, post_quantum_key: bytes | None) -> bytes:
    """Return cipher key (32 bytes), MAC key (32) and IV (16) as one string of 80 bytes.

    The post-quantum ratchet's key for this message is the salt; without one, nothing is.
    """
    return hkdf_sha256(post_quantum_key, seed, MESSAGE_KEYS, 80)


def seal_message(keys: bytes, plaintext: bytes) -> bytes:
    """Encrypt under `message_keys`; the result carries no tag yet."""
    return aes_cbc_encrypt(keys[:32], keys[64:], plaintext)


def open_message(keys: bytes, ciphertext: bytes) -> bytes:
    """Decrypt under `message_keys`, after the tag has verified. Raises NotAuthentic for wrong padding."""
    return aes_cbc_decrypt(keys[:32], keys[64:], ciphertext)


def tag(keys: bytes, identities: bytes, authenticated: bytes) -> bytes:
    """Return the 8-byte tag over both identity keys (sender's first) and the encoded message."""
    return hmac_sha256(keys[32:64], identities + authenticated)[:8]
