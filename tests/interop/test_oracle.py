"""Libsignal with itself through the oracle, so that what the oracle says of our own code can be relied upon."""

from __future__ import annotations

import random
from dataclasses import replace
from uuid import UUID

import pytest

from tests.support.oracle import CURRENT, RELEASES, X3DH_ERA, Oracle, OracleError
from tests.support.oracle_device import OracleDevice
from tests.support.oracle_keys import OracleKeys
from tests.support.oracle_values import PREKEY, SIGNAL, KemChoice, OracleMessage, PrekeyIds

ALICE = "9d0652a3-dcc3-4d11-975f-74d61598733f"
BOB = "796abedb-ca4e-4f18-8803-1fde5b921f9f"
GROUP = UUID("d1d1d1d1-7000-11eb-b32a-33b8a8a487a6")
DAY_MS = 24 * 60 * 60 * 1000

# What each release makes of a bundle: version of the session, and whether a message has the post-quantum part.
HANDSHAKES: list[tuple[str, KemChoice, int]] = [
    (CURRENT, "one_time", 4),
    (CURRENT, "last_resort", 4),
    (X3DH_ERA, "one_time", 4),
    (X3DH_ERA, None, 3),
]


def two_devices(oracle: Oracle, release: str = CURRENT) -> tuple[OracleDevice, OracleDevice]:
    return (
        OracleDevice.create(oracle, ALICE, release=release, registration_id=0x1111),
        OracleDevice.create(oracle, BOB, release=release, registration_id=0x2222),
    )


def two_acquainted_devices(
    oracle: Oracle, release: str = CURRENT, kem: KemChoice = "one_time"
) -> tuple[OracleDevice, OracleDevice]:
    alice, bob = two_devices(oracle, release)
    alice.process_bundle(bob, bob.bundle(kem=kem))
    bob.decrypt(alice, alice.encrypt(bob, b"first"))
    alice.decrypt(bob, bob.encrypt(alice, b"answer"))
    return alice, bob


@pytest.mark.parametrize(("release", "kem", "version"), HANDSHAKES)
def test_a_conversation_begins_with_a_prekey_message_and_goes_on_without(
    oracle: Oracle, release: str, kem: KemChoice, version: int
) -> None:
    alice, bob = two_devices(oracle, release)
    alice.process_bundle(bob, bob.bundle(kem=kem))
    first = alice.encrypt(bob, b"hello bob")
    assert (first.kind, first.body[0]) == (PREKEY, version << 4 | 4)
    assert bob.decrypt(alice, first) == b"hello bob"
    answer = bob.encrypt(alice, b"hello alice")
    assert (answer.kind, answer.body[0]) == (SIGNAL, version << 4 | 4)
    assert alice.decrypt(bob, answer) == b"hello alice"
    assert alice.encrypt(bob, b"and on").kind == SIGNAL


@pytest.mark.parametrize(("release", "kem", "version"), HANDSHAKES)
def test_messages_of_both_directions_decrypt_in_any_order(
    oracle: Oracle, release: str, kem: KemChoice, version: int
) -> None:
    alice, bob = two_acquainted_devices(oracle, release, kem)
    dice = random.Random(version)
    for turn in range(6):
        sender, receiver = (alice, bob) if turn % 2 else (bob, alice)
        texts = [dice.randbytes(dice.randrange(200)) for _ in range(10)]
        sent = list(zip(sender.encrypt_all(receiver, texts), texts, strict=True))
        dice.shuffle(sent)
        assert receiver.decrypt_all(sender, [message for message, _ in sent]) == [text for _, text in sent]


def test_only_the_current_release_sends_post_quantum_ratchet_bytes(oracle: Oracle) -> None:
    reader = OracleKeys(oracle)
    sizes = {}
    for release in RELEASES:
        alice, bob = two_acquainted_devices(oracle, release)
        message = alice.encrypt(bob, b"text")
        sizes[release] = len(reader.parse_signal_message(message.body).pq_ratchet or b"")
    assert (sizes[CURRENT] > 0, sizes[X3DH_ERA]) == (True, 0)


def test_current_devices_refuse_a_version_3_first_message(oracle: Oracle) -> None:
    bob = OracleDevice.create(oracle, BOB)
    alice = OracleDevice.create(oracle, ALICE, release=X3DH_ERA)
    alice.process_bundle(bob, bob.bundle(kem=None))
    first = alice.encrypt(bob, b"hello")
    with pytest.raises(OracleError, match="X3DH no longer supported"):
        bob.decrypt(alice, first)


def test_the_current_release_starts_no_session_without_a_kem_prekey(oracle: Oracle) -> None:
    alice, bob = two_devices(oracle)
    with pytest.raises(OracleError):
        alice.process_bundle(bob, bob.bundle(kem=None))
    assert alice.session_info(bob) is None


