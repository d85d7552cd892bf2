"""What a thief of an account, or of a sender key, can read of what was sent before."""

from __future__ import annotations

from itertools import product
from uuid import UUID

import pytest

from ratchet import (
    Account,
    Ciphertext,
    CiphertextKind,
    MessageKeyGone,
    OwnSenderKey,
    PeerSenderKey,
    RatchetError,
    Session,
    UnknownPreKey,
)
from ratchet.limits import REPLACED_KEY_AGE_S
from ratchet.messages import PreKeyMessage, SenderKeyMessage
from tests.support.adversary import Dictionary, rewrapped
from tests.support.conversation import ALICE, BOB, Conversation, seeded


def thief_accepts(stolen: bytes, first: Ciphertext) -> bytes:
    """What the thief reads; whether a base key was used before is of no interest to it."""
    thief = Account.from_bytes(stolen)
    thief._used = {}
    _session, plaintext = Session.accept(thief, first, local=BOB, remote=ALICE, entropy=seeded("thief"), now=0)
    return plaintext


def test_a_stolen_account_opens_no_first_message_that_used_one_time_keys() -> None:
    talk = Conversation(111).established()
    with pytest.raises(UnknownPreKey):
        thief_accepts(talk.bob_account.to_bytes(), talk.sent[0].ciphertext)


def test_nor_with_any_other_combination_of_its_keys() -> None:
    talk = Conversation(112).established()
    stolen = talk.bob_account.to_bytes()
    first = PreKeyMessage.parse(talk.sent[0].ciphertext.body)
    published = talk.bob_account.published_prekeys()
    assert published.last_resort_kem_prekey is not None
    one_time_ids = [None, *(key.id for key in published.one_time_prekeys)]
    kem_ids = [published.last_resort_kem_prekey.id, *(key.id for key in published.one_time_kem_prekeys)]
    for one_time_id, kem_id in product(one_time_ids, kem_ids):
        body = rewrapped(first, one_time_prekey_id=one_time_id, kem_prekey_id=kem_id)
        with pytest.raises(RatchetError):
            thief_accepts(stolen, Ciphertext(CiphertextKind.PREKEY, body))


def test_the_one_time_keys_that_were_used_are_not_stored() -> None:
    talk = Conversation(113).alice_sends()
    first = PreKeyMessage.parse(talk.sent[0].ciphertext.body)
    assert first.one_time_prekey_id is not None
    assert first.kem_prekey_id is not None
    private = talk.bob_account.one_time_prekey(first.one_time_prekey_id).pair.private
    seed = talk.bob_account.kem_prekey(first.kem_prekey_id).seed
    stored = talk.bob_account.to_bytes()
    assert private in stored
    assert seed in stored
    talk.deliver(0)
    stored = talk.bob_account.to_bytes() + talk.bobs.to_bytes()
    assert private not in stored
    assert seed not in stored


def test_a_stolen_account_opens_no_message_after_the_first_answer() -> None:
    talk = Conversation(114, one_time=False).established().ping_pong(2)
    dictionary = Dictionary(talk.bob_account.to_bytes())
    identities = talk.alice_account.identity_key + talk.bob_account.identity_key
    later = PreKeyMessage.parse(talk.sent[0].ciphertext.body).message
    assert not dictionary.opens(later, identities)


def test_a_first_message_without_one_time_keys_opens_to_a_thief_until_its_prekeys_are_deleted() -> None:
    """The known limit of the handshake: PQXDH, section 4.7, and X3DH, section 4.6."""
    talk = Conversation(115, one_time=False).established()
    first = talk.sent[0]
    assert thief_accepts(talk.bob_account.to_bytes(), first.ciphertext) == first.plaintext

    talk.bob_account.rotate_signed_prekey(entropy=seeded(1), now=0)
    assert thief_accepts(talk.bob_account.to_bytes(), first.ciphertext) == first.plaintext

    talk.bob_account.rotate_signed_prekey(entropy=seeded(2), now=REPLACED_KEY_AGE_S)
    with pytest.raises(UnknownPreKey):
        thief_accepts(talk.bob_account.to_bytes(), first.ciphertext)


