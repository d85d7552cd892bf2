"""The braid's states as plain values, each of the eleven, and every fault in each."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import pytest

from ratchet.errors import CorruptSnapshot
from ratchet.packing import pack
from ratchet.spqr.braid import BraidState
from ratchet.spqr.ratchet import PostQuantumRatchet
from ratchet.spqr.snapshot import pack_state, state_from_packed


@cache
def specimens() -> dict[int, list[Any]]:
    """A packed state of each number, met in a conversation with losses."""
    found: dict[int, list[Any]] = {}
    dice = Random(1)
    ends = [PostQuantumRatchet.start(bytes(32), initiator=initiator, forward_max=25_000) for initiator in (True, False)]

    def look() -> None:
        for one in ends:
            packed = pack_state(one.state)
            if len(pack(packed)) > len(pack(found.get(packed[0], []))):  # the decoder that holds most
                found[packed[0]] = packed

    for number in range(600):
        for sender, recipient in (ends, ends[::-1]):
            look()
            step = sender.plan_send(dice.randbytes)
            sender.commit_send(step)
            # Now one direction loses more, now the other, so that either stream may be complete first.
            arriving = ((0.9, 0.3), (0.3, 0.9), (0.7, 0.7))[number // 70 % 3]
            if dice.random() < arriving[ends.index(sender)]:
                message, key_step = recipient.plan_key(step.encoded)
                recipient.commit_receive(key_step, recipient.plan_braid(message))
    return found


NUMBERS = range(1, 12)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_state_is_the_same_from_its_packed_form(number: int) -> None:
    packed = specimens()[number]
    state = state_from_packed(packed)
    assert isinstance(state, BraidState)
    assert pack_state(state) == packed


def test_the_numbers_are_those_of_the_protocols_table() -> None:
    names = [type(state_from_packed(specimens()[number])).__name__ for number in NUMBERS]
    assert names == [
        "KeysUnsampled",
        "KeysSampled",
        "HeaderSent",
        "Ct1Received",
        "EkSentCt1Received",
        "NoHeaderReceived",
        "HeaderReceived",
        "Ct1Sampled",
        "EkReceivedCt1Sampled",
        "Ct1Acknowledged",
        "Ct2Sampled",
    ]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_value_of_another_form_is_corrupt_in_every_place(number: int) -> None:
    packed = specimens()[number]
    for position in range(len(packed)):
        for value in (None, -1, "text", b"", bytes(33), [], [[0], b""], 2**64):
            with pytest.raises(CorruptSnapshot):
                state_from_packed([*packed[:position], value, *packed[position + 1 :]])


@pytest.mark.parametrize("number", NUMBERS)
def test_a_value_too_few_or_too_many_is_corrupt(number: int) -> None:
    packed = specimens()[number]
    for wrong in (packed[:-1], [*packed, b""], packed[:3], []):
        with pytest.raises(CorruptSnapshot):
            state_from_packed(wrong)


@pytest.mark.parametrize("number", [0, 12, -1, True])
def test_another_number_is_corrupt(number: int) -> None:
    with pytest.raises(CorruptSnapshot):
        state_from_packed([number, *specimens()[1][1:]])


@pytest.mark.parametrize("epoch", [0, -1, 2**63 + 1])
def test_an_epoch_is_1_to_2_to_the_63(epoch: int) -> None:
    packed = specimens()[1]
    with pytest.raises(CorruptSnapshot):
        state_from_packed([packed[0], epoch, *packed[2:]])


# The states that collect chunks, and where the decoder stands among their values.
DECODERS = {3: 6, 5: 6, 6: 4, 8: 7, 10: 7}


@pytest.mark.parametrize("number", DECODERS)
def test_chunks_in_any_other_form_are_corrupt(number: int) -> None:
    packed, position = specimens()[number], DECODERS[number]
    indices, joined = packed[position]
    assert indices
    size = {3: 30, 5: 5, 6: 3, 8: 36, 10: 36}[number]
    faults: list[Any] = [
        [indices],
        [indices, joined, b""],
        [indices, joined[:-1]],
        [indices, joined + bytes(32)],
        [[indices[0]] * 2, bytes(64)],
        [[-1], bytes(32)],
        [[65_536], bytes(32)],
        [["0"], bytes(32)],
        [list(range(size)), bytes(32 * size)],  # complete: such a decoder is never kept
        [joined, indices],
    ]
    for fault in faults:
        with pytest.raises(CorruptSnapshot):
            state_from_packed([*packed[:position], fault, *packed[position + 1 :]])


@pytest.mark.parametrize("number", DECODERS)
def test_a_decoder_may_be_empty(number: int) -> None:
    packed, position = specimens()[number], DECODERS[number]
    empty = [*packed[:position], [[], b""], *packed[position + 1 :]]
    assert pack_state(state_from_packed(empty)) == empty
