"""The post-quantum ratchet of one session: braid and chains together, planned and committed."""

from __future__ import annotations

from random import Random

import pytest

from ratchet.errors import (
    CorruptSnapshot,
    MalformedMessage,
    MessageKeyGone,
    NotAuthentic,
    RatchetError,
    TooFarAhead,
    UnsupportedVersion,
)
from ratchet.limits import CHUNK_INDEX_MAX
from ratchet.packing import pack
from ratchet.spqr import wire
from ratchet.spqr.braid import Ct2Sampled, KeysSampled, KeysUnsampled, NoHeaderReceived
from ratchet.spqr.ratchet import PostQuantumRatchet
from ratchet.spqr.wire import BraidMessage, encode_braid_message
from tests.support.conversation import seeded

KEY = bytes(range(32))


class Talk:
    """Both ends, with dice of their own."""

    def __init__(self, forward_max: int = 100) -> None:
        self.alice = PostQuantumRatchet.start(KEY, initiator=True, forward_max=forward_max)
        self.bob = PostQuantumRatchet.start(KEY, initiator=False, forward_max=forward_max)
        self.dice = Random(1)

    def send(self, sender: PostQuantumRatchet) -> tuple[bytes, bytes]:
        step = sender.plan_send(self.dice.randbytes)
        sender.commit_send(step)
        return step.encoded, step.key

    def exchange(self, rounds: int) -> Talk:
        for _ in range(rounds):
            for sender, recipient in ((self.alice, self.bob), (self.bob, self.alice)):
                encoded, key = self.send(sender)
                assert receive(recipient, encoded) == key
        return self


def receive(one: PostQuantumRatchet, encoded: bytes) -> bytes:
    message, key_step = one.plan_key(encoded)
    one.commit_receive(key_step, one.plan_braid(message))
    return key_step.key


def test_every_message_has_a_key_that_both_ends_know_over_several_epochs() -> None:
    talk = Talk().exchange(180)
    assert talk.alice.chains.current_epoch >= 4
    assert abs(talk.alice.chains.current_epoch - talk.bob.chains.current_epoch) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_every_message_that_arrives_has_its_key_whatever_is_lost_or_late(seed: int) -> None:
    talk, dice = Talk(), Random(seed)
    under_way: list[tuple[PostQuantumRatchet, bytes, bytes]] = []
    for _ in range(600):
        sender, recipient = (talk.alice, talk.bob) if dice.random() < 0.5 else (talk.bob, talk.alice)
        under_way.append((recipient, *talk.send(sender)))
        if len(under_way) > 6:
            recipient, encoded, key = under_way.pop(dice.randrange(len(under_way)))
            if dice.random() < 0.8:
                assert receive(recipient, encoded) == key
    assert talk.alice.chains.current_epoch >= 2


def test_planning_to_send_changes_nothing_and_the_same_randomness_gives_the_same_step() -> None:
    talk = Talk().exchange(3)
    before = pack(talk.alice.to_packed())
    steps = [talk.alice.plan_send(seeded(1)) for _ in range(2)]
    assert pack(talk.alice.to_packed()) == before
    assert steps[0].encoded == steps[1].encoded
    assert steps[0].key == steps[1].key


def test_planning_to_receive_changes_nothing() -> None:
    talk = Talk().exchange(30)
    encoded, _key = talk.send(talk.alice)
    before = pack(talk.bob.to_packed())
    message, _step = talk.bob.plan_key(encoded)
    talk.bob.plan_braid(message)
    talk.bob.require_near(encoded, 100)
    assert pack(talk.bob.to_packed()) == before


def test_chunks_count_up_and_start_again_with_every_new_stream() -> None:
    """Ek and EkCt1Ack are one stream, as is Ct1 over its two states; every other blob starts at chunk 0."""
    talk = Talk()
    last: dict[tuple[str, int, int], int] = {}
    streams = {wire.EK_CT1_ACK: wire.EK}
    for _ in range(180):
        for name, sender, recipient in (("alice", talk.alice, talk.bob), ("bob", talk.bob, talk.alice)):
            encoded, _key = talk.send(sender)
            message = BraidMessage.parse(encoded)
            if message.chunk:
                stream = name, message.epoch, streams.get(message.type, message.type)
                assert message.chunk_index == last.get(stream, -1) + 1
                last[stream] = message.chunk_index
            receive(recipient, encoded)
    assert len(last) > 12


def test_a_stream_wraps_after_its_last_index() -> None:
    talk = Talk()
    talk.send(talk.alice)
    talk.alice.next_chunk = CHUNK_INDEX_MAX
    indices = [BraidMessage.parse(talk.send(talk.alice)[0]).chunk_index for _ in range(2)]
    assert indices == [CHUNK_INDEX_MAX, 0]


def test_a_replay_has_no_key() -> None:
    talk = Talk()
    encoded, _key = talk.send(talk.alice)
    receive(talk.bob, encoded)
    with pytest.raises(MessageKeyGone):
        talk.bob.plan_key(encoded)


