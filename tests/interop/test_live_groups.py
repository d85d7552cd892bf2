"""Sender keys, safety numbers and signatures, ours and libsignal's side by side."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from ratchet import (
    IdentityKeyPair,
    MessageKeyGone,
    NotAuthentic,
    OwnSenderKey,
    PeerSenderKey,
    SafetyNumberMismatch,
    TooFarAhead,
    primitives,
    safety_number,
)
from ratchet.limits import COUNTER_MAX
from ratchet.messages import encode_sender_key_message
from tests.support.interop_talk import OURS, THEIRS, their_device
from tests.support.oracle import OracleError
from tests.support.oracle_keys import OracleKeys

if TYPE_CHECKING:
    from tests.support.oracle import Oracle

GROUP = UUID("4f6b1d0e-6f0a-4f2c-8a36-2d0f3a1b9c55")


def shuffled(items: list[bytes], seed: int) -> list[bytes]:
    order = list(items)
    random.Random(seed).shuffle(order)
    return order


def test_libsignal_reads_our_group_messages_in_any_order_from_the_distribution_on(oracle: Oracle) -> None:
    device = their_device(oracle)
    own = OwnSenderKey.create(GROUP)
    own.encrypt(b"before the distribution")
    device.process_distribution(OURS, own.distribution_message())
    texts = [b"message %d" % number for number in range(1_500)]
    bodies = {own.encrypt(text): text for text in texts}

    order = shuffled(list(bodies), seed=1)

    assert device.group_decrypt_all(OURS, order) == [bodies[body] for body in order]
    with pytest.raises(OracleError, match="old counter"):
        device.group_decrypt(OURS, order[0])


def test_we_read_libsignals_group_messages_in_any_order_across_snapshots(oracle: Oracle) -> None:
    device = their_device(oracle)
    peer = PeerSenderKey.from_distribution_message(device.distribution_message(GROUP))
    texts = [b"message %d" % number for number in range(1_500)]
    bodies = dict(zip(device.group_encrypt_all(GROUP, texts), texts, strict=True))

    for number, body in enumerate(shuffled(list(bodies), seed=2)):
        assert peer.decrypt(body) == bodies[body]
        if number % 100 == 0:
            peer = PeerSenderKey.from_bytes(peer.to_bytes())

    with pytest.raises(MessageKeyGone):
        peer.decrypt(next(iter(bodies)))


def test_a_distribution_that_comes_again_rewinds_neither_side(oracle: Oracle) -> None:
    device = their_device(oracle)
    own = OwnSenderKey.create(GROUP)
    first_distribution = own.distribution_message()
    device.process_distribution(OURS, first_distribution)
    body = own.encrypt(b"once")
    assert device.group_decrypt(OURS, body) == b"once"
    device.process_distribution(OURS, first_distribution)
    with pytest.raises(OracleError, match="old counter"):
        device.group_decrypt(OURS, body)

    theirs = device.distribution_message(GROUP)
    peer = PeerSenderKey.from_distribution_message(theirs)
    body = device.group_encrypt(GROUP, b"once")
    assert peer.decrypt(body) == b"once"
    peer.add_distribution_message(theirs)
    with pytest.raises(MessageKeyGone):
        peer.decrypt(body)


def test_both_skip_25000_group_messages_and_not_one_more(oracle: Oracle) -> None:
    device = their_device(oracle)
    own, further = OwnSenderKey.create(GROUP), OwnSenderKey.create(UUID(int=1))
    for sender_key, count in ((own, 25_000), (further, 25_001)):
        ours = PeerSenderKey.from_distribution_message(sender_key.distribution_message())
        device.process_distribution(OURS, sender_key.distribution_message())
        for _ in range(count):
            body = sender_key.encrypt(b"")
        body = sender_key.encrypt(b"ahead")
        if count == 25_000:
            assert device.group_decrypt(OURS, body) == ours.decrypt(body) == b"ahead"
        else:
            with pytest.raises(OracleError, match="too far"):
                device.group_decrypt(OURS, body)
            with pytest.raises(TooFarAhead):
                ours.decrypt(body)


def test_both_read_a_senders_chain_to_the_iteration_before_it_would_overflow(oracle: Oracle) -> None:
    own, device = OwnSenderKey.create(GROUP), their_device(oracle)
    own._iteration = COUNTER_MAX - 1
    ours = PeerSenderKey.from_distribution_message(own.distribution_message())
    device.process_distribution(OURS, own.distribution_message())
    last = own.encrypt(b"the last")

    assert device.group_decrypt(OURS, last) == ours.decrypt(last) == b"the last"


def test_both_refuse_the_iteration_that_nothing_could_follow(oracle: Oracle) -> None:
    own, device = OwnSenderKey.create(GROUP), their_device(oracle)
    own._iteration = COUNTER_MAX - 1
    ours = PeerSenderKey.from_distribution_message(own.distribution_message())
    device.process_distribution(OURS, own.distribution_message())
    beyond = encode_sender_key_message(own.distribution_id.bytes, own.chain_id, COUNTER_MAX, bytes(16))
    body = beyond + own._signing.sign(beyond, random.Random(1).randbytes)

    with pytest.raises(OracleError, match="too long"):
        device.group_decrypt(OURS, body)
    with pytest.raises(TooFarAhead):
        ours.decrypt(body)


@pytest.mark.parametrize("version", [1, 2])
def test_safety_numbers_agree_in_digits_and_in_what_is_scanned(oracle: Oracle, version: int) -> None:
    keys = OracleKeys(oracle)
    alice, bob = IdentityKeyPair.generate(), IdentityKeyPair.generate()
    alice_id, bob_id = OURS.name.encode()[:16], THEIRS.name.encode()[:16]

    ours = safety_number(alice_id, alice.public_key, bob_id, bob.public_key, version=version)
    theirs = keys.fingerprint(
        local_id=bob_id, local_key=bob.public_key, remote_id=alice_id, remote_key=alice.public_key, version=version
    )
    other = keys.fingerprint(
        local_id=bob_id, local_key=alice.public_key, remote_id=alice_id, remote_key=bob.public_key, version=version
    )

    assert ours.digits == theirs.digits
    ours.check_scanned(theirs.scannable)
    assert keys.fingerprints_match(theirs.scannable, ours.scannable)
    with pytest.raises(SafetyNumberMismatch):
        ours.check_scanned(other.scannable)


def test_signatures_verify_both_ways_for_keys_of_both_origins(oracle: Oracle) -> None:
    keys = OracleKeys(oracle)
    dice = random.Random(7)
    for _ in range(40):
        message = dice.randbytes(dice.randrange(200))
        made = IdentityKeyPair.generate(dice.randbytes)
        loaded = IdentityKeyPair.from_private_key(keys.generate_key_pair().private_key)
        for identity in (made, loaded):
            ours = identity.pair.sign(message, dice.randbytes)
            theirs = keys.sign(identity.private_key, message)
            assert keys.verify(identity.public_key, message, ours)
            primitives.xeddsa_verify(identity.public_key[1:], message, theirs)
            broken = bytes([ours[0] ^ 1]) + ours[1:]
            assert not keys.verify(identity.public_key, message, broken)
            with pytest.raises(NotAuthentic):
                primitives.xeddsa_verify(identity.public_key[1:], message, broken)


def test_agreement_gives_the_same_secret(oracle: Oracle) -> None:
    keys = OracleKeys(oracle)
    for _ in range(10):
        theirs, ours = keys.generate_key_pair(), IdentityKeyPair.generate()
        assert keys.agree(theirs.private_key, ours.public_key) == ours.agree(theirs.public_key)
