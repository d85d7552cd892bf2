"""How far ahead, how late and how many: the limits of a session's chains, from both sides.

The double ratchet and the post-quantum ratchet count a jump differently: one lets 25,000 messages be missing, the
other lets an index be 25,000 ahead, so in a session with both 24,999 may be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratchet import Address, MessageKeyGone, NoActiveSession, NotAuthentic, Session, TooFarAhead
from ratchet.limits import (
    ARCHIVED_RATCHETS_MAX,
    COUNTER_MAX,
    FORWARD_JUMP_MAX,
    RECEIVING_CHAINS_MAX,
    SELF_FORWARD_JUMP_MAX,
    SKIPPED_KEYS_MAX,
)
from tests.support.conversation import (
    ALICE,
    BOB,
    Conversation,
    Device,
    active_ratchet,
    lose,
    refused,
    seeded,
    talk_plainly,
)

if TYPE_CHECKING:
    from ratchet import Ciphertext

SPQR_LOST_MAX = FORWARD_JUMP_MAX - 1


def after_losing(count: int, *, spqr: bool) -> Conversation:
    """A message is under way before which *count* were lost."""
    talk = Conversation(seed=count, spqr=spqr).established()
    lose(talk.alice, count)
    return talk.alice_sends()


# Jumps.


@pytest.mark.parametrize(("lost", "spqr"), [(SPQR_LOST_MAX, True), (FORWARD_JUMP_MAX, False)])
def test_the_message_after_the_longest_gap_is_read(lost: int, *, spqr: bool) -> None:
    talk = after_losing(lost, spqr=spqr)

    assert talk.deliver_last() == b"2 from alice"


@pytest.mark.parametrize(("lost", "spqr"), [(SPQR_LOST_MAX + 1, True), (FORWARD_JUMP_MAX + 1, False)])
def test_the_message_after_a_gap_longer_by_one_is_too_far_ahead(lost: int, *, spqr: bool) -> None:
    talk = after_losing(lost, spqr=spqr)

    with refused(TooFarAhead, talk.bobs):
        talk.deliver_last()


@pytest.mark.slow
def test_twenty_five_thousand_encrypted_and_lost_messages_are_one_too_many_for_a_session_with_spqr() -> None:
    talk = Conversation(seed=1).established()
    talk.alice_sends(FORWARD_JUMP_MAX + 1)
    last = len(talk.sent) - 1

    with refused(TooFarAhead, talk.bobs):
        talk.deliver(last)

    assert talk.deliver(last - 1) == talk.plaintexts[last - 1]
    assert talk.deliver(last) == talk.plaintexts[last]


def test_a_first_message_after_the_longest_gap_starts_the_session_and_one_later_does_not() -> None:
    talk = Conversation(seed=2)
    lose(talk.alice, SPQR_LOST_MAX)
    talk.alice_sends(3)

    with refused(TooFarAhead, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[2].ciphertext, local=BOB, remote=ALICE, now=0)
    with refused(TooFarAhead, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[1].ciphertext, local=BOB, remote=ALICE, now=0)
    assert talk.deliver(0) == b"0 from alice"


# Jumps in a session with another device of our own.


def other_device_of_alice(address: Address, *, without_spqr: bool = False) -> tuple[Device, Device]:
    """Two devices of one identity, settled; the second under *address*."""
    first = Device("alice", ALICE)
    second = Device("alice's other device", address, identity=first.account.identity)
    first.session = Session.initiate(
        first.account,
        second.account.bundle(address.device_id),
        local=ALICE,
        remote=address,
        without_spqr=without_spqr,
        now=0,
        entropy=seeded(1),
    )
    second.session, _ = Session.accept(
        second.account,
        first.send(b"hi"),
        local=address,
        remote=ALICE,
        allow_without_spqr=without_spqr,
        now=0,
        entropy=seeded(2),
    )
    talk_plainly(second, first)
    return first, second


def test_another_device_of_our_own_may_miss_more_than_a_peer() -> None:
    first, second = other_device_of_alice(Address(ALICE.name, 2))
    lose(first.shared, FORWARD_JUMP_MAX + 1)

    assert second.receive(first, first.send(b"synchronised")) == b"synchronised"


def test_another_account_with_the_same_identity_may_not() -> None:
    first, second = other_device_of_alice(BOB)
    lose(first.shared, FORWARD_JUMP_MAX + 1)
    late = first.send(b"too late")

    with refused(TooFarAhead, second.shared):
        second.receive(first, late)


def test_another_identity_under_our_own_name_may_not() -> None:
    first, second = Device("alice", ALICE), Device("an impostor", Address(ALICE.name, 2))
    second.receive(first, first.start(second).send(b"hi"))
    lose(first.shared, FORWARD_JUMP_MAX + 1)
    late = first.send(b"too late")

    with refused(TooFarAhead, second.shared):
        second.receive(first, late)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost_max", "without_spqr"), [(SELF_FORWARD_JUMP_MAX - 1, False), (SELF_FORWARD_JUMP_MAX, True)]
)
def test_another_device_of_our_own_may_miss_ten_times_as_many_and_no_more(lost_max: int, *, without_spqr: bool) -> None:
    first, second = other_device_of_alice(Address(ALICE.name, 2), without_spqr=without_spqr)
    second.session = Session.from_bytes(second.shared.to_bytes())  # the limit is part of what is stored
    lose(first.shared, lost_max)
    last_read, first_refused = first.send(b"just"), first.send(b"too late")

    with refused(TooFarAhead, second.shared):
        second.receive(first, first_refused)
    assert second.receive(first, last_read) == b"just"


# Late messages.


def test_the_newest_two_thousand_late_messages_are_read_and_the_one_before_is_gone() -> None:
    talk = Conversation(seed=3).established()
    talk.alice_sends(SKIPPED_KEYS_MAX + 2)  # 2 to 2,003
    talk.deliver_last()  # one jump over 2,001

    with refused(MessageKeyGone, talk.bobs):
        talk.deliver(2)
    assert talk.deliver(3) == b"3 from alice"
    assert talk.deliver(2_002) == b"2002 from alice"


def test_of_2300_messages_the_thousandth_and_the_last_are_read_and_the_fifth_is_gone() -> None:
    talk = Conversation(seed=4).established()
    first = len(talk.sent)
    talk.alice_sends(2_300)

    assert talk.deliver(first + 1_000) == b"1002 from alice"
    assert talk.deliver_last() == b"2301 from alice"
    with refused(MessageKeyGone, talk.bobs):
        talk.deliver(first + 5)


@pytest.mark.parametrize(("oldest", "spqr"), [(4, True), (3, False)])
def test_over_several_gaps_one_ratchet_counts_messages_and_the_other_keys(oldest: int, *, spqr: bool) -> None:
    talk = Conversation(seed=5, spqr=spqr).established()
    talk.alice_sends(1_502)
    talk.deliver_last()  # 2 to 1,502 are missing, 1,501 keys
    talk.alice_sends(501)
    talk.deliver_last()  # 500 more: 2,001 keys, and 2,004 is 2,001 messages after 3

    with refused(MessageKeyGone, talk.bobs):
        talk.deliver(oldest - 1)
    assert talk.deliver(oldest) == talk.plaintexts[oldest]


def one_late_message_behind(arrived: int, *, spqr: bool) -> Conversation:
    """The message numbered 2 is missing, *arrived* messages after it have arrived in order."""
    talk = Conversation(seed=6, spqr=spqr).established()
    talk.alice_sends(arrived + 1)
    for number in range(3, len(talk.sent)):
        talk.deliver(number)
    return talk


def test_with_spqr_a_late_message_is_read_behind_two_thousand_others() -> None:
    assert one_late_message_behind(SKIPPED_KEYS_MAX, spqr=True).deliver(2) == b"2 from alice"


def test_with_spqr_a_late_message_is_gone_behind_one_more() -> None:
    talk = one_late_message_behind(SKIPPED_KEYS_MAX + 1, spqr=True)

    with refused(MessageKeyGone, talk.bobs):
        talk.deliver(2)


def test_without_spqr_a_late_message_is_read_behind_any_number_that_came_in_order() -> None:
    assert one_late_message_behind(SKIPPED_KEYS_MAX + 1, spqr=False).deliver(2) == b"2 from alice"


# Chains.


def late_message_behind(newer_chains: int) -> Conversation:
    """The message numbered 2 is late: *newer_chains* chains have begun since."""
    talk = Conversation(seed=7).established()
    talk.alice_sends(2)
    talk.deliver(3)
    for _ in range(newer_chains):
        talk.bob_sends().deliver_last()
        talk.alice_sends().deliver_last()
    return talk


def test_a_message_of_the_fifth_newest_chain_is_read() -> None:
    talk = late_message_behind(RECEIVING_CHAINS_MAX - 1)

    assert talk.deliver(2) == b"2 from alice"


def test_a_message_of_the_sixth_newest_chain_looks_like_a_forgery() -> None:
    talk = late_message_behind(RECEIVING_CHAINS_MAX)

    with refused(NotAuthentic, talk.bobs):
        talk.deliver(2)


def test_messages_that_were_never_skipped_are_derived_when_they_come_late() -> None:
    talk = Conversation(seed=8).established()
    talk.alice_sends(30)  # none delivered: the next chain begins without them
    talk.bob_sends().deliver_last()
    talk.alice_sends().deliver_last()

    for number in range(31, 1, -1):
        assert talk.deliver(number) == talk.plaintexts[number]


def test_a_late_message_far_into_an_old_chain_is_bound_by_the_same_jump() -> None:
    talk = Conversation(seed=9, spqr=False).established().alice_sends()
    talk.deliver_last()
    lose(talk.alice, FORWARD_JUMP_MAX)
    talk.alice_sends(2)
    talk.bob_sends().deliver_last()
    talk.alice_sends().deliver_last()  # the next chain

    with refused(TooFarAhead, talk.bobs):
        talk.deliver(4)
    assert talk.deliver(3) == b"3 from alice"


# Archived ratchets.


def archive_of(ratchets: int) -> tuple[Device, Device, Ciphertext]:
    """Bob with *ratchets* archived, and a late message of Alice's for the oldest."""
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    bob.receive(alice, alice.start(bob).send(b"hi"))
    talk_plainly(bob, alice)
    late = alice.send(b"late")
    for _ in range(ratchets):
        bob.receive(alice, alice.start(bob).send(b"afresh"))
    return alice, bob, late


def test_the_fortieth_archived_ratchet_is_still_read() -> None:
    alice, bob, late = archive_of(ARCHIVED_RATCHETS_MAX)

    assert bob.shared.archived_count == ARCHIVED_RATCHETS_MAX
    assert bob.receive(alice, late) == b"late"


def test_the_forty_first_is_forgotten() -> None:
    alice, bob, late = archive_of(ARCHIVED_RATCHETS_MAX + 1)

    assert bob.shared.archived_count == ARCHIVED_RATCHETS_MAX
    with refused(NotAuthentic, bob.shared):
        bob.receive(alice, late)


# Counters.


@pytest.mark.parametrize("part", ["double", "post-quantum"])
def test_a_chain_sends_until_its_counter_is_full(part: str) -> None:
    talk = Conversation(seed=10, spqr=part == "post-quantum").established()
    ratchet = active_ratchet(talk.alice)
    if ratchet.post_quantum is None:
        ratchet.double.sending.number = COUNTER_MAX
    else:
        ratchet.post_quantum.chains.links[0].sending_index = COUNTER_MAX - 1

    talk.alice_sends()

    with refused(NoActiveSession, talk.alice):
        talk.alice_sends()