@pytest.mark.parametrize("release", RELEASES)
def test_an_accepted_first_message_consumes_the_one_time_prekeys(oracle: Oracle, release: str) -> None:
    alice, bob = two_devices(oracle, release)
    bundle = bob.bundle()
    alice.process_bundle(bob, bundle)
    first = alice.encrypt(bob, b"hello")
    assert bob.prekey_ids() == PrekeyIds.of(bundle)
    bob.decrypt(alice, first)
    assert bob.prekey_ids() == PrekeyIds.of(replace(bundle, one_time_prekey_id=None, kem_prekey_id=None))


def test_a_last_resort_key_stays_but_refuses_the_same_base_key_again(oracle: Oracle) -> None:
    alice, bob = two_devices(oracle)
    alice.process_bundle(bob, bob.bundle(one_time=False, kem="last_resort"))
    first = alice.encrypt(bob, b"hello")
    bob.decrypt(alice, first)
    bob.delete_session(alice)
    with pytest.raises(OracleError) as refused:
        bob.decrypt(alice, first)
    assert refused.value.code == "ReusedBaseKey"
    assert bob.session_info(alice) is None


@pytest.mark.parametrize(("kind", "code"), [("one_time", "PreKeyNotFound"), ("kem", "KyberPreKeyNotFound")])
def test_a_consumed_one_time_prekey_is_reported_missing(oracle: Oracle, kind: str, code: str) -> None:
    alice, bob = two_devices(oracle)
    bundle = bob.bundle(kem="last_resort") if kind == "one_time" else bob.bundle(one_time=False)
    alice.process_bundle(bob, bundle)
    first = alice.encrypt(bob, b"hello")
    bob.decrypt(alice, first)
    bob.delete_session(alice)
    with pytest.raises(OracleError) as refused:
        bob.decrypt(alice, first)
    assert refused.value.code == code


def test_zero_is_an_id_like_any_other(oracle: Oracle) -> None:
    alice, bob = two_devices(oracle)
    alice.process_bundle(bob, bob.bundle(signed_prekey_id=0, one_time_prekey_id=0, kem_prekey_id=0))
    first = alice.encrypt(bob, b"zero")
    assert OracleKeys(oracle).parse_prekey_message(first.body).one_time_prekey_id == 0
    assert bob.decrypt(alice, first) == b"zero"


def test_bundle_secrets_are_the_private_halves_of_the_bundle(oracle: Oracle) -> None:
    bob, keys = OracleDevice.create(oracle, BOB), OracleKeys(oracle)
    bundle = bob.bundle()
    secrets = bob.bundle_secrets(bundle)
    assert secrets.one_time_prekey is not None
    assert secrets.kem_prekey is not None
    assert keys.load_private_key(secrets.identity).public_key == bundle.identity_key
    assert keys.load_private_key(secrets.signed_prekey).public_key == bundle.signed_prekey
    assert keys.load_private_key(secrets.one_time_prekey).public_key == bundle.one_time_prekey
    assert len(secrets.kem_prekey) == 3169


def test_a_device_can_be_given_its_identity(oracle: Oracle) -> None:
    pair = OracleKeys(oracle).generate_key_pair()
    device = OracleDevice.create(oracle, ALICE, identity_private_key=pair.private_key)
    assert device.identity_key == pair.public_key


def test_a_replayed_message_is_a_duplicate(oracle: Oracle) -> None:
    alice, bob = two_acquainted_devices(oracle)
    message = alice.encrypt(bob, b"once")
    bob.decrypt(alice, message)
    with pytest.raises(OracleError) as refused:
        bob.decrypt(alice, message)
    assert refused.value.code == "DuplicatedMessage"


def test_a_bundle_with_a_wrong_signature_starts_no_session(oracle: Oracle) -> None:
    alice, bob = two_devices(oracle)
    bundle = bob.bundle()
    forged = bytes([bundle.signed_prekey_signature[0] ^ 1]) + bundle.signed_prekey_signature[1:]
    with pytest.raises(OracleError, match="signature"):
        alice.process_bundle(bob, replace(bundle, signed_prekey_signature=forged))
    assert alice.session_info(bob) is None


@pytest.mark.parametrize("release", RELEASES)
def test_a_forged_message_leaves_the_session_byte_identical(oracle: Oracle, release: str) -> None:
    alice, bob = two_acquainted_devices(oracle, release)
    message = alice.encrypt(bob, b"text")
    before = bob.export_session(alice)
    with pytest.raises(OracleError, match="decryption failed"):
        bob.decrypt(alice, OracleMessage(message.kind, message.body[:-1] + bytes([message.body[-1] ^ 1])))
    assert bob.export_session(alice) == before
    assert bob.decrypt(alice, message) == b"text"


