"""SPQR's symmetric chains, against `signal-protocol` 4.4."""

from __future__ import annotations

from typing import Any

import pytest

from ratchet.errors import CorruptSnapshot, MalformedMessage, MessageKeyGone, NoActiveSession, TooFarAhead
from ratchet.limits import COUNTER_MAX, SKIPPED_KEYS_MAX
from ratchet.packing import pack
from ratchet.primitives import hkdf_sha256
from ratchet.spqr.chain import EpochChains

AUTHENTICATION_KEY, SECRET = bytes(range(32)), bytes(range(32, 64))


def both(forward_max: int = 100) -> tuple[EpochChains, EpochChains]:
    return (
        EpochChains.start(AUTHENTICATION_KEY, initiator=True, forward_max=forward_max),
        EpochChains.start(AUTHENTICATION_KEY, initiator=False, forward_max=forward_max),
    )


def send(chains: EpochChains, epoch: int = 0) -> tuple[int, bytes]:
    index, key, chain_key = chains.plan_send(epoch)
    chains.commit_send(epoch, index, chain_key)
    return index, key


def take(chains: EpochChains, index: int, epoch: int = 0) -> bytes:
    step = chains.plan_receive(epoch, index)
    chains.commit_receive(step)
    return step.key


def add_epoch(*sides: EpochChains, secret: bytes = SECRET) -> None:
    for chains in sides:
        chains.commit_epoch(chains.plan_epoch(chains.current_epoch + 1, secret))


def test_the_start_is_derived_as_the_protocol_says() -> None:
    derived = hkdf_sha256(None, AUTHENTICATION_KEY, b"Signal PQ Ratchet V1 Chain  Start", 96)
    alice, bob = both()
    assert alice.next_root == bob.next_root == derived[:32]
    assert alice.links[0].sending_key == bob.links[0].receiving_key == derived[32:64]
    assert bob.links[0].sending_key == alice.links[0].receiving_key == derived[64:]


def test_a_step_is_derived_as_the_protocol_says_the_first_with_index_1() -> None:
    alice, _bob = both()
    key = alice.links[0].sending_key
    assert key is not None
    for index in (1, 2):
        derived = hkdf_sha256(None, key, index.to_bytes(4, "big") + b"Signal PQ Ratchet V1 Chain Next", 64)
        assert send(alice) == (index, derived[32:])
        key = derived[:32]


def test_a_further_epoch_is_derived_as_the_protocol_says() -> None:
    alice, bob = both()
    derived = hkdf_sha256(alice.next_root, SECRET, b"Signal PQ Ratchet V1 Chain Add Epoch", 96)
    add_epoch(alice, bob)
    assert alice.next_root == bob.next_root == derived[:32]
    assert alice.links[1].sending_key == bob.links[1].receiving_key == derived[32:64]
    assert (alice.current_epoch, alice.sending_epoch) == (1, 0)


@pytest.mark.parametrize("epoch", [0, 2, 2**63])
def test_epochs_come_one_after_the_other(epoch: int) -> None:
    with pytest.raises(MalformedMessage):
        both()[0].plan_epoch(epoch, SECRET)


def test_both_directions_have_keys_of_their_own_that_both_sides_know() -> None:
    alice, bob = both()
    for _ in range(3):
        to_bob, to_alice = send(alice), send(bob)
        assert to_bob[1] == take(bob, to_bob[0])
        assert to_alice[1] == take(alice, to_alice[0])
        assert to_bob[1] != to_alice[1]


def test_keys_in_any_order_are_taken_once() -> None:
    alice, bob = both()
    keys = dict(send(alice) for _ in range(5))
    for index in (3, 1, 5, 2, 4):
        assert take(bob, index) == keys[index]
    for index in keys:
        with pytest.raises(MessageKeyGone):
            bob.plan_receive(0, index)
    assert bob.links[0].skipped == {}


def test_planning_changes_nothing() -> None:
    alice, bob = both()
    take(bob, 3)
    before = pack(bob.to_packed()), pack(alice.to_packed())
    for index in (1, 4, 50):
        bob.plan_receive(0, index)
    alice.plan_send(0)
    alice.plan_epoch(1, SECRET)
    bob.require_near(0, 50, 100)
    assert (pack(bob.to_packed()), pack(alice.to_packed())) == before


def test_index_0_is_malformed_since_it_would_mean_no_key() -> None:
    with pytest.raises(MalformedMessage):
        both()[1].plan_receive(0, 0)


def test_an_epoch_that_is_not_there_yet_is_malformed_and_one_that_is_no_more_is_gone() -> None:
    alice, bob = both()
    with pytest.raises(MalformedMessage):
        bob.plan_receive(1, 1)
    for _ in range(2):
        add_epoch(alice, bob)
    send(bob, 2)
    with pytest.raises(MessageKeyGone):
        bob.plan_receive(0, 1)


def test_as_many_keys_may_be_missing_as_the_limit_says() -> None:
    """An index counts from 1, so that one message less may be missing than in the double ratchet (3.5)."""
    _alice, bob = both(forward_max=10)
    bob.plan_receive(0, 10)
    with pytest.raises(TooFarAhead, match="key 11 after 0"):
        bob.plan_receive(0, 11)


