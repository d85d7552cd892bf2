"""Prekeys as plain values, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratchet.clock import TIME_MAX
from ratchet.errors import CorruptSnapshot
from ratchet.keys import IdentityKeyPair, KeyPair
from ratchet.limits import PREKEY_ID_MAX, SIGNED_PREKEYS_MAX, USED_BASE_KEYS_MAX
from ratchet.prekey_packing import (
    pack_kem_prekey,
    pack_one_time_prekey,
    pack_signed_prekey,
    pack_used_base_keys,
    take_ids,
    take_kem_prekeys,
    take_one_time_prekeys,
    take_signed_prekeys,
    take_used_base_keys,
)
from ratchet.prekeys import KemPreKey, OneTimePreKey, SignedPreKey
from tests.support.conversation import seeded

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTITY = IdentityKeyPair.generate(seeded("identity"))
SIGNED = SignedPreKey.generate(IDENTITY, 5, seeded(1), 60)
ONE_TIME = OneTimePreKey(PREKEY_ID_MAX, KeyPair.generate(seeded(2)))
KEM = KemPreKey.generate(IDENTITY, 0, seeded(3), TIME_MAX, last_resort=True)
BASE_KEYS = [b"\x05" + bytes([number]) * 32 for number in range(3)]


def test_a_signed_prekey_is_the_same_from_its_packed_form() -> None:
    (again,) = take_signed_prekeys([pack_signed_prekey(SIGNED)]).values()
    assert pack_signed_prekey(again) == pack_signed_prekey(SIGNED)
    assert (again.id, again.pair.private, again.created_at) == (5, SIGNED.pair.private, 60)


def test_a_one_time_prekey_is_the_same_from_its_packed_form() -> None:
    (again,) = take_one_time_prekeys([pack_one_time_prekey(ONE_TIME)]).values()
    assert pack_one_time_prekey(again) == pack_one_time_prekey(ONE_TIME)


@pytest.mark.parametrize("last_resort", [True, False])
def test_a_kem_prekey_is_the_same_from_its_packed_form_and_of_the_kind_that_is_asked_for(*, last_resort: bool) -> None:
    (again,) = take_kem_prekeys([pack_kem_prekey(KEM)], last_resort=last_resort).values()
    assert pack_kem_prekey(again) == pack_kem_prekey(KEM)
    assert (again.public, again.last_resort) == (KEM.public, last_resort)


TAKES: list[tuple[Callable[[object], object], list[object]]] = [
    (take_signed_prekeys, pack_signed_prekey(SIGNED)),
    (take_one_time_prekeys, pack_one_time_prekey(ONE_TIME)),
    (lambda value: take_kem_prekeys(value, last_resort=True), pack_kem_prekey(KEM)),
]


@pytest.mark.parametrize(("take", "packed"), TAKES, ids=["signed", "one-time", "KEM"])
def test_keys_keep_their_order(take: Callable[[object], dict[int, object]], packed: list[object]) -> None:
    assert list(take([[9, *packed[1:]], [3, *packed[1:]], [5, *packed[1:]]])) == [9, 3, 5]


@pytest.mark.parametrize(("take", "packed"), TAKES, ids=["signed", "one-time", "KEM"])
def test_any_other_packed_form_is_corrupt(take: Callable[[object], object], packed: list[object]) -> None:
    faults: list[object] = [None, [None], [packed, packed], [packed[:-1]], [[*packed, 0]]]
    faults += [[[*packed[:i], "text", *packed[i + 1 :]]] for i in range(len(packed))]
    faults += [[[PREKEY_ID_MAX + 1, *packed[1:]]], [[-1, *packed[1:]]]]
    for fault in faults:
        with pytest.raises(CorruptSnapshot):
            take(fault)


def test_more_signed_prekeys_than_are_ever_kept_are_corrupt() -> None:
    packed = pack_signed_prekey(SIGNED)
    assert len(take_signed_prekeys([[i, *packed[1:]] for i in range(SIGNED_PREKEYS_MAX)])) == SIGNED_PREKEYS_MAX
    with pytest.raises(CorruptSnapshot):
        take_signed_prekeys([[i, *packed[1:]] for i in range(SIGNED_PREKEYS_MAX + 1)])


def test_ids_keep_their_order() -> None:
    assert list(take_ids([9, 3, 5], {3, 5, 9, 11})) == [9, 3, 5]


@pytest.mark.parametrize("ids", [[3, 3], [4], [-1], ["3"], None, [2**32]])
def test_an_id_that_stands_twice_or_names_no_key_is_corrupt(ids: object) -> None:
    with pytest.raises(CorruptSnapshot):
        take_ids(ids, {3, 5, 9})


def test_used_base_keys_are_packed_in_order_whatever_the_order_of_their_use() -> None:
    used = {(None, 7): {(2, BASE_KEYS[1]), (1, BASE_KEYS[2]), (1, BASE_KEYS[0])}, (4, None): {(4, BASE_KEYS[0])}}
    packed = pack_used_base_keys(used)
    assert packed == [
        [None, 7, [1, 1, 2], [BASE_KEYS[0], BASE_KEYS[2], BASE_KEYS[1]]],
        [4, None, [4], [BASE_KEYS[0]]],
    ]
    assert take_used_base_keys(packed) == used


@pytest.mark.parametrize(
    "packed",
    [
        None,
        [None],
        [[None, 7, [1]]],
        [[None, 7, [1], []]],
        [[None, 7, [], [BASE_KEYS[0]]]],
        [[None, 7, [1], [BASE_KEYS[0][:-1]]]],
        [[None, 7, [-1], [BASE_KEYS[0]]]],
        [[None, "7", [1], [BASE_KEYS[0]]]],
        [[None, 7, [1, 1], [BASE_KEYS[0]] * 2]],
        [[None, 7, [2, 1], [BASE_KEYS[0]] * 2]],
        [[None, 7, [1, 1], [BASE_KEYS[1], BASE_KEYS[0]]]],
        [[None, 7, [1], [BASE_KEYS[0]]], [None, 7, [1], [BASE_KEYS[1]]]],
        [[None, 7, [1] * (USED_BASE_KEYS_MAX + 1), [BASE_KEYS[0]] * (USED_BASE_KEYS_MAX + 1)]],
        [[7, 7, [1], [BASE_KEYS[0]]]],
        [[None, None, [1], [BASE_KEYS[0]]]],
    ],
    ids=range(15),
)
def test_used_base_keys_in_any_other_form_are_corrupt(packed: object) -> None:
    with pytest.raises(CorruptSnapshot):
        take_used_base_keys(packed)
