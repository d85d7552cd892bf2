"""libsignal's sender_keys.rs: which of a sender's chains are kept, in what order, and where a chain ends."""

from __future__ import annotations

from uuid import UUID

from ratchet import (
    MalformedMessage,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    OwnSenderKey,
    PeerSenderKey,
    UnknownSenderKey,
)
from ratchet.limits import COUNTER_MAX, SENDER_KEY_STATES_MAX
from ratchet.messages import DistributionMessage, SenderKeyMessage
from tests.conformance.test_groups import GROUP, OTHER_GROUP, member, sender
from tests.support.conversation import refused, seeded


def chain(chain_id: int, seed: int = 0) -> OwnSenderKey:
    """A chain with an id of the test's choice; *seed* decides its keys."""
    own = OwnSenderKey.create(GROUP, entropy=seeded(f"{chain_id} {seed}"))
    own._chain_id = chain_id
    return own


def test_a_new_chain_stands_in_front_of_the_others() -> None:
    first, second = chain(1), chain(2)
    peer = member(first)

    peer.add_distribution_message(second.distribution_message())

    assert peer.chain_ids == (2, 1)
    assert peer.decrypt(first.encrypt(b"one")) == b"one"
    assert peer.decrypt(second.encrypt(b"two")) == b"two"


def test_a_chain_that_is_distributed_again_moves_to_the_front_and_is_not_rewound() -> None:
    first, second = chain(1), chain(2)
    beginning = first.distribution_message()
    peer = member(first)
    read = first.encrypt(b"read")
    peer.decrypt(read)
    peer.add_distribution_message(second.distribution_message())

    peer.add_distribution_message(beginning)

    assert peer.chain_ids == (1, 2)
    with refused(MessageKeyGone, peer):
        peer.decrypt(read)
    assert peer.decrypt(first.encrypt(b"next")) == b"next"


def test_a_chain_that_is_distributed_again_from_later_on_keeps_what_was_skipped() -> None:
    own = chain(1)
    peer = member(own)
    skipped = own.encrypt(b"skipped")

    peer.add_distribution_message(own.distribution_message())

    assert peer.decrypt(skipped) == b"skipped"


def test_a_chain_of_the_same_id_with_another_signing_key_takes_the_place_of_the_first() -> None:
    first, other = chain(1), chain(1, seed=1)
    peer = member(first)

    peer.add_distribution_message(other.distribution_message())

    assert peer.chain_ids == (1,)
    assert peer.decrypt(other.encrypt(b"other")) == b"other"
    with refused(NotAuthentic, peer):
        peer.decrypt(first.encrypt(b"first"))


def test_five_chains_are_kept_and_the_sixth_pushes_the_oldest_out() -> None:
    chains = [chain(number) for number in range(SENDER_KEY_STATES_MAX + 1)]
    peer = member(chains[0])
    for own in chains[1:SENDER_KEY_STATES_MAX]:
        peer.add_distribution_message(own.distribution_message())
    assert peer.decrypt(chains[0].encrypt(b"oldest of five")) == b"oldest of five"

    peer.add_distribution_message(chains[-1].distribution_message())

    assert peer.chain_ids == (5, 4, 3, 2, 1)
    with refused(UnknownSenderKey, peer):
        peer.decrypt(chains[0].encrypt(b"oldest of six"))


def test_a_chain_that_moved_to_the_front_is_not_the_one_pushed_out() -> None:
    chains = [chain(number) for number in range(SENDER_KEY_STATES_MAX + 1)]
    peer = member(chains[0])
    for own in (*chains[1:SENDER_KEY_STATES_MAX], chains[0], chains[-1]):
        peer.add_distribution_message(own.distribution_message())

    assert peer.chain_ids == (5, 0, 4, 3, 2)


def test_a_chain_of_another_group_is_not_added() -> None:
    peer = member(sender())

    with refused(MalformedMessage, peer):
        peer.add_distribution_message(sender(distribution_id=OTHER_GROUP).distribution_message())


def test_iterations_count_up_from_zero_and_the_distribution_carries_the_next() -> None:
    own = chain(1)

    iterations = [SenderKeyMessage.parse(own.encrypt(b"")).iteration for _ in range(3)]

    assert iterations == [0, 1, 2]
    assert DistributionMessage.parse(own.distribution_message()).iteration == own.iteration == 3


def test_the_chain_key_of_a_distribution_reads_no_message_before_it() -> None:
    own = chain(1)
    before = own.encrypt(b"before")
    late = member(own)

    with refused(MessageKeyGone, late):
        late.decrypt(before)


def test_a_chain_ends_before_its_iteration_would_overflow() -> None:
    own = chain(1)
    own._iteration = COUNTER_MAX - 1
    peer = member(own)

    assert peer.decrypt(own.encrypt(b"the last")) == b"the last"
    with refused(NoActiveSession, own):
        own.encrypt(b"one too many")


def test_chain_ids_have_31_bits_and_are_drawn_with_the_keys() -> None:
    ids = {OwnSenderKey.create(UUID(int=1), entropy=seeded(seed)).chain_id for seed in range(200)}

    assert len(ids) == 200
    assert 2**30 < max(ids) < 2**31


def test_own_and_peers_chains_are_the_same_after_being_stored() -> None:
    own = OwnSenderKey.from_bytes(chain(1).to_bytes())
    peer = PeerSenderKey.from_bytes(member(own).to_bytes())
    skipped = own.encrypt(b"skipped")
    assert peer.decrypt(own.encrypt(b"read")) == b"read"

    stored = PeerSenderKey.from_bytes(peer.to_bytes())

    assert stored.decrypt(skipped) == b"skipped"
    assert stored.chain_ids == (1,)
