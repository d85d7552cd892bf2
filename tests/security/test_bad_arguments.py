"""Arguments of wrong types and sizes at the public boundary: InvalidArgument or MalformedMessage, never a surprise."""

from __future__ import annotations

from typing import Any

import pytest

from ratchet import (
    Account,
    Address,
    IdentityKeyPair,
    InvalidArgument,
    MalformedMessage,
    NotAuthentic,
    Session,
    UnknownPreKey,
    safety_number,
    verify_signature,
)
from ratchet.limits import PLAINTEXT_SIZE_MAX
from tests.support.adversary import raises_and_changes_nothing, same_state
from tests.support.conversation import Conversation, account, seeded
from tests.support.naming import case_name

JUNK: list[Any] = [None, 0, -1, 2**70, 1.5, "text", "\ud800", b"bytes", bytearray(b"x"), [], {}, object()]


@pytest.mark.parametrize("junk", JUNK, ids=case_name)
def test_an_account_that_is_none_is_an_invalid_argument(junk: Any) -> None:  # noqa: ANN401
    talk = Conversation(104).alice_sends()
    bundle = talk.bob_account.bundle()
    with pytest.raises(InvalidArgument):
        Session.initiate(junk, bundle)
    with pytest.raises(InvalidArgument):
        Session.accept(junk, talk.sent[0].ciphertext)
    with raises_and_changes_nothing(InvalidArgument, talk.alice):
        talk.alice.renew(junk, bundle)


@pytest.mark.parametrize("plaintext", [None, 0, "text", bytearray(b"x"), memoryview(b"x"), [b"x"]], ids=case_name)
def test_a_plaintext_that_is_no_bytes_is_not_encrypted(plaintext: Any) -> None:  # noqa: ANN401
    talk = Conversation(105).established()
    with raises_and_changes_nothing(InvalidArgument, talk.alice):
        talk.alice.encrypt(plaintext)


def test_a_plaintext_over_the_limit_is_not_encrypted() -> None:
    talk = Conversation(106).established()
    with raises_and_changes_nothing(InvalidArgument, talk.alice):
        talk.alice.encrypt(bytes(PLAINTEXT_SIZE_MAX + 1))


@pytest.mark.parametrize("address", [0, "name", ("name", 1), b"name", object()], ids=case_name)
def test_an_address_that_is_none_is_an_invalid_argument(address: Any) -> None:  # noqa: ANN401
    talk = Conversation(107).alice_sends()
    with raises_and_changes_nothing(InvalidArgument, talk.alice_account):
        Session.initiate(talk.alice_account, talk.bob_account.bundle(one_time=False), remote=address)
    with raises_and_changes_nothing(InvalidArgument, talk.bob_account):
        Session.accept(talk.bob_account, talk.sent[0].ciphertext, local=address)


