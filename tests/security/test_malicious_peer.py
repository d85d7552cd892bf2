"""A peer with valid keys that breaks the rules inside authentic messages: refused, and nothing has changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet import (
    Ciphertext,
    CiphertextKind,
    MalformedMessage,
    MessageKeyGone,
    NotAuthentic,
    RatchetError,
    Session,
    TooFarAhead,
    UnsupportedVersion,
)
from ratchet.primitives import aes_cbc_encrypt
from ratchet.spqr import wire
from ratchet.spqr.braid import Ct1Received, Ct1Sampled, EkSentCt1Received, NoHeaderReceived
from tests.support.adversary import MaliciousPeer, raises_and_changes_nothing
from tests.support.conversation import Conversation, active_ratchet, lose, seeded

REFUSED = (MalformedMessage, MessageKeyGone, NotAuthentic, TooFarAhead, UnsupportedVersion)


def established(seed: int = 71, rounds: int = 2, *, spqr: bool = True, addresses: bool = True) -> Conversation:
    """Alice is the malicious one: Bob has read everything of hers."""
    talk = Conversation(seed, spqr=spqr, addresses=addresses).established().ping_pong(rounds)
    talk.alice_sends().deliver_last()
    return talk


def receives(talk: Conversation, body: bytes) -> bytes:
    ciphertext = Ciphertext(CiphertextKind.SIGNAL, body)
    return talk.bobs.decrypt(talk.bob_account, ciphertext, now=0, entropy=seeded(1))


def refuses(
    talk: Conversation, body: bytes, expected: type[RatchetError] | tuple[type[RatchetError], ...] = REFUSED
) -> None:
    with raises_and_changes_nothing(expected, talk.bobs, talk.bob_account):
        receives(talk, body)


def test_what_this_peer_makes_is_authentic_where_it_follows_the_rules() -> None:
    talk = established()
    assert receives(talk, MaliciousPeer(talk.alice).message(b"honest")) == b"honest"


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"\x01", id="version alone"),
        pytest.param(b"\x01\x01", id="no index"),
        pytest.param(b"\x01\x01\x05", id="no type"),
        pytest.param(b"\x01\x01\x05\x01", id="no chunk"),
        pytest.param(b"\x01\x01\x05\x01\x00" + bytes(31), id="a chunk of 31 bytes"),
        pytest.param(b"\x01\x01\x05\x07\x00" + bytes(32), id="type 7"),
        pytest.param(b"\x01\x01\x05\xff\x00" + bytes(32), id="type 255"),
        pytest.param(b"\x01\x01\x05\x01\x80\x80\x04" + bytes(32), id="chunk index 65536"),
        pytest.param(b"\x01\x00\x05\x00", id="epoch 0"),
        pytest.param(b"\x01\x01\x00\x00", id="index 0"),
        pytest.param(b"\x01\x01\x80\x80\x80\x80\x10\x00", id="index 2^32"),
        pytest.param(b"\x01" + b"\xff" * 9 + b"\x01\x01\x00", id="epoch 2^64 - 1"),
        pytest.param(b"\x01" + b"\xff" * 11 + b"\x01\x00", id="endless epoch"),
        pytest.param(b"\x01\x02\x01\x00", id="an epoch that is not there yet"),
        pytest.param(b"\x00\x01\x05\x00", id="version 0"),
        pytest.param(b"\x02\x01\x05\x00", id="version 2"),
        pytest.param(b"\xff\x01\x05\x00", id="version 255"),
    ],
)
def test_an_spqr_part_that_is_none_is_refused_in_an_authentic_message(part: bytes) -> None:
    talk = established()
    refuses(talk, MaliciousPeer(talk.alice).message(pq_ratchet=part))


def test_a_message_stripped_of_its_spqr_part_is_refused_as_a_version_not_spoken() -> None:
    talk = established()
    refuses(talk, MaliciousPeer(talk.alice).message(pq_ratchet=b"", key=b""), UnsupportedVersion)


def test_the_post_quantum_ratchet_cannot_be_skipped_with_index_0() -> None:
    talk = established()
    refuses(talk, MaliciousPeer(talk.alice).message(pq_ratchet=b"\x01\x01\x00\x00", key=b""), MalformedMessage)


@given(part=st.binary(max_size=60))
def test_any_spqr_part_opens_or_is_refused_and_then_nothing_has_changed(part: bytes) -> None:
    talk = TALK
    stored = talk.bobs.to_bytes()
    talk.bob = Session.from_bytes(stored)
    try:
        receives(talk, MaliciousPeer(talk.alice).message(pq_ratchet=part))
    except REFUSED:
        assert talk.bobs.to_bytes() == stored
    talk.bob = Session.from_bytes(stored)


TALK = established(72)


@given(
    epoch=st.integers(1, 4),
    kind=st.integers(0, 6),
    chunk_index=st.one_of(st.integers(0, 40), st.integers(0, 65_535)),
    chunk=st.binary(min_size=32, max_size=32),
    rounds=st.sampled_from([0, 20, 40, 60]),
)
def test_any_well_formed_braid_message_is_taken_or_refused_and_the_session_lives_on(
    epoch: int, kind: int, chunk_index: int, chunk: bytes, rounds: int
) -> None:
    talk = AT_ROUND[rounds]
    bob, alice = talk.bobs.to_bytes(), talk.alice.to_bytes()
    peer = MaliciousPeer(talk.alice)
    body = peer.with_braid(
        epoch=epoch,
        type=kind,
        chunk_index=chunk_index,
        chunk=b"" if kind in (wire.NONE, wire.CT1_ACK) else chunk,
    )
    try:
        assert receives(talk, body) == b"authentic"
    except REFUSED:
        assert talk.bobs.to_bytes() == bob
    else:
        # Whatever Bob took, his next message is one that Alice reads.
        answer = talk.bobs.encrypt(b"still here", now=0, entropy=seeded(2))
        assert Session.from_bytes(alice).decrypt(talk.alice_account, answer, entropy=seeded(3)) == b"still here"
        assert Session.from_bytes(talk.bobs.to_bytes()).to_bytes() == talk.bobs.to_bytes()
    talk.bob = Session.from_bytes(bob)


AT_ROUND = {rounds: established(73 + rounds, rounds) for rounds in (0, 20, 40, 60)}


def at_state(kind: type, *, owner: str) -> Conversation:
    """A conversation at the moment when *owner*'s braid is in state *kind*, about to receive."""
    talk = established(75, 0)
    for _ in range(200):
        post_quantum = active_ratchet(getattr(talk, owner)).post_quantum
        assert post_quantum is not None
        if type(post_quantum.state) is kind:
            return talk
        talk.bob_sends().deliver_last()
        talk.alice_sends().deliver_last()
    raise AssertionError(kind)


