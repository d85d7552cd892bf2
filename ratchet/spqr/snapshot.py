"""The braid's states as plain values: ``[number, epoch, root, mac, fields of the state…]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ratchet.errors import CorruptSnapshot
from ratchet.limits import CHUNK_INDEX_MAX
from ratchet.packing import take_bytes, take_int, take_list
from ratchet.primitives import KEM_SEED_SIZE

from . import braid
from .chain import EPOCH_MAX
from .erasure import CHUNK_SIZE, Decoder
from .kem import CIPHERTEXT_1_SIZE, HEADER_SIZE, VECTOR_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["pack_state", "state_from_packed"]


def pack_state(state: braid.BraidState) -> list[Any]:  # noqa: PLR0911 - one line for each of the eleven states
    """Return the state as plain values for `packing`."""
    head = [_NUMBERS[type(state)], state.epoch, state.authenticator.root, state.authenticator.mac]
    match state:
        case braid.KeysSampled():
            return [*head, state.seed, state.signed_header]
        case braid.HeaderSent():
            return [*head, state.seed, state.vector, _pack_decoder(state.ciphertext_1)]
        case braid.Ct1Received():
            return [*head, state.seed, state.vector, state.ciphertext_1]
        case braid.EkSentCt1Received():
            return [*head, state.seed, state.ciphertext_1, _pack_decoder(state.ciphertext_2)]
        case braid.NoHeaderReceived():
            return [*head, _pack_decoder(state.signed_header)]
        case braid.HeaderReceived():
            return [*head, state.header]
        case braid.Ct1Sampled() | braid.Ct1Acknowledged():
            return [*head, state.header, state.randomness, state.ciphertext_1, _pack_decoder(state.vector)]
        case braid.EkReceivedCt1Sampled():
            return [*head, state.ciphertext_1, state.signed_ciphertext_2]
        case braid.Ct2Sampled():
            return [*head, state.signed_ciphertext_2]
        case _:
            return head


def state_from_packed(value: object) -> braid.BraidState:
    """Undo `pack_state`. Raises CorruptSnapshot."""
    values = take_list(value, "braid state", length_max=8)
    if len(values) < 4:
        raise CorruptSnapshot("braid state: too few values")
    number = take_int(values[0], len(_STATES), "braid state number", minimum=1)
    kind, fields = _STATES[number - 1]
    if len(values) != 4 + len(fields):
        raise CorruptSnapshot("braid state: wrong number of values")
    authenticator = braid.Authenticator(take_bytes(values[2], 32, "braid root"), take_bytes(values[3], 32, "braid mac"))
    state: braid.BraidState = kind(
        take_int(values[1], EPOCH_MAX, "braid epoch", minimum=1),
        authenticator,
        *[take(one) for take, one in zip(fields, values[4:], strict=True)],
    )
    return state


def _pack_decoder(decoder: Decoder) -> list[Any]:
    return [list(decoder.chunks), b"".join(decoder.chunks.values())]


def _sized(size: int) -> Callable[[object], bytes]:
    return lambda value: take_bytes(value, size, "braid value")


def _decoder(size: int) -> Callable[[object], Decoder]:
    length_max = size // CHUNK_SIZE - 1  # a complete decoder is never kept: its blob is

    def take(value: object) -> Decoder:
        indices, joined = take_list(value, "braid chunks", length=2)
        indices = take_list(indices, "braid chunk indices", length_max=length_max)
        data = take_bytes(joined, CHUNK_SIZE * len(indices), "braid chunks")
        chunks = {
            take_int(index, CHUNK_INDEX_MAX, "braid chunk index"): data[CHUNK_SIZE * at : CHUNK_SIZE * (at + 1)]
            for at, index in enumerate(indices)
        }
        if len(chunks) != len(indices):
            raise CorruptSnapshot("braid chunk indices: one twice")
        return Decoder(size, chunks)

    return take


_SEED = _sized(KEM_SEED_SIZE)
_VECTOR = _sized(VECTOR_SIZE)
_CIPHERTEXT_1 = _sized(CIPHERTEXT_1_SIZE)
_SIGNED_CIPHERTEXT_2 = _sized(braid.SIGNED_CIPHERTEXT_2_SIZE)
_AWAITING_VECTOR = (_sized(HEADER_SIZE), _sized(32), _CIPHERTEXT_1, _decoder(VECTOR_SIZE))

# In the order of the state table (`signal-protocol` 4.5); a state's number is its place from 1.
_STATES: list[tuple[type[Any], tuple[Callable[[object], Any], ...]]] = [
    (braid.KeysUnsampled, ()),
    (braid.KeysSampled, (_SEED, _sized(braid.SIGNED_HEADER_SIZE))),
    (braid.HeaderSent, (_SEED, _VECTOR, _decoder(CIPHERTEXT_1_SIZE))),
    (braid.Ct1Received, (_SEED, _VECTOR, _CIPHERTEXT_1)),
    (braid.EkSentCt1Received, (_SEED, _CIPHERTEXT_1, _decoder(braid.SIGNED_CIPHERTEXT_2_SIZE))),
    (braid.NoHeaderReceived, (_decoder(braid.SIGNED_HEADER_SIZE),)),
    (braid.HeaderReceived, (_sized(HEADER_SIZE),)),
    (braid.Ct1Sampled, _AWAITING_VECTOR),
    (braid.EkReceivedCt1Sampled, (_CIPHERTEXT_1, _SIGNED_CIPHERTEXT_2)),
    (braid.Ct1Acknowledged, _AWAITING_VECTOR),
    (braid.Ct2Sampled, (_SIGNED_CIPHERTEXT_2,)),
]
_NUMBERS = {kind: number for number, (kind, _fields) in enumerate(_STATES, 1)}
