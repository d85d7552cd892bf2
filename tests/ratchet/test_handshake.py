"""X3DH and PQXDH, against their definition in `signal-protocol` section 2, with and without each optional key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ratchet import handshake, primitives
from ratchet.errors import MalformedMessage, MessageKeyGone, NotAuthentic, UnknownPreKey, UnsupportedVersion
from ratchet.keys import KeyPair
from ratchet.messages import PreKeyMessage, encode_signal_message
from tests.support.conversation import account, refused, seeded

if TYPE_CHECKING:
    from ratchet import Account, PreKeyBundle

ALICE, STRANGER = account("alice"), account("stranger")
BASE = KeyPair.generate(seeded("base"))


def start(bundle: PreKeyBundle, *, allow_x3dh: bool = False) -> handshake.Initiated:
    return handshake.initiate(ALICE.identity, 42, bundle, allow_x3dh=allow_x3dh, entropy=seeded("base"))


def first_message(started: handshake.Initiated) -> PreKeyMessage:
    inner = encode_signal_message(started.version, BASE.public, 0, 0, bytes(16), b"spqr", None) + bytes(8)
    return PreKeyMessage.parse(started.pending.wrap(started.version, inner))


def both(bob: Account, *, one_time: bool, kem: bool) -> tuple[handshake.Initiated, handshake.Accepted]:
    started = start(bob.bundle(one_time=one_time, kem=kem), allow_x3dh=not kem)
    return started, handshake.accept(bob, first_message(started), allow_x3dh=not kem)


every_kind = pytest.mark.parametrize(("one_time", "kem"), [(True, True), (False, True), (True, False), (False, False)])


@every_kind
def test_both_sides_have_the_same_secrets(*, one_time: bool, kem: bool) -> None:
    started, accepted = both(account("bob"), one_time=one_time, kem=kem)
    for name in ("root_key", "chain_key", "post_quantum_key"):
        assert getattr(started.secrets, name) == getattr(accepted.secrets, name)


@every_kind
def test_the_secrets_are_derived_from_all_agreements_in_their_order(*, one_time: bool, kem: bool) -> None:
    bob = account("bob")
    bundle = bob.bundle(one_time=one_time, kem=kem)
    started = start(bundle, allow_x3dh=not kem)
    secret = b"\xff" * 32
    secret += ALICE.identity.agree(bundle.signed_prekey)
    secret += BASE.agree(bundle.identity_key) + BASE.agree(bundle.signed_prekey)
    if bundle.one_time_prekey is not None:
        secret += BASE.agree(bundle.one_time_prekey)
    if kem:
        assert bundle.kem_prekey_id is not None
        assert started.pending.kem_ciphertext is not None
        secret += bob.kem_prekey(bundle.kem_prekey_id).decapsulate(started.pending.kem_ciphertext)
        expected = primitives.hkdf_sha256(None, secret, b"WhisperText_X25519_SHA-256_CRYSTALS-KYBER-1024", 96)
        assert started.secrets.post_quantum_key == expected[64:]
    else:
        expected = primitives.hkdf_sha256(None, secret, b"WhisperText", 64)
        assert started.secrets.post_quantum_key is None
    assert (started.secrets.root_key, started.secrets.chain_key) == (expected[:32], expected[32:64])


@every_kind
def test_a_first_message_names_what_it_used(*, one_time: bool, kem: bool) -> None:
    bob = account("bob")
    bundle = bob.bundle(one_time=one_time, kem=kem)
    started = start(bundle, allow_x3dh=not kem)
    pending = started.pending
    assert started.version == (4 if kem else 3)
    assert (pending.registration_id, pending.identity_key) == (42, ALICE.identity_key)
    assert (pending.signed_prekey_id, pending.base_key) == (bundle.signed_prekey_id, BASE.public)
    assert (pending.one_time_prekey_id, pending.kem_prekey_id) == (bundle.one_time_prekey_id, bundle.kem_prekey_id)
    assert (pending.kem_ciphertext is None) is not kem


def test_accepting_tells_what_was_used_up_and_takes_nothing() -> None:
    bob = account("bob")
    started = start(bob.bundle())
    before = bob.to_bytes()
    accepted = handshake.accept(bob, first_message(started), allow_x3dh=False)
    assert bob.to_bytes() == before
    assert accepted.use.base_key == BASE.public
    assert accepted.use.signed_prekey_id == started.pending.signed_prekey_id
    assert accepted.use.one_time_prekey_id == started.pending.one_time_prekey_id
    assert accepted.use.kem_prekey_id == started.pending.kem_prekey_id
    assert accepted.signed_prekey.public == bob.bundle(one_time=False).signed_prekey


def test_a_bundle_is_verified_before_anything_is_drawn_from_entropy() -> None:
    drawn: list[int] = []

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    bad = replace(account("bob").bundle(), signed_prekey_signature=bytes(64))
    with pytest.raises(NotAuthentic):
        handshake.initiate(ALICE.identity, 42, bad, allow_x3dh=False, entropy=entropy)
    assert drawn == []


def test_a_bundle_without_kem_prekey_needs_permission() -> None:
    bundle = account("bob").bundle(kem=False)
    with pytest.raises(UnsupportedVersion):
        start(bundle)
    assert start(bundle, allow_x3dh=True).version == 3


def test_a_kem_key_that_is_none_is_malformed_even_if_it_is_signed() -> None:
    bob = account("bob")
    key = b"\x08" + b"\xff" * 1568
    bundle = replace(bob.bundle(), kem_prekey=key, kem_prekey_signature=bob.identity.pair.sign(key, seeded(1)))
    with pytest.raises(MalformedMessage):
        start(bundle)


def test_an_encapsulation_can_be_given() -> None:
    bundle = account("bob").bundle()
    started = handshake.initiate(
        ALICE.identity,
        42,
        bundle,
        allow_x3dh=False,
        entropy=seeded("base"),
        encapsulate=lambda public: (public[:32], public),
    )
    assert bundle.kem_prekey is not None
    assert started.pending.kem_ciphertext == b"\x08" + bundle.kem_prekey[1:]


def test_a_version_3_message_needs_permission() -> None:
    bob = account("bob")
    message = first_message(start(bob.bundle(kem=False), allow_x3dh=True))
    with refused(UnsupportedVersion, bob):
        handshake.accept(bob, message, allow_x3dh=False)


def test_a_version_3_message_that_carries_kem_fields_does_not_use_them() -> None:
    bob = account("bob")
    started = start(bob.bundle(kem=False), allow_x3dh=True)
    with_kem = replace(started.pending, kem_prekey_id=99, kem_ciphertext=b"\x08" + bytes(1568))
    message = first_message(replace(started, pending=with_kem))
    accepted = handshake.accept(bob, message, allow_x3dh=True)
    assert accepted.use.kem_prekey_id is None
    assert accepted.secrets.root_key == started.secrets.root_key


@pytest.mark.parametrize("name", ["signed_prekey_id", "one_time_prekey_id", "kem_prekey_id"])
def test_an_id_that_is_not_here_is_unknown(name: str) -> None:
    bob = account("bob")
    message = first_message(start(bob.bundle()))
    changes: dict[str, Any] = {name: 99}
    with refused(UnknownPreKey, bob):
        handshake.accept(bob, replace(message, **changes), allow_x3dh=False)


def test_a_base_key_that_is_not_canonical_is_refused_before_any_look_up() -> None:
    bob = account("bob")
    message = replace(first_message(start(bob.bundle())), base_key=b"\x05" + b"\xff" * 32, signed_prekey_id=99)
    with refused(NotAuthentic, bob):
        handshake.accept(bob, message, allow_x3dh=False)


def test_an_identity_key_of_low_order_is_refused() -> None:
    bob = account("bob")
    message = replace(first_message(start(bob.bundle())), identity_key=b"\x05" + bytes(32))
    with refused(NotAuthentic, bob):
        handshake.accept(bob, message, allow_x3dh=False)


def test_a_base_key_that_was_used_with_the_same_keys_is_a_replay() -> None:
    bob = account("bob")
    message = first_message(start(bob.bundle(one_time=False)))
    bob.consume(handshake.accept(bob, message, allow_x3dh=False).use)
    with refused(MessageKeyGone, bob):
        handshake.accept(bob, message, allow_x3dh=False)


def test_another_account_derives_other_secrets() -> None:
    bob = account("bob")
    started = start(bob.bundle(one_time=False))
    other = account("bob", identity=STRANGER.identity)
    accepted = handshake.accept(other, first_message(started), allow_x3dh=False)
    assert accepted.secrets.root_key != started.secrets.root_key
