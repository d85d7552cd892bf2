"""The protocol's limits on prekeys, ids and addresses, and ours, each from both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ratchet import (
    Account,
    Address,
    CorruptSnapshot,
    InvalidArgument,
    MalformedMessage,
    MessageKeyGone,
    OwnSenderKey,
    PeerSenderKey,
    PreKeyBundle,
    Session,
    TooFarAhead,
    UnknownPreKey,
)
from ratchet.limits import (
    ACCOUNT_SIZE_MAX,
    ARCHIVED_FORWARD_JUMP_MAX,
    BUNDLE_SIZE_MAX,
    DEVICE_ID_MAX,
    FIELDS_MAX,
    FORWARD_JUMP_MAX,
    MESSAGE_SIZE_MAX,
    ONE_TIME_PREKEYS_MAX,
    PLAINTEXT_SIZE_MAX,
    PREKEY_ID_MAX,
    REGISTRATION_ID_MAX,
    REPLACED_KEY_AGE_S,
    SENDER_KEY_SIZE_MAX,
    SESSION_SIZE_MAX,
    SIGNED_PREKEYS_MAX,
    USED_BASE_KEYS_MAX,
    USER_ID_SIZE_MAX,
)
from ratchet.messages import SignalMessage
from ratchet.prekeys import PreKeyUse
from ratchet.protobuf import number_field, read_fields
from tests.conformance.test_groups import sender
from tests.support.conversation import (
    ALICE,
    BOB,
    Conversation,
    Device,
    account,
    lose,
    refused,
    seeded,
    talk_plainly,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Ids.


@pytest.mark.parametrize("registration_id", [1, REGISTRATION_ID_MAX])
def test_registration_ids_have_14_bits(registration_id: int) -> None:
    created = Account.create(registration_id=registration_id, one_time_prekeys=0)

    assert Account.from_bytes(created.to_bytes()).registration_id == registration_id


@pytest.mark.parametrize("registration_id", [0, REGISTRATION_ID_MAX + 1])
def test_a_registration_id_outside_is_refused(registration_id: int) -> None:
    with pytest.raises(InvalidArgument):
        Account.create(registration_id=registration_id, one_time_prekeys=0)


@pytest.mark.parametrize("fill", range(0, 256, 15))
def test_drawn_registration_ids_are_within_their_limits(fill: int) -> None:
    drawn = Account.create(one_time_prekeys=0, entropy=lambda size: bytes([fill]) * size)

    assert 1 <= drawn.registration_id <= REGISTRATION_ID_MAX


@pytest.mark.parametrize("device_id", [1, DEVICE_ID_MAX])
def test_devices_1_to_127_have_addresses_and_bundles(device_id: int) -> None:
    assert Address("bob", device_id).device_id == account("bob").bundle(device_id).device_id == device_id
    Session.initiate(account("alice"), account("bob").bundle(device_id), now=0)


@pytest.mark.parametrize("device_id", [0, DEVICE_ID_MAX + 1])
def test_other_devices_have_none(device_id: int) -> None:
    with pytest.raises(InvalidArgument):
        Address("bob", device_id)
    with pytest.raises(InvalidArgument):
        account("bob").bundle(device_id)
    with pytest.raises(MalformedMessage):
        Session.initiate(account("alice"), replace(account("bob").bundle(), device_id=device_id), now=0)


@pytest.mark.parametrize("size", [1, USER_ID_SIZE_MAX])
def test_names_of_1_to_1024_bytes_are_addresses(size: int) -> None:
    assert len(Address("n" * size, 1).name) == size


@pytest.mark.parametrize("size", [0, USER_ID_SIZE_MAX + 1])
def test_an_empty_or_longer_name_is_none(size: int) -> None:
    with pytest.raises(InvalidArgument):
        Address("n" * size, 1)


def test_prekey_ids_count_to_24_bits_and_go_on_at_zero_past_those_in_use() -> None:
    bob = account("bob", one_time_prekeys=0)  # ids 1 and 2: the signed and the last-resort KEM prekey
    bob._next_id = PREKEY_ID_MAX

    bob.replenish(2, entropy=seeded("more"), now=0)

    published = bob.published_prekeys()
    one_time = [key.id for key in published.one_time_prekeys]
    kem = [key.id for key in published.one_time_kem_prekeys]
    assert one_time + kem == [PREKEY_ID_MAX, 0, 3, 4]
    session = Session.initiate(account("alice"), bob.bundle(), now=0)
    assert Session.accept(bob, session.encrypt(b"hi", now=0), now=0)[1] == b"hi"


# How long replaced prekeys are kept.


def first_message_to_replaced_keys(age: int) -> tuple[Account, Session]:
    """Alice has a bundle of keys that Bob replaced at 1,000 seconds; *age* seconds later he tidies up."""
    bob = account("bob", one_time_prekeys=0)
    session = Session.initiate(account("alice"), bob.bundle(), now=0)
    bob.rotate_signed_prekey(entropy=seeded("rotation"), now=1_000)
    bob.replenish(0, now=1_000 + age)
    return bob, session


def test_a_replaced_prekey_opens_first_messages_for_thirty_days() -> None:
    bob, session = first_message_to_replaced_keys(REPLACED_KEY_AGE_S - 1)

    assert Session.accept(bob, session.encrypt(b"hi", now=0), now=0)[1] == b"hi"


def test_after_thirty_days_it_is_unknown() -> None:
    bob, session = first_message_to_replaced_keys(REPLACED_KEY_AGE_S)

    with refused(UnknownPreKey, bob):
        Session.accept(bob, session.encrypt(b"hi", now=0), now=0)


def test_the_keys_in_use_never_expire() -> None:
    bob = account("bob", one_time_prekeys=0)
    bob.replenish(0, now=1_000 * REPLACED_KEY_AGE_S)
    session = Session.initiate(account("alice"), bob.bundle(), now=0)

    assert Session.accept(bob, session.encrypt(b"hi", now=0), now=0)[1] == b"hi"


def test_a_replay_is_found_for_as_long_as_its_prekey_is_kept() -> None:
    bob, session = first_message_to_replaced_keys(REPLACED_KEY_AGE_S - 1)
    first = session.encrypt(b"hi", now=0)
    Session.accept(bob, first, now=0)
    bob.rotate_signed_prekey(entropy=seeded("rotation"), now=REPLACED_KEY_AGE_S - 1)

    with refused(MessageKeyGone, bob):
        Session.accept(bob, first, now=0)


# How much one account holds.


def last_resort_use(bob: Account, number: int) -> PreKeyUse:
    published = bob.published_prekeys()
    assert published.signed_prekey is not None
    assert published.last_resort_kem_prekey is not None
    base_key = b"\x05" + number.to_bytes(32, "little")
    return PreKeyUse(published.signed_prekey.id, None, published.last_resort_kem_prekey.id, base_key)


def test_a_last_resort_prekey_starts_ten_thousand_sessions_and_no_more_until_it_is_replaced() -> None:
    bob = account("bob", one_time_prekeys=0)
    use = last_resort_use(bob, 0)
    for number in range(USED_BASE_KEYS_MAX - 1):
        bob.consume(replace(use, base_key=b"\x05" + number.to_bytes(32, "little")))
    bundle, alice = bob.bundle(), account("alice")
    last, refused_one = (Session.initiate(alice, bundle, now=0).encrypt(b"hi", now=0) for _ in range(2))

    assert Session.accept(bob, last, now=0)[1] == b"hi"
    with refused(UnknownPreKey, bob):
        Session.accept(bob, refused_one, now=0)

    bob.rotate_signed_prekey(now=0)
    afresh = Session.initiate(alice, bob.bundle(), now=0).encrypt(b"hi", now=0)
    assert Session.accept(bob, afresh, now=0)[1] == b"hi"


@pytest.mark.slow
def test_ten_thousand_one_time_prekeys_of_each_kind_are_made() -> None:
    bob = account("bob", one_time_prekeys=ONE_TIME_PREKEYS_MAX)

    assert bob.one_time_prekey_count == bob.one_time_kem_prekey_count == ONE_TIME_PREKEYS_MAX


def test_ten_thousand_and_one_of_each_kind_are_refused() -> None:
    bob = account("bob", one_time_prekeys=0)

    with refused(InvalidArgument, bob):
        bob.replenish(ONE_TIME_PREKEYS_MAX + 1, now=0)


def test_a_thousand_signed_prekeys_are_kept_and_one_more_waits_for_the_oldest_to_expire() -> None:
    bob = account("bob", one_time_prekeys=0)
    for _ in range(SIGNED_PREKEYS_MAX - 1):
        bob.rotate_signed_prekey(entropy=seeded("rotation"), now=0)

    with refused(InvalidArgument, bob):
        bob.rotate_signed_prekey(now=REPLACED_KEY_AGE_S - 1)
    bob.rotate_signed_prekey(now=REPLACED_KEY_AGE_S)


# How large, how many fields.


def test_a_plaintext_of_16_mib_is_sent_and_read() -> None:
    talk = Conversation(seed=1).established()
    ciphertext = talk.alice.encrypt(bytes(PLAINTEXT_SIZE_MAX), now=0)

    assert len(ciphertext.body) < MESSAGE_SIZE_MAX
    assert talk.bobs.decrypt(talk.bob_account, ciphertext, now=0) == bytes(PLAINTEXT_SIZE_MAX)


def test_a_plaintext_of_one_byte_more_is_refused_to_a_peer_and_to_a_group() -> None:
    talk, own = Conversation(seed=2).established(), sender()
    for sealing, encrypt in ((talk.alice, talk.alice.encrypt), (own, own.encrypt)):
        with refused(InvalidArgument, sealing):
            encrypt(bytes(PLAINTEXT_SIZE_MAX + 1))


def test_a_group_message_of_16_mib_is_read() -> None:
    own = sender()
    peer = PeerSenderKey.from_distribution_message(own.distribution_message())

    assert peer.decrypt(own.encrypt(bytes(PLAINTEXT_SIZE_MAX))) == bytes(PLAINTEXT_SIZE_MAX)


@pytest.mark.parametrize(("size", "error"), [(MESSAGE_SIZE_MAX, "field"), (MESSAGE_SIZE_MAX + 1, "larger")])
def test_a_message_is_parsed_up_to_its_largest_size_and_not_looked_at_beyond(size: int, error: str) -> None:
    with pytest.raises(MalformedMessage, match=error):
        SignalMessage.parse(b"\x44".ljust(size, b"\x00"))


def test_sixty_four_fields_are_read_and_one_more_is_malformed() -> None:
    fields = number_field(15, 1) * FIELDS_MAX

    assert read_fields(fields, 0, len(fields)) == {15: 1}
    with pytest.raises(MalformedMessage):
        read_fields(fields + number_field(15, 1), 0, len(fields) + 2)


@pytest.mark.parametrize(
    ("load", "size_max"),
    [
        (Account.from_bytes, ACCOUNT_SIZE_MAX),
        (Session.from_bytes, SESSION_SIZE_MAX),
        (OwnSenderKey.from_bytes, SENDER_KEY_SIZE_MAX),
        (PeerSenderKey.from_bytes, SENDER_KEY_SIZE_MAX),
        (PreKeyBundle.from_bytes, BUNDLE_SIZE_MAX),
    ],
)
def test_a_stored_form_is_looked_at_up_to_its_largest_size_and_not_beyond(
    load: Callable[[bytes], object], size_max: int
) -> None:
    with pytest.raises((CorruptSnapshot, MalformedMessage), match="msgpack"):
        load(bytes(size_max))
    with pytest.raises((CorruptSnapshot, MalformedMessage), match="larger"):
        load(bytes(size_max + 1))


# An archived ratchet: our limit is lower than libsignal's, because up to forty of them are tried.


def archived_with_new_chain(lost: int) -> tuple[Device, Device]:
    """Alice has gone on in a ratchet that Bob has archived: *lost* messages of a chain that he has not seen."""
    alice, bob = Device("alice", ALICE), Device("bob", BOB)
    bob.receive(alice, alice.start(bob).send(b"hi"))
    talk_plainly(bob, alice)
    alice.receive(bob, bob.send(b"turns the ratchet"))
    bob.shared.archive()
    lose(alice.shared, lost)
    return alice, bob


def test_two_thousand_messages_may_be_missing_in_a_new_chain_of_an_archived_ratchet() -> None:
    alice, bob = archived_with_new_chain(ARCHIVED_FORWARD_JUMP_MAX - 1)

    assert bob.receive(alice, alice.send(b"back")) == b"back"


def test_one_more_is_too_far_ahead_there() -> None:
    alice, bob = archived_with_new_chain(ARCHIVED_FORWARD_JUMP_MAX)
    late = alice.send(b"back")

    with refused(TooFarAhead, bob.shared):
        bob.receive(alice, late)


def test_in_a_chain_that_an_archived_ratchet_knows_the_limit_is_that_of_any_other() -> None:
    alice, bob = archived_with_new_chain(0)
    assert bob.receive(alice, alice.send(b"known")) == b"known"
    bob.shared.archive()
    lose(alice.shared, FORWARD_JUMP_MAX - 1)

    assert bob.receive(alice, alice.send(b"back")) == b"back"


def test_a_bundle_is_the_same_after_its_packed_form() -> None:
    for bundle in (account("bob").bundle(), account("bob").bundle(kem=False, one_time=False)):
        assert PreKeyBundle.from_bytes(bundle.to_bytes()) == bundle
