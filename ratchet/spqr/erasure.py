"""The erasure code that carries SPQR's keys and ciphertexts in chunks of 32 bytes.

A blob of N chunks is read as 16 polynomials over GF(2^16), each of degree below N: the 2-byte
big-endian element i of the blob is the value of polynomial i mod 16 at the point i div 16. Chunk
k is the 16 values at the point k, an index read as a field element by its bits. So chunks 0 to
N - 1 are the blob itself, all later ones are *repair chunks*, and any N chunks give the blob back.

A repair chunk is made in one of two ways:

* *alone*, by Lagrange's formula: a weight for each of the N chunks, and no preparation;
* *in a block* of 64 consecutive ones, by the additive fast Fourier transform of Lin, Chung and
  Han ("Novel polynomial basis and its application to Reed-Solomon erasure codes", 2014), which
  works on all points at once, as lanes of 16 bits in two long integers.

Which way when, and what both cost, is in docs/decisions/0002-erasure-code.md. Blobs and chunks
are public: all of them cross the wire in the clear. So it does no harm that the time taken here
depends on them and that blocks stay in a cache of the process.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from functools import cache, lru_cache, reduce
from operator import xor
from typing import TYPE_CHECKING, Final, NamedTuple

from ratchet.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["BLOB_CHUNKS_MAX", "CHUNK_SIZE", "Decoder", "encode_chunk"]

CHUNK_SIZE: Final = 32  # bytes: 16 elements
BLOB_CHUNKS_MAX: Final = 64  # one block; the longest blob of the protocol has 36 chunks

# Ours. Blocks remembered by the whole process, 7 kB each with what they are made from: bounds them
# to 4 MB. Where more blobs than this are being sent in turn, their chunks are made alone, which
# takes up to ten times as long and never longer than that (see _Block).
BLOCKS_REMEMBERED_MAX: Final = 512

# Ours. Chunks made alone before their block is made as a whole. After chunk N - 1 often one to
# three more are sent, and four of them cost less than half of the first block. In later blocks a
# long run is under way; there it only keeps the cost bounded while blocks are forgotten at once.
ALONE_IN_FIRST_BLOCK: Final = 4
ALONE_IN_LATER_BLOCK: Final = 1

REDUCTION_POLYNOMIAL: Final = 0x1100B  # x^16 + x^12 + x^3 + x + 1; x, the element 2, generates the group
GROUP_ORDER: Final = 0xFFFF  # of the multiplicative group: x^65535 = 1

_ELEMENT_BITS: Final = 16
_CHUNK_BITS: Final = 8 * CHUNK_SIZE
_LAYERS: Final = 6  # of the transform of one block
_BLOCK_CHUNKS: Final = 1 << _LAYERS
_HALF_BITS: Final = _BLOCK_CHUNKS // 2 * _CHUNK_BITS
_LOWEST_BITS: Final = int.from_bytes(b"\x00\x01" * (_HALF_BITS // _ELEMENT_BITS), "big")  # bit 0 of every lane
_INVERSE_OF_X: Final = REDUCTION_POLYNOMIAL >> 1  # x^15 + x^11 + x^2 + 1


def encode_chunk(blob: bytes, index: int) -> bytes:
    """Chunk *index* (0 to 65535) of *blob*, 32 bytes.

    The size of *blob* is a multiple of 32, at most 64 chunks. The result depends on the two
    arguments alone; consecutive indices of one blob are cheap because their block is remembered.
    """
    start = index * CHUNK_SIZE
    if start < len(blob):
        return blob[start : start + CHUNK_SIZE]
    return _block(blob, index // _BLOCK_CHUNKS).chunk(index % _BLOCK_CHUNKS)


@dataclass(frozen=True, slots=True)
class Decoder:
    """The chunks of one blob that have arrived; a value, so :meth:`add` returns the next one."""

    size: int  # bytes of the blob, a multiple of 32, at most 64 chunks
    chunks: Mapping[int, bytes] = field(default_factory=dict)  # index (0 to 65535) -> 32 bytes; never changed

    def add(self, index: int, chunk: bytes) -> Decoder:
        """The decoder that also has *chunk*; itself where the chunk is not kept.

        A chunk of the blob itself is always kept, a repair chunk only while chunks are missing.
        Of two chunks with one index the first is kept.
        """
        count = self.size // CHUNK_SIZE
        if index in self.chunks or (index >= count and len(self.chunks) >= count):
            return self
        return Decoder(self.size, {**self.chunks, index: chunk})

    @property
    def complete(self) -> bool:
        """Whether :meth:`blob` has chunks enough."""
        return len(self.chunks) >= self.size // CHUNK_SIZE

    def blob(self) -> bytes:
        """The blob, ``size`` bytes. Raises InvalidArgument before the decoder is complete."""
        if not self.complete:
            raise InvalidArgument(f"{len(self.chunks)} chunks of {self.size // CHUNK_SIZE} have arrived")
        plain = range(self.size // CHUNK_SIZE)
        missing = [index for index in plain if index not in self.chunks]
        if not missing:
            return b"".join([self.chunks[index] for index in plain])
        repair = sorted(index for index in self.chunks if index not in plain)
        points = [index for index in plain if index in self.chunks] + repair[: len(missing)]
        scales = _lagrange_scales(points)
        values = [int.from_bytes(self.chunks[index], "big") for index in points]
        made = {index: _interpolate(points, scales, values, index) for index in missing}
        return b"".join([made[index] if index in made else self.chunks[index] for index in plain])


# --- the field ---------------------------------------------------------------------------------


class _Logarithms(NamedTuple):
    power: array[int]  # power[i] = x^i for 0 <= i < 2 · 65535, so that a sum of two logarithms needs no reduction
    log: array[int]  # log[x^i] = i; log[0] is 0, which is meaningless and, in a sum, harmless


@cache
def _logarithms() -> _Logarithms:
    """The tables, 0.4 MB. Making them takes 10 ms, once a process needs a repair chunk, not at its import."""
    powers = [1] * GROUP_ORDER
    logs = [0] * (GROUP_ORDER + 1)
    element = 1
    for exponent in range(GROUP_ORDER):
        powers[exponent] = element
        logs[element] = exponent
        element <<= 1
        if element > GROUP_ORDER:
            element ^= REDUCTION_POLYNOMIAL
    return _Logarithms(array("H", powers + powers), array("H", logs))


def _times(left: int, right: int) -> int:
    power, log = _logarithms()
    return power[log[left] + log[right]] if left and right else 0


def _divided(dividend: int, divisor: int) -> int:
    power, log = _logarithms()
    return power[log[dividend] + GROUP_ORDER - log[divisor]] if dividend else 0


# --- one chunk, by Lagrange's formula ----------------------------------------------------------


_SET_BITS: Final = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


@lru_cache(maxsize=BLOB_CHUNKS_MAX)
def _scales_of_blob(count: int) -> tuple[int, ...]:
    return _lagrange_scales(range(count))


def _lagrange_scales(points: Sequence[int]) -> tuple[int, ...]:
    """For each point the logarithm (not reduced) of the product of its distances to the others."""
    log = _logarithms().log
    return tuple([sum([log[point ^ other] for other in points]) for point in points])


def _interpolate(points: Sequence[int], scales: Sequence[int], values: Iterable[int], target: int) -> bytes:
    """The chunk at *target*, which is none of *points*, from the chunks *values* at *points*."""
    power, log = _logarithms()
    distances = [log[target ^ point] for point in points]
    product = sum(distances) + _ELEMENT_BITS - 1  # times x^15: then bit 15 - k of a weight belongs to x^-k
    # Sum up the chunks for each bit of the weights first: then one multiplication by x^-1 for
    # each bit is left, instead of one by each weight.
    low, high = [0] * 8, [0] * 8
    for distance, scale, value in zip(distances, scales, values, strict=True):
        weight = power[(product - distance - scale) % GROUP_ORDER]
        for bit in _SET_BITS[weight & 0xFF]:
            low[bit] ^= value
        for bit in _SET_BITS[weight >> 8]:
            high[bit] ^= value
    result = 0
    for sum_of_bit in low + high:
        odd = result & _LOWEST_BITS
        result = (result ^ odd) >> 1 ^ odd * _INVERSE_OF_X ^ sum_of_bit
    return result.to_bytes(CHUNK_SIZE, "big")


def _chunk_alone(blob: bytes, index: int) -> bytes:
    points = range(len(blob) // CHUNK_SIZE)
    values = [int.from_bytes(chunk, "big") for chunk in _cut(blob)]
    return _interpolate(points, _scales_of_blob(len(points)), values, index)


# --- 64 chunks, by the additive transform ------------------------------------------------------
#
# Let s_i be the polynomial whose roots are 0 to 2^i - 1, divided by its value at 2^i. It is linear
# over GF(2). The novel basis is X_j = the product of s_i over the bits i of j; X_j has degree j.
# On 2^m points from *offset* on, a polynomial D = D0 + s_{m-1} · D1 has on the first half the values
# of D0 + c · D1 with c = s_{m-1}(offset), and on the second half, where s_{m-1} is one more, those of
# D0 + c · D1 + D1. The same for both halves, and so on: m layers lead from coefficients to values.
#
# Layer i works on pairs of chunks whose numbers differ in bit i. The firsts of all pairs are the lanes
# of one integer, the seconds those of another, both in the order of the other bits of the number, the
# lowest lanes first. Between two layers lanes are exchanged, so that each finds its pairs like this.


class _Layer(NamedTuple):
    # A lane's factor is c for its group of points. It is linear in them, so it is the sum of c at the block's
    # first point and of what the group adds. For k from 0 to 15: the lanes whose factor has x^-k, if the
    # first lacks it, and if it has it.
    factor_masks: tuple[tuple[int, int], ...]
    exchange_shift: int  # bits: 2^(i-1) chunks
    exchange_mask: int  # lanes that stay with the firsts, or with the seconds


@cache
def _layer(number: int) -> _Layer:
    """What layer *number* needs, 35 kB, made when the first block of the process is made."""
    span = _CHUNK_BITS << number  # of the lanes of one group, which have one factor
    ones = int.from_bytes(b"\x00\x01" * (span // _ELEMENT_BITS), "big")
    factors = 0
    for group, start in enumerate(range(0, _HALF_BITS, span)):
        factors |= _subspace_values(group << number + 1)[number] * ones << start
    all_lanes = _LOWEST_BITS * 0xFFFF
    masks = [(factors >> k & _LOWEST_BITS) * 0xFFFF for k in range(_ELEMENT_BITS)]
    staying = sum(((1 << span // 2) - 1) << start for start in range(0, _HALF_BITS, span))
    return _Layer(tuple((mask, mask ^ all_lanes) for mask in masks), span // 2, staying)


@cache
def _subspace_values_of_powers() -> list[list[int]]:
    """s_0 to s_5 at 1, 2, 4, ..., 2^15. Bit k of each belongs to x^-k, as _scaled wants it."""
    values = [1 << bit for bit in range(_ELEMENT_BITS)]
    table = []
    for i in range(_LAYERS):
        # A polynomial with the roots 0 to 2^i - 1, linear over GF(2), and r its value at 2^i:
        # divided by r it is s_i, and times itself plus r it is the next of its kind.
        root = values[i]
        from_the_top = [_divided(_times(value, 1 << _ELEMENT_BITS - 1), root) for value in values]
        table.append([int(f"{value:016b}"[::-1], 2) for value in from_the_top])
        values = [_times(value, value ^ root) for value in values]
    return table


def _subspace_values(point: int) -> list[int]:
    """s_0 to s_5 at *point*, in the form of _subspace_values_of_powers."""
    set_bits = [bit for bit in range(_ELEMENT_BITS) if point >> bit & 1]
    return [reduce(xor, [values[bit] for bit in set_bits], 0) for values in _subspace_values_of_powers()]


def _scaled(lanes: int, layer: _Layer, factor: int) -> int:
    """Each lane times its factor in *layer*, where that of the first lane is *factor*."""
    product = 0
    for masks in layer.factor_masks:
        product ^= lanes & masks[factor & 1]
        factor >>= 1
        odd = lanes & _LOWEST_BITS
        lanes = (lanes ^ odd) >> 1 ^ odd * _INVERSE_OF_X  # times x^-1
    return product


def _exchanged(firsts: int, seconds: int, layer: _Layer) -> tuple[int, int]:
    """The firsts and seconds of the layer before or after; its own inverse."""
    difference = (firsts >> layer.exchange_shift ^ seconds) & layer.exchange_mask
    return firsts ^ difference << layer.exchange_shift, seconds ^ difference


def _coefficients(chunks: Sequence[bytes], layers: int, offset: int) -> int:
    """The coefficients, as lanes, of the polynomial of degree < len(chunks) with these values from *offset* on."""
    half = (1 << layers) // 2
    if len(chunks) <= half:
        return _coefficients(chunks, layers - 1, offset)
    factors = _subspace_values(offset)
    if len(chunks) < 2 * half:
        # The first half gives L = D0 + c · D1; on the second half the values are those of L + D1.
        lower = _coefficients(chunks[:half], layers - 1, offset)
        continued = _evaluated(lower, layers - 1, offset + half, len(chunks) - half)
        rest = _cut_lanes(_joined(chunks[half:]) ^ _joined(continued), len(continued))
        upper = _coefficients(rest, layers - 1, offset + half)
        return lower ^ _scaled(upper, _layer(layers - 1), factors[layers - 1]) | upper << half * _CHUNK_BITS
    firsts, seconds = _joined(chunks[0::2]), _joined(chunks[1::2])
    for i in range(layers):
        layer = _layer(i)
        if i:
            firsts, seconds = _exchanged(firsts, seconds, layer)
        seconds ^= firsts
        firsts ^= _scaled(seconds, layer, factors[i])
    return firsts | seconds << half * _CHUNK_BITS


def _evaluated(coefficients: int, layers: int, offset: int, count: int) -> list[bytes]:
    """The first *count* chunks from *offset* on of the polynomial with these 2^layers coefficients."""
    factors = _subspace_values(offset)
    while layers > 1 and 2 * count <= 1 << layers:  # the first half is enough: D0 + c · D1
        layers -= 1
        lower, upper = coefficients & (1 << (_CHUNK_BITS << layers)) - 1, coefficients >> (_CHUNK_BITS << layers)
        coefficients = lower ^ _scaled(upper, _layer(layers), factors[layers])
    # Where more points are asked for than there are coefficients, the layers above have D1 = 0, and
    # all their parts go on with the coefficients of D0.
    size = CHUNK_SIZE << layers
    times = -(-count >> layers)
    data = coefficients.to_bytes(size, "little")
    firsts = int.from_bytes(data[: size // 2] * times, "little")
    seconds = int.from_bytes(data[size // 2 :] * times, "little")
    for i in reversed(range(layers)):
        layer = _layer(i)
        firsts ^= _scaled(seconds, layer, factors[i])
        seconds ^= firsts
        if i:
            firsts, seconds = _exchanged(firsts, seconds, layer)
    pairs = times << layers - 1
    chunks = [b""] * (2 * pairs)
    chunks[0::2] = _cut_lanes(firsts, pairs)
    chunks[1::2] = _cut_lanes(seconds, pairs)
    return chunks[:count]


def _cut(blob: bytes) -> list[bytes]:
    return [blob[start : start + CHUNK_SIZE] for start in range(0, len(blob), CHUNK_SIZE)]


def _cut_lanes(lanes: int, count: int) -> list[bytes]:
    return _cut(lanes.to_bytes(count * CHUNK_SIZE, "big"))[::-1]


def _joined(chunks: Sequence[bytes]) -> int:
    return int.from_bytes(b"".join(reversed(chunks)), "big")


# --- what is remembered ------------------------------------------------------------------------


@lru_cache(maxsize=BLOCKS_REMEMBERED_MAX)
def _polynomial(blob: bytes) -> tuple[int, int]:
    """The coefficients of *blob*, as lanes, and the number of layers: the least with room for them."""
    chunks = _cut(blob)
    while len(chunks) % 4:  # a few made alone cost less than the transforms of their small parts
        chunks.append(_chunk_alone(blob, len(chunks)))
    layers = (len(chunks) - 1).bit_length()
    return _coefficients(chunks, layers, 0), layers


class _Block:
    """64 consecutive chunks of one blob, some of which may be asked for.

    Its answers depend on its arguments only; how it gets them, on what it was asked before: the
    first few chunks are made alone, then all at once. So a blob that needs a chunk or two more
    than N does not pay for 64, and where blocks are forgotten between two chunks, because more
    blobs are in use than are remembered, each costs what it costs alone. Two threads in here at
    once do some work twice, nothing worse.
    """

    __slots__ = ("_alone", "_blob", "_chunks", "_start")

    def __init__(self, blob: bytes, number: int) -> None:
        self._blob = blob
        self._start = number * _BLOCK_CHUNKS
        self._chunks: list[bytes] | None = None
        self._alone = ALONE_IN_LATER_BLOCK if number else ALONE_IN_FIRST_BLOCK

    def chunk(self, offset: int) -> bytes:
        if self._chunks is None:
            if self._alone > 0 and offset:  # at the first chunk a long run enters: make the block
                self._alone -= 1
                return _chunk_alone(self._blob, self._start + offset)
            coefficients, layers = _polynomial(self._blob)
            self._chunks = _evaluated(coefficients, layers, self._start, _BLOCK_CHUNKS)
        return self._chunks[offset]


_block = lru_cache(maxsize=BLOCKS_REMEMBERED_MAX)(_Block)