def test_nearness_is_told_without_deriving() -> None:
    alice, bob = both(forward_max=100)
    for _ in range(5):
        send(alice)
    take(bob, 3)
    bob.require_near(0, 8, 5)
    bob.require_near(0, 1, 5)
    with pytest.raises(TooFarAhead):
        bob.require_near(0, 9, 5)
    with pytest.raises(MalformedMessage):
        bob.require_near(1, 1, 5)


def test_a_skipped_key_is_kept_until_2000_later_ones_have_been_taken() -> None:
    _alice, bob = both(forward_max=10_000)
    take(bob, 2)
    for index in range(3, 2 + SKIPPED_KEYS_MAX):
        take(bob, index)
    assert list(bob.links[0].skipped) == [1]
    take(bob, 1 + SKIPPED_KEYS_MAX + 1)
    assert bob.links[0].skipped == {}


def test_of_a_long_gap_the_newest_2000_are_kept() -> None:
    _alice, bob = both(forward_max=10_000)
    take(bob, SKIPPED_KEYS_MAX + 5)
    assert list(bob.links[0].skipped) == list(range(5, SKIPPED_KEYS_MAX + 5))
    with pytest.raises(MessageKeyGone):
        bob.plan_receive(0, 4)


def test_over_several_gaps_the_oldest_go() -> None:
    _alice, bob = both(forward_max=10_000)
    take(bob, 10)
    take(bob, SKIPPED_KEYS_MAX + 5)
    skipped = list(bob.links[0].skipped)
    assert skipped[0] == 5
    assert skipped == sorted(skipped)
    take(bob, SKIPPED_KEYS_MAX + 50)
    assert next(iter(bob.links[0].skipped)) == 50


def test_a_gap_that_leaves_every_older_key_out_of_reach_drops_them_all() -> None:
    _alice, bob = both(forward_max=10_000)
    take(bob, 3)
    take(bob, 3 + SKIPPED_KEYS_MAX + 1)
    assert min(bob.links[0].skipped) == 4


def test_a_gap_that_leaves_all_older_keys_in_reach_drops_none() -> None:
    _alice, bob = both()
    take(bob, 3)
    take(bob, 6)
    assert list(bob.links[0].skipped) == [1, 2, 4, 5]


def test_sending_in_a_later_epoch_drops_older_sending_keys_and_chains_older_than_the_one_before() -> None:
    alice, bob = both()
    late = send(alice)
    add_epoch(alice, bob)
    send(bob, 1)
    assert bob.links[0].sending_key is None
    assert take(bob, *late[:1]) == late[1]
    add_epoch(alice, bob)
    send(bob, 2)
    assert list(bob.links) == [1, 2]
    with pytest.raises(NoActiveSession):
        bob.plan_send(1)


def test_receiving_never_moves_the_sending_epoch() -> None:
    alice, bob = both()
    add_epoch(alice, bob)
    take(bob, send(alice, 1)[0], 1)
    assert (bob.sending_epoch, bob.current_epoch) == (0, 1)
    send(bob, 0)


def test_a_sending_chain_ends_with_the_last_index() -> None:
    alice, _bob = both()
    alice.links[0].sending_index = COUNTER_MAX - 1
    assert send(alice)[0] == COUNTER_MAX
    with pytest.raises(NoActiveSession):
        alice.plan_send(0)


def busy() -> EpochChains:
    alice, bob = both()
    take(bob, 4)
    add_epoch(alice, bob)
    send(bob, 1)
    take(bob, 7, 1)
    add_epoch(alice, bob)
    return bob


def test_chains_are_the_same_from_their_packed_form() -> None:
    chains = busy()
    again = EpochChains.from_packed(chains.to_packed())
    assert again.to_packed() == chains.to_packed()
    assert take(again, 2, 0) == take(chains, 2, 0)


FAULTS: list[tuple[int, Any]] = [
    *((0, value) for value in (None, -1, 1, 3, 2**64)),
    *((1, value) for value in (None, -1, 3)),
    *((2, value) for value in (None, bytes(31))),
    *((3, value) for value in (None, 1)),
    *((4, value) for value in (None, -1, 250_001)),
    *((5, value) for value in (None, [], [None], [[0]])),
]


@pytest.mark.parametrize(("position", "value"), FAULTS, ids=range(len(FAULTS)))
def test_a_value_of_the_wrong_form_is_corrupt(position: int, value: object) -> None:
    packed = busy().to_packed()
    packed[position] = value
    with pytest.raises(CorruptSnapshot):
        EpochChains.from_packed(packed)


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, -1), (0, 2**64), (1, b""), (2, -1), (2, 2**32), (3, None), (3, bytes(31)), (4, 2**32), (5, [9, 1]), (6, b"x")],
    ids=range(10),
)
def test_a_value_of_the_wrong_form_within_a_link_is_corrupt(position: int, value: object) -> None:
    packed = busy().to_packed()
    packed[5][0][position] = value
    with pytest.raises(CorruptSnapshot):
        EpochChains.from_packed(packed)


def test_links_that_are_not_the_epochs_up_to_the_current_one_are_corrupt() -> None:
    packed = busy().to_packed()
    links = packed[5]
    sending = packed[1]
    for wrong in (
        links[::-1],
        [links[0], links[2]],
        links[:-1],
        [link for link in links if link[0] != sending],
        links * 6,
    ):
        packed[5] = wrong
        with pytest.raises(CorruptSnapshot):
            EpochChains.from_packed(packed)
