"""SPQR's chain.rs: the two directions of an epoch, how late and how far ahead a key may be, what is forgotten when."""

from __future__ import annotations

from random import Random

import pytest

from ratchet import MalformedMessage, MessageKeyGone, NoActiveSession, TooFarAhead
from ratchet.limits import COUNTER_MAX, FORWARD_JUMP_MAX, SKIPPED_KEYS_MAX
from ratchet.spqr.chain import EpochChains
from tests.conformance.braiding import End, Part, braid, exchange_until
from tests.support.conversation import Conversation, active_ratchet, refused


def chains(*, initiator: bool) -> EpochChains:
    return EpochChains.start(bytes(range(32)), initiator=initiator, forward_max=FORWARD_JUMP_MAX)


def send(own: EpochChains, epoch: int = 0) -> tuple[int, bytes]:
    """Take the next sending key; return its index and itself."""
    index, key, chain_key = own.plan_send(epoch)
    own.commit_send(epoch, index, chain_key)
    return index, key


def receive(own: EpochChains, index: int, epoch: int = 0) -> bytes:
    """Take the receiving key at *index*."""
    step = own.plan_receive(epoch, index)
    own.commit_receive(step)
    return step.key


def add_epoch(*both: EpochChains) -> None:
    """Let each have the next epoch, with one secret."""
    for one in both:
        one.commit_epoch(one.plan_epoch(one.current_epoch + 1, bytes([one.current_epoch]) * 32))


# Directions.


def test_what_one_end_sends_with_is_what_the_other_receives_with_and_indices_count_from_one() -> None:
    alice, bob = chains(initiator=True), chains(initiator=False)

    sent = [send(alice) for _ in range(3)]

    assert [index for index, _key in sent] == [1, 2, 3]
    assert [receive(bob, index) for index in (1, 2, 3)] == [key for _index, key in sent]
    assert send(bob) == (1, receive(alice, 1))


def test_the_two_directions_of_an_epoch_have_different_keys() -> None:
    alice, bob = chains(initiator=True), chains(initiator=False)

    assert send(alice)[1] != send(bob)[1]


def test_an_epoch_more_gives_both_ends_the_same_new_keys_in_each_direction() -> None:
    alice, bob = chains(initiator=True), chains(initiator=False)
    before = send(alice)[1]
    add_epoch(alice, bob)

    index, key = send(alice, epoch=1)

    assert index == 1
    assert receive(bob, 1, epoch=1) == key != before
    assert send(bob, epoch=1) == (1, receive(alice, 1, epoch=1))


def test_an_epoch_comes_only_after_the_one_before() -> None:
    alice = chains(initiator=True)
    for epoch in (0, 2, 3):
        with pytest.raises(MalformedMessage):
            alice.plan_epoch(epoch, bytes(32))


def test_an_epoch_that_does_not_exist_yet_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        receive(chains(initiator=True), 1, epoch=1)


# How far ahead.


def test_a_key_25000_ahead_is_found() -> None:
    alice, bob = chains(initiator=True), chains(initiator=False)
    for _ in range(FORWARD_JUMP_MAX - 1):
        send(alice)

    index, key = send(alice)

    assert index == FORWARD_JUMP_MAX
    assert receive(bob, index) == key


def test_a_key_25001_ahead_is_not() -> None:
    with pytest.raises(TooFarAhead):
        receive(chains(initiator=False), FORWARD_JUMP_MAX + 1)


def test_the_distance_counts_from_the_newest_key_taken() -> None:
    bob = chains(initiator=False)
    receive(bob, 1_000)

    with pytest.raises(TooFarAhead):
        receive(bob, 1_001 + FORWARD_JUMP_MAX)
    receive(bob, 1_000 + FORWARD_JUMP_MAX)


# How late.


def test_two_thousand_keys_out_of_order_are_all_found() -> None:
    alice, bob = chains(initiator=True), chains(initiator=False)
    sent = [send(alice) for _ in range(SKIPPED_KEYS_MAX)]
    Random(1).shuffle(sent)

    assert all(receive(bob, index) == key for index, key in sent)


def test_the_oldest_of_2001_keys_is_found_and_of_2002_it_is_gone() -> None:
    alice, bob = chains(initiator=True), chains(initiator=False)
    first, second = send(alice), send(alice)

    receive(bob, 1 + SKIPPED_KEYS_MAX)
    assert bob.plan_receive(0, 1).key == first[1]  # 2,000 behind the newest
    receive(bob, 2 + SKIPPED_KEYS_MAX)

    with pytest.raises(MessageKeyGone):
        receive(bob, 1)
    assert receive(bob, 2) == second[1]


