"""Prekeys, bundles and what is published of them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from ratchet.errors import InvalidArgument, MalformedMessage, NotAuthentic, RatchetError, UnsupportedVersion
from ratchet.keys import IdentityKeyPair, KeyPair
from ratchet.limits import ONE_TIME_PREKEYS_MAX
from ratchet.packing import pack
from ratchet.prekeys import (
    KemPreKey,
    PreKeyBundle,
    PublishedKemPreKey,
    PublishedOneTimePreKey,
    PublishedPreKeys,
    SignedPreKey,
    require_count,
)
from tests.support.conversation import account, seeded
from tests.support.naming import case_name

IDENTITY = IdentityKeyPair.generate(seeded("identity"))
BUNDLE = account("bob").bundle(7)
PUBLISHED = account("bob").published_prekeys()


def changed(**changes: Any) -> PreKeyBundle:  # noqa: ANN401
    return replace(BUNDLE, **changes)


def test_a_signed_prekey_is_signed_by_its_identity() -> None:
    key = SignedPreKey.generate(IDENTITY, 5, seeded(1), 60)
    assert (key.id, key.created_at) == (5, 60)
    changed(
        identity_key=IDENTITY.public_key,
        signed_prekey=key.pair.public,
        signed_prekey_signature=key.signature,
        kem_prekey=None,
        kem_prekey_id=None,
        kem_prekey_signature=None,
    ).verify()


def test_a_kem_prekey_is_signed_by_its_identity_and_has_one_public_key_made_or_loaded() -> None:
    made = KemPreKey.generate(IDENTITY, 6, seeded(1), 60, last_resort=True)
    loaded = KemPreKey(made.id, made.seed, made.signature, made.created_at, made.last_resort)
    assert made.last_resort
    assert loaded.public == made.public
    assert made.public[0] == 8
    assert len(made.public) == 1569


def test_a_loaded_identity_signs_prekeys_too() -> None:
    loaded = IdentityKeyPair.from_private_key(IDENTITY.private_key)
    key = SignedPreKey.generate(loaded, 5, seeded(1), 60)
    kem = KemPreKey.generate(loaded, 6, seeded(2), 60, last_resort=False)
    changed(
        identity_key=IDENTITY.public_key,
        signed_prekey=key.pair.public,
        signed_prekey_signature=key.signature,
        kem_prekey=kem.public,
        kem_prekey_signature=kem.signature,
    ).verify()


def test_prekeys_do_not_print_their_private_halves() -> None:
    kem = KemPreKey.generate(IDENTITY, 6, seeded(1), 60, last_resort=True)
    assert repr(kem.seed)[2:-1] not in repr(kem)
    signed = SignedPreKey.generate(IDENTITY, 5, seeded(1), 60)
    assert repr(signed.pair.private)[2:-1] not in repr(signed)


# --- bundles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_time", [True, False])
@pytest.mark.parametrize("kem", [True, False])
def test_an_honest_bundle_verifies_and_is_the_same_from_its_packed_form(*, one_time: bool, kem: bool) -> None:
    bundle = account("bob").bundle(127, one_time=one_time, kem=kem)
    bundle.verify()
    assert PreKeyBundle.from_bytes(bundle.to_bytes()) == bundle


FAULTS: dict[str, list[Any]] = {
    "registration_id": [-1, 2**32, None, True, "5"],
    "device_id": [0, 128, None, 1.0],
    "identity_key": [b"", bytes(33), None, b"\x05" + bytes(31)],
    "signed_prekey_id": [-1, 2**32, None],
    "signed_prekey": [b"", bytes(33), None],
    "signed_prekey_signature": [b"", bytes(63), None, bytearray(64)],
    "kem_prekey_id": [None, -1, 2**32],
    "kem_prekey": [None, b"", b"\x0a" + bytes(1568)],
    "kem_prekey_signature": [None, b"", bytes(65)],
    "one_time_prekey_id": [None, -1, 2**32],
    "one_time_prekey": [None, b"", bytes(33)],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in FAULTS.items() for value in values],
    ids=case_name,
)
def test_a_field_of_the_wrong_form_is_malformed_when_it_is_verified_and_when_it_is_packed(
    name: str,
    value: Any,  # noqa: ANN401
) -> None:
    bundle = changed(**{name: value})
    for call in (bundle.verify, bundle.to_bytes):
        with pytest.raises(MalformedMessage):
            call()


def test_there_is_a_fault_for_every_field() -> None:
    assert set(FAULTS) == {field.name for field in fields(PreKeyBundle)}


@pytest.mark.parametrize("name", ["identity_key", "signed_prekey", "signed_prekey_signature", "kem_prekey"])
def test_another_value_in_a_signed_field_is_not_authentic(name: str) -> None:
    other = account("other").bundle()
    with pytest.raises(NotAuthentic):
        changed(**{name: getattr(other, name)}).verify()


def test_another_kem_signature_is_not_authentic() -> None:
    with pytest.raises(NotAuthentic):
        changed(kem_prekey_signature=bytes(64)).verify()


def test_the_one_time_prekey_is_not_signed() -> None:
    changed(one_time_prekey=KeyPair.generate(seeded(9)).public).verify()


def values() -> list[Any]:
    return [getattr(BUNDLE, field.name) for field in fields(PreKeyBundle)]


@pytest.mark.parametrize("position", range(11))
def test_a_packed_field_of_the_wrong_type_is_malformed(position: int) -> None:
    packed = values()
    packed[position] = "text"
    with pytest.raises(MalformedMessage):
        PreKeyBundle.from_bytes(pack([1, *packed]))


@pytest.mark.parametrize("data", [b"", b"\x90", None, pack([1]), pack([0, *values()]), pack([1, *values(), 5])])
def test_what_is_no_packed_bundle_is_malformed(data: Any) -> None:  # noqa: ANN401
    with pytest.raises(MalformedMessage, match="bundle: "):
        PreKeyBundle.from_bytes(data)


def test_a_packed_bundle_of_a_later_release_is_told_apart() -> None:
    with pytest.raises(UnsupportedVersion):
        PreKeyBundle.from_bytes(pack([2, *values()]))


# --- published keys ------------------------------------------------------------------------------------------


def test_honest_published_keys_verify() -> None:
    PUBLISHED.verify()
    account("bob").replenish(5, entropy=seeded(1), now=0).verify()
    account("bob").rotate_signed_prekey(entropy=seeded(1), now=0).verify()


def test_published_keys_of_another_identity_are_not_authentic() -> None:
    other = account("other").identity_key
    for part in ("signed_prekey", "last_resort_kem_prekey", "one_time_kem_prekeys"):
        nothing: dict[str, Any] = {
            "signed_prekey": None,
            "last_resort_kem_prekey": None,
            "one_time_prekeys": (),
            "one_time_kem_prekeys": (),
        }
        nothing[part] = getattr(PUBLISHED, part)
        with pytest.raises(NotAuthentic):
            PublishedPreKeys(1, other, **nothing).verify()


@pytest.mark.parametrize(
    "changes",
    [
        {"registration_id": -1},
        {"registration_id": None},
        {"identity_key": b""},
        {"signed_prekey": "key"},
        {"signed_prekey": PUBLISHED.last_resort_kem_prekey},
        {"last_resort_kem_prekey": PUBLISHED.signed_prekey},
        {"one_time_prekeys": None},
        {"one_time_prekeys": list(PUBLISHED.one_time_prekeys)},
        {"one_time_prekeys": (None,)},
        {"one_time_prekeys": (PublishedOneTimePreKey(2**24, PUBLISHED.one_time_prekeys[0].public_key),)},
        {"one_time_prekeys": (PublishedOneTimePreKey(1, bytes(33)),)},
        {"one_time_prekeys": PUBLISHED.one_time_prekeys[:1] * (ONE_TIME_PREKEYS_MAX + 1)},
        {"one_time_kem_prekeys": PUBLISHED.one_time_prekeys},
        {"one_time_kem_prekeys": (PublishedKemPreKey(1, bytes(1569), bytes(64)),)},
        {"one_time_kem_prekeys": (replace(PUBLISHED.one_time_kem_prekeys[0], signature=b""),)},
    ],
    ids=range(15),
)
def test_published_keys_of_the_wrong_form_are_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        replace(PUBLISHED, **changes).verify()


@pytest.mark.parametrize("count", [0, 5, 10])
def test_a_count_within_its_limit_is_returned(count: int) -> None:
    assert require_count(count, 10, "keys") == count


@pytest.mark.parametrize("count", [-1, 11, True, 1.0, None, "5"], ids=case_name)
def test_any_other_count_is_an_invalid_argument(count: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument, match="keys: not a count of at most 10"):
        require_count(count, 10, "keys")


def test_every_refusal_here_is_a_ratchet_error() -> None:
    assert all(issubclass(error, RatchetError) for error in (InvalidArgument, MalformedMessage, NotAuthentic))
