"""libsignal's session.rs: starting a session, and messages in order, out of order, twice."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from ratchet import (
    CiphertextKind,
    IdentityChanged,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    PreKeyBundle,
    Session,
    UnknownPreKey,
    UnsupportedVersion,
)
from ratchet.keys import IdentityKeyPair, KeyPair
from ratchet.messages import PreKeyMessage, SignalMessage
from ratchet.prekeys import KemPreKey, OneTimePreKey, PreKeyUse, SignedPreKey
from tests.conformance.forging import MESSAGE, flip_bit, prekey_field, with_field
from tests.support.conversation import ALICE, BOB, Conversation, Device, account, refused, seeded, talk_plainly

# Starting.


def test_a_bundle_makes_a_version_4_session_whose_answer_is_a_plain_message() -> None:
    talk = Conversation(seed=1).alice_sends()

    assert talk.deliver(0) == b"0 from alice"
    assert talk.bob_sends().deliver_last() == b"1 from bob"

    assert [message.ciphertext.kind for message in talk.sent] == [CiphertextKind.PREKEY, CiphertextKind.SIGNAL]
    assert (talk.alice.version, talk.bobs.version) == (4, 4)
    assert not talk.alice.awaiting_answer


def test_sixty_messages_pass_while_ten_of_each_side_are_late() -> None:
    talk = Conversation(seed=2).established()
    talk.alice_sends(10).bob_sends(10)
    late = range(2, 22)

    talk.ping_pong(2)
    talk.alice_sends(20).bob_sends(20)
    for number in range(26, 66):
        assert talk.deliver(number) == talk.plaintexts[number]

    assert [talk.deliver(number) for number in late] == [talk.plaintexts[number] for number in late]


def test_a_new_identity_of_the_peer_is_refused_until_the_caller_accepts_it() -> None:
    talk = Conversation(seed=3).established()
    reinstalled = account("alice on a new telephone")
    fresh = Session.initiate(reinstalled, talk.bob_account.bundle(), local=ALICE, remote=BOB, now=0)
    first = fresh.encrypt(b"it is me", now=0)

    with refused(IdentityChanged, talk.bobs, talk.bob_account) as caught:
        talk.bobs.decrypt(talk.bob_account, first, now=0)

    assert isinstance(caught.value, IdentityChanged)
    assert (caught.value.known, caught.value.received) == (talk.alice_account.identity_key, reinstalled.identity_key)
    trusted, plaintext = Session.accept(talk.bob_account, first, local=BOB, remote=ALICE, now=0)
    assert plaintext == b"it is me"
    assert trusted.remote_identity_key == reinstalled.identity_key


def test_a_bundle_of_another_identity_does_not_renew_a_session() -> None:
    talk = Conversation(seed=4).established()

    with refused(IdentityChanged, talk.alice, talk.alice_account):
        talk.alice.renew(talk.alice_account, account("mallory").bundle(), now=0)


def test_a_bundle_with_an_identity_that_did_not_sign_it_is_refused() -> None:
    bundle = replace(account("bob").bundle(), identity_key=account("mallory").identity_key)
    alice = account("alice")

    with refused(NotAuthentic, alice):
        Session.initiate(alice, bundle, now=0)


@pytest.mark.parametrize("signature", ["signed_prekey_signature", "kem_prekey_signature"])
def test_a_bundle_with_any_bit_of_a_signature_flipped_is_refused(signature: str) -> None:
    alice, good = account("alice"), account("bob").bundle()
    Session.initiate(alice, good, now=0)

    for position in range(8 * 64):
        change: dict[str, Any] = {signature: flip_bit(getattr(good, signature), position)}
        with pytest.raises(NotAuthentic):
            Session.initiate(alice, replace(good, **change), now=0)


def test_a_second_first_message_is_still_read_after_the_answer() -> None:
    talk = Conversation(seed=5).alice_sends(2)
    assert talk.sent[1].ciphertext.kind is CiphertextKind.PREKEY

    talk.deliver(0)
    talk.bob_sends().deliver_last()

    assert talk.deliver(1) == b"1 from alice"
    assert talk.alice_sends().deliver_last() == b"3 from alice"
    assert talk.bobs.archived_count == 0


def test_a_damaged_first_message_leaves_the_one_time_prekeys_for_the_good_one() -> None:
    talk = Conversation(seed=6).alice_sends()
    good = talk.sent[0].ciphertext
    inner = prekey_field(good, MESSAGE)
    damaged = with_field(good, MESSAGE, flip_bit(inner, 8 * len(inner) - 9))

    with refused(NotAuthentic, talk.bob_account):
        Session.accept(talk.bob_account, damaged, local=BOB, remote=ALICE, now=0)
    assert talk.bob_account.one_time_prekey_count == talk.bob_account.one_time_kem_prekey_count == 3

    assert talk.deliver(0) == b"0 from alice"
    assert talk.bob_account.one_time_prekey_count == talk.bob_account.one_time_kem_prekey_count == 2


def test_a_bundle_without_a_one_time_prekey_starts_a_session() -> None:
    talk = Conversation(seed=7, one_time=False).alice_sends()

    assert PreKeyMessage.parse(talk.sent[0].ciphertext.body).one_time_prekey_id is None
    assert talk.deliver(0) == b"0 from alice"
    assert talk.bob_sends().deliver_last() == b"1 from bob"
    assert not talk.alice.one_time_prekey_used


class PreKeysOfIdZero:
    """A prekey source whose three keys all have the id 0, as each kind may have in libsignal."""

    def __init__(self) -> None:
        entropy = seeded("keys of id zero")
        self.identity = IdentityKeyPair.generate(entropy)
        self.registration_id = 1
        self._signed = SignedPreKey.generate(self.identity, 0, entropy, 0)
        self._one_time = OneTimePreKey(0, KeyPair.generate(entropy))
        self._kem = KemPreKey.generate(self.identity, 0, entropy, 0, last_resort=False)
        self.used: list[PreKeyUse] = []

    def bundle(self) -> PreKeyBundle:
        return PreKeyBundle(
            registration_id=self.registration_id,
            device_id=1,
            identity_key=self.identity.public_key,
            signed_prekey_id=0,
            signed_prekey=self._signed.pair.public,
            signed_prekey_signature=self._signed.signature,
            kem_prekey_id=0,
            kem_prekey=self._kem.public,
            kem_prekey_signature=self._kem.signature,
            one_time_prekey_id=0,
            one_time_prekey=self._one_time.pair.public,
        )

    def signed_prekey(self, prekey_id: int) -> SignedPreKey:
        return {0: self._signed}[prekey_id]

    def one_time_prekey(self, prekey_id: int) -> OneTimePreKey:
        return {0: self._one_time}[prekey_id]

    def kem_prekey(self, prekey_id: int) -> KemPreKey:
        return {0: self._kem}[prekey_id]

    def base_key_used(self, use: PreKeyUse) -> bool:
        return use in self.used

    def consume(self, use: PreKeyUse) -> None:
        self.used.append(use)


def test_zero_is_an_id_like_any_other_for_every_kind_of_prekey() -> None:
    bob = PreKeysOfIdZero()
    session = Session.initiate(account("alice"), bob.bundle(), now=0)

    first = PreKeyMessage.parse(session.encrypt(b"hi", now=0).body)
    _bobs, plaintext = Session.accept(bob, session.encrypt(b"hello", now=0), now=0)

    assert (first.signed_prekey_id, first.one_time_prekey_id, first.kem_prekey_id) == (0, 0, 0)
    assert plaintext == b"hello"
    assert [(use.signed_prekey_id, use.one_time_prekey_id, use.kem_prekey_id) for use in bob.used] == [(0, 0, 0)]


# Messages in any order.


@pytest.mark.parametrize("seed", range(3))
def test_fifty_shuffled_messages_each_way_are_all_read(seed: int) -> None:
    talk = Conversation(seed).established()
    talk.alice_sends(50).bob_sends(50)
    order = list(range(2, 102))
    random.Random(seed).shuffle(order)

    assert [talk.deliver(number) for number in order] == [talk.plaintexts[number] for number in order]


def test_a_message_delivered_twice_is_gone_the_second_time() -> None:
    talk = Conversation(seed=8).established()
    talk.alice_sends(4)
    for number in (2, 5):  # in order, and ahead
        talk.deliver(number)
        with refused(MessageKeyGone, talk.bobs):
            talk.deliver(number)

    talk.deliver(3)  # late
    with refused(MessageKeyGone, talk.bobs):
        talk.deliver(3)
    assert talk.deliver(4) == b"4 from alice"


def test_a_first_message_delivered_twice_is_gone_the_second_time() -> None:
    talk = Conversation(seed=9).alice_sends()
    talk.deliver(0)

    with refused(MessageKeyGone, talk.bobs, talk.bob_account):
        talk.deliver(0)


@pytest.mark.parametrize("steps", [300, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", range(3))
def test_random_sending_dropping_and_reordering_within_thirty_is_always_read(seed: int, steps: int) -> None:
    talk = Conversation(seed).established()
    dice = random.Random(f"fate {seed}")
    under_way: list[int] = []
    read = 0
    for _ in range(steps):
        if dice.random() < 0.5:
            talk.alice_sends() if dice.random() < 0.5 else talk.bob_sends()
            if dice.random() < 0.8:
                under_way.append(len(talk.sent) - 1)
        elif under_way:
            number = under_way.pop(dice.randrange(min(30, len(under_way))))
            assert talk.deliver(number) == talk.plaintexts[number]
            read += 1

    assert read > steps // 4


def test_every_message_carries_its_part_of_the_post_quantum_ratchet_and_both_ends_have_its_state() -> None:
    talk = Conversation(seed=10)
    assert talk.alice.post_quantum_epoch == 0

    talk.ping_pong(60)

    first = PreKeyMessage.parse(talk.sent[0].ciphertext.body).message
    others = [SignalMessage.parse(message.ciphertext.body) for message in talk.sent[1:]]
    assert all(message.pq_ratchet for message in (first, *others))
    assert talk.alice.post_quantum_epoch
    assert talk.bobs.post_quantum_epoch


# Versions.


def test_a_first_message_of_x3dh_is_refused_as_a_version_not_spoken() -> None:
    talk = Conversation(seed=11, kem=False).alice_sends()

    with refused(UnsupportedVersion, talk.bob_account) as caught:
        Session.accept(talk.bob_account, talk.sent[0].ciphertext, local=BOB, remote=ALICE, now=0)

    assert "X3DH" in str(caught.value)


def test_a_first_message_of_x3dh_is_read_without_being_allowed_where_its_session_is_known() -> None:
    talk = Conversation(seed=12, kem=False).alice_sends(2)
    talk.deliver(0)

    assert talk.bobs.decrypt(talk.bob_account, talk.sent[1].ciphertext, now=0) == b"1 from alice"


def test_a_stored_x3dh_session_goes_on_and_tells_whoever_requires_pqxdh() -> None:
    talk = Conversation(seed=13, kem=False).established().reload()

    assert talk.alice_sends().deliver_last() == b"2 from alice"
    assert talk.bob_sends().deliver_last() == b"3 from bob"
    assert (talk.alice.version, talk.bobs.version) == (3, 3)
    assert talk.alice.post_quantum_epoch is None


# First messages under another address.


def test_a_first_message_replayed_under_another_name_finds_its_one_time_prekeys_gone() -> None:
    alice, bob, mallory = Device("alice", None), Device("bob", None), Device("mallory", None)
    first = alice.start(bob).send(b"hi")
    bob.receive(alice, first)

    as_mallorys = Device("bob", None)  # the same account, asked for a session with somebody else
    as_mallorys.account = bob.account
    with refused(UnknownPreKey, bob.account):
        as_mallorys.receive(mallory, first)
    assert as_mallorys.session is None


def test_a_first_message_without_one_time_prekeys_replayed_under_another_name_is_a_reused_base_key() -> None:
    alice, bob, mallory = Device("alice", None), Device("bob", None), Device("mallory", None)
    first = alice.start(bob, one_time=False).send(b"hi")
    bob.receive(alice, first)

    as_mallorys = Device("bob", None)
    as_mallorys.account = bob.account
    with refused(MessageKeyGone, bob.account) as caught:
        as_mallorys.receive(mallory, first)
    assert "base key" in str(caught.value)
    assert as_mallorys.session is None


@pytest.mark.parametrize("wrong", ["name", "device"])
def test_a_first_message_addressed_to_somebody_else_is_not_authentic(wrong: str) -> None:
    other = replace(BOB, name=ALICE.name) if wrong == "name" else replace(BOB, device_id=2)
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    misled = alice.start(bob).send(b"hi")
    bob.address = other

    with refused(NotAuthentic, bob.account):
        bob.receive(alice, misled)
    assert bob.session is None

    bob.address = BOB
    assert bob.receive(alice, misled) == b"hi"


# Sessions that nobody answers.


DAY = 24 * 3600


def test_an_unanswered_session_sends_for_thirty_days_and_then_no_longer() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    alice.start(bob, now=1_000)

    assert alice.send(b"day 30", now=1_000 + 30 * DAY).kind is CiphertextKind.PREKEY
    with refused(NoActiveSession, alice.shared):
        alice.send(b"a second later", now=1_001 + 30 * DAY)
    with refused(NoActiveSession, alice.shared):
        alice.send(b"day 90", now=1_000 + 90 * DAY)


def test_an_answered_session_never_grows_too_old_to_send() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    bob.receive(alice, alice.start(bob).send(b"hi"))
    alice.receive(bob, bob.send(b"hello"))

    assert bob.receive(alice, alice.send(b"years later", now=4_000 * DAY)) == b"years later"
    talk_plainly(alice, bob)


def test_an_expired_session_is_renewed_from_a_bundle() -> None:
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    alice.start(bob, now=0)
    alice.start(bob, now=90 * DAY)

    assert bob.receive(alice, alice.send(b"again", now=90 * DAY)) == b"again"