def test_with_account_and_session_stolen_together_nothing_sent_before_opens() -> None:
    talk = Conversation(116).established().ping_pong(3)
    stolen_account, stolen_session = talk.bob_account.to_bytes(), talk.bobs.to_bytes()
    for message in talk.sent:
        if message.by_alice:
            with pytest.raises(RatchetError):
                Session.from_bytes(stolen_session).decrypt(Account.from_bytes(stolen_account), message.ciphertext)


def test_discarded_one_time_keys_are_not_stored() -> None:
    talk = Conversation(117)
    keys = talk.bob_account.published_prekeys().one_time_prekeys
    privates = [talk.bob_account.one_time_prekey(key.id).pair.private for key in keys]
    talk.bob_account.discard_one_time_prekeys()
    stored = talk.bob_account.to_bytes()
    assert privates
    assert not [private for private in privates if private in stored]


GROUP = UUID(int=7)


def group(count: int) -> tuple[OwnSenderKey, PeerSenderKey, list[bytes]]:
    sender = OwnSenderKey.create(GROUP, entropy=seeded("sender"))
    member = PeerSenderKey.from_distribution_message(sender.distribution_message())
    bodies = [sender.encrypt(b"message %d" % i) for i in range(count)]
    return sender, member, bodies


def test_a_stolen_sender_key_of_a_member_opens_nothing_that_the_member_has_read() -> None:
    _sender, member, bodies = group(8)
    for late in (3, 1, 0, 2, 7, 5, 4, 6):
        member.decrypt(bodies[late])
    stolen = member.to_bytes()
    dictionary = Dictionary(stolen)
    for i, body in enumerate(bodies):
        with pytest.raises(MessageKeyGone):
            PeerSenderKey.from_bytes(stolen).decrypt(body)
        assert not dictionary.opens_group(SenderKeyMessage.parse(body).ciphertext, b"message %d" % i)


def test_a_stolen_sender_key_of_the_sender_opens_nothing_that_was_sent_before() -> None:
    sender, _member, bodies = group(8)
    dictionary = Dictionary(sender.to_bytes())
    thief = PeerSenderKey.from_distribution_message(OwnSenderKey.from_bytes(sender.to_bytes()).distribution_message())
    for i, body in enumerate(bodies):
        with pytest.raises(MessageKeyGone):
            thief.decrypt(body)
        assert not dictionary.opens_group(SenderKeyMessage.parse(body).ciphertext, b"message %d" % i)


def test_the_same_search_opens_what_is_sent_after_the_theft() -> None:
    sender, member, _bodies = group(3)
    for dictionary in (Dictionary(sender.to_bytes()), Dictionary(member.to_bytes())):
        following = OwnSenderKey.from_bytes(sender.to_bytes()).encrypt(b"after the theft")
        assert dictionary.opens_group(SenderKeyMessage.parse(following).ciphertext, b"after the theft")


def test_a_skipped_group_message_opens_to_a_thief_until_it_has_been_read() -> None:
    _sender, member, bodies = group(3)
    member.decrypt(bodies[2])
    assert Dictionary(member.to_bytes()).opens_group(SenderKeyMessage.parse(bodies[0]).ciphertext, b"message 0")
    member.decrypt(bodies[0])
    assert not Dictionary(member.to_bytes()).opens_group(SenderKeyMessage.parse(bodies[0]).ciphertext, b"message 0")


def test_a_sender_key_does_not_heal_and_a_new_one_locks_the_thief_out() -> None:
    sender, member, _bodies = group(1)
    thief = PeerSenderKey.from_bytes(member.to_bytes())
    for i in range(20):
        assert thief.decrypt(sender.encrypt(b"%d" % i)) == b"%d" % i
    replacement = OwnSenderKey.create(GROUP, entropy=seeded("new"))
    with pytest.raises(RatchetError):
        thief.decrypt(replacement.encrypt(b"without the thief"))


def test_a_stolen_members_key_cannot_write_in_the_senders_name() -> None:
    sender, member, _bodies = group(1)
    signing = OwnSenderKey.from_bytes(sender.to_bytes())._signing
    assert signing.seed is not None
    assert signing.seed in sender.to_bytes()
    assert signing.seed not in member.to_bytes()
    assert signing.private not in member.to_bytes()
