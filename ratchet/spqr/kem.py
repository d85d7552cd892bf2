"""ML-KEM-768 encapsulation in two steps (FIPS 203), as SPQR's key agreement needs it.

The peer sends the encapsulation key in two pieces: first the *header*, the 32-byte matrix seed ρ
and the hash of the whole key, later the *vector* t̂. The first 960 bytes of the ciphertext, c1,
depend on the header alone and are sent meanwhile; the remaining 128, c2, need the vector. Key
generation and decapsulation are those of the standard, and a library's; this module has the
encapsulation, which no library offers in halves, and the checks of the key.

``encapsulate_1(header, m)`` followed by ``encapsulate_2(header, m, vector)`` is
ML-KEM.Encaps_internal (algorithm 17) of ek = vector || ρ with the randomness m.

What is exposed: Python's integers do not take constant time, and nothing here pretends that they
do. The secrets handled are m and the noise y, e1 and e2; each serves one epoch, in at most two
computations, so there is no long series of timings to gather. Whoever can trace this process
(from the same processor, say) may learn them from that one trace, and with them the epoch's
post-quantum secret. No identity key is handled here, and the session's keys depend on the
classical double ratchet as well: whatever leaks, they stay as secure as that. Secrets are
`bytes` and `int` objects, dropped early; no zeroing is claimed.

How fast, and why a matrix instead of the standard's butterflies: docs/decisions/0003-incremental-kem.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha3_256, sha3_512, shake_128, shake_256
from hmac import compare_digest
from operator import add, mul
from struct import Struct, unpack
from typing import TYPE_CHECKING, Final

from ratchet.errors import MalformedMessage, NotAuthentic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "CIPHERTEXT_1_SIZE",
    "CIPHERTEXT_2_SIZE",
    "ENCAPSULATION_KEY_SIZE",
    "HEADER_SIZE",
    "RANDOMNESS_SIZE",
    "SHARED_SECRET_SIZE",
    "VECTOR_SIZE",
    "check_vector",
    "encapsulate_1",
    "encapsulate_2",
    "split_key",
]

# The parameter set ML-KEM-768 (FIPS 203, section 8).
MODULUS: Final = 3329  # q
DEGREE: Final = 256  # n: coefficients of one polynomial
RANK: Final = 3  # k: polynomials of one vector
BITS_OF_U: Final = 10  # d_u: bits that c1 keeps of a coefficient
BITS_OF_V: Final = 4  # d_v: bits that c2 keeps

# Bytes.
SEED_SIZE: Final = 32  # ρ
HASH_SIZE: Final = 32  # H(ek), SHA3-256
RANDOMNESS_SIZE: Final = 32  # m
SHARED_SECRET_SIZE: Final = 32  # K
HEADER_SIZE: Final = SEED_SIZE + HASH_SIZE
VECTOR_SIZE: Final = 12 * DEGREE * RANK // 8
ENCAPSULATION_KEY_SIZE: Final = VECTOR_SIZE + SEED_SIZE
CIPHERTEXT_1_SIZE: Final = BITS_OF_U * DEGREE * RANK // 8
CIPHERTEXT_2_SIZE: Final = BITS_OF_V * DEGREE // 8

# How much of SHAKE128 is read for one polynomial of the matrix. Three of its blocks are enough for 99 of
# 100. The most is what a bounded implementation has to grant at least, 280 steps of 3 bytes: it is not
# enough with a probability below 2^-261 (FIPS 203, appendix B), and would end in a ValueError.
MATRIX_STREAM_SIZE: Final = 3 * 168
MATRIX_STREAM_SIZE_MAX: Final = 280 * 3


def split_key(encapsulation_key: bytes) -> tuple[bytes, bytes]:
    """Header (64 bytes) and vector (1152 bytes) of an ML-KEM-768 encapsulation key (1184 bytes)."""
    vector, seed = encapsulation_key[:VECTOR_SIZE], encapsulation_key[VECTOR_SIZE:]
    return seed + sha3_256(encapsulation_key).digest(), vector


def check_vector(header: bytes, vector: bytes) -> None:
    """Raise NotAuthentic for a *vector* that is not the one of *header*, MalformedMessage for what is no vector.

    These are the checks of section 7.2 of the standard, and the hash that stands for them in the header.
    """
    if len(vector) != VECTOR_SIZE:
        raise MalformedMessage(f"an encapsulation key's vector has {VECTOR_SIZE} bytes, not {len(vector)}")
    if max(_decode_12(vector)) >= MODULUS:
        raise MalformedMessage("a coefficient of the encapsulation key's vector is not below the modulus")
    if not compare_digest(sha3_256(vector + header[:SEED_SIZE]).digest(), header[SEED_SIZE:]):
        raise NotAuthentic("the encapsulation key's vector has not the hash of its header")


def encapsulate_1(header: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """The first part of the ciphertext (c1, 960 bytes) and the shared secret (K, 32 bytes, secret).

    *header* has 64 bytes; *randomness* (m) has 32, is secret, and serves for one encapsulation only.
    """
    shared_secret, noise_seed = _derive(header, randomness)
    vector_y = _vector_y(noise_seed)
    ciphertext = []
    for row in range(RANK):
        # Encryption takes the transposed matrix, so the row's number comes first in the seed.
        matrix_row = [_sample_ntt(header[:SEED_SIZE] + bytes((row, column))) for column in range(RANK)]
        u = _inverse_ntt(*_inner_product(matrix_row, vector_y))
        noise = _sample_noise(noise_seed, RANK + row)  # e1
        ciphertext.append(_encode_10(_compress(map(add, u, noise), BITS_OF_U)))
    return b"".join(ciphertext), shared_secret


def encapsulate_2(header: bytes, randomness: bytes, vector: bytes) -> bytes:
    """The second part of the ciphertext (c2, 128 bytes), for the *header* and *randomness* of the first.

    *vector* has 1152 bytes and has passed :func:`check_vector`. What the first part computed from
    the randomness is computed again, so that between the two nothing else needs to be kept secret.
    """
    _, noise_seed = _derive(header, randomness)
    coefficients = _decode_12(vector)
    vector_t = [coefficients[start : start + DEGREE] for start in range(0, RANK * DEGREE, DEGREE)]
    v = _inverse_ntt(*_inner_product(vector_t, _vector_y(noise_seed)))
    noise = _sample_noise(noise_seed, 2 * RANK)  # e2
    return _encode_4(_compress(map(sum, zip(v, noise, _message(randomness), strict=True)), BITS_OF_V))


# --- sampling ----------------------------------------------------------------------------------


def _derive(header: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """K and the noise seed r, 32 bytes each: algorithm 17, line 1, with H(ek) as the header has it."""
    digest = sha3_512(randomness + header[SEED_SIZE:]).digest()
    return digest[:SHARED_SECRET_SIZE], digest[SHARED_SECRET_SIZE:]


def _vector_y(noise_seed: bytes) -> list[_Transformed]:
    """ŷ, the encapsulation's secret vector: algorithm 14, lines 9 to 12 and 18."""
    return [_ntt(_sample_noise(noise_seed, nonce)) for nonce in range(RANK)]


