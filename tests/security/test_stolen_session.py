"""What a thief of a stored session can read: what comes, not what was."""

from __future__ import annotations

from typing import Final

import pytest

from ratchet import CiphertextKind, MessageKeyGone, NotAuthentic, RatchetError, Session
from ratchet.chains import chain_step, message_keys
from ratchet.keys import KeyPair
from tests.support.adversary import Dictionary, Thief, inner
from tests.support.conversation import Conversation, active_ratchet, lose, seeded

ROUNDS: Final = 6


def identities(talk: Conversation, number: int) -> bytes:
    ends = talk.alice_account.identity_key, talk.bob_account.identity_key
    return b"".join(ends if talk.sent[number].by_alice else reversed(ends))


def wire_keys(talk: Conversation) -> tuple[bytes, ...]:
    """Every ratchet key that was seen on the wire, the newest six."""
    return tuple(dict.fromkeys(inner(sent.ciphertext).ratchet_key for sent in reversed(talk.sent)))[:6]


@pytest.fixture(params=["with SPQR", "without SPQR", "X3DH"])
def talk(request: pytest.FixtureRequest) -> Conversation:
    """Some rounds, with messages that came late, all of which were read."""
    talk = Conversation(11, spqr=request.param != "without SPQR", kem=request.param != "X3DH").established()
    for _ in range(ROUNDS):
        first = len(talk.sent)
        talk.alice_sends(3).bob_sends(3)
        for late in (2, 0, 1, 5, 4, 3):
            talk.deliver(first + late)
    return talk


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_a_stolen_session_refuses_every_message_that_it_opened_before(talk: Conversation, victim: str) -> None:
    stolen: Session = getattr(talk, victim)
    for message in talk.sent:
        if message.by_alice == (victim == "bob"):
            with pytest.raises((MessageKeyGone, NotAuthentic)):
                Session.from_bytes(stolen.to_bytes()).decrypt(talk.alice_account, message.ciphertext)


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_a_thief_that_follows_the_chains_opens_nothing_sent_before_the_theft(talk: Conversation, victim: str) -> None:
    stolen: Session = getattr(talk, victim)
    thief = Thief(stolen.to_bytes(), seeded("thief"))
    assert not any(
        thief.reads(message.ciphertext, sent_by_victim=message.by_alice == (victim == "alice")) for message in talk.sent
    )


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_no_combination_of_stolen_secrets_opens_one_of_the_last_twelve_messages(
    talk: Conversation, victim: str
) -> None:
    stolen: Session = getattr(talk, victim)
    public_keys = wire_keys(talk) if active_ratchet(stolen).post_quantum is None else ()
    dictionary = Dictionary(stolen.to_bytes(), public_keys=public_keys)
    recorded = range(len(talk.sent) - 12, len(talk.sent))
    assert not [i for i in recorded if dictionary.opens(inner(talk.sent[i].ciphertext), identities(talk, i))]


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_no_combination_of_stolen_secrets_opens_the_last_message_read(talk: Conversation, victim: str) -> None:
    stolen: Session = getattr(talk, victim)
    dictionary = Dictionary(stolen.to_bytes())
    last = max(i for i, message in enumerate(talk.sent) if message.by_alice == (victim == "bob"))
    assert not dictionary.opens(inner(talk.sent[last].ciphertext), identities(talk, last))


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_the_same_search_opens_a_message_under_way_at_the_theft(talk: Conversation, victim: str) -> None:
    talk.alice_sends(2) if victim == "bob" else talk.bob_sends(2)
    stolen: Session = getattr(talk, victim)
    under_way = len(talk.sent) - 1
    message = inner(talk.sent[under_way].ciphertext)
    dictionary = Dictionary(stolen.to_bytes(), public_keys=() if message.pq_ratchet else wire_keys(talk))
    if message.pq_ratchet:  # its chain is new; with SPQR the search is not given the DH steps
        ratchet = active_ratchet(stolen)
        dictionary.seeds.extend(
            chain_seeds(ratchet.double.plan_receive(message.ratchet_key, message.counter).chain.key, 2)
        )
    assert dictionary.opens(message, identities(talk, under_way))


def chain_seeds(chain_key: bytes, count: int) -> list[bytes]:
    seeds = []
    for _ in range(count):
        seed, chain_key = chain_step(chain_key)
        seeds.append(seed)
    return seeds


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_a_thief_reads_what_is_under_way_at_the_theft(talk: Conversation, victim: str) -> None:
    talk.alice_sends() if victim == "bob" else talk.bob_sends()
    thief = Thief(getattr(talk, victim).to_bytes(), seeded("thief"))
    assert thief.reads(talk.sent[-1].ciphertext, sent_by_victim=False)


def test_a_skipped_key_is_stored_until_it_is_used_and_not_after() -> None:
    talk = Conversation(12).established().alice_sends(2)
    waiting, last = len(talk.sent) - 2, len(talk.sent) - 1
    talk.deliver(last)
    (chain,) = [chain for chain in active_ratchet(talk.bobs).double.receiving.values() if chain.skipped]
    (seed,) = chain.skipped.values()
    assert seed in talk.bobs.to_bytes()
    talk.deliver(waiting)
    assert seed not in talk.bobs.to_bytes()