def test_a_header_whose_tag_is_wrong_is_refused_with_its_last_chunk() -> None:
    talk = at_state(NoHeaderReceived, owner="bob")
    ratchet = active_ratchet(talk.bobs)
    assert ratchet.post_quantum is not None
    state = ratchet.post_quantum.state
    assert isinstance(state, NoHeaderReceived)
    missing = 3 - len(state.signed_header.chunks)
    for index in range(100, 100 + missing):
        body = MaliciousPeer(talk.alice).with_braid(
            epoch=state.epoch, type=wire.HEADER, chunk_index=index, chunk=b"\x5a" * 32
        )
        if index == 99 + missing:
            refuses(talk, body, NotAuthentic)
        else:
            receives(talk, body)
            lose(talk.alice, 1)  # the message counts as sent


def test_a_key_vector_that_is_not_the_headers_is_refused_when_it_is_complete() -> None:
    talk = at_state(Ct1Sampled, owner="bob")
    post_quantum = active_ratchet(talk.bobs).post_quantum
    assert post_quantum is not None
    state = post_quantum.state
    assert isinstance(state, Ct1Sampled)
    with pytest.raises((NotAuthentic, MalformedMessage), match="vector"):
        collect(state, wire.EK)
    assert post_quantum.state is state


def collect(state: Ct1Sampled | Ct1Received | EkSentCt1Received, kind: int) -> None:
    """Feed chunks of nothing until something happens."""
    for index in range(200, 300):
        following, _secret = state.receive(wire.BraidMessage(state.epoch, 1, kind, index, bytes(32)))
        assert isinstance(following, Ct1Sampled | Ct1Received | EkSentCt1Received)
        state = following


def test_a_ciphertext_whose_tag_is_wrong_is_refused_when_it_is_complete() -> None:
    talk = at_state(Ct1Received, owner="alice")
    post_quantum = active_ratchet(talk.alice).post_quantum
    assert post_quantum is not None
    state = post_quantum.state
    assert isinstance(state, Ct1Received)
    with pytest.raises(NotAuthentic, match="ciphertext"):
        collect(state, wire.CT2)
    assert post_quantum.state is state


