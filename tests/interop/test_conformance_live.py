"""Disputed behaviour, asked of libsignal itself: limits from both sides, and where ours is the stricter one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratchet import (
    Account,
    Address,
    Ciphertext,
    CiphertextKind,
    MalformedMessage,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    RatchetError,
    Session,
    TooFarAhead,
    UnknownPreKey,
    UnsupportedVersion,
    primitives,
)
from ratchet.keys import KeyPair, SigningKeyPair, parse_public_key
from ratchet.limits import (
    ARCHIVED_FORWARD_JUMP_MAX,
    ARCHIVED_RATCHETS_MAX,
    FIELDS_MAX,
    FORWARD_JUMP_MAX,
    RECEIVING_CHAINS_MAX,
    SENDER_KEY_STATES_MAX,
    SKIPPED_KEYS_MAX,
    UNACKNOWLEDGED_AGE_MAX_S,
)
from ratchet.protobuf import number_field
from ratchet.spqr.wire import NONE, encode_braid_message
from tests.conformance.forging import (
    BASE_KEY,
    made_by_peer,
    prekey_field,
    torsioned,
    with_field,
    with_high_bit,
)
from tests.conformance.test_groups import member
from tests.conformance.test_keys import ED25519_ORDER
from tests.conformance.test_messages import previous_counter
from tests.conformance.test_sender_keys import chain
from tests.support.conversation import Conversation, active_ratchet, lose, seeded
from tests.support.interop_talk import OURS, THEIRS, our_bundle, our_ciphertext, their_device
from tests.support.oracle import X3DH_ERA, Oracle, OracleError
from tests.support.oracle_device import OracleDevice
from tests.support.oracle_keys import OracleKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.oracle_values import KemChoice


SOMEBODY = Address("7ab1d4b6-1f0c-4c7e-9d2e-1a2b3c4d5e6f", 1)


def settled(oracle: Oracle, *, theirs: Address = THEIRS) -> tuple[Account, Session, OracleDevice]:
    """Our session with a device of libsignal's; nothing is pending."""
    device = OracleDevice.create(oracle, theirs.name, device_id=theirs.device_id)
    account = Account.create(one_time_prekeys=2)
    session = Session.initiate(account, our_bundle(device.bundle()), local=OURS, remote=theirs)
    assert device.decrypt(OURS, session.encrypt(b"hi")) == b"hi"
    assert session.decrypt(account, our_ciphertext(device.encrypt(OURS, b"hello"))) == b"hello"
    return account, session, device


def refuses(device: OracleDevice, ciphertext: Ciphertext, match: str = "decryption failed") -> None:
    with pytest.raises(OracleError, match=match):
        device.decrypt(OURS, ciphertext)


# Limits that both have.


