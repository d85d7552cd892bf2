"""Prekeys as plain values, for the account's stored form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from .clock import TIME_MAX
from .errors import CorruptSnapshot
from .keys import PUBLIC_KEY_SIZE, KeyPair
from .limits import COUNTER_MAX, ONE_TIME_PREKEYS_MAX, PREKEY_ID_MAX, SIGNED_PREKEYS_MAX, USED_BASE_KEYS_MAX
from .packing import take_bytes, take_int, take_list
from .prekeys import KemPreKey, OneTimePreKey, SignedPreKey
from .primitives import KEM_SEED_SIZE, SIGNATURE_SIZE

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = [
    "UsedBaseKeys",
    "pack_kem_prekey",
    "pack_one_time_prekey",
    "pack_signed_prekey",
    "pack_used_base_keys",
    "take_ids",
    "take_kem_prekeys",
    "take_one_time_prekeys",
    "take_signed_prekeys",
    "take_used_base_keys",
]

UsedBaseKeys: TypeAlias = dict[tuple[int | None, int | None], set[tuple[int, bytes]]]
"""What stays in use to what used it: the last-resort KEM prekey's id, or for X3DH the signed prekey's, as a pair of
which one is None (signed, KEM); to the signed prekey id and base key of each first message that consumed nothing."""


def pack_signed_prekey(key: SignedPreKey) -> list[Any]:
    """A signed prekey as plain values."""
    return [key.id, key.pair.public, key.pair.private, key.signature, key.created_at]


def pack_one_time_prekey(key: OneTimePreKey) -> list[Any]:
    """A one-time prekey as plain values."""
    return [key.id, key.pair.public, key.pair.private]


def pack_kem_prekey(key: KemPreKey) -> list[Any]:
    """A KEM prekey as plain values."""
    return [key.id, key.seed, key.signature, key.created_at]


def take_signed_prekeys(value: object) -> dict[int, SignedPreKey]:
    """Read packed signed prekeys, oldest first. Raises CorruptSnapshot."""
    keys: dict[int, SignedPreKey] = {}
    for one in take_list(value, "signed prekeys", length_max=SIGNED_PREKEYS_MAX):
        prekey_id, public, private, signature, created_at = take_list(one, "signed prekey", length=5)
        key = SignedPreKey(
            _new_id(keys, prekey_id),
            _pair(public, private),
            take_bytes(signature, SIGNATURE_SIZE, "signature"),
            take_int(created_at, TIME_MAX, "time of creation"),
        )
        keys[key.id] = key
    return keys


def take_one_time_prekeys(value: object) -> dict[int, OneTimePreKey]:
    """Read packed one-time prekeys. Raises CorruptSnapshot."""
    keys: dict[int, OneTimePreKey] = {}
    for one in take_list(value, "one-time prekeys", length_max=ONE_TIME_PREKEYS_MAX):
        prekey_id, public, private = take_list(one, "one-time prekey", length=3)
        key = OneTimePreKey(_new_id(keys, prekey_id), _pair(public, private))
        keys[key.id] = key
    return keys


def take_kem_prekeys(value: object, *, last_resort: bool) -> dict[int, KemPreKey]:
    """Read packed KEM prekeys. Raises CorruptSnapshot."""
    keys: dict[int, KemPreKey] = {}
    for one in take_list(value, "KEM prekeys", length_max=ONE_TIME_PREKEYS_MAX):
        prekey_id, seed, signature, created_at = take_list(one, "KEM prekey", length=4)
        key = KemPreKey(
            _new_id(keys, prekey_id),
            take_bytes(seed, KEM_SEED_SIZE, "KEM seed"),
            take_bytes(signature, SIGNATURE_SIZE, "signature"),
            take_int(created_at, TIME_MAX, "time of creation"),
            last_resort,
        )
        keys[key.id] = key
    return keys


def take_ids(value: object, keys: Container[int]) -> dict[int, None]:
    """Read ids of *keys*, each once. Raises CorruptSnapshot."""
    ids = dict.fromkeys(_id(one) for one in take_list(value, "prekey ids", length_max=ONE_TIME_PREKEYS_MAX))
    if len(ids) != len(take_list(value, "prekey ids")) or not all(prekey_id in keys for prekey_id in ids):
        raise CorruptSnapshot("prekey ids: one twice, or of no key")
    return ids


def pack_used_base_keys(used: UsedBaseKeys) -> list[Any]:
    """What is remembered of last-resort keys' use, as plain values."""
    return [
        [*kept, [signed_id for signed_id, _key in entries], [base_key for _id, base_key in entries]]
        for kept, entries in ((kept, sorted(entries)) for kept, entries in used.items())
    ]


def take_used_base_keys(value: object) -> UsedBaseKeys:
    """Undo `pack_used_base_keys`. Raises CorruptSnapshot."""
    used: UsedBaseKeys = {}
    for one in take_list(value, "used base keys", length_max=2 * SIGNED_PREKEYS_MAX):
        signed_kept, kem_kept, signed_ids, base_keys = take_list(one, "used base keys", length=4)
        listed = take_list(base_keys, "used base keys", length_max=USED_BASE_KEYS_MAX)
        entries = [
            (_id(signed_id), take_bytes(base_key, PUBLIC_KEY_SIZE, "used base key"))
            for signed_id, base_key in zip(
                take_list(signed_ids, "used signed ids", length=len(listed)), listed, strict=True
            )
        ]
        key = None if signed_kept is None else _id(signed_kept), None if kem_kept is None else _id(kem_kept)
        if (key[0] is None) == (key[1] is None) or key in used or entries != sorted(set(entries)):
            raise CorruptSnapshot("used base keys: not in order")
        used[key] = set(entries)
    return used


def _id(value: object) -> int:
    return take_int(value, COUNTER_MAX, "prekey id")


def _new_id(keys: dict[int, Any], value: object) -> int:
    prekey_id = take_int(value, PREKEY_ID_MAX, "prekey id")
    if prekey_id in keys:
        raise CorruptSnapshot("prekeys: one id twice")
    return prekey_id


def _pair(public: object, private: object) -> KeyPair:
    return KeyPair(take_bytes(public, PUBLIC_KEY_SIZE, "public prekey"), take_bytes(private, 32, "private prekey"))
