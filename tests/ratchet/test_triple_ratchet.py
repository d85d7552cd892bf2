"""One ratchet with a peer device: both halves, cipher, tag and binding."""

from __future__ import annotations

from typing import Any

import pytest

from ratchet import Address, chains
from ratchet.errors import (
    CorruptSnapshot,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    TooFarAhead,
    UnsupportedVersion,
)
from ratchet.limits import COUNTER_MAX
from ratchet.messages import Ciphertext, CiphertextKind, PreKeyMessage, SignalMessage, encode_signal_message
from ratchet.packing import pack
from ratchet.triple_ratchet import Peers, Ratchet
from tests.support.adversary import MaliciousPeer, inner
from tests.support.conversation import Conversation, active_ratchet, lose, seeded

KINDS: dict[str, dict[str, bool]] = {"with SPQR": {}, "without SPQR": {"spqr": False}, "X3DH": {"kem": False}}
every_kind = pytest.mark.parametrize("kind", KINDS)


def talk(kind: str = "with SPQR", seed: int = 1) -> Conversation:
    return Conversation(seed, **KINDS[kind]).established()


def plan(conversation: Conversation, message: SignalMessage, **changes: Any) -> Any:  # noqa: ANN401
    """Let Bob's ratchet open a message of Alice's."""
    return active_ratchet(conversation.bob).plan(message, conversation.bobs._peers, seeded("answer"), **changes)


# --- the two ends ----------------------------------------------------------------------------------------------


def test_what_tags_and_bindings_cover_is_mirrored_between_the_ends() -> None:
    alice, bob = Address("d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01", 1), Address("3f5b1a08-1c58-4d0e-9a2e-7e1f6a9b2b02", 2)
    one, other = Peers(b"a" * 33, b"b" * 33, alice, bob), Peers(b"b" * 33, b"a" * 33, bob, alice)
    assert one.sending == other.receiving == b"a" * 33 + b"b" * 33
    assert one.receiving == other.sending
    assert one.sending_binding == other.receiving_binding
    assert one.sending_binding != one.receiving_binding
    assert Peers(b"a", b"b", None, bob).sending_binding is None


# --- encrypting ------------------------------------------------------------------------------------------------


@every_kind
def test_a_message_is_made_as_the_protocol_says(kind: str) -> None:
    conversation = talk(kind)
    ratchet = active_ratchet(conversation.alice)
    seed, _chain_key = ratchet.double.plan_send()
    step = None if ratchet.post_quantum is None else ratchet.post_quantum.plan_send(seeded(1))
    keys = chains.message_keys(seed, None if step is None else step.key)
    message = inner(ratchet.encrypt(b"hello", conversation.alice._peers, seeded(1)))
    assert message.ciphertext == chains.seal_message(keys, b"hello")
    assert message.pq_ratchet == (b"" if step is None else step.encoded)
    assert message.tag == chains.tag(keys, conversation.alice._peers.sending, message.authenticated)
    assert message.addresses is None


def test_an_unanswered_initiation_is_repeated_and_bound_with_every_message() -> None:
    conversation = Conversation(2).alice_sends(2)
    first, second = (PreKeyMessage.parse(sent.ciphertext.body) for sent in conversation.sent)
    assert first.base_key == second.base_key
    assert first.message.counter + 1 == second.message.counter
    assert first.message.addresses == second.message.addresses == conversation.alice._peers.sending_binding


def test_without_service_ids_nothing_is_bound() -> None:
    conversation = Conversation(2, addresses=False).alice_sends()
    assert inner(conversation.sent[0].ciphertext).addresses is None


@every_kind
def test_a_full_sending_chain_encrypts_nothing_and_changes_nothing(kind: str) -> None:
    conversation = talk(kind)
    ratchet = active_ratchet(conversation.alice)
    ratchet.double.sending.number = COUNTER_MAX + 1
    before = pack(ratchet.to_packed())
    with pytest.raises(NoActiveSession):
        ratchet.encrypt(b"one more", conversation.alice._peers, seeded(1))
    assert pack(ratchet.to_packed()) == before


# --- opening ---------------------------------------------------------------------------------------------------


@every_kind
def test_opening_changes_nothing_until_it_is_committed(kind: str) -> None:
    conversation = talk(kind).alice_sends()
    ratchet = active_ratchet(conversation.bob)
    before = pack(ratchet.to_packed())
    opened = plan(conversation, inner(conversation.sent[-1].ciphertext))
    assert opened.plaintext == conversation.plaintexts[-1]
    assert pack(ratchet.to_packed()) == before
    ratchet.commit(opened)
    assert pack(ratchet.to_packed()) != before
    with pytest.raises(MessageKeyGone):
        plan(conversation, inner(conversation.sent[-1].ciphertext))


def test_an_answer_ends_the_initiation() -> None:
    conversation = Conversation(3).alice_sends()
    conversation.deliver(0)
    assert active_ratchet(conversation.alice).pending is not None
    conversation.bob_sends().deliver_last()
    assert active_ratchet(conversation.alice).pending is None


def test_a_ratchet_knows_messages_under_ratchet_keys_that_it_has_received() -> None:
    conversation = talk().alice_sends()
    message = inner(conversation.sent[-1].ciphertext)
    assert not active_ratchet(conversation.bob).knows(message)
    conversation.deliver_last()
    assert active_ratchet(conversation.bob).knows(message)