@pytest.mark.parametrize("by_us", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_both_miss_24999_messages_and_not_one_more(oracle: Oracle, *, by_us: bool) -> None:
    account, session, device = settled(oracle)
    if by_us:
        lose(session, FORWARD_JUMP_MAX - 1)
        just, too_far = session.encrypt(b"just"), session.encrypt(b"too far")
        refuses(device, too_far)
        assert device.decrypt(OURS, just) == b"just"
    else:
        sent = device.encrypt_all(OURS, [b""] * (FORWARD_JUMP_MAX - 1) + [b"just", b"too far"])
        with pytest.raises(TooFarAhead):
            session.decrypt(account, our_ciphertext(sent[-1]))
        assert session.decrypt(account, our_ciphertext(sent[-2])) == b"just"


@pytest.mark.slow
def test_without_spqr_both_miss_25000_messages_and_not_one_more(oracle: Oracle) -> None:
    device = their_device(oracle, release=X3DH_ERA)
    session = Session.initiate(
        Account.create(one_time_prekeys=0), our_bundle(device.bundle()), local=OURS, remote=THEIRS, without_spqr=True
    )
    assert device.decrypt(OURS, session.encrypt(b"hi")) == b"hi"
    lose(session, FORWARD_JUMP_MAX)
    just, too_far = session.encrypt(b"just"), session.encrypt(b"too far")

    refuses(device, too_far)
    assert device.decrypt(OURS, just) == b"just"


def test_both_read_the_message_that_is_2000_late_and_not_the_one_before(oracle: Oracle) -> None:
    account, session, device = settled(oracle)
    ours = [session.encrypt(b"%d" % number) for number in range(SKIPPED_KEYS_MAX + 2)]
    theirs = device.encrypt_all(OURS, [b"%d" % number for number in range(SKIPPED_KEYS_MAX + 2)])
    device.decrypt(OURS, ours[-1])
    session.decrypt(account, our_ciphertext(theirs[-1]))

    refuses(device, ours[0], match="old counter|decryption failed")
    with pytest.raises(MessageKeyGone):
        session.decrypt(account, our_ciphertext(theirs[0]))
    assert device.decrypt(OURS, ours[1]) == b"1"
    assert session.decrypt(account, our_ciphertext(theirs[1])) == b"1"


@pytest.mark.parametrize("newer_chains", [RECEIVING_CHAINS_MAX - 1, RECEIVING_CHAINS_MAX])
def test_both_read_a_late_message_behind_four_newer_chains_and_not_behind_five(
    oracle: Oracle, newer_chains: int
) -> None:
    account, session, device = settled(oracle)
    ours = session.encrypt(b"late")
    device.decrypt(OURS, session.encrypt(b"of the same chain"))
    theirs = our_ciphertext(device.encrypt(OURS, b"late"))
    session.decrypt(account, our_ciphertext(device.encrypt(OURS, b"of the same chain")))
    for _ in range(newer_chains):
        device.decrypt(OURS, session.encrypt(b"of a newer one"))
        session.decrypt(account, our_ciphertext(device.encrypt(OURS, b"of a newer one")))

    if newer_chains < RECEIVING_CHAINS_MAX:
        assert device.decrypt(OURS, ours) == session.decrypt(account, theirs) == b"late"
    else:
        refuses(device, ours)
        with pytest.raises(NotAuthentic):
            session.decrypt(account, theirs)


@pytest.mark.parametrize("archived", [ARCHIVED_RATCHETS_MAX, ARCHIVED_RATCHETS_MAX + 1])
def test_both_read_from_forty_archived_sessions_and_not_from_one_more(oracle: Oracle, archived: int) -> None:
    account, session, device = settled(oracle)
    ours, theirs = session.encrypt(b"late"), our_ciphertext(device.encrypt(OURS, b"late"))
    for _ in range(archived):
        session.renew(account, our_bundle(device.bundle()))
        device.decrypt(OURS, session.encrypt(b"afresh"))

    info = device.session_info(OURS)
    assert info is not None
    assert info.archived == session.archived_count == ARCHIVED_RATCHETS_MAX
    if archived == ARCHIVED_RATCHETS_MAX:
        assert device.decrypt(OURS, ours) == session.decrypt(account, theirs) == b"late"
    else:
        refuses(device, ours)
        with pytest.raises(NotAuthentic):
            session.decrypt(account, theirs)


@pytest.mark.parametrize(
    ("second", "usable"), [(UNACKNOWLEDGED_AGE_MAX_S, True), (UNACKNOWLEDGED_AGE_MAX_S + 1, False)]
)
def test_both_send_in_an_unanswered_session_for_thirty_days(oracle: Oracle, second: int, *, usable: bool) -> None:
    start = 1_700_000_000
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=1)
    device.process_bundle(OURS, account.bundle(), now_ms=start * 1000)
    session = Session.initiate(account, our_bundle(device.bundle()), now=start)

    if usable:
        device.encrypt(OURS, b"in time", now_ms=(start + second) * 1000)
        session.encrypt(b"in time", now=start + second)
    else:
        with pytest.raises(OracleError, match="session"):
            device.encrypt(OURS, b"too late", now_ms=(start + second) * 1000)
        with pytest.raises(NoActiveSession):
            session.encrypt(b"too late", now=start + second)


def test_both_keep_five_chains_of_a_sender(oracle: Oracle) -> None:
    device = their_device(oracle)
    chains = [chain(number) for number in range(SENDER_KEY_STATES_MAX + 1)]
    ours = member(chains[0])
    device.process_distribution(OURS, chains[0].distribution_message())
    for own in chains[1:]:
        ours.add_distribution_message(own.distribution_message())
        device.process_distribution(OURS, own.distribution_message())

    for own in chains[1:]:
        body = own.encrypt(b"kept")
        assert device.group_decrypt(OURS, body) == ours.decrypt(body) == b"kept"
    with pytest.raises(OracleError):
        device.group_decrypt(OURS, chains[0].encrypt(b"pushed out"))


