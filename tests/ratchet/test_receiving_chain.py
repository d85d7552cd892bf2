"""A symmetric chain as its receiver sees it."""

from __future__ import annotations

from itertools import permutations

import pytest

from ratchet.chains import chain_step
from ratchet.errors import CorruptSnapshot, MessageKeyGone, TooFarAhead
from ratchet.limits import COUNTER_MAX, SKIPPED_KEYS_MAX
from ratchet.receiving_chain import ReceivingChain

KEY = bytes(range(32))


def seeds(count: int) -> list[bytes]:
    """The seeds of the first *count* messages of the chain."""
    made = []
    key = KEY
    for _ in range(count):
        seed, key = chain_step(key)
        made.append(seed)
    return made


def chain() -> ReceivingChain:
    return ReceivingChain(KEY, 0, {})


def take(one: ReceivingChain, number: int, forward_max: int = 100) -> bytes:
    step = one.plan(number, forward_max)
    one.commit(step)
    return step.seed


def state(one: ReceivingChain) -> object:
    return one.to_packed()


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_every_order_gives_the_same_seeds_each_of_them_once(order: tuple[int, ...]) -> None:
    one = chain()
    assert [take(one, number) for number in order] == [seeds(4)[number] for number in order]
    for number in order:
        with pytest.raises(MessageKeyGone):
            one.plan(number, 100)
    assert one.skipped == {}


def test_planning_changes_nothing() -> None:
    one = chain()
    take(one, 3)
    before = state(one)
    for number in (4, 1, 50):
        one.plan(number, 100)
    for number in (3, 4 + 101):
        with pytest.raises((MessageKeyGone, TooFarAhead)):
            one.plan(number, 100)
    assert state(one) == before


@pytest.mark.parametrize("start", [0, 7])
def test_as_many_messages_may_be_missing_as_the_limit_says_and_no_more(start: int) -> None:
    one = chain()
    for number in range(start):
        take(one, number)
    with pytest.raises(TooFarAhead, match=f"message {start + 51} when {start} comes next; at most 50"):
        one.plan(start + 51, 50)
    assert take(one, start + 50, 50) == seeds(start + 51)[-1]


def test_of_a_gap_longer_than_the_limit_the_newest_are_kept() -> None:
    one = chain()
    take(one, SKIPPED_KEYS_MAX + 5, 10_000)
    assert len(one.skipped) == SKIPPED_KEYS_MAX
    with pytest.raises(MessageKeyGone):
        one.plan(4, 10_000)
    assert take(one, 5) == seeds(6)[5]


def test_over_several_gaps_the_oldest_go() -> None:
    one = chain()
    take(one, SKIPPED_KEYS_MAX - 10, 10_000)
    take(one, SKIPPED_KEYS_MAX + 15, 10_000)
    assert len(one.skipped) == SKIPPED_KEYS_MAX
    assert min(one.skipped) == 14  # 2,014 were skipped: all but one of the first 2,015
    assert list(one.skipped) == sorted(one.skipped)


def test_messages_in_order_push_nothing_out() -> None:
    one = chain()
    take(one, 3)
    for number in range(4, 40):
        take(one, number)
    assert list(one.skipped) == [0, 1, 2]


def test_the_last_number_that_fits_a_counter_is_taken() -> None:
    one = ReceivingChain(KEY, COUNTER_MAX, {})
    assert take(one, COUNTER_MAX) == seeds(1)[0]
    assert one.number == COUNTER_MAX + 1
    assert state(ReceivingChain.from_packed(one.to_packed())) == state(one)


def test_a_chain_is_the_same_from_its_packed_form() -> None:
    one = chain()
    for number in (3, 9, 5):
        take(one, number)
    again = ReceivingChain.from_packed(one.to_packed())
    assert state(again) == state(one)
    assert take(again, 8) == take(one, 8)


@pytest.mark.parametrize(
    "packed",
    [
        None,
        [],
        [KEY, 0, []],
        [KEY, 0, [], b"", 0],
        [KEY[:-1], 0, [], b""],
        [KEY, -1, [], b""],
        [KEY, COUNTER_MAX + 2, [], b""],
        [KEY, 5, [5, 1], bytes(32)],
        [KEY, 5, [1, 1], bytes(31)],
        [KEY, 5_000, [1, SKIPPED_KEYS_MAX + 1], bytes(32 * (SKIPPED_KEYS_MAX + 1))],
    ],
    ids=range(10),
)
def test_any_other_packed_form_is_corrupt(packed: object) -> None:
    with pytest.raises(CorruptSnapshot):
        ReceivingChain.from_packed(packed)
