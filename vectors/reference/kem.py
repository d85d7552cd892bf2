"""The two key encapsulations: round-3 Kyber1024 of the handshake, ML-KEM-768 in two halves of the braid.

Both come from `kyber-py`. Its Kyber1024 is the round-3 algorithm itself, so the verifier shows that ML-KEM-1024 with
libsignal's final hash, the way in which `ratchet` gets it, is the same thing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from kyber_py.kyber import Kyber1024
from kyber_py.ml_kem import ML_KEM_768, ML_KEM_1024

from vectors.reference.faults import Fault, Refused

KYBER_PUBLIC_SIZE: Final = 1568  # bytes, without the type byte; likewise the ciphertext
KYBER_CIPHERTEXT_SIZE: Final = 1568
SEED_SIZE: Final = 64  # bytes: d || z of FIPS 203
RANDOMNESS_SIZE: Final = 32  # bytes: m of FIPS 203
VECTOR_SIZE: Final = 1152  # bytes: the encapsulation key's polynomials
CIPHERTEXT_1_SIZE: Final = 960  # bytes: the compressed vector u
COEFFICIENT_END: Final = 3329  # q of FIPS 203


def kyber1024_public_key(seed: bytes) -> bytes:
    """Return the raw 1,568-byte public key made from a 64-byte FIPS 203 seed (the key formats are the same)."""
    public_key: bytes = ML_KEM_1024.key_derive(seed)[0]
    return public_key


def kyber1024_encapsulate(public_key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """Return (ciphertext, shared secret) for a raw public key and ML-KEM's 32-byte randomness m.

    ML-KEM-1024 with the hash over its shared secret and ciphertext that makes it Kyber1024.
    """
    secret, ciphertext = ML_KEM_1024._encaps_internal(public_key, randomness)  # noqa: SLF001 - no public way to give m
    return ciphertext, hashlib.shake_256(secret + hashlib.sha3_256(ciphertext).digest()).digest(32)


def kyber1024_decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """Return the 32-byte shared secret by round-3 Kyber1024 itself."""
    secret: bytes = Kyber1024.decaps(ML_KEM_1024.key_derive(seed)[1], ciphertext)
    return secret


@dataclass(frozen=True, slots=True)
class BraidKeyPair:
    """An ML-KEM-768 key pair, its public key cut as the braid sends it."""

    header: bytes  # 64 bytes: rho || SHA3-256(encapsulation key)
    vector: bytes  # 1,152 bytes
    decapsulation_key: bytes  # 2,400 bytes


def braid_key_pair(seed: bytes) -> BraidKeyPair:
    """Make the pair from a 64-byte FIPS 203 seed."""
    public_key, decapsulation_key = ML_KEM_768.key_derive(seed)
    vector, rho = public_key[:VECTOR_SIZE], public_key[VECTOR_SIZE:]
    return BraidKeyPair(rho + hashlib.sha3_256(public_key).digest(), vector, decapsulation_key)


def _encrypt(header: bytes, vector: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """Return (shared secret, whole ciphertext) of FIPS 203, algorithm 17, with H(ek) taken from the header."""
    rho, public_key_hash = header[:32], header[32:]
    derived = hashlib.sha3_512(randomness + public_key_hash).digest()
    ciphertext: bytes = ML_KEM_768._k_pke_encrypt(vector + rho, randomness, derived[32:])  # noqa: SLF001 - as above
    return derived[:32], ciphertext


def encapsulate_first(header: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """Return (shared secret, first 960 bytes of the ciphertext): what needs the header only.

    The compressed vector u = A^T y + e1 does not depend on the key's polynomials, so any will do here.
    """
    secret, ciphertext = _encrypt(header, bytes(VECTOR_SIZE), randomness)
    return secret, ciphertext[:CIPHERTEXT_1_SIZE]


def encapsulate_second(header: bytes, vector: bytes, randomness: bytes) -> bytes:
    """Return the last 128 bytes of the ciphertext, once the key's polynomials have arrived.

    Raises Refused(PQ_KEY_COEFFICIENT) or Refused(PQ_KEY_HASH) if *vector* is not the announced key.
    """
    bits = int.from_bytes(vector, "little")
    if any((bits >> shift) & 0xFFF >= COEFFICIENT_END for shift in range(0, 8 * VECTOR_SIZE, 12)):
        raise Refused(Fault.PQ_KEY_COEFFICIENT)
    if hashlib.sha3_256(vector + header[:32]).digest() != header[32:]:
        raise Refused(Fault.PQ_KEY_HASH)
    return _encrypt(header, vector, randomness)[1][CIPHERTEXT_1_SIZE:]


def decapsulate(pair: BraidKeyPair, ciphertext: bytes) -> bytes:
    """Return the 32-byte shared secret of a whole 1,088-byte ciphertext."""
    secret: bytes = ML_KEM_768.decaps(pair.decapsulation_key, ciphertext)
    return secret
