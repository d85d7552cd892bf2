"""libsignal's protocol.rs: every message survives its wire form, and its tag covers both ends and their addresses."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from uuid import UUID

import pytest

from ratchet import (
    Account,
    Ciphertext,
    CiphertextKind,
    MalformedMessage,
    NotAuthentic,
    OwnSenderKey,
    UnsupportedVersion,
)
from ratchet.address import Address, address_binding
from ratchet.keys import KEM_CIPHERTEXT_SIZE
from ratchet.messages import DistributionMessage, PreKeyMessage, SenderKeyMessage, SignalMessage, encode_signal_message
from ratchet.protobuf import read_fields
from tests.conformance.forging import (
    KEM_CIPHERTEXT,
    KEM_PREKEY_ID,
    ONE_TIME_PREKEY_ID,
    REGISTRATION_ID,
    SIGNED_PREKEY_ID,
    made_by_peer,
    prekey_fields,
    with_field,
)
from tests.support.conversation import ALICE, BOB, Conversation, Device, account, refused, seeded

GROUP = UUID(int=7)


# Wire forms.


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("addresses", [None, bytes(range(36))])
@pytest.mark.parametrize("pq_ratchet", [b"", b"\x01\x01\x01\x00"])
def test_a_signal_message_is_read_as_it_was_written(version: int, pq_ratchet: bytes, addresses: bytes | None) -> None:
    dice = Random(1)
    ratchet_key, ciphertext, tag = b"\x05" + dice.randbytes(32), dice.randbytes(100), dice.randbytes(8)
    encoded = encode_signal_message(version, ratchet_key, 2**32 - 1, 300, ciphertext, pq_ratchet, addresses)

    message = SignalMessage.parse(encoded + tag)

    assert (message.version, message.ratchet_key, message.counter) == (version, ratchet_key, 2**32 - 1)
    assert (message.ciphertext, message.pq_ratchet, message.addresses) == (ciphertext, pq_ratchet, addresses)
    assert (message.authenticated, message.tag) == (encoded, tag)


@pytest.mark.parametrize("one_time", [True, False])
@pytest.mark.parametrize("kem", [True, False])
def test_a_prekey_message_is_read_as_it_was_written(*, one_time: bool, kem: bool) -> None:
    talk = Conversation(seed=1, one_time=one_time, kem=kem)
    prekeys = account("bob 1").bundle(one_time=one_time, kem=kem)  # the same dice, the same ids

    message = PreKeyMessage.parse(talk.alice_sends().sent[0].ciphertext.body)

    assert message.version == message.message.version == (4 if kem else 3)
    assert message.registration_id == talk.alice_account.registration_id
    assert message.identity_key == talk.alice_account.identity_key
    assert message.signed_prekey_id == prekeys.signed_prekey_id
    assert message.one_time_prekey_id == prekeys.one_time_prekey_id
    assert message.kem_prekey_id == prekeys.kem_prekey_id
    assert kem == (message.kem_ciphertext is not None)
    assert len(message.kem_ciphertext or bytes(KEM_CIPHERTEXT_SIZE)) == KEM_CIPHERTEXT_SIZE


def test_a_sender_key_message_and_its_distribution_are_read_as_they_were_written() -> None:
    own = OwnSenderKey.create(GROUP, entropy=seeded(1))
    body = own.encrypt(b"hi")

    message = SenderKeyMessage.parse(body)
    distribution = DistributionMessage.parse(own.distribution_message())

    assert (message.distribution_id, message.chain_id, message.iteration) == (GROUP, own.chain_id, 0)
    assert message.signed + message.signature == body
    assert (distribution.distribution_id, distribution.chain_id, distribution.iteration) == (GROUP, own.chain_id, 1)
    assert distribution.encode() == own.distribution_message()


@pytest.mark.parametrize("field", [KEM_PREKEY_ID, KEM_CIPHERTEXT])
def test_a_version_4_first_message_without_a_kem_field_is_malformed(field: int) -> None:
    first = Conversation(seed=2).alice_sends().sent[0].ciphertext

    with pytest.raises(MalformedMessage):
        PreKeyMessage.parse(with_field(first, field, None).body)


@pytest.mark.parametrize("field", range(2, 9))
def test_a_first_message_lacks_no_field_but_the_optional_ones(field: int) -> None:
    first = Conversation(seed=3).alice_sends().sent[0].ciphertext
    assert field in prekey_fields(first)
    without = with_field(first, field, None).body

    if field == REGISTRATION_ID:
        assert PreKeyMessage.parse(without).registration_id == 0
    else:
        with pytest.raises(MalformedMessage):
            PreKeyMessage.parse(without)


@pytest.mark.parametrize("field", [ONE_TIME_PREKEY_ID, SIGNED_PREKEY_ID, KEM_PREKEY_ID])
def test_the_largest_prekey_ids_pass_the_wire(field: int) -> None:
    first = Conversation(seed=4).alice_sends().sent[0].ciphertext

    message = PreKeyMessage.parse(with_field(first, field, 2**32 - 1).body)

    assert 2**32 - 1 in (message.one_time_prekey_id, message.signed_prekey_id, message.kem_prekey_id)


@pytest.mark.parametrize(("high", "spoken"), [(2, False), (3, True), (4, True), (5, False)])
def test_the_version_is_the_high_half_of_its_byte_and_the_low_half_may_be_anything(high: int, *, spoken: bool) -> None:
    body = Conversation(seed=5).established().alice_sends().sent[-1].ciphertext.body
    for low in range(16):
        changed = bytes([high << 4 | low]) + body[1:]
        if spoken:
            assert SignalMessage.parse(changed).version == high
        else:
            with pytest.raises(UnsupportedVersion):
                SignalMessage.parse(changed)


@pytest.mark.parametrize("size", [0, 1, 8])
def test_a_signal_message_shorter_than_nine_bytes_is_malformed(size: int) -> None:
    with pytest.raises(MalformedMessage, match="short"):
        SignalMessage.parse(b"\x44".ljust(size, b"\x00")[:size])


def previous_counter(ciphertext: Ciphertext) -> object:
    return read_fields(ciphertext.body, 1, len(ciphertext.body) - 8)[3]


@pytest.mark.parametrize(("sent_before", "expected"), [(1, 0), (2, 1), (5, 4)])
def test_a_chain_tells_the_number_of_the_last_message_of_the_one_before(sent_before: int, expected: int) -> None:
    talk = Conversation(seed=9).established().alice_sends(sent_before)
    talk.deliver_last()
    talk.bob_sends().deliver_last()

    assert previous_counter(talk.alice_sends().sent[-1].ciphertext) == expected


# What the tag covers.


def settled(*, addresses: bool = True) -> Conversation:
    return Conversation(seed=6, addresses=addresses).established()


def receive(talk: Conversation, ciphertext: Ciphertext) -> bytes:
    return talk.bobs.decrypt(talk.bob_account, ciphertext, now=0)


def test_a_message_without_addresses_is_read() -> None:
    talk = settled()

    assert receive(talk, made_by_peer(talk.alice, b"old client")) == b"old client"


def test_a_message_with_the_right_addresses_is_read() -> None:
    talk = settled()

    assert receive(talk, made_by_peer(talk.alice, b"bound", addresses=address_binding(ALICE, BOB))) == b"bound"


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [
        (replace(ALICE, name=BOB.name), BOB),
        (replace(ALICE, device_id=2), BOB),
        (replace(ALICE, name="PNI:" + ALICE.name), BOB),
        (ALICE, replace(BOB, name=ALICE.name)),
        (ALICE, replace(BOB, device_id=2)),
        (ALICE, replace(BOB, name="PNI:" + BOB.name)),
        (BOB, ALICE),
    ],
)
def test_a_message_with_another_sender_or_recipient_is_not_authentic(sender: Address, recipient: Address) -> None:
    talk = settled()
    misled = made_by_peer(talk.alice, b"bound", addresses=address_binding(sender, recipient))

    with refused(NotAuthentic, talk.bobs):
        receive(talk, misled)


@pytest.mark.parametrize("size", [0, 1, 35, 37])
def test_a_message_with_addresses_of_another_size_is_not_authentic(size: int) -> None:
    talk = settled()
    right = address_binding(ALICE, BOB)
    assert right is not None
    misled = made_by_peer(talk.alice, b"bound", addresses=(right + b"\x00")[:size])

    with refused(NotAuthentic, talk.bobs):
        receive(talk, misled)


def test_a_bound_message_is_not_authentic_where_no_addresses_are_known() -> None:
    talk = settled(addresses=False)

    with refused(NotAuthentic, talk.bobs):
        receive(talk, made_by_peer(talk.alice, b"bound", addresses=address_binding(ALICE, BOB)))


def test_a_tag_under_other_identities_is_not_authentic() -> None:
    talk = settled()
    alice = talk.alice
    alice._peers.sending = account("mallory").identity_key + talk.bob_account.identity_key

    with refused(NotAuthentic, talk.bobs):
        receive(talk, made_by_peer(alice, b"hi"))


@pytest.mark.parametrize("first", [True, False])
def test_addresses_are_in_first_messages_only(*, first: bool) -> None:
    talk = Conversation(seed=7) if first else settled()
    ciphertext = talk.alice_sends().sent[-1].ciphertext

    parsed = PreKeyMessage.parse(ciphertext.body).message if first else SignalMessage.parse(ciphertext.body)

    assert parsed.addresses == (address_binding(ALICE, BOB) if first else None)


@pytest.mark.parametrize("name", ["alice", "+14155550101", ALICE.name.replace("-", ""), "PNI:"])
def test_a_name_that_is_no_service_id_binds_nothing(name: str) -> None:
    alice, bob = Device("alice", Address(name, 1)), Device("bob", BOB)
    first = alice.start(bob).send(b"hi")

    assert PreKeyMessage.parse(first.body).message.addresses is None
    assert bob.receive(alice, first) == b"hi"


def test_a_binding_is_kind_uuid_and_device_of_both_ends() -> None:
    phone = Address("PNI:" + BOB.name, 127)

    binding = address_binding(ALICE, phone)

    assert binding == b"\x00" + UUID(ALICE.name).bytes + b"\x01" + b"\x01" + UUID(BOB.name).bytes + b"\x7f"


def test_kinds_have_libsignals_numbers() -> None:
    assert [int(kind) for kind in CiphertextKind] == [2, 3]


def test_an_account_is_enough_to_read_a_first_message_after_a_restart() -> None:
    talk = Conversation(seed=8).alice_sends()
    talk.bob_account = Account.from_bytes(talk.bob_account.to_bytes())

    assert talk.deliver(0) == b"0 from alice"
