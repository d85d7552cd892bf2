"""One device's secrets: what it makes, publishes, hands out, forgets and remembers."""

from __future__ import annotations

from typing import Any

import pytest

from ratchet import Account, IdentityKeyPair, verify_signature
from ratchet.account import _Ids
from ratchet.errors import CorruptSnapshot, InvalidArgument, NotAuthentic, UnknownPreKey, UnsupportedVersion
from ratchet.keys import SigningKeyPair
from ratchet.limits import (
    ONE_TIME_PREKEYS_MAX,
    PREKEY_ID_MAX,
    REPLACED_KEY_AGE_S,
    SIGNED_PREKEYS_MAX,
    USED_BASE_KEYS_MAX,
    USED_BASE_KEYS_TOTAL_MAX,
)
from ratchet.packing import pack, unpack
from ratchet.prekeys import KemPreKey, PreKeyUse, SignedPreKey
from tests.support.conversation import account, refused, seeded
from tests.support.naming import case_name

BASE_KEY = b"\x05" + bytes(32)


def use(device: Account, *, one_time: bool = True, base_key: bytes = BASE_KEY) -> PreKeyUse:
    """What the next first message would use."""
    bundle = device.bundle(one_time=one_time)
    return PreKeyUse(bundle.signed_prekey_id, bundle.one_time_prekey_id, bundle.kem_prekey_id, base_key)


# --- making --------------------------------------------------------------------------------------------------


def test_entropy_is_drawn_in_the_order_that_is_promised() -> None:
    drawn: list[int] = []
    dice = seeded(1)

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return dice(size)

    Account.create(one_time_prekeys=2, entropy=entropy, now=0)
    assert drawn == [32, 2, 32, 64, 32, 32, 64, 64]
    drawn.clear()
    loaded = IdentityKeyPair.from_private_key(bytes(range(32)))
    Account.create(identity=loaded, registration_id=5, one_time_prekeys=1, entropy=entropy, now=0)
    assert drawn == [32, 64, 64, 64, 32, 64, 64]


def test_an_account_is_made_from_random_numbers_unless_told_otherwise() -> None:
    assert Account.create(one_time_prekeys=0).identity_key != Account.create(one_time_prekeys=0).identity_key


def test_the_same_entropy_makes_the_same_account() -> None:
    assert account(1).to_bytes() == account(1).to_bytes()
    assert account(1).to_bytes() != account(2).to_bytes()


def test_a_given_identity_is_kept() -> None:
    identity = IdentityKeyPair.generate(seeded(1))
    assert account("phone", identity=identity).identity is identity


@pytest.mark.parametrize("registration_id", [1, 0x3FFF])
def test_a_given_registration_id_is_kept(registration_id: int) -> None:
    assert Account.create(registration_id=registration_id, one_time_prekeys=0).registration_id == registration_id