@pytest.mark.parametrize("sent_before", [1, 2, 5])
def test_both_tell_the_number_of_the_last_message_of_the_chain_before(oracle: Oracle, sent_before: int) -> None:
    account, session, device = settled(oracle)
    ours = [session.encrypt(b"") for _ in range(sent_before)]
    device.decrypt(OURS, ours[-1])  # a new chain of theirs, after one with the answer to the first message
    theirs = device.encrypt_all(OURS, [b""] * sent_before)
    session.decrypt(account, our_ciphertext(theirs[-1]))  # a new chain of ours
    our_next = session.encrypt(b"")
    device.decrypt(OURS, our_next)
    their_next = device.encrypt(OURS, b"")

    assert previous_counter(our_next) == previous_counter(our_ciphertext(their_next)) == sent_before - 1


# Refusals that both have.


@pytest.mark.parametrize("crooked", [torsioned, with_high_bit])
def test_both_refuse_a_base_key_that_is_another_encoding(oracle: Oracle, crooked: Callable[[bytes], bytes]) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=1)
    ours = Session.initiate(account, our_bundle(device.bundle()), local=OURS, remote=THEIRS).encrypt(b"hi")
    device.process_bundle(OURS, account.bundle())
    theirs = our_ciphertext(device.encrypt(OURS, b"hi"))

    with pytest.raises(OracleError):
        device.decrypt(OURS, with_field(ours, BASE_KEY, crooked(prekey_field(ours, BASE_KEY))))
    with pytest.raises(NotAuthentic):
        Session.accept(
            account, with_field(theirs, BASE_KEY, crooked(prekey_field(theirs, BASE_KEY))), local=OURS, remote=THEIRS
        )
    assert device.decrypt(OURS, ours) == b"hi"


@pytest.mark.parametrize(
    ("kem", "match", "error"),
    [("one_time", "KyberPreKeyNotFound", UnknownPreKey), ("last_resort", "reused base key", MessageKeyGone)],
)
def test_both_refuse_a_first_message_that_comes_again_from_somebody_else(
    oracle: Oracle, kem: KemChoice, match: str, error: type[RatchetError]
) -> None:
    device = OracleDevice.create(oracle, "nobody")
    account = Account.create(one_time_prekeys=1)
    one_time = kem == "one_time"
    ours = Session.initiate(account, our_bundle(device.bundle(one_time=one_time, kem=kem))).encrypt(b"hi")
    device.process_bundle(OURS, account.bundle(one_time=one_time))
    theirs = our_ciphertext(device.encrypt(OURS, b"hi"))
    assert device.decrypt(OURS, ours) == Session.accept(account, theirs)[1] == b"hi"

    with pytest.raises(OracleError, match=match):
        device.decrypt(SOMEBODY, ours)
    assert device.session_info(SOMEBODY) is None
    with pytest.raises(error):
        Session.accept(account, theirs, remote=SOMEBODY)


def with_version_3_inside(session: Session) -> Ciphertext:
    """A first message of version 4 around a message of version 3 whose tag is right."""
    ratchet = active_ratchet(session)
    assert ratchet.pending is not None
    ratchet.version = 3
    inner = made_by_peer(session, b"older")
    ratchet.version = 4
    return Ciphertext(CiphertextKind.PREKEY, ratchet.pending.wrap(4, inner.body))


@pytest.mark.parametrize("repeated", [True, False])
def test_both_refuse_a_first_message_with_a_message_of_another_version_inside(
    oracle: Oracle, *, repeated: bool
) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=1)
    to_them = Session.initiate(account, our_bundle(device.bundle()), local=OURS, remote=THEIRS)
    if repeated:
        device.decrypt(OURS, to_them.encrypt(b"hi"))

    refuses(device, with_version_3_inside(to_them))
    with pytest.raises(MalformedMessage):
        Session.accept(account, with_version_3_inside(Session.initiate(account, account.bundle())))


def test_a_peer_of_a_release_without_spqr_fails_both_ways(oracle: Oracle) -> None:
    old = their_device(oracle, release=X3DH_ERA)
    account = Account.create(one_time_prekeys=1)
    with_spqr = Session.initiate(account, our_bundle(old.bundle()), local=OURS, remote=THEIRS)
    refuses(old, with_spqr.encrypt(b"they lack it"))

    old.process_bundle(OURS, account.bundle())
    with pytest.raises(UnsupportedVersion):
        Session.accept(account, our_ciphertext(old.encrypt(OURS, b"they lack it")), local=OURS, remote=THEIRS)


# Where ours is stricter.


def test_libsignal_takes_a_public_key_with_bytes_after_it_and_we_do_not(oracle: Oracle) -> None:
    key = KeyPair.generate(seeded("key")).public

    assert OracleKeys(oracle).load_public_key(key + b"more") == key
    with pytest.raises(MalformedMessage):
        parse_public_key(key + b"more")