def _sample_ntt(seed: bytes) -> Sequence[int]:
    """A polynomial of the matrix, in the transformed domain, from ρ and two numbers: SampleNTT, algorithm 7."""
    stream = shake_128(seed)
    accepted = [number for number in _decode_12(stream.digest(MATRIX_STREAM_SIZE)) if number < MODULUS]
    if len(accepted) < DEGREE:
        accepted = [number for number in _decode_12(stream.digest(MATRIX_STREAM_SIZE_MAX)) if number < MODULUS]
    return accepted[:DEGREE]


def _message(randomness: bytes) -> list[int]:
    """μ, a polynomial with the coefficient (q + 1) / 2 for every bit that is set: Decompress_1(ByteDecode_1(m))."""
    digits = format(int.from_bytes(randomness, "little"), f"0{DEGREE}b").encode()  # "0" and "1", the last bit first
    return [(digit & 1) * ((MODULUS + 1) // 2) for digit in reversed(digits)]


# The value of four random bits a, b, c, d is a + b - c - d, as a byte in two's complement.
_CENTRED: Final = [((n & 1) + (n >> 1 & 1) - (n >> 2 & 1) - (n >> 3 & 1)) & 0xFF for n in range(16)]
_CENTRED_OF_LOW_NIBBLE: Final = bytes(_CENTRED[byte & 0xF] for byte in range(256))
_CENTRED_OF_HIGH_NIBBLE: Final = bytes(_CENTRED[byte >> 4] for byte in range(256))


def _sample_noise(noise_seed: bytes, nonce: int) -> Sequence[int]:
    """A polynomial with coefficients from -2 to 2: PRF_2 (section 4.1) and SamplePolyCBD_2, algorithm 8."""
    stream = shake_256(noise_seed + bytes((nonce,))).digest(DEGREE // 2)
    noise = bytearray(DEGREE)
    noise[0::2] = stream.translate(_CENTRED_OF_LOW_NIBBLE)
    noise[1::2] = stream.translate(_CENTRED_OF_HIGH_NIBBLE)
    return memoryview(noise).cast("b").tolist()


# --- the number-theoretic transform --------------------------------------------------------------
#
# In the even places the transform has the values of Σ f_2j · X^j at the 128 roots γ_i =
# ζ^(2·BitRev7(i)+1), in the odd places those of Σ f_2j+1 · X^j (section 4.3). The standard computes
# them in seven layers of butterflies, 896 small steps. Here they are what they are by definition, the
# product of a 128 × 128 matrix and the coefficients: a column of the matrix is one integer with 128 lanes
# of 32 bits, and the sum of the columns, each times a coefficient, is made of 128 large steps.

_ZETA: Final = 17  # a primitive 256th root of unity
_POWERS: Final = [pow(_ZETA, exponent, MODULUS) for exponent in range(DEGREE)]
_EXPONENTS: Final = [2 * int(f"{i:07b}"[::-1], 2) + 1 for i in range(DEGREE // 2)]  # of the γ_i
_ROOTS: Final = [_POWERS[exponent] for exponent in _EXPONENTS]  # γ_i
_LANES: Final = Struct(f"<{DEGREE // 2}I")
# Added to every product of matrix and vector, so that no lane is negative: a multiple of q that is at
# least 128 · 2 · 3328. The largest lane is then below 128 · 3328 · 3328 + 2^20 < 2^32.
_BIAS: Final = int.from_bytes(_LANES.pack(*[DEGREE * MODULUS] * (DEGREE // 2)), "little")


def _column(exponents: Iterable[int], factor: int) -> int:
    lanes = [factor * _POWERS[exponent % DEGREE] % MODULUS for exponent in exponents]
    return int.from_bytes(_LANES.pack(*lanes), "little")


_COLUMNS: Final = [_column([exponent * j for exponent in _EXPONENTS], 1) for j in range(DEGREE // 2)]
_INVERSE_COLUMNS: Final = [
    _column([-exponent * j for j in range(DEGREE // 2)], pow(DEGREE // 2, -1, MODULUS)) for exponent in _EXPONENTS
]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Transformed:
    """A secret polynomial in the transformed domain, with what its products with others need."""

    even: Sequence[int]
    odd: Sequence[int]
    odd_times_roots: Sequence[int]


def _times_matrix(columns: Sequence[int], coefficients: Sequence[int]) -> tuple[int, ...]:
    """128 sums, none negative, not reduced. The coefficients are from -2 to 3328."""
    return _LANES.unpack(sum(map(mul, coefficients, columns), _BIAS).to_bytes(_LANES.size, "little"))


def _ntt(polynomial: Sequence[int]) -> _Transformed:
    """NTT, algorithm 9."""
    even = [value % MODULUS for value in _times_matrix(_COLUMNS, polynomial[0::2])]
    odd = [value % MODULUS for value in _times_matrix(_COLUMNS, polynomial[1::2])]
    return _Transformed(even, odd, [value * root % MODULUS for value, root in zip(odd, _ROOTS, strict=True)])


def _inverse_ntt(even: Sequence[int], odd: Sequence[int]) -> list[int]:
    """NTT^-1, algorithm 10. The coefficients are neither reduced nor negative."""
    coefficients = [0] * DEGREE
    coefficients[0::2] = _times_matrix(_INVERSE_COLUMNS, even)
    coefficients[1::2] = _times_matrix(_INVERSE_COLUMNS, odd)
    return coefficients


def _inner_product(left: Sequence[Sequence[int]], right: Sequence[_Transformed]) -> tuple[list[int], list[int]]:
    """Σ left · right over three polynomials, even and odd coefficients: MultiplyNTTs, algorithms 11 and 12.

    One sum of six products for each coefficient and one reduction, instead of a reduction each.
    """
    even_left = [polynomial[0::2] for polynomial in left]
    odd_left = [polynomial[1::2] for polynomial in left]
    even_right = [polynomial.even for polynomial in right]
    odd_right = [polynomial.odd for polynomial in right]
    odd_right_times_roots = [polynomial.odd_times_roots for polynomial in right]
    return (
        _sums_of_products(*even_left, *odd_left, *even_right, *odd_right_times_roots),
        _sums_of_products(*even_left, *odd_left, *odd_right, *even_right),
    )


def _sums_of_products(*factors: Sequence[int]) -> list[int]:
    """Of twelve sequences the sums of the products of the first and seventh, second and eighth, ..., below q."""
    return [
        (a * g + b * h + c * i + d * j + e * k + f * m) % MODULUS
        for a, b, c, d, e, f, g, h, i, j, k, m in zip(*factors, strict=True)
    ]


# --- bytes and numbers -------------------------------------------------------------------------


def _compress(values: Iterable[int], bits: int) -> list[int]:
    """Compress_d (section 4.2.1) for d = *bits* of values that need not be reduced: q more make 2^d more."""
    mask = (1 << bits) - 1
    return [((value << bits) + MODULUS // 2) // MODULUS & mask for value in values]


_LOW_NIBBLE: Final = bytes(byte & 0xF for byte in range(256))
_LOW_NIBBLE_RAISED: Final = bytes((byte & 0xF) << 4 for byte in range(256))
_HIGH_NIBBLE: Final = bytes(byte >> 4 for byte in range(256))


def _decode_12(data: bytes) -> tuple[int, ...]:
    """ByteDecode_12, algorithm 6, without its reduction: 2 numbers below 4096 from every 3 bytes.

    The nibbles are moved by whole columns of bytes, three times as fast as number by number.
    """
    middle, last = data[1::3], data[2::3]
    upper = int.from_bytes(middle.translate(_HIGH_NIBBLE), "little")
    upper |= int.from_bytes(last.translate(_LOW_NIBBLE_RAISED), "little")
    numbers = bytearray(4 * len(last))
    numbers[0::4] = data[0::3]
    numbers[1::4] = middle.translate(_LOW_NIBBLE)
    numbers[2::4] = upper.to_bytes(len(last), "little")
    numbers[3::4] = last.translate(_HIGH_NIBBLE)
    return unpack(f"<{2 * len(last)}H", numbers)


def _encode_10(numbers: Sequence[int]) -> bytes:
    """ByteEncode_10, algorithm 5: 4 numbers in every 5 bytes."""
    fours = zip(numbers[0::4], numbers[1::4], numbers[2::4], numbers[3::4], strict=True)
    return b"".join([(a | b << 10 | c << 20 | d << 30).to_bytes(5, "little") for a, b, c, d in fours])


def _encode_4(numbers: Sequence[int]) -> bytes:
    """ByteEncode_4, algorithm 5: 2 numbers in every byte."""
    return bytes([a | b << 4 for a, b in zip(numbers[0::2], numbers[1::2], strict=True)])
