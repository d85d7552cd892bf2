"""A session: what it is asked, what it tells, and what it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from ratchet import (
    Account,
    Address,
    Ciphertext,
    CiphertextKind,
    CorruptSnapshot,
    IdentityChanged,
    InvalidArgument,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    Session,
    UnsupportedVersion,
)
from ratchet.limits import PLAINTEXT_SIZE_MAX, UNACKNOWLEDGED_AGE_MAX_S
from ratchet.messages import PreKeyMessage
from ratchet.packing import pack, unpack
from tests.support.adversary import inner
from tests.support.conversation import ALICE, BOB, Conversation, account, refused, seeded
from tests.support.naming import case_name

# --- starting --------------------------------------------------------------------------------------------------


def test_the_readmes_conversation() -> None:
    alice, bob = Account.create(one_time_prekeys=1), Account.create(one_time_prekeys=1)
    session = Session.initiate(alice, bob.bundle())
    first = session.encrypt(b"hello bob")
    bobs, plaintext = Session.accept(bob, first)
    assert plaintext == b"hello bob"
    assert session.decrypt(alice, bobs.encrypt(b"hi")) == b"hi"


def test_entropy_is_drawn_for_base_key_and_ratchet_key_and_once_for_an_answer() -> None:
    drawn: list[int] = []
    dice = seeded(1)

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return dice(size)

    alice, bob = account("alice"), account("bob")
    session = Session.initiate(alice, bob.bundle(), now=0, entropy=entropy)
    assert drawn == [32, 32]
    first = session.encrypt(b"x", now=0, entropy=entropy)
    assert drawn == [32, 32, 64]  # the first keys of the post-quantum ratchet
    Session.accept(bob, first, now=0, entropy=entropy)
    assert drawn == [32, 32, 64, 32]


def test_a_session_tells_who_it_is_between() -> None:
    talk = Conversation(1)
    session = talk.alice
    assert (session.local, session.remote) == (ALICE, BOB)
    assert session.local_identity_key == talk.alice_account.identity_key
    assert session.remote_identity_key == talk.bob_account.identity_key
    assert session.remote_registration_id == talk.bob_account.registration_id


def test_a_session_tells_its_ratchet_key_in_use_as_its_messages_show_it() -> None:
    talk = Conversation(30).established()
    for _ in range(2):
        talk.alice_sends()
        assert inner(talk.sent[-1].ciphertext).ratchet_key == talk.alice.sending_ratchet_key
        talk.deliver_last()
        talk.bob_sends().deliver_last()


def test_a_session_tells_what_it_is_like() -> None:
    talk = Conversation(2)
    assert (talk.alice.version, talk.alice.post_quantum_epoch) == (4, 0)
    assert talk.alice.can_encrypt
    assert talk.alice.one_time_prekey_used
    assert talk.alice.started_at == 0
    awaiting = [talk.alice.awaiting_answer]
    talk.established().ping_pong(50)
    awaiting.append(talk.alice.awaiting_answer)
    assert awaiting == [True, False]
    assert talk.alice.post_quantum_epoch in (1, 2)


def test_other_sessions_tell_so() -> None:
    x3dh, without_spqr = Conversation(3, kem=False, one_time=False), Conversation(3, spqr=False)
    assert (x3dh.alice.version, x3dh.alice.post_quantum_epoch) == (3, None)
    assert not x3dh.alice.one_time_prekey_used
    assert (without_spqr.alice.version, without_spqr.alice.post_quantum_epoch) == (4, None)


def test_without_a_ratchet_in_use_there_is_nothing_to_tell() -> None:
    session = Conversation(4).alice
    session.archive()
    assert not session.can_encrypt
    assert session.archived_count == 1
    for name in (
        "version",
        "remote_registration_id",
        "sending_ratchet_key",
        "awaiting_answer",
        "started_at",
        "one_time_prekey_used",
        "post_quantum_epoch",
    ):
        with pytest.raises(NoActiveSession):
            getattr(session, name)
    assert repr(session).endswith("none in use, 1 archived)")


def test_a_session_prints_its_peer_and_state() -> None:
    talk = Conversation(5)
    key = talk.bob_account.identity_key.hex()
    assert repr(talk.alice) == f"Session(remote_identity_key={key}, version 4, 0 archived)"


@pytest.mark.parametrize("address", ["alice", ("alice", 1), 5], ids=case_name)
def test_an_address_is_an_address(address: Any) -> None:  # noqa: ANN401
    talk = Conversation(6).alice_sends()
    with refused(InvalidArgument, talk.alice_account):
        Session.initiate(talk.alice_account, talk.bob_account.bundle(one_time=False), local=address)
    with refused(InvalidArgument, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[0].ciphertext, remote=address)


def test_a_bundle_is_of_the_device_that_the_address_names() -> None:
    talk = Conversation(32)
    for device_id in (1, 3):
        with refused(InvalidArgument, talk.alice_account):
            Session.initiate(talk.alice_account, talk.bob_account.bundle(device_id), remote=Address(BOB.name, 2))
    session = Session.initiate(talk.alice_account, talk.bob_account.bundle(2), remote=Address(BOB.name, 2))
    assert session.remote == Address(BOB.name, 2)


@pytest.mark.parametrize("bundle", [None, b"bundle", {}, account("bob")], ids=range(4))
def test_a_bundle_is_a_bundle(bundle: Any) -> None:  # noqa: ANN401
    talk = Conversation(7).established()
    with pytest.raises(InvalidArgument):
        Session.initiate(talk.alice_account, bundle)
    with refused(InvalidArgument, talk.alice):
        talk.alice.renew(talk.alice_account, bundle)


class WithoutIdentity:
    identity = "no key pair"
    registration_id = 5


@pytest.mark.parametrize("source", [None, "account", WithoutIdentity()], ids=range(3))
def test_an_account_has_an_identity(source: Any) -> None:  # noqa: ANN401
    talk = Conversation(8).alice_sends()
    with pytest.raises(InvalidArgument):
        Session.initiate(source, talk.bob_account.bundle())
    with pytest.raises(InvalidArgument):
        Session.accept(source, talk.sent[0].ciphertext)


def test_a_first_message_without_session_starts_one_and_a_plain_one_does_not() -> None:
    talk = Conversation(9).established().alice_sends()
    with refused(NoActiveSession, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[-1].ciphertext)


# --- renewing --------------------------------------------------------------------------------------------------


def test_a_renewed_session_starts_afresh_and_still_reads_the_old_messages() -> None:
    talk = Conversation(10).established().bob_sends()
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0, entropy=talk.entropy)
    assert talk.alice.awaiting_answer
    assert talk.alice.archived_count == 1
    assert talk.deliver_last() == talk.plaintexts[-1]


def test_a_session_is_renewed_for_the_same_two_identities_only() -> None:
    talk = Conversation(11).established()
    stranger = account("stranger")
    with refused(IdentityChanged, talk.alice) as caught:
        talk.alice.renew(talk.alice_account, stranger.bundle())
    assert isinstance(caught.value, IdentityChanged)
    assert (caught.value.known, caught.value.received) == (talk.bob_account.identity_key, stranger.identity_key)
    with refused(InvalidArgument, talk.alice):
        talk.alice.renew(stranger, talk.bob_account.bundle(one_time=False))


def test_a_renewal_may_use_the_options_of_an_initiation() -> None:
    talk = Conversation(12).established()
    with refused(UnsupportedVersion, talk.alice):
        talk.alice.renew(talk.alice_account, talk.bob_account.bundle(kem=False))
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(kem=False), allow_x3dh=True, now=0)
    assert talk.alice.version == 3
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), without_spqr=True, now=0)
    assert (talk.alice.version, talk.alice.post_quantum_epoch) == (4, None)


# --- encrypting --------------------------------------------------------------------------------------------------


def test_messages_carry_the_handshake_until_one_is_answered() -> None:
    talk = Conversation(13).alice_sends(2)
    talk.deliver(0)
    talk.bob_sends().deliver_last()
    talk.alice_sends()
    kinds = [sent.ciphertext.kind for sent in talk.sent]
    assert kinds == [CiphertextKind.PREKEY, CiphertextKind.PREKEY, CiphertextKind.SIGNAL, CiphertextKind.SIGNAL]


@pytest.mark.parametrize("plaintext", ["text", None, bytearray(b"x"), 5], ids=case_name)
def test_a_plaintext_is_bytes(plaintext: Any) -> None:  # noqa: ANN401
    session = Conversation(14).alice
    with refused(InvalidArgument, session):
        session.encrypt(plaintext)


def test_a_plaintext_has_a_largest_size_and_may_be_empty() -> None:
    talk = Conversation(15).established()
    with refused(InvalidArgument, talk.alice):
        talk.alice.encrypt(bytes(PLAINTEXT_SIZE_MAX + 1))
    assert talk.bobs.decrypt(talk.bob_account, talk.alice.encrypt(b"")) == b""


def test_an_archived_session_encrypts_nothing() -> None:
    session = Conversation(16).alice
    session.archive()
    with refused(NoActiveSession, session):
        session.encrypt(b"hello")


def test_an_unanswered_session_encrypts_for_thirty_days() -> None:
    talk = Conversation(17)
    talk.alice.encrypt(b"in time", now=UNACKNOWLEDGED_AGE_MAX_S)
    with refused(NoActiveSession, talk.alice):
        talk.alice.encrypt(b"too late", now=UNACKNOWLEDGED_AGE_MAX_S + 1)
    talk.established()
    talk.alice.encrypt(b"answered", now=10 * UNACKNOWLEDGED_AGE_MAX_S)


# --- decrypting --------------------------------------------------------------------------------------------------


def test_a_first_message_within_a_session_starts_a_further_ratchet_and_consumes_its_prekeys() -> None:
    talk = Conversation(18).established()
    before = talk.bob_account.one_time_prekey_count
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0, entropy=talk.entropy)
    talk.alice_sends()
    assert talk.deliver_last() == talk.plaintexts[-1]
    assert talk.bobs.archived_count == 1
    assert talk.bob_account.one_time_prekey_count == before - 1


def test_a_first_message_that_does_not_verify_consumes_nothing() -> None:
    talk = Conversation(31).alice_sends()
    first = talk.sent[0].ciphertext
    body = first.body.replace(inner(first).tag, bytes(8))
    with refused(NotAuthentic, talk.bob_account):
        Session.accept(talk.bob_account, Ciphertext(first.kind, body), local=BOB, remote=ALICE)
    assert talk.deliver(0) == talk.plaintexts[0]


def test_a_repeated_first_message_consumes_nothing() -> None:
    talk = Conversation(19).alice_sends(2)
    talk.deliver(0)
    before = talk.bob_account.to_bytes()
    assert talk.deliver(1) == talk.plaintexts[1]
    assert talk.bob_account.to_bytes() == before
    with refused(MessageKeyGone, talk.bobs, talk.bob_account):
        talk.deliver(1)


def test_a_repeated_first_message_asks_nothing_of_the_account() -> None:
    talk = Conversation(20).alice_sends(2)
    talk.deliver(0)
    nobody: Any = None
    assert talk.bobs.decrypt(nobody, talk.sent[1].ciphertext) == talk.plaintexts[1]


def test_a_first_message_under_another_identity_is_named_as_such() -> None:
    talk = Conversation(21).established()
    stranger = account("stranger")
    first = Session.initiate(stranger, talk.bob_account.bundle(), now=0).encrypt(b"hello", now=0)
    with refused(IdentityChanged, talk.bobs, talk.bob_account):
        talk.bobs.decrypt(talk.bob_account, first)


def test_a_first_message_is_not_accepted_into_a_session_of_another_account() -> None:
    talk = Conversation(22).established()
    talk.alice.renew(talk.alice_account, talk.bob_account.bundle(), now=0)
    talk.alice_sends()
    with refused(InvalidArgument, talk.bobs):
        talk.bobs.decrypt(talk.alice_account, talk.sent[-1].ciphertext)


def test_x3dh_and_the_lack_of_spqr_are_allowed_by_name_only() -> None:
    for options, allowed in ({"kem": False}, "allow_x3dh"), ({"spqr": False}, "allow_without_spqr"):
        talk = Conversation(23, addresses=False, **options).alice_sends()
        with refused(UnsupportedVersion, talk.bob_account):
            Session.accept(talk.bob_account, talk.sent[0].ciphertext, now=0)
        permission: dict[str, Any] = {allowed: True}
        _session, plaintext = Session.accept(talk.bob_account, talk.sent[0].ciphertext, now=0, **permission)
        assert plaintext == talk.plaintexts[0]


KINDS: list[Any] = [2, "SIGNAL", None, 7]


@pytest.mark.parametrize(
    "ciphertext", [None, b"body", (2, b"body"), *(Ciphertext(kind, b"") for kind in KINDS)], ids=range(7)
)
def test_a_ciphertext_is_a_ciphertext_of_a_known_kind(ciphertext: Any) -> None:  # noqa: ANN401
    talk = Conversation(24).established()
    with refused(InvalidArgument, talk.bobs):
        talk.bobs.decrypt(talk.bob_account, ciphertext)
    with refused(InvalidArgument, talk.bob_account):
        Session.accept(talk.bob_account, ciphertext)


class Subclass(Ciphertext):
    """A ciphertext that is not exactly one."""

    __slots__ = ()


def test_a_subclass_of_a_ciphertext_is_none() -> None:
    talk = Conversation(25).established().alice_sends()
    body = talk.sent[-1].ciphertext.body
    with refused(InvalidArgument, talk.bobs):
        talk.bobs.decrypt(talk.bob_account, Subclass(CiphertextKind.SIGNAL, body))


def test_the_registration_id_of_a_first_message_is_what_its_sender_told() -> None:
    talk = Conversation(26).alice_sends()
    talk.deliver(0)
    told = PreKeyMessage.parse(talk.sent[0].ciphertext.body).registration_id
    assert talk.bobs.remote_registration_id == told == talk.alice_account.registration_id


# --- stored form -------------------------------------------------------------------------------------------------


def busy() -> Session:
    talk = Conversation(27).established().ping_pong(3).alice_sends(4)
    for number in (-1, -3):
        talk.deliver(len(talk.sent) + number)
    for _ in range(2):
        talk.bobs.renew(talk.bob_account, talk.alice_account.bundle(), now=60, entropy=seeded(1))
    return talk.bobs


@pytest.mark.parametrize("archived", [True, False])
def test_a_session_is_the_same_from_its_stored_form(*, archived: bool) -> None:
    session = busy()
    if archived:
        session.archive()
    again = Session.from_bytes(session.to_bytes())
    assert again.to_bytes() == session.to_bytes()
    assert repr(again) == repr(session)
    assert (again.local, again.remote) == (session.local, session.remote)


def test_a_session_without_addresses_is_stored_without() -> None:
    session = Conversation(28, addresses=False).alice
    again = Session.from_bytes(session.to_bytes())
    assert (again.local, again.remote) == (None, None)


def test_stored_at_every_step_a_conversation_goes_on() -> None:
    talk = Conversation(29)
    for _ in range(60):
        talk.reload().alice_sends()
        assert talk.reload().deliver_last() == talk.plaintexts[-1]
        talk.reload().bob_sends()
        assert talk.reload().deliver_last() == talk.plaintexts[-1]


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("value", ["text", -1, b"", [None], [b""] * 41], ids=range(5))
def test_a_value_of_the_wrong_form_is_corrupt(position: int, value: object) -> None:
    packed = unpack(busy().to_bytes(), version=1, length=6, size_max=10_000_000, what="session")
    packed[position] = value
    with pytest.raises(CorruptSnapshot):
        Session.from_bytes(pack([1, *packed]))


def test_a_session_of_a_later_release_is_told_apart() -> None:
    packed = unpack(busy().to_bytes(), version=1, length=6, size_max=10_000_000, what="session")
    with pytest.raises(UnsupportedVersion):
        Session.from_bytes(pack([2, *packed]))


def test_an_address_that_no_longer_fits_is_corrupt() -> None:
    packed = unpack(busy().to_bytes(), version=1, length=6, size_max=10_000_000, what="session")
    assert Address(*packed[2]) == BOB
    with pytest.raises(CorruptSnapshot):
        Session.from_bytes(pack([1, *packed[:2], ["", 1], *packed[3:]]))
