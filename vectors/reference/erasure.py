"""The braid's erasure code: 16 polynomials over GF(2^16), evaluated by plain Lagrange interpolation.

A blob is cut into big-endian 16-bit elements; element i is the value of polynomial i mod 16 at x = i div 16. Chunk k
is the 16 values at x = k, so the first chunks are the blob itself and later ones repair losses.
"""

from __future__ import annotations

from typing import Final

POLYNOMIAL: Final = 0x1100B  # x^16 + x^12 + x^3 + x + 1
ORDER: Final = 0xFFFF  # of the multiplicative group, which 2 generates
CHUNK_SIZE: Final = 32  # bytes: 16 elements
CHUNK_INDEX_END: Final = 65_536


def _tables() -> tuple[list[int], list[int]]:
    powers, logarithms = [0] * (2 * ORDER), [0] * (ORDER + 1)
    value = 1
    for exponent in range(ORDER):
        powers[exponent] = powers[exponent + ORDER] = value
        logarithms[value] = exponent
        value <<= 1
        if value > ORDER:
            value ^= POLYNOMIAL
    return powers, logarithms


_POWERS, _LOGARITHMS = _tables()


def multiply(a: int, b: int) -> int:
    """Return the product of two field elements."""
    return _POWERS[_LOGARITHMS[a] + _LOGARITHMS[b]] if a and b else 0


def divide(a: int, b: int) -> int:
    """Return a / b; b is not 0."""
    return _POWERS[_LOGARITHMS[a] - _LOGARITHMS[b] + ORDER] if a else 0


def interpolate(chunks: dict[int, bytes], x: int) -> bytes:
    """Return the chunk at *x* of the polynomials that pass through *chunks*."""
    if x in chunks:
        return chunks[x]
    result = [0] * 16
    for here, chunk in chunks.items():
        weight = 1
        for other in chunks:
            if other != here:
                weight = divide(multiply(weight, x ^ other), here ^ other)
        for column in range(16):
            result[column] ^= multiply(weight, int.from_bytes(chunk[2 * column : 2 * column + 2], "big"))
    return b"".join(element.to_bytes(2, "big") for element in result)


class Encoder:
    """An endless stream of chunks of one blob."""

    def __init__(self, blob: bytes) -> None:
        self._chunks = {
            start // CHUNK_SIZE: blob[start : start + CHUNK_SIZE] for start in range(0, len(blob), CHUNK_SIZE)
        }
        self._next_index = 0

    def next_chunk(self) -> tuple[int, bytes]:
        """Return the next chunk with its index, which wraps at 65,536."""
        index = self._next_index
        self._next_index = (index + 1) % CHUNK_INDEX_END
        return index, interpolate(self._chunks, index)

    def skip(self, count: int) -> None:
        """Pass over *count* chunks without computing them."""
        self._next_index = (self._next_index + count) % CHUNK_INDEX_END


class Decoder:
    """Collects chunks until the blob is known."""

    def __init__(self, size: int) -> None:
        self._needed = size // CHUNK_SIZE
        self._chunks: dict[int, bytes] = {}

    def add(self, chunk: tuple[int, bytes]) -> bytes | None:
        """Take one chunk; return the blob if enough different ones have come, else None."""
        index, data = chunk
        if index < self._needed or len(self._chunks) < self._needed:
            self._chunks.setdefault(index, data)
        return self.blob()

    def blob(self) -> bytes | None:
        """Return the blob if enough different chunks have come, else None."""
        if len(self._chunks) < self._needed:
            return None
        chosen = {index: self._chunks[index] for index in sorted(self._chunks)[: self._needed]}
        return b"".join(interpolate(chosen, index) for index in range(self._needed))
