"""Handshakes with libsignal: every form of bundle, both roles, the releases that still make X3DH."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ratchet import (
    Account,
    Address,
    CiphertextKind,
    IdentityKeyPair,
    NotAuthentic,
    Session,
    UnsupportedVersion,
)
from tests.support.interop_talk import OURS, THEIRS, InteropTalk, our_bundle, our_ciphertext, their_device
from tests.support.oracle import X3DH_ERA, OracleError
from tests.support.oracle_device import OracleDevice

if TYPE_CHECKING:
    from tests.support.oracle import Oracle


def talk_both_ways(account: Account, session: Session, device: OracleDevice) -> None:
    answer = our_ciphertext(device.encrypt(OURS, b"answer"))
    assert answer.kind is CiphertextKind.SIGNAL
    assert session.decrypt(account, answer) == b"answer"
    assert device.decrypt(OURS, session.encrypt(b"and back")) == b"and back"


@pytest.mark.parametrize("one_time", [True, False])
@pytest.mark.parametrize("kem", ["one_time", "last_resort"])
def test_libsignal_accepts_first_messages_made_from_each_form_of_its_bundles(
    oracle: Oracle, *, one_time: bool, kem: str
) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=0)
    bundle = device.bundle(one_time=one_time, kem=kem)  # type: ignore[arg-type]

    session = Session.initiate(account, our_bundle(bundle), local=OURS, remote=THEIRS)

    assert [device.decrypt(OURS, session.encrypt(text)) for text in (b"one", b"two")] == [b"one", b"two"]
    waited = session.awaiting_answer
    talk_both_ways(account, session, device)
    assert (waited, session.awaiting_answer) == (True, False)
    assert session.remote_registration_id == device.registration_id


@pytest.mark.parametrize("one_time", [True, False])
def test_we_accept_first_messages_that_libsignal_makes_from_each_form_of_our_bundles(
    oracle: Oracle, *, one_time: bool
) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=1)
    device.process_bundle(OURS, account.bundle(one_time=one_time))
    first, second = device.encrypt_all(OURS, [b"one", b"two"])

    session, plaintext = Session.accept(account, our_ciphertext(first), local=OURS, remote=THEIRS)

    assert plaintext == b"one"
    assert session.decrypt(account, our_ciphertext(second)) == b"two"
    assert account.one_time_prekey_count == (0 if one_time else 1)
    assert account.one_time_kem_prekey_count == (0 if one_time else 1)
    assert session.remote_registration_id == device.registration_id
    assert device.decrypt(OURS, session.encrypt(b"back")) == b"back"
    talk_both_ways(account, session, device)


def test_an_identity_made_by_libsignal_signs_bundles_that_libsignal_uses(oracle: Oracle) -> None:
    private_key = bytes(range(32, 64))
    device = their_device(oracle)
    account = Account.create(identity=IdentityKeyPair.from_private_key(private_key), one_time_prekeys=1)
    twin = OracleDevice.create(oracle, "twin", identity_private_key=private_key)

    device.process_bundle(OURS, account.bundle())

    assert twin.identity_key == account.identity_key
    first = our_ciphertext(device.encrypt(OURS, b"hi"))
    assert Session.accept(account, first, local=OURS, remote=THEIRS)[1] == b"hi"


def test_both_start_at_once_and_agree_after_one_delivered_message(oracle: Oracle) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=1)
    session = Session.initiate(account, our_bundle(device.bundle()), local=OURS, remote=THEIRS)
    device.process_bundle(OURS, account.bundle())
    ours, theirs = session.encrypt(b"from us"), our_ciphertext(device.encrypt(OURS, b"from them"))

    assert device.decrypt(OURS, ours) == b"from us"
    assert session.decrypt(account, theirs) == b"from them"

    assert session.archived_count == 1
    talk_both_ways(account, session, device)
    talk_both_ways(account, session, device)


def test_a_renewed_session_and_an_archived_one_are_both_read(oracle: Oracle) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=1)
    session = Session.initiate(account, our_bundle(device.bundle()), local=OURS, remote=THEIRS)
    device.decrypt(OURS, session.encrypt(b"first"))
    talk_both_ways(account, session, device)
    late = our_ciphertext(device.encrypt(OURS, b"late"))

    session.renew(account, our_bundle(device.bundle()))

    assert device.decrypt(OURS, session.encrypt(b"fresh")) == b"fresh"
    assert session.decrypt(account, late) == b"late"
    talk_both_ways(account, session, device)
    info = device.session_info(OURS)
    assert info is not None
    assert info.archived == 1


def test_a_first_message_addressed_to_another_device_is_refused_by_both(oracle: Oracle) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=2)
    bundle = replace(our_bundle(device.bundle()), device_id=2)
    misled = Session.initiate(account, bundle, local=OURS, remote=Address(THEIRS.name, 2))
    device.process_bundle(OURS, account.bundle())
    theirs = our_ciphertext(device.encrypt(OURS, b"hi"))

    with pytest.raises(OracleError, match="decryption failed"):
        device.decrypt(OURS, misled.encrypt(b"hi"))
    with pytest.raises(NotAuthentic):
        Session.accept(account, theirs, local=Address(OURS.name, 2), remote=THEIRS)
    assert account.one_time_prekey_count == 2


def test_a_bound_message_is_refused_by_whoever_has_no_service_id_as_libsignal_does(oracle: Oracle) -> None:
    nameless = OracleDevice.create(oracle, "somebody")
    account = Account.create(one_time_prekeys=2)
    bound = Session.initiate(account, our_bundle(nameless.bundle()), local=OURS, remote=THEIRS)
    device = their_device(oracle)
    device.process_bundle(OURS, account.bundle())
    theirs = our_ciphertext(device.encrypt(OURS, b"hi"))

    with pytest.raises(OracleError, match="decryption failed"):
        nameless.decrypt(OURS, bound.encrypt(b"hi"))
    with pytest.raises(NotAuthentic):
        Session.accept(account, theirs, local=Address("somebody", 1), remote=THEIRS)


def test_without_addresses_both_sides_talk_unbound(oracle: Oracle) -> None:
    device = OracleDevice.create(oracle, "nobody")
    account = Account.create(one_time_prekeys=1)
    session = Session.initiate(account, our_bundle(device.bundle()))

    assert device.decrypt(OURS, session.encrypt(b"hi")) == b"hi"
    talk_both_ways(account, session, device)


def test_libsignal_refuses_x3dh_and_a_peer_without_spqr_and_so_do_we(oracle: Oracle) -> None:
    device = their_device(oracle)
    account = Account.create(one_time_prekeys=1)
    x3dh_bundle = replace(our_bundle(device.bundle()), kem_prekey=None, kem_prekey_id=None, kem_prekey_signature=None)
    x3dh = Session.initiate(account, x3dh_bundle, local=OURS, remote=THEIRS, allow_x3dh=True)
    without_spqr = Session.initiate(account, our_bundle(device.bundle()), local=OURS, remote=THEIRS, without_spqr=True)

    with pytest.raises(OracleError, match="X3DH no longer supported"):
        device.decrypt(OURS, x3dh.encrypt(b"hi"))
    with pytest.raises(OracleError, match="decryption failed"):
        device.decrypt(OURS, without_spqr.encrypt(b"hi"))
    for x3dh_only in (True, False):
        initiator = Account.create(one_time_prekeys=0)
        bundle = account.bundle(kem=not x3dh_only)
        started = Session.initiate(initiator, bundle, allow_x3dh=x3dh_only, without_spqr=not x3dh_only)
        with pytest.raises(UnsupportedVersion):
            Session.accept(account, started.encrypt(b"hi"))


@pytest.mark.parametrize("kem", ["one_time", None], ids=["version 4 without SPQR", "version 3"])
def test_we_initiate_with_a_release_before_spqr(oracle: Oracle, *, kem: str | None) -> None:
    device = their_device(oracle, release=X3DH_ERA)
    account = Account.create(one_time_prekeys=1)
    bundle = our_bundle(device.bundle(kem=kem))  # type: ignore[arg-type]
    session = Session.initiate(account, bundle, local=OURS, remote=THEIRS, allow_x3dh=kem is None, without_spqr=True)
    assert session.version == (3 if kem is None else 4)
    assert session.post_quantum_epoch is None
    assert device.decrypt(OURS, session.encrypt(b"first")) == b"first"

    InteropTalk(account, session, device, seed=3).run(600)


@pytest.mark.parametrize("kem", [True, False], ids=["version 4 without SPQR", "version 3"])
def test_a_release_before_spqr_initiates_only_if_allowed(oracle: Oracle, *, kem: bool) -> None:
    device = their_device(oracle, release=X3DH_ERA)
    account = Account.create(one_time_prekeys=1)
    device.process_bundle(OURS, account.bundle(kem=kem))
    first = our_ciphertext(device.encrypt(OURS, b"first"))
    before = account.to_bytes()

    with pytest.raises(UnsupportedVersion):
        Session.accept(account, first, local=OURS, remote=THEIRS)
    assert account.to_bytes() == before

    session, plaintext = Session.accept(
        account, first, local=OURS, remote=THEIRS, allow_x3dh=not kem, allow_without_spqr=kem
    )
    assert plaintext == b"first"
    assert session.version == (4 if kem else 3)
    InteropTalk(account, session, device, seed=4).run(600)
