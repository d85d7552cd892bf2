"""The key derivations of ratchets and chains, each one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vectors.reference.primitives import ZERO_SALT, hkdf, hmac_sha256

MESSAGE_SEED: Final = b"\x01"
NEXT_CHAIN_KEY: Final = b"\x02"
PQ_PROTOCOL: Final = b"Signal_PQCKA_V1_MLKEM768"


def root_step(root_key: bytes, shared: bytes) -> tuple[bytes, bytes]:
    """Return (new root key, chain key) from a root key and a Diffie-Hellman result."""
    output = hkdf(shared, b"WhisperRatchet", 64, salt=root_key)
    return output[:32], output[32:]


def chain_step(chain_key: bytes) -> tuple[bytes, bytes]:
    """Return (message seed, next chain key)."""
    return hmac_sha256(chain_key, MESSAGE_SEED), hmac_sha256(chain_key, NEXT_CHAIN_KEY)


@dataclass(frozen=True, slots=True)
class MessageKeys:
    """What one message is encrypted and authenticated with."""

    cipher_key: bytes  # 32
    mac_key: bytes  # 32
    initial_vector: bytes  # 16


def message_keys(seed: bytes, pq_key: bytes | None) -> MessageKeys:
    """Expand a message seed; the post-quantum key is the salt."""
    output = hkdf(seed, b"WhisperMessageKeys", 80, salt=pq_key)
    return MessageKeys(output[:32], output[32:64], output[64:])


def sender_message_keys(seed: bytes) -> tuple[bytes, bytes]:
    """Return (initial vector, cipher key) of a group message."""
    output = hkdf(seed, b"WhisperGroup", 48)
    return output[:16], output[16:]


def pq_chain_start(auth_key: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (next root, chain of A to B, chain of B to A) of chain epoch 0."""
    return _three(hkdf(auth_key, b"Signal PQ Ratchet V1 Chain  Start", 96))


def pq_chain_add_epoch(next_root: bytes, epoch_secret: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (next root, chain of A to B, chain of B to A) of the next chain epoch."""
    return _three(hkdf(epoch_secret, b"Signal PQ Ratchet V1 Chain Add Epoch", 96, salt=next_root))


def pq_chain_next(chain: bytes, index: int) -> tuple[bytes, bytes]:
    """Return (next chain state, message key) for the key with this index, counted from 1."""
    output = hkdf(chain, index.to_bytes(4, "big") + b"Signal PQ Ratchet V1 Chain Next", 64)
    return output[:32], output[32:]


def pq_authenticator_update(root: bytes, epoch: int, key: bytes) -> tuple[bytes, bytes]:
    """Return (root, MAC key) of the braid's authenticator after taking in *key*."""
    info = PQ_PROTOCOL + b":Authenticator Update" + epoch.to_bytes(8, "big")
    output = hkdf(root + key, info, 64)
    return output[:32], output[32:]


def pq_epoch_secret(shared: bytes, epoch: int) -> bytes:
    """Return the 32-byte secret of an epoch from what the KEM agreed."""
    return hkdf(shared, PQ_PROTOCOL + b":SCKA Key" + epoch.to_bytes(8, "big"), 32)


def pq_mac(mac_key: bytes, what: bytes, epoch: int, data: bytes) -> bytes:
    """Return the 32-byte tag over the header (*what* is b"ekheader") or the ciphertext (b"ciphertext")."""
    return hmac_sha256(mac_key, PQ_PROTOCOL + b":" + what + epoch.to_bytes(8, "big") + data)


def handshake_keys(version: int, secret_input: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Return (root key, chain key, post-quantum auth key or None) from the concatenated handshake secrets."""
    if version == 3:
        output = hkdf(secret_input, b"WhisperText", 64)
        return output[:32], output[32:], None
    output = hkdf(secret_input, b"WhisperText_X25519_SHA-256_CRYSTALS-KYBER-1024", 96, salt=ZERO_SALT)
    return _three(output)


def _three(output: bytes) -> tuple[bytes, bytes, bytes]:
    return output[:32], output[32:64], output[64:]