def test_a_message_without_part_of_ours_is_a_peer_without_spqr() -> None:
    talk = Talk()
    with pytest.raises(UnsupportedVersion):
        talk.bob.plan_key(b"")
    talk.bob.require_near(b"", 5)


def test_nearness_is_told_without_a_key() -> None:
    talk = Talk()
    talk.bob.require_near(encode_braid_message(1, 5, wire.NONE, 0, b""), 5)
    with pytest.raises(TooFarAhead):
        talk.bob.require_near(encode_braid_message(1, 6, wire.NONE, 0, b""), 5)
    with pytest.raises(MalformedMessage):
        talk.bob.require_near(encode_braid_message(2, 1, wire.NONE, 0, b""), 5)


def test_a_message_of_an_earlier_epoch_gives_its_key_and_changes_the_braid_not() -> None:
    talk = Talk()
    kept = []
    while talk.bob.state.epoch == 1:
        kept.append(talk.send(talk.alice))
        talk.exchange(1)
    late = [one for one in kept if BraidMessage.parse(one[0]).epoch == 1][-1]
    message, step = talk.bob.plan_key(late[0])
    assert message.epoch < talk.bob.state.epoch
    assert talk.bob.plan_braid(message) is None
    assert step.key == late[1]


def at_last_state() -> Talk:
    talk = Talk()
    while not isinstance(talk.bob.state, Ct2Sampled):
        talk.exchange(1)
    return talk


def test_a_message_of_the_next_epoch_swaps_the_roles_and_no_further_one() -> None:
    bob = at_last_state().bob
    epoch = bob.state.epoch
    step = bob.plan_braid(BraidMessage(epoch + 1, 1, wire.NONE, 0, b""))
    assert step is not None
    assert isinstance(step.state, KeysUnsampled)
    assert step.state.epoch == epoch + 1
    with pytest.raises(MalformedMessage):
        bob.plan_braid(BraidMessage(epoch + 2, 1, wire.NONE, 0, b""))


def test_a_message_of_the_next_epoch_too_early_is_malformed() -> None:
    talk = Talk()
    with pytest.raises(MalformedMessage):
        talk.bob.plan_braid(BraidMessage(2, 1, wire.NONE, 0, b""))


def test_a_message_that_the_state_has_no_use_for_changes_nothing() -> None:
    talk = Talk()
    assert talk.bob.plan_braid(BraidMessage(1, 1, wire.CT2, 0, bytes(32))) is None


def test_a_false_header_is_refused_and_changes_nothing() -> None:
    bob = Talk().bob
    for index in range(3):
        before = pack(bob.to_packed())
        message = BraidMessage(1, 1, wire.HEADER, index, bytes(32))
        if index < 2:
            _message, step = bob.plan_key(encode_braid_message(1, index + 1, wire.HEADER, index, bytes(32)))
            bob.commit_receive(step, bob.plan_braid(message))
        else:
            with pytest.raises(NotAuthentic):
                bob.plan_braid(message)
            assert pack(bob.to_packed()) == before


@pytest.mark.parametrize("rounds", range(0, 100, 7))
def test_a_ratchet_is_the_same_from_its_packed_form_at_any_time(rounds: int) -> None:
    talk = Talk().exchange(rounds)
    talk.alice = PostQuantumRatchet.from_packed(talk.alice.to_packed())
    again = PostQuantumRatchet.from_packed(talk.bob.to_packed())
    assert again.to_packed() == talk.bob.to_packed()
    talk.bob = again
    talk.exchange(50)


@pytest.mark.parametrize("rounds", range(0, 100, 7))
@pytest.mark.parametrize("change", [-1, 1, 2**20])
def test_a_braid_and_chains_of_different_epochs_are_corrupt(rounds: int, change: int) -> None:
    talk = Talk().exchange(rounds)
    for one in (talk.alice, talk.bob):
        packed = one.to_packed()
        packed[1][1] += change
        with pytest.raises(CorruptSnapshot):
            PostQuantumRatchet.from_packed(packed)


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("value", [None, -1, "text", CHUNK_INDEX_MAX + 1])
def test_a_value_of_the_wrong_form_is_corrupt(position: int, value: object) -> None:
    packed = Talk().exchange(2).alice.to_packed()
    packed[position] = value
    with pytest.raises(CorruptSnapshot):
        PostQuantumRatchet.from_packed(packed)


def test_entropy_that_fails_sends_nothing() -> None:
    talk = Talk()
    before = pack(talk.alice.to_packed())
    with pytest.raises(RatchetError):
        talk.alice.plan_send(lambda _size: b"")
    assert pack(talk.alice.to_packed()) == before
    talk.send(talk.alice)
    assert isinstance(talk.alice.state, KeysSampled)
    assert isinstance(talk.bob.state, NoHeaderReceived)