@pytest.mark.parametrize("registration_id", [0, 0x4000, -1, True, 1.0, "1"], ids=case_name)
def test_a_registration_id_has_14_bits_and_is_not_zero(registration_id: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        Account.create(registration_id=registration_id)


@pytest.mark.parametrize("identity", [b"identity", 5, SigningKeyPair.from_seed(bytes(32))], ids=range(3))
def test_an_identity_is_an_identity_key_pair(identity: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        Account.create(identity=identity)


def test_an_account_prints_its_public_identity_and_registration_id() -> None:
    device = account("bob")
    assert repr(device) == f"Account(identity_key={device.identity_key.hex()}, registration_id=42)"


def test_a_signature_is_of_the_identity_for_its_label() -> None:
    device = account("bob")
    signature = device.sign("login v1", b"challenge")
    verify_signature(device.identity_key, "login v1", b"challenge", signature)
    with pytest.raises(NotAuthentic):
        verify_signature(device.identity_key, "login v2", b"challenge", signature)


# --- publishing ----------------------------------------------------------------------------------------------


def test_everything_that_is_unused_is_published() -> None:
    device = account("bob", one_time_prekeys=3)
    published = device.published_prekeys()
    published.verify()
    assert (published.registration_id, published.identity_key) == (42, device.identity_key)
    assert len(published.one_time_prekeys) == len(published.one_time_kem_prekeys) == 3
    assert published.signed_prekey is not None
    assert published.last_resort_kem_prekey is not None
    assert device.signed_prekey(published.signed_prekey.id).pair.public == published.signed_prekey.public_key
    assert device.kem_prekey(published.last_resort_kem_prekey.id).last_resort
    for key in published.one_time_prekeys:
        assert device.one_time_prekey(key.id).pair.public == key.public_key
    for kem in published.one_time_kem_prekeys:
        assert device.kem_prekey(kem.id).public == kem.public_key
        assert not device.kem_prekey(kem.id).last_resort


def test_each_bundle_has_the_next_unused_one_time_keys_and_then_the_last_resort_key() -> None:
    device = account("bob", one_time_prekeys=2)
    bundles = [device.bundle() for _ in range(4)]
    last_resort = device.bundle(one_time=False)
    assert len({bundle.one_time_prekey_id for bundle in bundles[:2]}) == 2
    assert [bundle.one_time_prekey_id for bundle in bundles[2:]] == [None, None]
    assert len({bundle.kem_prekey_id for bundle in bundles[:3]}) == 3
    assert bundles[2].kem_prekey_id == bundles[3].kem_prekey_id == last_resort.kem_prekey_id
    for bundle in bundles:
        bundle.verify()


def test_a_bundle_without_one_time_keys_leaves_them_for_others() -> None:
    device = account("bob", one_time_prekeys=1)
    assert device.bundle(one_time=False).one_time_prekey_id is None
    assert device.bundle().one_time_prekey_id is not None


def test_a_bundle_without_kem_keys_leaves_those_for_others() -> None:
    device = account("bob", one_time_prekeys=1)
    without = device.bundle(kem=False)
    assert (without.kem_prekey_id, without.kem_prekey, without.kem_prekey_signature) == (None, None, None)
    assert without.one_time_prekey_id is not None
    assert not device.kem_prekey(device.bundle().kem_prekey_id or 0).last_resort


def test_a_bundle_never_hands_out_a_key_that_was_used() -> None:
    device = account("bob", one_time_prekeys=2)
    published = device.published_prekeys()
    device.consume(PreKeyUse(1, published.one_time_prekeys[0].id, published.one_time_kem_prekeys[0].id, BASE_KEY))
    bundle = device.bundle()
    assert bundle.one_time_prekey_id == published.one_time_prekeys[1].id
    assert bundle.kem_prekey_id == published.one_time_kem_prekeys[1].id


@pytest.mark.parametrize("device_id", [0, 128, -1, True, "1", None], ids=case_name)
def test_a_bundle_is_for_device_1_to_127(device_id: Any) -> None:  # noqa: ANN401
    device = account("bob")
    with refused(InvalidArgument, device):
        device.bundle(device_id)


# --- changing ------------------------------------------------------------------------------------------------


def test_replenishing_tops_up_both_kinds_and_returns_the_new_ones() -> None:
    device = account("bob", one_time_prekeys=3)
    device.consume(use(device))
    before = device.published_prekeys()
    new = device.replenish(5, entropy=seeded(1), now=0)
    assert (device.one_time_prekey_count, device.one_time_kem_prekey_count) == (5, 5)
    assert (len(new.one_time_prekeys), len(new.one_time_kem_prekeys)) == (3, 3)
    assert (new.signed_prekey, new.last_resort_kem_prekey) == (None, None)
    assert set(device.published_prekeys().one_time_prekeys) == {*before.one_time_prekeys, *new.one_time_prekeys}
    new.verify()


def test_replenishing_to_fewer_than_there_are_takes_none_away() -> None:
    device = account("bob", one_time_prekeys=3)
    new = device.replenish(1, now=0)
    assert (new.one_time_prekeys, new.one_time_kem_prekeys) == ((), ())
    assert device.one_time_prekey_count == 3


@pytest.mark.parametrize("count", [-1, ONE_TIME_PREKEYS_MAX + 1, True, 1.0, None], ids=case_name)
def test_a_count_of_one_time_keys_is_bounded(count: Any) -> None:  # noqa: ANN401
    device = account("bob")
    with refused(InvalidArgument, device):
        device.replenish(count)
    with pytest.raises(InvalidArgument):
        Account.create(one_time_prekeys=count)


def test_a_rotation_replaces_both_keys_and_returns_the_new_ones() -> None:
    device = account("bob")
    old = device.bundle(one_time=False)
    new = device.rotate_signed_prekey(entropy=seeded(1), now=60)
    assert new.signed_prekey is not None
    assert new.last_resort_kem_prekey is not None
    assert (new.one_time_prekeys, new.one_time_kem_prekeys) == ((), ())
    bundle = device.bundle(one_time=False)
    assert (bundle.signed_prekey_id, bundle.kem_prekey_id) == (new.signed_prekey.id, new.last_resort_kem_prekey.id)
    assert old.signed_prekey_id != bundle.signed_prekey_id
    new.verify()


def test_replaced_keys_open_messages_for_30_days_from_their_replacement() -> None:
    device = account("bob")
    old = device.bundle(one_time=False)
    assert old.kem_prekey_id is not None
    device.rotate_signed_prekey(entropy=seeded(1), now=1_000)
    device.replenish(3, now=999 + REPLACED_KEY_AGE_S)
    device.signed_prekey(old.signed_prekey_id)
    device.kem_prekey(old.kem_prekey_id)
    device.replenish(3, now=1_000 + REPLACED_KEY_AGE_S)
    for look_up, prekey_id in ((device.signed_prekey, old.signed_prekey_id), (device.kem_prekey, old.kem_prekey_id)):
        with pytest.raises(UnknownPreKey):
            look_up(prekey_id)


def test_the_current_keys_never_expire() -> None:
    device = account("bob")
    device.replenish(3, now=100 * REPLACED_KEY_AGE_S)
    bundle = device.bundle()
    device.signed_prekey(bundle.signed_prekey_id)


def test_what_is_remembered_of_a_key_goes_with_it_and_not_before() -> None:
    device = account("bob")
    first = use(device, one_time=False)
    device.consume(first)
    device.rotate_signed_prekey(entropy=seeded(1), now=0)
    second = use(device, one_time=False)
    device.consume(second)
    assert device.base_key_used(first)
    device.replenish(3, now=REPLACED_KEY_AGE_S)
    assert not device.base_key_used(first)
    assert device.base_key_used(second)


def test_more_signed_prekeys_than_the_limit_are_not_kept_but_expired_ones_do_not_count() -> None:
    device = account("bob", one_time_prekeys=0)
    (signed,) = device._signed.values()
    (last_resort,) = device._last_resort.values()
    for number in range(100, 100 + SIGNED_PREKEYS_MAX - 1):
        device._signed[number] = SignedPreKey(number, signed.pair, signed.signature, 60)
        device._last_resort[number] = KemPreKey(number, last_resort.seed, last_resort.signature, 60, last_resort=True)
    with refused(InvalidArgument, device):
        device.rotate_signed_prekey(entropy=seeded(1), now=60)
    device.rotate_signed_prekey(entropy=seeded(1), now=60 + REPLACED_KEY_AGE_S)
    assert len(device._signed) == 2


def test_discarded_keys_are_gone_and_replaced_by_the_next_replenishing() -> None:
    device = account("bob", one_time_prekeys=3)
    old = device.published_prekeys()
    device.discard_one_time_prekeys()
    assert (device.one_time_prekey_count, device.one_time_kem_prekey_count) == (0, 0)
    assert device.bundle().one_time_prekey_id is None
    new = device.replenish(3, entropy=seeded(1), now=0)
    assert len(new.one_time_prekeys) == 3
    assert not {key.id for key in old.one_time_prekeys} & {key.id for key in new.one_time_prekeys}


def test_ids_count_up_wrap_to_zero_and_pass_over_those_in_use() -> None:
    ids = _Ids(PREKEY_ID_MAX - 1, {PREKEY_ID_MAX: "in use"}, {1: "in use"})
    assert [ids.next() for _ in range(3)] == [PREKEY_ID_MAX - 1, 0, 2]
    assert ids.following == 3


def test_one_time_keys_are_gone_once_they_are_consumed() -> None:
    device = account("bob")
    used = use(device)
    device.consume(used)
    assert used.one_time_prekey_id is not None
    assert used.kem_prekey_id is not None
    with pytest.raises(UnknownPreKey, match="one-time prekey"):
        device.one_time_prekey(used.one_time_prekey_id)
    with pytest.raises(UnknownPreKey, match="KEM prekey"):
        device.kem_prekey(used.kem_prekey_id)
    assert not device.base_key_used(used)


def test_keys_that_stay_are_remembered_with_the_base_key() -> None:
    device = account("bob")
    used = use(device, one_time=False)
    assert not device.base_key_used(used)
    device.consume(used)
    assert device.base_key_used(used)
    other = b"\x05" + b"\x01" * 32
    assert not device.base_key_used(use(device, one_time=False, base_key=other))
    assert not device.base_key_used(PreKeyUse(99, None, used.kem_prekey_id, BASE_KEY))
    assert not device.base_key_used(PreKeyUse(used.signed_prekey_id, None, 99, BASE_KEY))


def test_without_kem_key_the_signed_prekey_is_remembered() -> None:
    device = account("bob")
    used = PreKeyUse(device.bundle().signed_prekey_id, None, None, BASE_KEY)
    device.consume(used)
    assert device.base_key_used(used)
    again = Account.from_bytes(device.to_bytes())
    assert again.base_key_used(used)


def test_a_first_message_that_consumed_a_key_of_either_kind_is_not_remembered() -> None:
    device = account("bob")
    for bundle in (device.bundle(), device.bundle(kem=False)):
        used = PreKeyUse(bundle.signed_prekey_id, bundle.one_time_prekey_id, bundle.kem_prekey_id, BASE_KEY)
        device.consume(used)
        assert not device.base_key_used(used)


def test_a_rotation_makes_room_for_x3dh_sessions_again() -> None:
    device = account("bob")
    old = device.bundle(kem=False, one_time=False).signed_prekey_id
    for number in range(USED_BASE_KEYS_MAX):
        device.consume(PreKeyUse(old, None, None, b"\x05" + number.to_bytes(32, "big")))
    with pytest.raises(UnknownPreKey):
        device.base_key_used(PreKeyUse(old, None, None, b"\x05" + b"\xff" * 32))
    device.rotate_signed_prekey(entropy=seeded(1), now=60)
    new = device.bundle(kem=False, one_time=False).signed_prekey_id
    assert not device.base_key_used(PreKeyUse(new, None, None, b"\x05" + b"\xff" * 32))


def fill(device: Account, kem_id: int | None, count: int) -> None:
    signed_id = next(iter(device._signed))
    device._used[None, kem_id] = {(signed_id, b"\x05" + number.to_bytes(32, "big")) for number in range(1, count + 1)}


def test_a_key_that_was_used_too_often_opens_nothing_new_and_still_knows_replays() -> None:
    device = account("bob")
    last_resort = device.bundle(one_time=False).kem_prekey_id
    fill(device, last_resort, USED_BASE_KEYS_MAX)
    signed_id = next(iter(device._signed))
    known = b"\x05" + (5).to_bytes(32, "big")
    assert device.base_key_used(PreKeyUse(signed_id, None, last_resort, known))
    with refused(UnknownPreKey, device):
        device.base_key_used(PreKeyUse(signed_id, None, last_resort, BASE_KEY))


def test_all_keys_together_are_bounded_too() -> None:
    device = account("bob")
    for kem_id in range(1_000, 1_000 + USED_BASE_KEYS_TOTAL_MAX // USED_BASE_KEYS_MAX):
        fill(device, kem_id, USED_BASE_KEYS_MAX)
    with pytest.raises(UnknownPreKey):
        device.base_key_used(use(device, one_time=False))


# --- stored form ---------------------------------------------------------------------------------------------


def busy() -> Account:
    device = account("bob", one_time_prekeys=4)
    device.consume(use(device))
    device.consume(use(device, one_time=False))
    device.rotate_signed_prekey(entropy=seeded(1), now=60)
    device.consume(use(device, one_time=False))
    device.bundle()
    return device


def test_an_account_is_the_same_from_its_stored_form() -> None:
    device = busy()
    again = Account.from_bytes(device.to_bytes())
    assert again.to_bytes() == device.to_bytes()
    assert again.published_prekeys() == device.published_prekeys()
    assert again.bundle() == device.bundle()
    assert (again.identity_key, again.registration_id) == (device.identity_key, device.registration_id)


def test_a_loaded_identity_is_stored_by_its_private_key() -> None:
    device = account("bob", identity=IdentityKeyPair.from_private_key(bytes(range(32))))
    again = Account.from_bytes(device.to_bytes())
    assert again.identity_key == device.identity_key
    assert again.identity.pair.seed is None


def values() -> list[Any]:
    return unpack(busy().to_bytes(), version=1, length=11, size_max=10_000_000, what="account")


@pytest.mark.parametrize("position", range(11))
@pytest.mark.parametrize("value", ["text", None, -1, [None]], ids=case_name)
def test_a_value_of_the_wrong_type_is_corrupt(position: int, value: object) -> None:
    packed = values()
    packed[position] = value
    with pytest.raises(CorruptSnapshot):
        Account.from_bytes(pack([1, *packed]))


@pytest.mark.parametrize("position", [4, 5])
def test_an_account_without_signed_or_last_resort_key_is_corrupt(position: int) -> None:
    packed = values()
    packed[position] = []
    with pytest.raises(CorruptSnapshot):
        Account.from_bytes(pack([1, *packed]))


def test_an_account_of_a_later_release_is_told_apart() -> None:
    with pytest.raises(UnsupportedVersion):
        Account.from_bytes(pack([2, *values()]))
