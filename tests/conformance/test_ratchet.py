"""libsignal's ratchet.rs and ratchet/keys.rs: both ends start with the same chains; crooked base keys are refused."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import pytest

from ratchet import NotAuthentic, Session, handshake
from ratchet.chains import chain_step, message_keys, root_step
from ratchet.keys import KeyPair
from ratchet.messages import PreKeyMessage
from tests.conformance.forging import BASE_KEY, prekey_field, torsioned, with_field, with_high_bit
from tests.support.conversation import ALICE, BOB, Conversation, account, active_ratchet, refused, seeded

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("one_time", [True, False])
def test_both_ends_derive_the_same_root_chain_and_post_quantum_key_with_kyber(*, one_time: bool) -> None:
    alice, bob = account("alice"), account("bob")
    started = handshake.initiate(
        alice.identity, 1, bob.bundle(one_time=one_time), allow_x3dh=False, entropy=seeded("handshake")
    )
    talk = Conversation(seed=1).alice_sends()  # a message to wrap: only its form counts here
    inner = PreKeyMessage.parse(talk.sent[0].ciphertext.body).message
    wrapped = started.pending.wrap(4, inner.authenticated + inner.tag)

    accepted = handshake.accept(bob, PreKeyMessage.parse(wrapped), allow_x3dh=False)

    ours, theirs = started.secrets, accepted.secrets
    assert ours.root_key == theirs.root_key
    assert ours.chain_key == theirs.chain_key
    assert ours.post_quantum_key == theirs.post_quantum_key is not None
    assert len({ours.root_key, ours.chain_key, ours.post_quantum_key}) == 3


def test_what_bob_sends_on_his_first_chain_is_what_alice_expects_there() -> None:
    talk = Conversation(seed=2).alice_sends().reload()
    talk.deliver(0)
    alices, bobs = active_ratchet(talk.alice), active_ratchet(talk.bobs)

    (expected,) = alices.double.receiving.values()
    (received,) = bobs.double.receiving.values()

    assert expected.number == 0
    assert received.key == alices.double.sending.chain_key


@pytest.mark.parametrize("crooked", [torsioned, with_high_bit])
def test_a_base_key_that_agrees_on_the_same_secrets_but_is_another_encoding_is_refused(
    crooked: Callable[[bytes], bytes],
) -> None:
    talk = Conversation(seed=3).alice_sends()
    good = talk.sent[0].ciphertext
    base_key = prekey_field(good, BASE_KEY)
    other = crooked(base_key)
    somebody = KeyPair.generate(seeded("somebody"))
    assert other != base_key
    assert somebody.agree(other) == somebody.agree(base_key)  # so nothing but the check can tell them apart

    with refused(NotAuthentic, talk.bob_account) as caught:
        Session.accept(talk.bob_account, with_field(good, BASE_KEY, other), local=BOB, remote=ALICE, now=0)

    assert "canonical" in str(caught.value)
    assert talk.deliver(0) == b"0 from alice"


@pytest.mark.parametrize("crooked", [torsioned, with_high_bit])
def test_a_crooked_base_key_does_not_start_a_second_session_in_a_first_one(crooked: Callable[[bytes], bytes]) -> None:
    talk = Conversation(seed=4, one_time=False).alice_sends()
    good = talk.sent[0].ciphertext
    talk.deliver(0)
    replayed = with_field(good, BASE_KEY, crooked(prekey_field(good, BASE_KEY)))

    with refused(NotAuthentic, talk.bobs, talk.bob_account):
        talk.bobs.decrypt(talk.bob_account, replayed, now=0)


# The symmetric steps, against their definition with the standard library alone.


def hkdf(salt: bytes, secret: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869, sections 2.2 and 2.3."""
    pseudorandom_key = hmac.digest(salt, secret, "sha256")
    output = block = b""
    for counter in range(1, -(-size // hashlib.sha256().digest_size) + 1):
        block = hmac.digest(pseudorandom_key, block + info + bytes([counter]), "sha256")
        output += block
    return output[:size]


def test_a_chain_step_is_two_hmacs_of_one_byte() -> None:
    key = bytes(range(32))

    assert chain_step(key) == (hmac.digest(key, b"\x01", "sha256"), hmac.digest(key, b"\x02", "sha256"))


def test_a_root_step_takes_the_root_key_as_salt() -> None:
    root_key, secret = bytes(range(32)), bytes(range(32, 64))

    assert b"".join(root_step(root_key, secret)) == hkdf(root_key, secret, b"WhisperRatchet", 64)


@pytest.mark.parametrize("post_quantum_key", [None, bytes(range(64, 96))])
def test_message_keys_are_eighty_bytes_with_the_post_quantum_key_as_salt(post_quantum_key: bytes | None) -> None:
    seed = bytes(range(32))

    keys = message_keys(seed, post_quantum_key)

    assert keys == hkdf(post_quantum_key or bytes(32), seed, b"WhisperMessageKeys", 80)