@pytest.mark.parametrize("ciphertext", [b"", bytes(1), bytes(15), bytes(17)], ids=len)
def test_an_authentic_ciphertext_of_a_wrong_size_is_refused(ciphertext: bytes) -> None:
    talk = established()
    body = MaliciousPeer(talk.alice).message(sealed=lambda _keys, _plaintext: ciphertext)
    refuses(talk, body, NotAuthentic)


@pytest.mark.parametrize("padding", [b"\0" * 16, b"\x11" * 16, b"a" * 15 + b"\x02", b"\xff" * 16, b"\x01\x02" * 8])
def test_an_authentic_ciphertext_with_wrong_padding_is_refused(padding: bytes) -> None:
    talk = established()

    def sealed(keys: bytes, _plaintext: bytes) -> bytes:
        return aes_cbc_encrypt(keys[:32], keys[64:], padding)[: len(padding)]

    refuses(talk, MaliciousPeer(talk.alice).message(sealed=sealed), NotAuthentic)


@pytest.mark.parametrize("addresses", [b"", bytes(1), bytes(35), bytes(36), bytes(37), bytes(100)], ids=len)
@pytest.mark.parametrize("known", [True, False])
def test_an_authentic_message_bound_to_other_addresses_is_refused(addresses: bytes, known: bool) -> None:  # noqa: FBT001
    talk = established(addresses=known)
    refuses(talk, MaliciousPeer(talk.alice).message(addresses=addresses), NotAuthentic)


def test_the_right_addresses_are_accepted_in_a_plain_message_too() -> None:
    talk = established()
    binding = talk.bobs._peers.receiving_binding
    assert receives(talk, MaliciousPeer(talk.alice).message(b"bound", addresses=binding)) == b"bound"


def test_unknown_fields_are_covered_by_the_tag_and_ignored() -> None:
    talk = established()
    extra = b"\x7a\x03new\xf8\x07\x01"  # fields 15 and 127
    assert receives(talk, MaliciousPeer(talk.alice).message(b"from the future", extra=extra)) == b"from the future"


@pytest.mark.parametrize("counter", [0, 2, 100])
def test_an_authentic_message_under_another_counter_is_refused(counter: int) -> None:
    talk = established()
    refuses(talk, MaliciousPeer(talk.alice).message(counter=counter), (NotAuthentic, MessageKeyGone))


def test_a_new_ratchet_key_with_the_tag_of_the_old_chain_is_refused() -> None:
    talk = established()
    other = active_ratchet(Conversation(80).alice).double.sending.pair.public
    refuses(talk, MaliciousPeer(talk.alice).message(ratchet_key=other, counter=0), NotAuthentic)


def test_a_repeated_first_message_around_a_message_of_another_version_is_refused() -> None:
    talk = Conversation(81).alice_sends()
    talk.deliver_last()
    pending = active_ratchet(talk.alice).pending
    assert pending is not None
    inner = MaliciousPeer(talk.alice).message(version=3)
    with raises_and_changes_nothing(MalformedMessage, talk.bobs, talk.bob_account):
        talk.bobs.decrypt(talk.bob_account, Ciphertext(CiphertextKind.PREKEY, pending.wrap(4, inner)))


def test_a_peer_that_only_ever_sends_new_ratchet_keys_fills_nothing() -> None:
    talk = established(82)
    sizes = set()
    for _ in range(30):
        talk.bob_sends().deliver_last()
        talk.alice_sends().deliver_last()
        sizes.add(len(talk.bobs.to_bytes()) // 2_000)
    assert len(active_ratchet(talk.bobs).double.receiving) == 5
    assert len(sizes) <= 2


def test_a_session_is_bounded_whatever_a_peer_skips() -> None:
    talk = established(83, 0)
    for _ in range(12):
        for session in (talk.alice, talk.bobs):
            ratchet = active_ratchet(session)
            for chain in ratchet.double.receiving.values():
                assert len(chain.skipped) <= 2_000
        lose(talk.alice, 1_500)
        talk.alice_sends().deliver_last()
        talk.bob_sends().deliver_last()
    assert len(talk.bobs.to_bytes()) < 5 * 2_000 * 33 + 3 * 2_000 * 33 + 20_000
