"""Key pairs and addresses, in Signal's serialised forms.

A public key of X25519 is 33 bytes here: 0x05, then the u-coordinate. A KEM public key or
ciphertext is 1,569 bytes: 0x08, then Kyber1024's 1,568.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from . import primitives
from .errors import CorruptSnapshot, InvalidArgument, MalformedMessage, NotAuthentic
from .labels import SIGNED_DATA
from .secret import NotCopied

__all__ = [
    "Entropy",
    "IdentityKeyPair",
    "KeyPair",
    "parse_kem_ciphertext",
    "parse_kem_public_key",
    "parse_public_key",
    "signed_data",
    "verify_signature",
]

Entropy = Callable[[int], bytes]
"""Returns that many unpredictable bytes; `os.urandom` everywhere but in tests."""

CURVE_TYPE: Final = b"\x05"
KYBER_1024_TYPE: Final = b"\x08"
PUBLIC_KEY_SIZE: Final = 1 + primitives.PUBLIC_KEY_SIZE  # 33 bytes
KEM_PUBLIC_KEY_SIZE: Final = 1 + primitives.KEM_1024_PUBLIC_SIZE  # 1,569 bytes
KEM_CIPHERTEXT_SIZE: Final = 1 + primitives.KEM_1024_CIPHERTEXT_SIZE  # 1,569 bytes


def draw(entropy: Entropy, size: int) -> bytes:
    """Take *size* bytes from *entropy*. Raises InvalidArgument if it returns anything else."""
    if not callable(entropy):
        raise InvalidArgument("entropy is a function from a size to bytes")
    random = entropy(size)
    if type(random) is not bytes or len(random) != size:
        raise InvalidArgument(f"entropy({size}) must return {size} bytes")
    return random


def parse_public_key(data: bytes) -> bytes:
    """Return *data* if it is a serialised X25519 public key (33 bytes). Raises MalformedMessage.

    libsignal tolerates bytes after the key; nothing sends them, and we do not.
    """
    if type(data) is not bytes or len(data) != PUBLIC_KEY_SIZE or data[0] != 0x05:
        raise MalformedMessage("a public key is 0x05 and 32 bytes")
    return data


def parse_kem_public_key(data: bytes) -> bytes:
    """Return *data* if it has the form of a Kyber1024 public key (1,569 bytes). Raises MalformedMessage."""
    if type(data) is not bytes or len(data) != KEM_PUBLIC_KEY_SIZE or data[0] != 0x08:
        raise MalformedMessage("a KEM public key is 0x08 and 1,568 bytes")
    return data


def parse_kem_ciphertext(data: bytes) -> bytes:
    """Return *data* if it has the form of a Kyber1024 ciphertext (1,569 bytes). Raises MalformedMessage."""
    if type(data) is not bytes or len(data) != KEM_CIPHERTEXT_SIZE or data[0] != 0x08:
        raise MalformedMessage("a KEM ciphertext is 0x08 and 1,568 bytes")
    return data


@dataclass(frozen=True, slots=True, eq=False)
class KeyPair(NotCopied):
    """An X25519 key pair for agreement only: ratchet keys, base keys, one-time prekeys."""

    public: bytes  # 33 bytes
    private: bytes = field(repr=False)  # 32 bytes, secret

    @classmethod
    def generate(cls, entropy: Entropy) -> KeyPair:
        """Make a key pair from 32 bytes of *entropy*."""
        return cls.from_private(draw(entropy, 32))

    @classmethod
    def from_private(cls, private: bytes) -> KeyPair:
        """Load a private key of 32 bytes, clamped or not."""
        clamped = primitives.clamp(private)
        return cls(CURVE_TYPE + primitives.x25519_public(clamped), clamped)

    def agree(self, public: bytes) -> bytes:
        """Return DH(self, *public*), 32 bytes; *public* is serialised. Raises NotAuthentic for a low-order key."""
        return primitives.x25519(self.private, public[1:])


@dataclass(frozen=True, slots=True, eq=False)
class SigningKeyPair(NotCopied):
    """An X25519 key pair that also signs (XEdDSA): identity keys, sender keys' signing keys.

    Made here from an Ed25519 seed, so that a signature is one constant-time call; or loaded from
    an X25519 private key that another implementation made (`signal-protocol` 1.2).
    """

    public: bytes  # 33 bytes
    private: bytes = field(repr=False)  # 32 bytes, secret
    seed: bytes | None = field(repr=False, default=None)  # 32 bytes, secret; None for a loaded key
    _signing: bytes | None = field(repr=False, default=None)  # 64 bytes, secret; None for a loaded key

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKeyPair:
        """Make the key pair of a 32-byte Ed25519 seed."""
        private, public, signing = primitives.keys_from_seed(seed)
        return cls(CURVE_TYPE + public, private, seed, signing)

    @classmethod
    def from_private(cls, private: bytes) -> SigningKeyPair:
        """Load an X25519 private key of 32 bytes, clamped or not."""
        pair = KeyPair.from_private(private)
        return cls(pair.public, pair.private)

    def agree(self, public: bytes) -> bytes:
        """Return DH(self, *public*), 32 bytes. Raises NotAuthentic for a low-order key."""
        return primitives.x25519(self.private, public[1:])

    def sign(self, message: bytes, entropy: Entropy) -> bytes:
        """Return a 64-byte signature; *entropy* is asked for 64 bytes only if the key was loaded, not made."""
        if self._signing is not None:
            return primitives.sign_with_seed(self._signing, message)
        return primitives.xeddsa_sign(self.private, message, draw(entropy, 64))

    def secret(self) -> tuple[bool, bytes]:
        """What a snapshot keeps: whether it is a seed, and the 32 bytes."""
        return (True, self.seed) if self.seed is not None else (False, self.private)

    @classmethod
    def from_secret(cls, is_seed: bool, secret: bytes) -> SigningKeyPair:  # noqa: FBT001 - the pair that `secret` returns
        """Undo `secret`. Raises CorruptSnapshot for a private key that is not clamped: `secret` gives no such."""
        if is_seed:
            return cls.from_seed(secret)
        if primitives.clamp(secret) != secret:
            raise CorruptSnapshot("a loaded private key is stored clamped")
        return cls.from_private(secret)


class IdentityKeyPair(NotCopied):
    """A user's long-term key pair; all devices of the user hold the same one.

    Values do not compare and do not print their secret.
    """

    __slots__ = ("_pair",)

    def __init__(self, pair: SigningKeyPair) -> None:
        self._pair = pair

    @classmethod
    def generate(cls, entropy: Entropy = os.urandom) -> IdentityKeyPair:
        """Make a new identity from 32 bytes of *entropy*."""
        return cls(SigningKeyPair.from_seed(draw(entropy, 32)))

    @classmethod
    def from_private_key(cls, private_key: bytes) -> IdentityKeyPair:
        """Load an identity that libsignal (or any X25519 implementation) made, from its 32-byte private key."""
        if type(private_key) is not bytes or len(private_key) != 32:
            raise InvalidArgument("an identity private key has 32 bytes")
        return cls(SigningKeyPair.from_private(private_key))

    @property
    def public_key(self) -> bytes:
        """The identity key as peers see it, 33 bytes."""
        return self._pair.public

    @property
    def private_key(self) -> bytes:
        """The X25519 private key, 32 bytes, as libsignal exports it. Secret."""
        return self._pair.private

    @property
    def pair(self) -> SigningKeyPair:
        """The key pair itself, for this package."""
        return self._pair

    def agree(self, public: bytes) -> bytes:
        """Return DH(identity, *public*), 32 bytes. Raises MalformedMessage, or NotAuthentic for a low-order key."""
        return self._pair.agree(parse_public_key(public))

    def sign(self, label: str, data: bytes, *, entropy: Entropy = os.urandom) -> bytes:
        """Sign *data* for the use that *label* names; see `verify_signature`. Returns 64 bytes."""
        return self._pair.sign(signed_data(label, data), entropy)

    def __repr__(self) -> str:
        return f"IdentityKeyPair(public_key={self._pair.public.hex()})"


def signed_data(label: str, data: bytes) -> bytes:
    """Return what a labelled signature covers: "e2ee", a zero byte, the label's length in one byte, label, data."""
    try:
        encoded = label.encode() if type(label) is str else b""
    except UnicodeEncodeError as cause:
        raise InvalidArgument("a label is text that has a UTF-8 form") from cause
    if not 1 <= len(encoded) <= 255 or type(data) is not bytes:
        raise InvalidArgument("a signature needs a label of 1 to 255 bytes and data in bytes")
    return SIGNED_DATA + bytes([len(encoded)]) + encoded + data


def verify_signature(identity_key: bytes, label: str, data: bytes, signature: bytes) -> None:
    """Raise NotAuthentic unless *signature* (64 bytes) was made by ``sign(label, data)`` of *identity_key*.

    Raises MalformedMessage if *identity_key* is not a serialised key.
    """
    covered = signed_data(label, data)
    if type(signature) is not bytes:
        raise NotAuthentic("a signature has 64 bytes")
    primitives.xeddsa_verify(parse_public_key(identity_key)[1:], covered, signature)