def test_libsignal_takes_a_signature_whose_scalar_is_not_reduced_and_we_do_not(oracle: Oracle) -> None:
    pair = SigningKeyPair.from_seed(bytes(32))
    signature = pair.sign(b"message", seeded("nonce"))
    scalar = int.from_bytes(signature[32:], "little") & (2**255 - 1)
    unreduced = (scalar + ED25519_ORDER).to_bytes(32, "little")
    other = signature[:32] + unreduced[:31] + bytes([unreduced[31] | signature[63] & 0x80])

    assert OracleKeys(oracle).verify(pair.public, b"message", other)
    with pytest.raises(NotAuthentic):
        primitives.xeddsa_verify(pair.public[1:], b"message", other)


def test_libsignal_reads_a_message_of_spqr_index_zero_without_its_key_and_we_do_not(oracle: Oracle) -> None:
    _account, session, device = settled(oracle)
    talk = Conversation(seed=1).established()
    index_zero = encode_braid_message(1, 0, NONE, 0, b"")

    assert device.decrypt(OURS, made_by_peer(session, b"no key", pq_message=index_zero)) == b"no key"
    with pytest.raises(MalformedMessage):
        talk.bobs.decrypt(talk.bob_account, made_by_peer(talk.alice, b"no key", pq_message=index_zero))


def first_message_of_spqr_version_2(session: Session) -> Ciphertext:
    """A first message that is version 2 of SPQR in its form: an epoch and an index follow, whose key it has."""
    ratchet = active_ratchet(session)
    assert ratchet.post_quantum is not None
    assert ratchet.pending is not None
    _index, key, _following = ratchet.post_quantum.chains.plan_send(0)
    inner = made_by_peer(session, b"newer", pq_message=b"\x02\x01\x01", pq_key=key)
    return Ciphertext(CiphertextKind.PREKEY, ratchet.pending.wrap(ratchet.version, inner.body))


def test_libsignal_reads_a_newer_spqr_version_before_the_first_of_version_1_and_we_never_do(oracle: Oracle) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=0)

    to_them = first_message_of_spqr_version_2(Session.initiate(account, our_bundle(device.bundle())))
    to_us = first_message_of_spqr_version_2(Session.initiate(account, account.bundle()))

    assert device.decrypt(OURS, to_them) == b"newer"
    with pytest.raises(UnsupportedVersion):
        Session.accept(account, to_us)


def test_libsignal_reads_any_number_of_unknown_fields_and_we_64(oracle: Oracle) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=1)
    ours = Session.initiate(account, our_bundle(device.bundle()), local=OURS, remote=THEIRS).encrypt(b"hi")
    device.process_bundle(OURS, account.bundle())
    theirs = device.encrypt(OURS, b"hi")
    unknown = number_field(15, 1) * FIELDS_MAX

    assert device.decrypt(OURS, Ciphertext(ours.kind, ours.body + unknown)) == b"hi"
    with pytest.raises(MalformedMessage):
        Session.accept(account, Ciphertext(CiphertextKind.PREKEY, theirs.body + unknown), local=OURS, remote=THEIRS)


def test_libsignal_reads_more_than_2000_behind_in_a_new_chain_of_an_archived_session_and_we_do_not(
    oracle: Oracle,
) -> None:
    account, session, device = settled(oracle)
    device.archive_session(OURS)
    lose(session, ARCHIVED_FORWARD_JUMP_MAX)
    assert device.decrypt(OURS, session.encrypt(b"back")) == b"back"

    session.archive()
    lost = device.encrypt_all(OURS, [b""] * ARCHIVED_FORWARD_JUMP_MAX + [b"back"])
    with pytest.raises(TooFarAhead):
        session.decrypt(account, our_ciphertext(lost[-1]))


def test_libsignal_misses_more_than_25000_messages_of_another_device_of_its_own(oracle: Oracle) -> None:
    account = Account.create(one_time_prekeys=1)
    address = Address(OURS.name, 2)
    device = OracleDevice.create(
        oracle, address.name, device_id=address.device_id, identity_private_key=account.identity.private_key
    )
    session = Session.initiate(account, our_bundle(device.bundle()), local=OURS, remote=address)
    device.decrypt(OURS, session.encrypt(b"hi"))
    session.decrypt(account, our_ciphertext(device.encrypt(OURS, b"hello")))

    lose(session, FORWARD_JUMP_MAX + 1)

    assert device.decrypt(OURS, session.encrypt(b"synchronised")) == b"synchronised"