@every_kind
def test_a_wrong_tag_is_not_authentic(kind: str) -> None:
    conversation = talk(kind).alice_sends()
    message = inner(conversation.sent[-1].ciphertext)
    message.tag = bytes(8)
    with pytest.raises(NotAuthentic, match="tag"):
        plan(conversation, message)


@pytest.mark.parametrize("addresses", [b"", bytes(36), bytes(35)])
@pytest.mark.parametrize("known", [True, False])
def test_other_addresses_are_not_authentic(addresses: bytes, *, known: bool) -> None:
    conversation = Conversation(4, addresses=known).established()
    message = SignalMessage.parse(MaliciousPeer(conversation.alice).message(addresses=addresses))
    with pytest.raises(NotAuthentic, match="addresses"):
        plan(conversation, message)


def test_wrong_padding_behind_a_right_tag_is_not_authentic() -> None:
    conversation = talk()
    message = MaliciousPeer(conversation.alice).message(sealed=lambda _keys, _plaintext: bytes(16))
    with pytest.raises(NotAuthentic, match="padding"):
        plan(conversation, SignalMessage.parse(message))


def test_a_replayed_key_under_a_new_ratchet_key_belongs_to_another_ratchet() -> None:
    conversation = talk().alice_sends()
    conversation.deliver_last()
    message = inner(conversation.sent[-1].ciphertext)
    message.ratchet_key = active_ratchet(Conversation(5).alice).double.sending.pair.public
    with pytest.raises(NotAuthentic, match="does not belong"):
        plan(conversation, message)


def test_a_message_without_spqr_is_refused_by_a_ratchet_with_it() -> None:
    conversation = talk()
    message = MaliciousPeer(conversation.alice).message(pq_ratchet=b"", key=b"")
    with pytest.raises(UnsupportedVersion):
        plan(conversation, SignalMessage.parse(message))


def test_a_message_with_an_spqr_part_is_opened_by_a_ratchet_without_it() -> None:
    """Libsignal ignores it as well: the part is then covered by the tag and means nothing."""
    conversation = talk("without SPQR")
    message = MaliciousPeer(conversation.alice).message(b"hello", pq_ratchet=b"\x01\x01\x01\x00")
    assert plan(conversation, SignalMessage.parse(message)).plaintext == b"hello"


@pytest.mark.parametrize("kind", ["with SPQR", "X3DH"])
def test_a_lower_bound_for_new_chains_is_kept(kind: str) -> None:
    conversation = talk(kind)
    lose(conversation.alice, 12)
    conversation.alice_sends()
    message = inner(conversation.sent[-1].ciphertext)
    with pytest.raises(TooFarAhead):
        plan(conversation, message, new_chain_max=10)
    assert plan(conversation, message, new_chain_max=20).plaintext == conversation.plaintexts[-1]


def test_a_lower_bound_for_new_chains_does_not_bind_known_ones() -> None:
    conversation = talk().alice_sends()
    conversation.deliver_last()
    lose(conversation.alice, 12)
    conversation.alice_sends()
    message = inner(conversation.sent[-1].ciphertext)
    assert plan(conversation, message, new_chain_max=2).plaintext == conversation.plaintexts[-1]


# --- stored form -----------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("pending", [True, False])
def test_a_ratchet_is_the_same_from_its_packed_form(kind: str, *, pending: bool) -> None:
    conversation = Conversation(6, **KINDS[kind]) if pending else talk(kind)
    ratchet = active_ratchet(conversation.alice)
    again = Ratchet.from_packed(ratchet.to_packed(), conversation.alice_account.identity_key)
    assert again.to_packed() == ratchet.to_packed()
    peers = conversation.alice._peers
    one, other = (each.encrypt(b"hello", peers, seeded(1)) for each in (ratchet, again))
    assert one == other


@pytest.mark.parametrize("position", range(8))
@pytest.mark.parametrize("value", ["text", -1, [None], b""])
def test_a_value_of_the_wrong_form_is_corrupt(position: int, value: object) -> None:
    packed = active_ratchet(Conversation(7).alice).to_packed()
    packed[position] = value
    with pytest.raises(CorruptSnapshot):
        Ratchet.from_packed(packed, bytes(33))


@pytest.mark.parametrize("position", range(5))
@pytest.mark.parametrize("value", ["text", -1, 2**32, b""])
def test_a_pending_value_of_the_wrong_form_is_corrupt(position: int, value: object) -> None:
    packed = active_ratchet(Conversation(7).alice).to_packed()
    packed[7][position] = value
    with pytest.raises(CorruptSnapshot):
        Ratchet.from_packed(packed, bytes(33))


@pytest.mark.parametrize("version", [2, 5])
def test_another_version_is_corrupt(version: int) -> None:
    packed = active_ratchet(Conversation(7).alice).to_packed()
    with pytest.raises(CorruptSnapshot):
        Ratchet.from_packed([version, *packed[1:]], bytes(33))


def test_a_message_in_a_form_that_no_parser_made_is_not_needed_here() -> None:
    """The ratchet trusts the parser's types and nothing else: what is authenticated is the received slice."""
    conversation = talk().alice_sends()
    body = conversation.sent[-1].ciphertext.body
    message = SignalMessage.parse(body)
    again = encode_signal_message(
        message.version, message.ratchet_key, message.counter, 7, message.ciphertext, message.pq_ratchet, None
    )
    assert again != message.authenticated
    with pytest.raises(NotAuthentic):
        plan(conversation, SignalMessage.parse(again + message.tag))
    assert Ciphertext(CiphertextKind.SIGNAL, body) == conversation.sent[-1].ciphertext
