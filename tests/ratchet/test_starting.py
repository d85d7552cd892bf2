"""From a handshake to a ratchet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ratchet import Address, UnsupportedVersion, primitives
from ratchet.errors import UnknownPreKey
from ratchet.limits import FORWARD_JUMP_MAX, SELF_FORWARD_JUMP_MAX
from ratchet.messages import PreKeyMessage
from ratchet.starting import accept_ratchet, forward_max, initiate_ratchet
from ratchet.triple_ratchet import Peers
from tests.support.conversation import account, refused, seeded

if TYPE_CHECKING:
    from ratchet.prekeys import PreKeyUse
    from ratchet.triple_ratchet import Ratchet

ALICE = account("alice")
OURS, THEIRS = b"\x05" + bytes(32), b"\x05" + b"\x01" * 32
PHONE = Address("d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01", 1)
TABLET = Address("d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01", 2)
OTHER = Address("3f5b1a08-1c58-4d0e-9a2e-7e1f6a9b2b02", 1)


def test_devices_of_one_user_may_miss_more() -> None:
    assert forward_max(OURS, OURS, PHONE, TABLET) == SELF_FORWARD_JUMP_MAX


@pytest.mark.parametrize(
    ("remote_identity", "local", "remote"),
    [
        pytest.param(THEIRS, PHONE, TABLET, id="another identity"),
        pytest.param(OURS, PHONE, OTHER, id="another user"),
        pytest.param(OURS, None, None, id="no addresses"),
        pytest.param(OURS, None, TABLET, id="no local address"),
        pytest.param(OURS, PHONE, None, id="no remote address"),
        pytest.param(OURS, Address("me", 1), Address("me", 2), id="names that are no service ids"),
        pytest.param(OURS, PHONE, Address("PNI:" + PHONE.name, 1), id="the user's phone number"),
    ],
)
def test_anybody_else_may_not(remote_identity: bytes, local: Address | None, remote: Address | None) -> None:
    assert forward_max(OURS, remote_identity, local, remote) == FORWARD_JUMP_MAX


def initiate(bundle: Any, **changes: bool) -> Ratchet:  # noqa: ANN401
    return initiate_ratchet(
        ALICE,
        bundle,
        forward_max=100,
        allow_x3dh=changes.get("allow_x3dh", False),
        without_spqr=changes.get("without_spqr", False),
        created_at=60,
        entropy=seeded("alice at work"),
        encapsulate=primitives.kem_1024_encapsulate,
    )


def accept(bob: Any, ratchet: Ratchet, **changes: bool) -> tuple[Ratchet, PreKeyUse]:  # noqa: ANN401
    peers = Peers(ALICE.identity_key, bob.identity_key, None, None)
    message = PreKeyMessage.parse(ratchet.encrypt(b"hello", peers, seeded(1)).body)
    return accept_ratchet(
        bob,
        message,
        forward_max=100,
        allow_x3dh=changes.get("allow_x3dh", False),
        allow_without_spqr=changes.get("allow_without_spqr", False),
        created_at=61,
    )


def test_an_initiators_ratchet_has_all_that_its_messages_carry() -> None:
    bundle = account("bob").bundle()
    ratchet = initiate(bundle)
    assert (ratchet.version, ratchet.created_at, ratchet.one_time_prekey_used) == (4, 60, True)
    assert ratchet.remote_registration_id == bundle.registration_id
    assert ratchet.pending is not None
    assert ratchet.pending.base_key == ratchet.base_key
    assert ratchet.pending.identity_key == ALICE.identity_key
    assert ratchet.double.forward_max == 100
    assert ratchet.post_quantum is not None
    assert ratchet.post_quantum.chains.initiator
    assert ratchet.post_quantum.chains.forward_max == 100


def test_base_key_and_ratchet_key_are_drawn_apart() -> None:
    ratchet = initiate(account("bob").bundle())
    assert ratchet.double.sending.pair.public != ratchet.base_key


@pytest.mark.parametrize("one_time", [True, False])
def test_a_responders_ratchet_is_the_other_half(*, one_time: bool) -> None:
    bob = account("bob")
    ratchet = initiate(bob.bundle(one_time=one_time))
    before = bob.to_bytes()
    accepted, use = accept(bob, ratchet)
    assert bob.to_bytes() == before
    assert (accepted.version, accepted.base_key, accepted.created_at) == (4, ratchet.base_key, 61)
    assert accepted.pending is None
    assert accepted.remote_registration_id == ALICE.registration_id
    assert accepted.one_time_prekey_used is ratchet.one_time_prekey_used is one_time
    assert use.base_key == ratchet.base_key
    assert accepted.post_quantum is not None
    assert not accepted.post_quantum.chains.initiator


def test_a_version_3_ratchet_has_no_post_quantum_half() -> None:
    bob = account("bob")
    ratchet = initiate(bob.bundle(kem=False), allow_x3dh=True)
    assert (ratchet.version, ratchet.post_quantum) == (3, None)
    accepted, use = accept(bob, ratchet, allow_x3dh=True)
    assert (accepted.version, accepted.post_quantum, use.kem_prekey_id) == (3, None, None)
    with refused(UnsupportedVersion, bob):
        accept(bob, initiate(bob.bundle(kem=False, one_time=False), allow_x3dh=True))


def test_a_ratchet_without_spqr_is_made_and_accepted_if_asked_for_on_both_sides() -> None:
    bob = account("bob")
    ratchet = initiate(bob.bundle(), without_spqr=True)
    assert (ratchet.version, ratchet.post_quantum) == (4, None)
    accepted, _use = accept(bob, ratchet, allow_without_spqr=True)
    assert accepted.post_quantum is None
    with refused(UnsupportedVersion, bob):
        accept(bob, initiate(bob.bundle(one_time=False), without_spqr=True))


def test_what_the_account_does_not_hold_is_unknown() -> None:
    bob = account("bob")
    ratchet = initiate(bob.bundle())
    bob.discard_one_time_prekeys()
    with refused(UnknownPreKey, bob):
        accept(bob, ratchet)
