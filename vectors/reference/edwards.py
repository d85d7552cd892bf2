"""Curve25519 in its Edwards form, and XEdDSA as libsignal signs and verifies with it.

Plain integers and the complete addition law of RFC 8032, section 5.1.4. A signature or verification takes some
milliseconds, and how many depends on the secrets: never use this with keys that matter.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from vectors.reference.faults import Fault, Refused
from vectors.reference.primitives import clamp

P: Final = 2**255 - 19  # the field
Q: Final = 2**252 + 27742317777372353535851937790883648493  # the order of the base point
D: Final = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE: Final = pow(2, (P - 1) // 4, P)
SIGNATURE_SIZE: Final = 64  # bytes
SIGN_BIT: Final = 0x80  # of the last byte: the sign of x in a compressed point, borrowed by the signature
NONCE_PREFIX: Final = b"\xfe" + b"\xff" * 31  # hash_1 of the XEdDSA specification, section 2.5


@dataclass(frozen=True, slots=True)
class Point:
    """A point in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z."""

    x: int
    y: int
    z: int
    t: int

    @classmethod
    def from_y(cls, y: int, x_is_odd: int) -> Self | None:
        """Return the point with this y and the parity of x, or None if the curve has none."""
        square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
        x = pow(square, (P + 3) // 8, P)
        if (x * x - square) % P:
            x = x * SQRT_MINUS_ONE % P
        if (x * x - square) % P or (x == 0 and x_is_odd):
            return None
        if x & 1 != x_is_odd:
            x = P - x
        return cls(x, y, 1, x * y % P)

    def __add__(self, other: Point) -> Point:
        a = (self.y - self.x) * (other.y - other.x) % P
        b = (self.y + self.x) * (other.y + other.x) % P
        c = 2 * self.t * other.t * D % P
        d = 2 * self.z * other.z % P
        e, f, g, h = b - a, d - c, d + c, b + a
        return Point(e * f % P, g * h % P, f * g % P, e * h % P)

    def __mul__(self, scalar: int) -> Point:
        total, addend = NEUTRAL, self
        while scalar:
            if scalar & 1:
                total += addend
            addend += addend
            scalar >>= 1
        return total

    def __neg__(self) -> Point:
        return Point(-self.x % P, self.y, self.z, -self.t % P)

    def compress(self) -> bytes:
        """Return the 32-byte form: y little-endian, the parity of x in the top bit."""
        inverse = pow(self.z, -1, P)
        x, y = self.x * inverse % P, self.y * inverse % P
        return (y | (x & 1) << 255).to_bytes(32, "little")

    def is_neutral(self) -> bool:
        """Tell whether this is the neutral element (0, 1)."""
        return self.x % P == 0 and (self.y - self.z) % P == 0


NEUTRAL: Final = Point(0, 1, 1, 0)


def _base_point() -> Point:
    point = Point.from_y(4 * pow(5, -1, P) % P, 0)
    if point is None:
        raise ArithmeticError("the curve's own base point is on the curve")
    return point


BASE: Final = _base_point()


def _edwards_y(u: int) -> int | None:
    """Map a Montgomery u to the Edwards y = (u - 1) / (u + 1); u = -1 has no image."""
    if (u + 1) % P == 0:
        return None
    return (u - 1) * pow(u + 1, -1, P) % P


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _hash_to_scalar(*parts: bytes) -> int:
    return _little(hashlib.sha512(b"".join(parts)).digest()) % Q


def sign(private_key: bytes, message: bytes, randomness: bytes) -> bytes:
    """Return the 64-byte XEdDSA signature by a clamped 32-byte X25519 private key, with 64 bytes of randomness.

    As libsignal does it: the Edwards public key keeps its own sign, and the signature carries that bit.
    """
    a = _little(private_key) % Q
    r = _hash_to_scalar(NONCE_PREFIX, private_key, message, randomness)
    return _signature(a, r, message)


def _signature(a: int, r: int, message: bytes) -> bytes:
    public = (BASE * a).compress()
    commitment = (BASE * r).compress()
    h = _hash_to_scalar(commitment, public, message)
    signature = bytearray(commitment + ((r + h * a) % Q).to_bytes(32, "little"))
    signature[63] |= public[31] & SIGN_BIT
    return bytes(signature)


def sign_with_seed(seed: bytes, message: bytes) -> bytes:
    """Return the signature of a key pair that was made from a 32-byte Ed25519 seed (RFC 8032, section 5.1.6).

    The X25519 private key is clamp(SHA-512(seed)[:32]); the nonce needs no randomness; the sign bit is kept as above.
    """
    expanded = hashlib.sha512(seed).digest()
    a = _little(private_key_of_seed(seed)) % Q
    r = _hash_to_scalar(expanded[32:], message)
    return _signature(a, r, message)


def private_key_of_seed(seed: bytes) -> bytes:
    """Return the X25519 private key of a key pair that was made from a 32-byte Ed25519 seed."""
    return clamp(hashlib.sha512(seed).digest()[:32])


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check a 64-byte signature against a raw 32-byte X25519 public key. Raises Refused(SIGNATURE)."""
    if len(signature) != SIGNATURE_SIZE:
        raise Refused(Fault.SIGNATURE, "not 64 bytes")
    y = _edwards_y(_little(public_key) & (2**255 - 1))
    point = None if y is None else Point.from_y(y, signature[63] >> 7)
    if point is None:
        raise Refused(Fault.SIGNATURE, "the public key has no Edwards form")
    s = _little(signature[32:]) & (2**255 - 1)
    if s >> 253:
        raise Refused(Fault.SIGNATURE, "s is 2^253 or more")
    commitment = signature[:32]
    h = _hash_to_scalar(commitment, point.compress(), message)
    if (BASE * s + -(point * h)).compress() != commitment:
        raise Refused(Fault.SIGNATURE)


def check_base_key(public_key: bytes) -> None:
    """Check the base key of an incoming first message: its one canonical form, and in the prime-order subgroup.

    Raises Refused(BASE_KEY_NOT_CANONICAL) or Refused(BASE_KEY_TORSION).
    """
    u = _little(public_key)
    if u >= P:
        raise Refused(Fault.BASE_KEY_NOT_CANONICAL)
    y = _edwards_y(u)
    point = None if y is None else Point.from_y(y, 0)
    # y = 0 has no odd x; every other y has both signs of x, of which one is as good as the other here.
    if point is None or not (point * Q).is_neutral():
        raise Refused(Fault.BASE_KEY_TORSION)