def test_encrypting_without_a_session_is_refused(oracle: Oracle) -> None:
    alice, bob = two_devices(oracle)
    with pytest.raises(OracleError, match=f"session with {BOB}.1 not found"):
        alice.encrypt(bob, b"to nobody")


def test_a_changed_identity_is_untrusted_until_it_is_saved(oracle: Oracle) -> None:
    alice, bob = two_acquainted_devices(oracle)
    successor = OracleDevice.create(oracle, BOB)
    bundle = successor.bundle()
    with pytest.raises(OracleError) as refused:
        alice.process_bundle(successor, bundle)
    assert refused.value.code == "UntrustedIdentity"
    assert alice.known_identity(bob) == bob.identity_key
    alice.save_identity(successor, successor.identity_key)
    alice.process_bundle(successor, bundle)
    assert successor.decrypt(alice, alice.encrypt(successor, b"welcome back")) == b"welcome back"


def test_a_forgotten_identity_is_trusted_again_on_first_use(oracle: Oracle) -> None:
    alice, bob = two_acquainted_devices(oracle)
    assert alice.forget_identity(bob)
    assert alice.known_identity(bob) is None
    successor = OracleDevice.create(oracle, BOB)
    alice.process_bundle(successor, successor.bundle())
    assert alice.known_identity(bob) == successor.identity_key


@pytest.mark.parametrize("release", RELEASES)
def test_a_restored_session_reads_the_messages_that_it_read_before(oracle: Oracle, release: str) -> None:
    alice, bob = two_acquainted_devices(oracle, release)
    snapshot = bob.export_session(alice)
    messages = alice.encrypt_all(bob, [b"one", b"two", b"three"])
    assert bob.decrypt_all(alice, messages) == [b"one", b"two", b"three"]
    bob.import_session(alice, snapshot)
    assert bob.decrypt_all(alice, messages) == [b"one", b"two", b"three"]


@pytest.mark.parametrize(("release", "kem", "version"), HANDSHAKES)
def test_session_info_tells_version_and_registration_ids(
    oracle: Oracle, release: str, kem: KemChoice, version: int
) -> None:
    alice, bob = two_acquainted_devices(oracle, release, kem)
    info = alice.session_info(bob)
    assert info is not None
    assert (info.has_current_state, info.version, info.archived) == (True, version, 0)
    assert (info.local_registration_id, info.remote_registration_id) == (0x1111, 0x2222)


def test_an_archived_session_sends_nothing_but_still_reads(oracle: Oracle) -> None:
    alice, bob = two_acquainted_devices(oracle)
    late = bob.encrypt(alice, b"late")
    alice.archive_session(bob)
    info = alice.session_info(bob)
    assert info is not None
    assert (info.has_current_state, info.version, info.archived) == (False, None, 1)
    with pytest.raises(OracleError, match="not found"):
        alice.encrypt(bob, b"too early")
    assert alice.decrypt(bob, late) == b"late"


def test_an_unanswered_session_expires_after_thirty_days(oracle: Oracle) -> None:
    alice, bob = two_devices(oracle)
    start = 1_700_000_000_000
    alice.process_bundle(bob, bob.bundle(), now_ms=start)
    assert alice.encrypt(bob, b"still", now_ms=start + 29 * DAY_MS).kind == PREKEY
    with pytest.raises(OracleError, match="not found"):
        alice.encrypt(bob, b"no more", now_ms=start + 31 * DAY_MS)


def test_a_ratchet_key_matches_its_own_session_only(oracle: Oracle) -> None:
    alice, bob = two_acquainted_devices(oracle)
    # SignalMessage: version byte, then field 1 (tag 0x0a, length 33), the sender's ratchet key.
    ratchet_key = alice.encrypt(bob, b"text").body[3:36]
    assert alice.ratchet_key_matches(bob, ratchet_key)
    assert not bob.ratchet_key_matches(alice, ratchet_key)


@pytest.mark.parametrize("release", RELEASES)
def test_group_messages_decrypt_in_any_order_after_the_distribution(oracle: Oracle, release: str) -> None:
    alice, bob = two_devices(oracle, release)
    bob.process_distribution(alice, alice.distribution_message(GROUP))
    texts = [f"text {number}".encode() for number in range(10)]
    bodies = alice.group_encrypt_all(GROUP, texts)
    assert bob.group_decrypt_all(alice, reversed(bodies)) == texts[::-1]


def test_a_replayed_group_message_is_a_duplicate(oracle: Oracle) -> None:
    alice, bob = two_devices(oracle)
    bob.process_distribution(alice, alice.distribution_message(GROUP))
    body = alice.group_encrypt(GROUP, b"once")
    assert bob.group_decrypt(alice, body) == b"once"
    with pytest.raises(OracleError) as refused:
        bob.group_decrypt(alice, body)
    assert refused.value.code == "DuplicatedMessage"


