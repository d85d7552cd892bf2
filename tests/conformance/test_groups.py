"""libsignal's groups.rs: one sender's chain, read by members in any order, from where they joined."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from ratchet import MessageKeyGone, OwnSenderKey, PeerSenderKey, TooFarAhead, UnknownSenderKey
from ratchet.chains import chain_step
from ratchet.limits import FORWARD_JUMP_MAX, SKIPPED_KEYS_MAX
from tests.support.conversation import refused, seeded

GROUP = UUID("d1d1d1d1-7000-11eb-b32a-33b8a8a487a6")
OTHER_GROUP = UUID("d2d2d2d2-7000-11eb-b32a-33b8a8a487a6")


def sender(seed: int = 0, distribution_id: UUID = GROUP) -> OwnSenderKey:
    return OwnSenderKey.create(distribution_id, entropy=seeded(seed))


def member(own: OwnSenderKey) -> PeerSenderKey:
    """Somebody who is given the chain now."""
    return PeerSenderKey.from_distribution_message(own.distribution_message())


def lose(own: OwnSenderKey, count: int) -> None:
    """Let *own* send *count* messages that nobody will ever see: only their keys are derived."""
    for _ in range(count):
        _seed, own._chain_key = chain_step(own._chain_key)
    own._iteration += count


def test_nothing_is_sent_to_a_group_without_a_sender_key_of_its_own() -> None:
    own = sender()

    assert own.distribution_id == GROUP
    assert not hasattr(member(own), "encrypt")


def test_a_message_of_a_chain_that_was_not_distributed_is_refused() -> None:
    known, unknown = sender(seed=1), sender(seed=2)
    peer = member(known)

    with refused(UnknownSenderKey, peer):
        peer.decrypt(unknown.encrypt(b"hi"))


def test_a_message_of_another_group_is_refused() -> None:
    peer = member(sender(seed=1))

    with refused(UnknownSenderKey, peer):
        peer.decrypt(sender(seed=1, distribution_id=OTHER_GROUP).encrypt(b"hi"))


def test_a_member_reads_what_the_sender_encrypts() -> None:
    own = sender()
    peer = member(own)

    assert peer.decrypt(own.encrypt(b"space camp?")) == b"space camp?"


def test_a_message_of_1024_bytes_is_read() -> None:
    own, text = sender(), random.Random(1).randbytes(1024)
    peer = member(own)

    assert peer.decrypt(own.encrypt(text)) == text


def test_a_replay_is_gone_and_messages_may_change_places() -> None:
    own = sender()
    peer = member(own)
    first, second, third = own.encrypt(b"1"), own.encrypt(b"2"), own.encrypt(b"3")

    assert peer.decrypt(first) == b"1"
    with refused(MessageKeyGone, peer):
        peer.decrypt(first)
    assert peer.decrypt(third) == b"3"
    assert peer.decrypt(second) == b"2"
    with refused(MessageKeyGone, peer):
        peer.decrypt(second)


def test_who_joins_late_reads_from_there_on_and_nothing_before() -> None:
    own = sender()
    earlier = [own.encrypt(b"%d" % number) for number in range(100)]
    newcomer = member(own)

    assert newcomer.decrypt(own.encrypt(b"welcome")) == b"welcome"
    for body in earlier:
        with refused(MessageKeyGone, newcomer):
            newcomer.decrypt(body)


def test_a_distribution_of_the_beginning_that_arrives_after_a_hundred_messages_reads_all_of_them() -> None:
    own = sender()
    late = own.distribution_message()
    bodies = [own.encrypt(b"%d" % number) for number in range(100)]

    newcomer = PeerSenderKey.from_distribution_message(late)

    assert newcomer.decrypt(own.encrypt(b"welcome")) == b"welcome"
    assert [newcomer.decrypt(body) for body in bodies] == [b"%d" % number for number in range(100)]


def test_a_hundred_shuffled_messages_are_all_read() -> None:
    own = sender()
    peer = member(own)
    bodies = {own.encrypt(b"%d" % number): b"%d" % number for number in range(100)}
    order = list(bodies)
    random.Random(1).shuffle(order)

    assert [peer.decrypt(body) for body in order] == [bodies[body] for body in order]


def test_the_message_after_a_gap_of_25000_is_read() -> None:
    own = sender()
    peer = member(own)
    lose(own, FORWARD_JUMP_MAX)

    assert peer.decrypt(own.encrypt(b"ahead")) == b"ahead"


def test_the_message_after_a_gap_of_25001_is_too_far_ahead() -> None:
    own = sender()
    peer = member(own)
    lose(own, FORWARD_JUMP_MAX + 1)
    body = own.encrypt(b"ahead")

    with refused(TooFarAhead, peer):
        peer.decrypt(body)


@pytest.mark.slow
def test_25001_encrypted_messages_in_the_future_is_too_far() -> None:
    own = sender()
    peer = member(own)
    for _ in range(FORWARD_JUMP_MAX):
        own.encrypt(b"lost")
    just, too_far = own.encrypt(b"just"), own.encrypt(b"too far")

    with refused(TooFarAhead, peer):
        peer.decrypt(too_far)
    assert peer.decrypt(just) == b"just"


def test_of_2010_messages_the_thousandth_and_the_last_are_read_and_the_first_is_gone() -> None:
    own = sender()
    peer = member(own)
    bodies = [own.encrypt(b"%d" % number) for number in range(2_010)]

    assert peer.decrypt(bodies[1_000]) == b"1000"
    assert peer.decrypt(bodies[-1]) == b"2009"
    with refused(MessageKeyGone, peer):
        peer.decrypt(bodies[0])


def test_the_newest_two_thousand_skipped_messages_are_read_and_the_one_before_is_gone() -> None:
    own = sender()
    peer = member(own)
    gone, oldest = own.encrypt(b"gone"), own.encrypt(b"oldest")
    lose(own, SKIPPED_KEYS_MAX - 1)
    assert peer.decrypt(own.encrypt(b"after 2,001")) == b"after 2,001"

    with refused(MessageKeyGone, peer):
        peer.decrypt(gone)
    assert peer.decrypt(oldest) == b"oldest"