def test_late_keys_are_forgotten_one_by_one_as_keys_in_order_are_taken() -> None:
    bob = chains(initiator=False)
    receive(bob, 11)  # 1 to 10 are late
    for index in range(12, SKIPPED_KEYS_MAX + 6):
        receive(bob, index)

    for index in range(1, 5):
        with pytest.raises(MessageKeyGone):
            receive(bob, index)
    assert len({receive(bob, index) for index in range(5, 11)}) == 6


def test_a_key_is_given_out_once() -> None:
    bob = chains(initiator=False)
    receive(bob, 3)
    receive(bob, 1)
    for index in (1, 3):
        with pytest.raises(MessageKeyGone):
            receive(bob, index)


# What is forgotten with the epochs.


def test_late_keys_of_the_epoch_before_the_sending_one_are_kept_and_of_earlier_ones_gone() -> None:
    alice, bob = chains(initiator=True), chains(initiator=False)
    late = send(alice)
    send(alice)
    receive(bob, 2)
    add_epoch(alice, bob)
    send(bob, epoch=1)
    assert bob.plan_receive(0, late[0]).key == late[1]

    add_epoch(alice, bob)
    assert bob.plan_receive(0, late[0]).key == late[1]  # it is sending that counts
    send(bob, epoch=2)

    with pytest.raises(MessageKeyGone):
        receive(bob, late[0])


def test_a_sending_key_is_erased_when_a_later_epoch_is_sent_with() -> None:
    alice = chains(initiator=True)
    send(alice)
    add_epoch(alice)
    send(alice, epoch=0)  # still possible: nothing of the new epoch was sent

    send(alice, epoch=1)

    assert alice.links[0].sending_key is None
    with pytest.raises(NoActiveSession):
        send(alice, epoch=0)


def test_a_chain_gives_out_indices_up_to_32_bits() -> None:
    alice = chains(initiator=True)
    alice.links[0].sending_index = COUNTER_MAX - 1

    assert send(alice)[0] == COUNTER_MAX
    with pytest.raises(NoActiveSession):
        send(alice)


# The same by messages.


@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_a_late_part_of_a_chain_epoch_is_read_until_the_recipient_sends_two_epochs_later(epoch: int) -> None:
    late, bob, alice = part_kept_back(epoch)
    exchange_until(alice, bob, lambda: bob.sending_epoch == epoch + 1)

    assert bob.receive(late.encoded) == late.key


@pytest.mark.parametrize("epoch", [0, 1, 4])
def test_a_late_part_of_a_chain_epoch_is_gone_when_the_recipient_sends_two_epochs_later(epoch: int) -> None:
    late, bob, alice = part_kept_back(epoch)
    exchange_until(alice, bob, lambda: bob.sending_epoch == epoch + 2)

    with pytest.raises(MessageKeyGone):
        bob.receive(late.encoded)


def part_kept_back(epoch: int) -> tuple[Part, End, End]:
    """A part of Alice's, sent with *epoch*, that has not reached Bob yet."""
    alice, bob = braid(seed=epoch)
    exchange_until(alice, bob, lambda: alice.sending_epoch == bob.sending_epoch == epoch)
    return alice.send(), bob, alice


def bursts_until(talk: Conversation, sending_epoch: int) -> None:
    """Let both send bursts, so that epochs pass while few chains do, until Bob sends with *sending_epoch*."""
    for _ in range(6):
        for send_one in (talk.alice_sends, talk.bob_sends):
            for _ in range(45):
                send_one().deliver_last()
        post_quantum = active_ratchet(talk.bob).post_quantum
        assert post_quantum is not None
        if post_quantum.chains.sending_epoch == sending_epoch:
            return
    raise AssertionError("the epoch was not reached")


def test_in_a_session_a_late_message_is_read_one_epoch_later_and_gone_two_epochs_later() -> None:
    talk = Conversation(seed=1).established().alice_sends(3)
    talk.deliver(4)

    bursts_until(talk, 1)
    assert talk.deliver(2) == b"2 from alice"
    bursts_until(talk, 2)
    with refused(MessageKeyGone, talk.bobs):
        talk.deliver(3)