def test_a_used_post_quantum_key_is_not_stored() -> None:
    talk = Conversation(12).established().alice_sends(2)
    waiting, last = len(talk.sent) - 2, len(talk.sent) - 1
    talk.deliver(last)
    post_quantum = active_ratchet(talk.bobs).post_quantum
    assert post_quantum is not None
    (key,) = [key for link in post_quantum.chains.links.values() for key in link.skipped.values()]
    assert key in talk.bobs.to_bytes()
    talk.deliver(waiting)
    assert key not in talk.bobs.to_bytes()


@pytest.mark.parametrize("victim", ["alice", "bob"])
def test_post_quantum_chains_of_epochs_that_are_over_are_not_stored(victim: str) -> None:
    """What a later epoch is sent in has no use for them: the sending key goes at once, the rest one epoch later."""
    talk = Conversation(20).established()
    seen: dict[int, tuple[bytes, bytes]] = {}
    for _ in range(190):
        talk.ping_pong(1)
        ratchet = active_ratchet(getattr(talk, victim))
        assert ratchet.post_quantum is not None
        chains = ratchet.post_quantum.chains
        for epoch, link in chains.links.items():
            if link.sending_key is not None:
                seen[epoch] = link.sending_key, link.receiving_key
        stored = getattr(talk, victim).to_bytes()
        for epoch, (sending_key, receiving_key) in seen.items():
            assert epoch >= chains.sending_epoch or sending_key not in stored
            assert epoch >= chains.sending_epoch - 1 or receiving_key not in stored
    assert max(seen) >= 4


def test_neither_side_keeps_a_key_of_a_message_that_was_read() -> None:
    talk = Conversation(13).established()
    seed, _chain_key = active_ratchet(talk.alice).double.plan_send()
    post_quantum = active_ratchet(talk.alice).post_quantum
    assert post_quantum is not None
    keys = message_keys(seed, post_quantum.plan_send(bytes).key)
    talk.alice_sends().deliver_last()
    for session in (talk.alice, talk.bobs):
        stored = session.to_bytes()
        assert not [part for part in (seed, keys[:32], keys[32:64], keys[64:]) if part in stored]


def test_what_the_handshake_gave_the_initiator_to_send_with_is_gone_after_the_first_answer() -> None:
    talk = Conversation(14)
    first_chain, first_pair = (
        active_ratchet(talk.alice).double.sending.chain_key,
        active_ratchet(talk.alice).double.sending.pair,
    )
    first_root = active_ratchet(talk.alice).double.sending.root_key
    talk.established()
    stored = talk.alice.to_bytes()
    assert not [secret for secret in (first_chain, first_pair.private, first_root) if secret in stored]


def test_the_private_half_of_a_base_key_is_never_stored() -> None:
    talk = Conversation(19)
    base = KeyPair.generate(seeded(19))  # the first draw of the conversation's dice
    assert base.public == active_ratchet(talk.alice).base_key
    assert base.private not in talk.alice.to_bytes()


def test_a_ratchet_key_that_was_replaced_is_not_stored() -> None:
    talk = Conversation(15).established()
    private_keys = []
    for _ in range(8):
        private_keys.append(active_ratchet(talk.alice).double.sending.pair.private)
        talk.ping_pong(1)
    stored = talk.alice.to_bytes()
    assert not [private for private in private_keys if private in stored]


def test_a_stolen_archived_ratchet_opens_nothing_sent_before_the_theft() -> None:
    talk = Conversation(16).established().ping_pong(3)
    talk.alice.archive()
    thief = Session.from_bytes(talk.alice.to_bytes())
    for message in talk.sent:
        if not message.by_alice:
            with pytest.raises(RatchetError):
                thief.decrypt(talk.alice_account, message.ciphertext)


def test_seeds_beyond_the_limit_of_skipped_messages_are_not_stored() -> None:
    talk = Conversation(17).established()
    chain_key = active_ratchet(talk.alice).double.sending.chain_key
    dropped = chain_seeds(chain_key, 5)
    lose(talk.alice, 2_005)
    talk.alice_sends().deliver_last()
    stored = talk.bobs.to_bytes()
    assert not [seed for seed in dropped if seed in stored]


def test_the_first_messages_of_an_initiator_hide_nothing_but_what_was_already_sent() -> None:
    talk = Conversation(18).alice_sends(3)
    thief = Thief(talk.alice.to_bytes(), seeded("thief"))
    assert all(message.ciphertext.kind is CiphertextKind.PREKEY for message in talk.sent)
    assert not any(thief.reads(message.ciphertext, sent_by_victim=True) for message in talk.sent)
    talk.alice_sends()
    assert thief.reads(talk.sent[-1].ciphertext, sent_by_victim=True)