@pytest.mark.parametrize(
    "name", [None, 0, b"name", "", "x" * 1025, "ä" * 513, "\ud800", ["name"], object()], ids=case_name
)
def test_a_name_that_is_none_makes_no_address(name: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        Address(name, 1)


@pytest.mark.parametrize("device_id", [None, 0, -1, 128, 2**70, 1.0, True, "1"], ids=case_name)
def test_a_device_id_that_is_none_makes_no_address_and_no_bundle(device_id: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        Address("name", device_id)
    device = account("bob")
    with raises_and_changes_nothing(InvalidArgument, device):
        device.bundle(device_id)


@pytest.mark.parametrize("junk", [None, 0, -1, "5", 1.5, b"", [], object()], ids=case_name)
def test_arguments_of_a_new_account_are_checked(junk: Any) -> None:  # noqa: ANN401
    if junk is not None:
        with pytest.raises(InvalidArgument):
            Account.create(identity=junk)
        with pytest.raises(InvalidArgument):
            Account.create(registration_id=junk)
    if junk != 0:
        with pytest.raises(InvalidArgument):
            Account.create(one_time_prekeys=junk)


@pytest.mark.parametrize("count", [None, -1, 10_001, 2**70, 1.5, True, "5"], ids=case_name)
def test_a_count_that_is_none_replenishes_nothing(count: Any) -> None:  # noqa: ANN401
    device = account("bob")
    with raises_and_changes_nothing(InvalidArgument, device):
        device.replenish(count)


@pytest.mark.parametrize("junk", JUNK, ids=case_name)
def test_signatures_take_a_label_of_text_and_data_in_bytes(junk: Any) -> None:  # noqa: ANN401
    device = account("bob")
    if junk != "text":
        with pytest.raises(InvalidArgument):
            device.sign(junk, b"data")
        with pytest.raises(InvalidArgument):
            verify_signature(device.identity_key, junk, b"data", bytes(64))
    if type(junk) is not bytes:
        with pytest.raises(InvalidArgument):
            device.sign("label", junk)
    with pytest.raises(MalformedMessage):
        verify_signature(junk, "label", b"data", bytes(64))
    with pytest.raises((NotAuthentic, MalformedMessage)):
        verify_signature(device.identity_key, "label", b"data", junk)


@pytest.mark.parametrize("label", ["", "x" * 256, "ä" * 128])
def test_a_label_has_1_to_255_bytes(label: str) -> None:
    with pytest.raises(InvalidArgument):
        account("bob").sign(label, b"data")


@pytest.mark.parametrize("junk", [*JUNK, b"\x05" + bytes(31), b"\x05" + bytes(33), b"\x04" + bytes(32)], ids=case_name)
def test_no_agreement_reads_outside_of_a_key(junk: Any) -> None:  # noqa: ANN401
    with pytest.raises(MalformedMessage):
        account("bob").identity.agree(junk)


@pytest.mark.parametrize("key", [None, 0, "x" * 32, bytes(31), bytes(33), bytearray(32)], ids=case_name)
def test_an_identity_is_loaded_from_32_bytes_only(key: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        IdentityKeyPair.from_private_key(key)


@pytest.mark.parametrize("junk", JUNK, ids=case_name)
def test_arguments_of_a_safety_number_are_checked(junk: Any) -> None:  # noqa: ANN401
    ours, theirs = account("alice").identity_key, account("bob").identity_key
    if type(junk) is not bytes:
        with pytest.raises(InvalidArgument):
            safety_number(junk, ours, b"bob", theirs, 2)
    with pytest.raises(MalformedMessage):
        safety_number(b"alice", junk, b"bob", theirs, 2)
    with pytest.raises(InvalidArgument):
        safety_number(b"alice", ours, b"bob", theirs, junk)
    with pytest.raises(InvalidArgument):
        safety_number(b"alice", ours, b"bob", theirs, 2, version=junk)


@pytest.mark.parametrize("iterations", [-1, 0, 1, 1_000_001, True, 2.0])
def test_iterations_of_a_safety_number_are_bounded(iterations: Any) -> None:  # noqa: ANN401
    ours, theirs = account("alice").identity_key, account("bob").identity_key
    with pytest.raises(InvalidArgument):
        safety_number(b"alice", ours, b"bob", theirs, iterations)


def test_ids_that_are_not_here_are_unknown() -> None:
    device = account("bob")
    for look_up in (device.signed_prekey, device.one_time_prekey, device.kem_prekey):
        for prekey_id in (0, -1, 2**24, 2**32, 2**70):
            with raises_and_changes_nothing(UnknownPreKey, device):
                look_up(prekey_id)


def test_two_accounts_and_their_sessions_share_nothing_that_changes() -> None:
    identity = IdentityKeyPair.generate(seeded(1))
    phone, tablet = (account(name, identity=identity) for name in ("phone", "tablet"))
    bob = account("bob")
    session = Session.initiate(phone, bob.bundle(), now=0, entropy=seeded(2))
    restored = Session.from_bytes(session.to_bytes())
    with same_state(tablet, session):
        phone.rotate_signed_prekey(entropy=seeded(3), now=0)
        restored.encrypt(b"on the restored one", now=0, entropy=seeded(4))
        restored.archive()
