"""Bad first messages: a typed error, no session, and the account keeps every prekey, whatever failed when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet import (
    Account,
    Ciphertext,
    CiphertextKind,
    IdentityChanged,
    IdentityKeyPair,
    InvalidArgument,
    MalformedMessage,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    RatchetError,
    Session,
    TooFarAhead,
    UnknownPreKey,
    UnsupportedVersion,
)
from ratchet.messages import PreKeyMessage
from tests.conformance.forging import torsioned, with_high_bit
from tests.security.first_message import REFUSED, FirstMessage
from tests.support.adversary import (
    LOW_ORDER_KEYS,
    bit_flips,
    raises_and_changes_nothing,
    same_state,
)
from tests.support.conversation import ALICE, BOB, Conversation, account, lose, seeded
from tests.support.naming import case_name

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["to a stranger", "to a stranger, without one-time keys", "beside an older session"])
def first(request: pytest.FixtureRequest) -> FirstMessage:
    return FirstMessage(
        one_time=request.param != "to a stranger, without one-time keys",
        older_session=request.param == "beside an older session",
    )


def test_a_first_message_written_again_field_by_field_is_read(first: FirstMessage) -> None:
    assert first.received(first.changed()) == first.plaintext


def test_a_first_message_cut_at_any_length_is_refused(first: FirstMessage) -> None:
    with same_state(*first.objects):
        for length in range(len(first.body)):
            with pytest.raises(REFUSED):
                first.received(first.body[:length])
    assert first.received(first.body) == first.plaintext


def uncovered_bits(first: FirstMessage) -> set[int]:
    """What no tag covers: the lower half of the outer version byte, which is not looked at, and the registration id.

    Of the latter's key, field 5, one flip makes field 13, which is unknown, another field 7, which follows and counts.
    """
    start = first.body.index(b"\x28\x2a\x30")  # field 5, registration id 42, key of field 6
    return {*range(4), 8 * start + 4, 8 * start + 6, *range(8 * start + 8, 8 * start + 15)}


def flips(first: FirstMessage, step_in_ciphertext: int) -> Iterator[tuple[int, bytes]]:
    ciphertext = first.body.index(first.parsed.kem_ciphertext or b"")
    for bit, body in bit_flips(first.body):
        if not ciphertext + 1 <= bit >> 3 < ciphertext + 1569 or (bit >> 3) % step_in_ciphertext == 0:
            yield bit, body


def refuses_flips(first: FirstMessage, step_in_ciphertext: int) -> None:
    uncovered = uncovered_bits(first)
    with same_state(*first.objects):
        for bit, body in flips(first, step_in_ciphertext):
            if bit not in uncovered:
                with pytest.raises((*REFUSED, IdentityChanged)):
                    first.received(body)
    assert first.received(first.body) == first.plaintext


def test_a_first_message_with_one_bit_flipped_is_refused_outside_of_what_means_nothing(first: FirstMessage) -> None:
    refuses_flips(first, 64)


@pytest.mark.slow
def test_a_first_message_with_any_bit_of_the_kem_ciphertext_flipped_is_refused(first: FirstMessage) -> None:
    refuses_flips(first, 1)


def test_flips_of_what_means_nothing_change_neither_plaintext_nor_keys() -> None:
    first = FirstMessage()
    bodies = {bit: body for bit, body in bit_flips(first.body) if bit in uncovered_bits(first)}
    stored = first.bob.to_bytes()
    opened = [
        Session.accept(
            Account.from_bytes(stored),
            Ciphertext(CiphertextKind.PREKEY, body),
            local=BOB,
            remote=ALICE,
            now=0,
            entropy=seeded(1),
        )
        for body in (first.body, *bodies.values())
    ]
    assert {plaintext for _session, plaintext in opened} == {first.plaintext}
    assert len({session.encrypt(b"answer", now=0, entropy=seeded(2)).body for session, _plaintext in opened}) == 1


def test_a_replayed_first_message_with_one_time_keys_finds_them_gone() -> None:
    first = FirstMessage()
    first.received(first.body)
    first.refused(first.body, UnknownPreKey)


def test_a_replayed_first_message_without_one_time_keys_is_known_by_its_base_key() -> None:
    first = FirstMessage(one_time=False)
    first.received(first.body)
    first.refused(first.body, MessageKeyGone)


def test_a_replay_is_still_known_after_account_and_rotation_have_been_stored() -> None:
    first = FirstMessage(one_time=False)
    first.received(first.body)
    first.bob.rotate_signed_prekey(entropy=seeded(3), now=29 * 24 * 3600)
    first.bob = Account.from_bytes(first.bob.to_bytes())
    first.refused(first.body, MessageKeyGone)


def test_a_replay_beside_the_session_that_it_started_is_a_used_key() -> None:
    first = FirstMessage(older_session=True)
    first.received(first.body)
    first.refused(first.body, MessageKeyGone)


def test_a_replay_after_its_ratchet_fell_out_of_the_archive_starts_nothing() -> None:
    talk = Conversation(42, one_time=False).established()
    for _ in range(41):
        talk.bobs.renew(talk.bob_account, talk.alice_account.bundle(one_time=False), now=0, entropy=talk.entropy)
    with raises_and_changes_nothing(MessageKeyGone, talk.bobs, talk.bob_account):
        talk.deliver(0)


def test_another_base_key_around_an_old_inner_message_is_refused(first: FirstMessage) -> None:
    other = account("somebody").bundle().signed_prekey
    first.refused(first.changed(base_key=other), NotAuthentic)


def test_an_old_inner_message_in_a_new_handshake_is_refused() -> None:
    first, second = FirstMessage(43), FirstMessage(43)
    message = first.parsed.message.authenticated + first.parsed.message.tag
    second.refused(second.changed(message=message), NotAuthentic)


@pytest.mark.parametrize("forged", ["signed_prekey_id", "kem_prekey_id", "one_time_prekey_id"])
@pytest.mark.parametrize("prekey_id", [0, 99, 2**24, 2**32 - 1])
def test_a_prekey_id_that_was_never_given_out_is_unknown(forged: str, prekey_id: int) -> None:
    first = FirstMessage()
    first.refused(first.changed(**{forged: prekey_id}), UnknownPreKey)


def test_another_prekey_id_that_exists_is_not_authentic() -> None:
    first = FirstMessage()
    first.bob.rotate_signed_prekey(entropy=seeded(3), now=0)
    published = first.bob.published_prekeys()
    assert published.signed_prekey is not None
    assert published.last_resort_kem_prekey is not None
    others: dict[str, list[int]] = {
        "signed_prekey_id": [published.signed_prekey.id],
        "one_time_prekey_id": [key.id for key in published.one_time_prekeys],
        "kem_prekey_id": [key.id for key in published.one_time_kem_prekeys] + [published.last_resort_kem_prekey.id],
    }
    for name, ids in others.items():
        for prekey_id in ids:
            if prekey_id != getattr(first.parsed, name):
                first.refused(first.changed(**{name: prekey_id}), NotAuthentic)


def test_a_one_time_prekey_left_out_or_put_in_is_not_authentic() -> None:
    with_key, without = FirstMessage(), FirstMessage(one_time=False)
    with_key.refused(with_key.changed(one_time_prekey_id=None), NotAuthentic)
    unused = without.bob.published_prekeys().one_time_prekeys[0].id
    without.refused(without.changed(one_time_prekey_id=unused), NotAuthentic)


def test_the_kem_part_left_out_is_malformed_and_as_a_version_3_message_it_is_refused(first: FirstMessage) -> None:
    without = {"kem_prekey_id": None, "kem_ciphertext": None}
    first.refused(first.changed(**without), MalformedMessage)
    first.refused(first.changed(**without, version=3), MalformedMessage)


def test_a_message_turned_into_version_3_is_refused_even_where_x3dh_is_allowed() -> None:
    first = FirstMessage()
    inner = b"\x34" + first.parsed.message.authenticated[1:] + first.parsed.message.tag
    body = first.changed(version=3, kem_prekey_id=None, kem_ciphertext=None, message=inner)
    with raises_and_changes_nothing(NotAuthentic, first.bob):
        Session.accept(first.bob, Ciphertext(CiphertextKind.PREKEY, body), allow_x3dh=True)


def test_a_first_message_stripped_of_spqr_is_refused_even_where_that_is_allowed() -> None:
    first = FirstMessage()
    message = first.parsed.message
    stripped = message.authenticated.replace(b"\x2a%c" % len(message.pq_ratchet) + message.pq_ratchet, b"")
    assert len(stripped) < len(message.authenticated)
    body = first.changed(message=stripped + message.tag)
    for allowed, expected in ((False, UnsupportedVersion), (True, NotAuthentic)):
        with raises_and_changes_nothing(expected, first.bob):
            Session.accept(
                first.bob,
                Ciphertext(CiphertextKind.PREKEY, body),
                local=BOB,
                remote=ALICE,
                allow_without_spqr=allowed,
            )


def test_a_peer_without_spqr_is_refused_by_default() -> None:
    talk = Conversation(44, spqr=False).alice_sends()
    with raises_and_changes_nothing(UnsupportedVersion, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[0].ciphertext, local=BOB, remote=ALICE)


def test_a_version_3_peer_is_refused_by_default() -> None:
    talk = Conversation(45, kem=False).alice_sends()
    with raises_and_changes_nothing(UnsupportedVersion, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[0].ciphertext, local=BOB, remote=ALICE)


@pytest.mark.parametrize("key", LOW_ORDER_KEYS)
@pytest.mark.parametrize("name", ["base_key", "identity_key"])
def test_a_key_of_low_order_is_refused(name: str, key: bytes) -> None:
    first = FirstMessage()
    first.refused(first.changed(**{name: b"\x05" + key}), NotAuthentic)


def test_other_encodings_of_the_same_base_key_are_refused(first: FirstMessage) -> None:
    for key in (torsioned(first.parsed.base_key), with_high_bit(first.parsed.base_key)):
        first.refused(first.changed(base_key=key), NotAuthentic)


def test_other_encodings_of_the_same_identity_key_are_refused() -> None:
    first = FirstMessage()
    for key in (torsioned(first.parsed.identity_key), with_high_bit(first.parsed.identity_key)):
        first.refused(first.changed(identity_key=key), NotAuthentic)


def test_a_first_message_under_another_identity_is_refused_and_within_a_session_named_as_such() -> None:
    mallory = account("mallory").identity_key
    stranger, known = FirstMessage(), FirstMessage(older_session=True)
    stranger.refused(stranger.changed(identity_key=mallory), NotAuthentic)
    known.refused(known.changed(identity_key=mallory), IdentityChanged)


def test_somebody_who_takes_our_own_identity_is_refused() -> None:
    first = FirstMessage()
    first.refused(first.changed(identity_key=first.bob.identity_key), NotAuthentic)


def test_a_first_message_for_another_account_is_refused() -> None:
    first = FirstMessage()
    carol = account("carol")
    with raises_and_changes_nothing(NotAuthentic, carol):
        Session.accept(carol, Ciphertext(CiphertextKind.PREKEY, first.body), local=BOB, remote=ALICE)


@pytest.mark.parametrize(
    ("local", "remote"),
    [(BOB, BOB), (ALICE, ALICE), (ALICE, BOB), (None, ALICE), (BOB, None), (None, None)],
)
def test_a_first_message_bound_to_two_addresses_is_refused_between_others(local: Any, remote: Any) -> None:  # noqa: ANN401
    first = FirstMessage()
    with raises_and_changes_nothing(NotAuthentic, first.bob):
        Session.accept(first.bob, Ciphertext(CiphertextKind.PREKEY, first.body), local=local, remote=remote)


def test_a_first_message_is_refused_by_another_device_of_its_sender_or_recipient() -> None:
    first = FirstMessage()
    for local, remote in ((replace(BOB, device_id=2), ALICE), (BOB, replace(ALICE, device_id=2))):
        with raises_and_changes_nothing(NotAuthentic, first.bob):
            Session.accept(first.bob, Ciphertext(CiphertextKind.PREKEY, first.body), local=local, remote=remote)


def test_a_plain_message_starts_no_session() -> None:
    talk = Conversation(46).established().alice_sends()
    with raises_and_changes_nothing(NoActiveSession, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[-1].ciphertext)


def test_a_first_message_too_far_ahead_starts_no_session() -> None:
    talk = Conversation(47)
    lose(talk.alice, 25_001)
    talk.alice_sends()
    with raises_and_changes_nothing(TooFarAhead, talk.bob_account):
        talk.deliver_last()


def test_a_session_of_one_account_accepts_nothing_into_another() -> None:
    first = FirstMessage(older_session=True)
    assert first.session is not None
    stranger = account("stranger")
    with raises_and_changes_nothing(InvalidArgument, first.session, stranger):
        first.session.decrypt(stranger, Ciphertext(CiphertextKind.PREKEY, first.body))


@given(body=st.binary(max_size=200))
def test_random_bytes_start_no_session(body: bytes) -> None:
    FIRST.refused(body)


FIRST = FirstMessage(48)


@given(data=st.data())
def test_a_first_message_with_a_random_piece_replaced_is_refused_or_says_the_same(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(FIRST.body)))
    length = data.draw(st.integers(0, 40))
    body = FIRST.body[:start] + data.draw(st.binary(max_size=40)) + FIRST.body[start + length :]
    bob = Account.from_bytes(FIRST.bob.to_bytes())
    try:
        _session, plaintext = Session.accept(bob, Ciphertext(CiphertextKind.PREKEY, body), local=BOB, remote=ALICE)
    except RatchetError:
        assert bob.to_bytes() == FIRST.bob.to_bytes()
    else:
        assert plaintext == FIRST.plaintext


@given(changes=st.dictionaries(st.sampled_from(["registration_id", "signed_prekey_id"]), st.integers(0, 2**64 - 1)))
def test_numbers_of_any_size_are_read_as_their_low_32_bits(changes: dict[str, int | bytes | None]) -> None:
    parsed = PreKeyMessage.parse(FIRST.changed(**changes))
    for name, value in changes.items():
        assert isinstance(value, int)
        assert getattr(parsed, name) == value & 0xFFFFFFFF


WRONG_TYPES: list[Any] = [None, 0, 1.5, "text", bytearray(b"abc"), memoryview(b"abc"), [], {}, object()]


@pytest.mark.parametrize("body", WRONG_TYPES, ids=case_name)
def test_a_body_that_is_no_bytes_is_malformed(body: Any) -> None:  # noqa: ANN401
    FIRST.refused(body, MalformedMessage)


@pytest.mark.parametrize("ciphertext", [*WRONG_TYPES, b"bytes", (3, b"bytes")], ids=case_name)
def test_what_is_no_ciphertext_is_an_invalid_argument(ciphertext: Any) -> None:  # noqa: ANN401
    with raises_and_changes_nothing(InvalidArgument, FIRST.bob):
        Session.accept(FIRST.bob, ciphertext)


def test_a_renewal_from_another_identity_changes_nothing() -> None:
    talk = Conversation(49).established()
    mallory = account("mallory")
    with raises_and_changes_nothing(IdentityChanged, talk.alice, talk.alice_account):
        talk.alice.renew(talk.alice_account, mallory.bundle())


def test_a_renewal_with_another_account_changes_nothing() -> None:
    talk = Conversation(50).established()
    with raises_and_changes_nothing(InvalidArgument, talk.alice, talk.bob_account):
        talk.alice.renew(talk.bob_account, talk.bob_account.bundle(one_time=False))


def test_a_peer_with_two_identities_has_two_sessions() -> None:
    bob = account("bob")
    firsts = []
    for seed in ("old phone", "new phone"):
        alice = Account.create(identity=IdentityKeyPair.generate(seeded(seed)), one_time_prekeys=0, now=0)
        firsts.append(Session.initiate(alice, bob.bundle(), now=0).encrypt(b"hi", now=0))
    old, new = (Session.accept(bob, first, now=0)[0] for first in firsts)
    assert old.remote_identity_key != new.remote_identity_key
    for session, others in ((old, firsts[1]), (new, firsts[0])):
        with raises_and_changes_nothing(IdentityChanged, session, bob):
            session.decrypt(bob, others)
