"""How long a thief of a stored session reads along: until a DH step, or an epoch, that it cannot compute."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from ratchet import RatchetError, Session
from ratchet.chains import message_keys, tag
from ratchet.spqr.wire import BraidMessage
from tests.support.adversary import Thief, inner
from tests.support.conversation import Conversation, active_ratchet, seeded

if TYPE_CHECKING:
    from ratchet.spqr.ratchet import PostQuantumRatchet
    from ratchet.triple_ratchet import Ratchet


@pytest.mark.parametrize("kind", ["with SPQR", "without SPQR", "X3DH"])
@pytest.mark.parametrize("seed", range(3))
def test_a_thief_of_the_session_reads_until_the_victim_answers_with_a_new_ratchet_key(kind: str, seed: int) -> None:
    talk = Conversation(seed, spqr=kind != "without SPQR", kem=kind != "X3DH").established().ping_pong(3)
    thief = Thief(talk.alice.to_bytes(), seeded("thief"))

    # The chains that exist, in both directions, and Bob's next one, whose DH step needs Alice's stolen key only.
    talk.alice_sends(2)
    assert [thief.reads(sent.ciphertext, sent_by_victim=True) for sent in talk.sent[-2:]] == [True, True]
    talk.deliver_last()
    talk.bob_sends(2)
    assert [thief.reads(sent.ciphertext, sent_by_victim=False) for sent in talk.sent[-2:]] == [True, True]

    # Alice's answer brings a key pair that was made after the theft: from here on nothing, in either direction.
    talk.deliver_last()
    for _ in range(20):
        talk.alice_sends().deliver_last()
        assert not thief.reads(talk.sent[-1].ciphertext, sent_by_victim=True)
        talk.bob_sends().deliver_last()
        assert not thief.reads(talk.sent[-1].ciphertext, sent_by_victim=False)


@pytest.mark.parametrize("seed", range(3))
def test_a_session_stolen_from_the_responder_heals_as_well(seed: int) -> None:
    talk = Conversation(seed).established().ping_pong(2)
    thief = Thief(talk.bobs.to_bytes(), seeded("thief"))
    talk.alice_sends()
    assert thief.reads(talk.sent[-1].ciphertext, sent_by_victim=False)
    talk.deliver_last()
    for _ in range(20):
        talk.bob_sends().deliver_last()
        assert not thief.reads(talk.sent[-1].ciphertext, sent_by_victim=True)
        talk.alice_sends().deliver_last()
        assert not thief.reads(talk.sent[-1].ciphertext, sent_by_victim=False)


def test_one_way_traffic_never_heals() -> None:
    talk = Conversation(4).established()
    thief = Thief(talk.alice.to_bytes(), seeded("thief"))
    for _ in range(30):
        talk.alice_sends().deliver_last()
        assert thief.reads(talk.sent[-1].ciphertext, sent_by_victim=True)


def test_a_renewed_session_is_lost_to_the_thief_at_once() -> None:
    talk = Conversation(5).established().ping_pong(2)
    thief = Thief(talk.alice.to_bytes(), seeded("thief"))
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0, entropy=talk.entropy)
    talk.alice_sends().deliver_last()
    assert not thief.reads(talk.sent[-1].ciphertext, sent_by_victim=True)


def test_what_a_thief_sends_in_the_victims_name_is_seen_by_the_next_honest_message() -> None:
    talk = Conversation(6).established()
    thief = Session.from_bytes(talk.alice.to_bytes())
    forged = thief.encrypt(b"from the thief", entropy=seeded("thief"))
    assert talk.bobs.decrypt(talk.bob_account, forged) == b"from the thief"
    talk.alice_sends()
    with pytest.raises(RatchetError):
        talk.deliver_last()


class QuantumThief:
    """Stole a session once, and has every X25519 private key of its owner ever since.

    So it knows the whole double ratchet at any time; it is handed it. Its post-quantum ratchet is the stolen
    one, carried on with all that crosses the wire, and with its own randomness where the owner draws some.
    """

    def __init__(self, stolen: Session, *, sees_randomness: bool = False) -> None:
        own = active_ratchet(Session.from_bytes(stolen.to_bytes())).post_quantum
        assert own is not None
        self.post_quantum: PostQuantumRatchet = own
        self.sees_randomness = sees_randomness  # of the owner's: what no thief of the past has
        self.seen: list[bytes] = []

    def entropy(self, size: int) -> bytes:
        return self.seen.pop(0) if self.sees_randomness else Random("thief").randbytes(size)

    def reads_sent(self, owner: Session, encrypted: Ratchet, number: int, talk: Conversation) -> bool:
        """Whether the thief can open message *number*, which *owner* has sent; *encrypted* is its ratchet before."""
        message = inner(talk.sent[number].ciphertext)
        seed, _chain_key = encrypted.double.plan_send()
        try:
            step = self.post_quantum.plan_send(self.entropy)
        except RatchetError:
            return False
        self.post_quantum.commit_send(step)
        keys = message_keys(seed, step.key)
        return tag(keys, owner._peers.sending, message.authenticated) == message.tag

    def reads_received(self, owner: Session, decrypting: Ratchet, number: int, talk: Conversation) -> bool:
        """Whether the thief can open message *number*, before *owner* receives it with *decrypting*."""
        message = inner(talk.sent[number].ciphertext)
        seed = decrypting.double.plan_receive(message.ratchet_key, message.counter).chain_step.seed
        try:
            braid_message, key_step = self.post_quantum.plan_key(message.pq_ratchet)
            braid_step = self.post_quantum.plan_braid(braid_message)
        except RatchetError:
            return False
        self.post_quantum.commit_receive(key_step, braid_step)
        keys = message_keys(seed, key_step.key)
        return tag(keys, owner._peers.receiving, message.authenticated) == message.tag


def follow(talk: Conversation, thief: QuantumThief, rounds: int) -> list[tuple[int, bool]]:
    """Talk on, Alice being the victim: of each message the chain epoch of its key, and whether the thief read it."""
    dice = talk.entropy

    def watched(n: int) -> bytes:
        thief.seen.append(dice(n))
        return thief.seen[-1]

    read: list[tuple[int, bool]] = []
    for _ in range(rounds):
        before = active_ratchet(Session.from_bytes(talk.alice.to_bytes()))
        thief.seen.clear()
        talk.entropy = watched
        talk.alice_sends()
        talk.entropy = dice
        read.append((chain_epoch(talk), thief.reads_sent(talk.alice, before, len(talk.sent) - 1, talk)))
        talk.deliver_last()
        talk.bob_sends()
        read.append(
            (chain_epoch(talk), thief.reads_received(talk.alice, active_ratchet(talk.alice), len(talk.sent) - 1, talk))
        )
        talk.deliver_last()
    return read


def chain_epoch(talk: Conversation) -> int:
    return BraidMessage.parse(inner(talk.sent[-1].ciphertext).pq_ratchet).epoch - 1


@pytest.mark.parametrize("rounds_before", [0, 1, 2, 20, 36, 41, 44, 60])
def test_a_thief_that_breaks_every_x25519_key_loses_the_session_with_the_second_new_epoch(rounds_before: int) -> None:
    talk = Conversation(rounds_before).established().ping_pong(rounds_before)
    stolen_in = active_ratchet(talk.alice).post_quantum
    assert stolen_in is not None
    current = stolen_in.state.epoch  # the epoch under way: its secrets may be in the stolen state
    read = follow(talk, QuantumThief(talk.alice), 150)
    assert all(was_read for number, was_read in read if number < current)
    assert [was_read for number, was_read in read if number > current]
    assert not any(was_read for number, was_read in read if number > current)


def test_the_same_thief_reads_every_epoch_if_it_also_sees_the_owners_randomness() -> None:
    talk = Conversation(7).established().ping_pong(5)
    read = follow(talk, QuantumThief(talk.alice, sees_randomness=True), 150)
    assert all(was_read for _number, was_read in read)
    assert max(number for number, _was_read in read) >= 3


def test_a_thief_that_breaks_every_x25519_key_reads_everything_where_the_post_quantum_ratchet_is_off() -> None:
    talk = Conversation(1, spqr=False).established()
    for _ in range(30):
        before = active_ratchet(Session.from_bytes(talk.alice.to_bytes()))
        talk.alice_sends()
        message = inner(talk.sent[-1].ciphertext)
        keys = message_keys(before.double.plan_send()[0], None)
        assert tag(keys, talk.alice._peers.sending, message.authenticated) == message.tag
        talk.deliver_last()
        talk.bob_sends().deliver_last()


def test_a_thief_that_breaks_every_x25519_key_but_stole_no_state_reads_nothing() -> None:
    talk = Conversation(2).established()
    stranger = Conversation(3).established()
    read = follow(talk, QuantumThief(stranger.alice), 30)
    assert not any(was_read for _number, was_read in read)