def test_a_group_message_without_a_distribution_is_refused(oracle: Oracle) -> None:
    alice, bob = two_devices(oracle)
    alice.distribution_message(GROUP)
    with pytest.raises(OracleError, match=str(GROUP)):
        bob.group_decrypt(alice, alice.group_encrypt(GROUP, b"unknown"))


def test_a_restored_sender_key_encrypts_at_the_same_iteration_again(oracle: Oracle) -> None:
    alice = OracleDevice.create(oracle, ALICE)
    alice.distribution_message(GROUP)
    snapshot = alice.export_sender_key(alice, GROUP)
    first = alice.group_encrypt(GROUP, b"text")
    alice.import_sender_key(alice, GROUP, snapshot)
    again = alice.group_encrypt(GROUP, b"text")
    parse = OracleKeys(oracle).parse_sender_key_message
    assert parse(first) == parse(again)


def test_a_deleted_sender_key_is_replaced_by_another_chain(oracle: Oracle) -> None:
    alice, keys = OracleDevice.create(oracle, ALICE), OracleKeys(oracle)
    first = keys.parse_distribution_message(alice.distribution_message(GROUP))
    assert alice.delete_sender_key(alice, GROUP)
    second = keys.parse_distribution_message(alice.distribution_message(GROUP))
    assert (first.distribution_id, second.distribution_id) == (GROUP, GROUP)
    assert first.chain_key != second.chain_key


@pytest.mark.parametrize("release", RELEASES)
def test_both_sides_see_the_same_safety_number_and_their_codes_match(oracle: Oracle, release: str) -> None:
    alice, bob = two_devices(oracle, release)
    keys = OracleKeys(oracle, release)
    ours = keys.fingerprint(b"alice", alice.identity_key, b"bob", bob.identity_key)
    theirs = keys.fingerprint(b"bob", bob.identity_key, b"alice", alice.identity_key)
    assert ours.digits == theirs.digits
    assert (len(ours.digits), ours.digits.isdigit()) == (60, True)
    assert keys.fingerprints_match(ours.scannable, theirs.scannable)
    assert not keys.fingerprints_match(ours.scannable, ours.scannable)


@pytest.mark.parametrize("release", RELEASES)
def test_a_signature_verifies_for_its_message_only(oracle: Oracle, release: str) -> None:
    keys = OracleKeys(oracle, release)
    pair = keys.generate_key_pair()
    signature = keys.sign(pair.private_key, b"message")
    assert keys.verify(pair.public_key, b"message", signature)
    assert not keys.verify(pair.public_key, b"messagf", signature)


def test_two_key_pairs_agree_on_one_secret(oracle: Oracle) -> None:
    keys = OracleKeys(oracle)
    ours, theirs = keys.generate_key_pair(), keys.generate_key_pair()
    assert keys.agree(ours.private_key, theirs.public_key) == keys.agree(theirs.private_key, ours.public_key)


def test_an_alternate_identity_is_verified_by_the_one_that_signed_it(oracle: Oracle) -> None:
    keys = OracleKeys(oracle)
    main, other = keys.generate_key_pair(), keys.generate_key_pair()
    signature = keys.sign_alternate_identity(main.private_key, other.public_key)
    assert keys.verify_alternate_identity(main.public_key, other.public_key, signature)
    assert not keys.verify_alternate_identity(other.public_key, main.public_key, signature)


def test_an_identity_key_pair_survives_its_stored_form(oracle: Oracle) -> None:
    keys = OracleKeys(oracle)
    pair = keys.generate_key_pair()
    restored = keys.decode_identity_key_pair(keys.encode_identity_key_pair(pair.private_key))
    assert (restored.private_key, restored.public_key) == (pair.private_key, pair.public_key)


def test_kem_keys_have_the_type_byte_and_sizes_of_kyber1024(oracle: Oracle) -> None:
    keys = OracleKeys(oracle)
    pair = keys.generate_kem_key_pair()
    assert (len(pair.private_key), len(pair.public_key), pair.public_key[0]) == (3169, 1569, 0x08)
    assert keys.load_kem_public_key(pair.public_key) == pair.public_key
    assert keys.load_kem_private_key(pair.private_key) == pair.private_key


def test_a_message_is_read_without_a_session(oracle: Oracle) -> None:
    alice, bob = two_devices(oracle)
    alice.process_bundle(bob, bob.bundle(one_time=False))
    keys = OracleKeys(oracle)
    outer = keys.parse_prekey_message(alice.encrypt(bob, b"text").body)
    assert (outer.version, outer.registration_id, outer.one_time_prekey_id) == (4, 0x1111, None)
