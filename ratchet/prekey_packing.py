"""Prekeys as plain values, for the account's stored form."""

from __future__ import annotations

from typing import Any, Final

from .clock import TIME_MAX
from .errors import CorruptSnapshot
from .keys import PUBLIC_KEY_SIZE, KeyPair
from .limits import COUNTER_MAX, ONE_TIME_PREKEYS_MAX, PREKEY_ID_MAX, USED_BASE_KEYS_MAX
from .packing import take_bytes, take_int, take_list
from .prekeys import KemPreKey, OneTimePreKey, SignedPreKey
from .primitives import KEM_SEED_SIZE, SIGNATURE_SIZE

__all__ = [
    "pack_kem_prekey",
    "pack_one_time_prekey",
    "pack_signed_prekey",
    "take_ids",
    "take_kem_prekeys",
    "take_one_time_prekeys",
    "take_signed_prekeys",
    "take_used_base_keys",
]

_GENERATIONS_MAX: Final = 10_000  # signed prekeys, and pairs of them, of one account; bounds reading, never reached


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
    for one in take_list(value, "signed prekeys", length_max=_GENERATIONS_MAX):
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


def take_ids(value: object) -> list[int]:
    """Read prekey ids. Raises CorruptSnapshot."""
    return [_id(one) for one in take_list(value, "prekey ids", length_max=ONE_TIME_PREKEYS_MAX)]


def take_used_base_keys(value: object) -> dict[tuple[int, int | None], set[bytes]]:
    """Read what is remembered of last-resort keys' use. Raises CorruptSnapshot."""
    used: dict[tuple[int, int | None], set[bytes]] = {}
    for one in take_list(value, "used base keys", length_max=_GENERATIONS_MAX):
        signed_id, kem_id, base_keys = take_list(one, "used base keys", length=3)
        listed = take_list(base_keys, "used base keys", length_max=USED_BASE_KEYS_MAX)
        used[_id(signed_id), None if kem_id is None else _id(kem_id)] = {
            take_bytes(base_key, PUBLIC_KEY_SIZE, "used base key") for base_key in listed
        }
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
