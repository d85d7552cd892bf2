"""One device's secrets: its identity, its registration id and its prekeys."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeVar

from .clock import seconds_since_1970
from .errors import CorruptSnapshot, InvalidArgument, UnknownPreKey
from .keys import Entropy, IdentityKeyPair, KeyPair, SigningKeyPair, draw
from .limits import (
    ACCOUNT_SIZE_MAX,
    DEVICE_ID_MAX,
    ONE_TIME_PREKEYS_MAX,
    PREKEY_ID_MAX,
    REGISTRATION_ID_MAX,
    REPLACED_KEY_AGE_S,
    SIGNED_PREKEYS_MAX,
    USED_BASE_KEYS_MAX,
    USED_BASE_KEYS_TOTAL_MAX,
)
from .packing import pack, take_bool, take_bytes, take_int, unpack
from .prekey_packing import (
    UsedBaseKeys,
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
from .prekeys import (
    KemPreKey,
    OneTimePreKey,
    PreKeyBundle,
    PreKeyUse,
    PublishedKemPreKey,
    PublishedOneTimePreKey,
    PublishedPreKeys,
    PublishedSignedPreKey,
    SignedPreKey,
    require_count,
)

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
from .secret import NotCopied

__all__ = ["Account"]

_Key = TypeVar("_Key")

_VERSION: Final = 1


class Account(NotCopied):
    """A device's identity and prekeys: what accepts first messages. Made by `create` or `from_bytes`.

    Every method that changes it either completes or raises and leaves it as it was. Not thread-safe.
    """

    __slots__ = (
        "_fresh_kem_prekeys",
        "_fresh_prekeys",
        "_identity",
        "_last_resort",
        "_next_id",
        "_one_time",
        "_one_time_kem",
        "_registration_id",
        "_signed",
        "_used",
    )

    def __init__(self, identity: IdentityKeyPair, registration_id: int) -> None:
        self._identity = identity
        self._registration_id = registration_id
        self._next_id = 1  # one sequence for all kinds
        self._signed: dict[int, SignedPreKey] = {}  # oldest first; the last is current
        self._last_resort: dict[int, KemPreKey] = {}  # likewise
        self._one_time: dict[int, OneTimePreKey] = {}
        self._one_time_kem: dict[int, KemPreKey] = {}
        self._fresh_prekeys: dict[int, None] = {}  # one-time ids that `bundle` has not handed out, in order
        self._fresh_kem_prekeys: dict[int, None] = {}
        self._used: UsedBaseKeys = {}

    @classmethod
    def create(
        cls,
        *,
        identity: IdentityKeyPair | None = None,
        registration_id: int | None = None,
        one_time_prekeys: int = 100,
        entropy: Entropy = os.urandom,
        now: float | None = None,
    ) -> Account:
        """Make a device: an identity (or the user's, if given), a registration id, and all kinds of prekeys.

        Entropy is drawn in this order: identity 32 bytes, registration id 2, signed prekey 32, last-resort
        KEM prekey 64, then for each one-time prekey 32, for each one-time KEM prekey 64; and 64 after each
        signed key if *identity* was loaded from a private key.
        """
        require_count(one_time_prekeys, ONE_TIME_PREKEYS_MAX, "one_time_prekeys")
        if identity is None:
            identity = IdentityKeyPair.generate(entropy)
        elif not isinstance(identity, IdentityKeyPair):
            raise InvalidArgument("identity must be an IdentityKeyPair")
        if registration_id is None:
            registration_id = 1 + int.from_bytes(draw(entropy, 2), "big") % REGISTRATION_ID_MAX
        elif type(registration_id) is not int or not 1 <= registration_id <= REGISTRATION_ID_MAX:
            raise InvalidArgument(f"a registration id is 1 to {REGISTRATION_ID_MAX}")
        account = cls(identity, registration_id)
        account.rotate_signed_prekey(entropy=entropy, now=now)
        account.replenish(one_time_prekeys, entropy=entropy, now=now)
        return account

    @property
    def identity(self) -> IdentityKeyPair:
        """The identity key pair."""
        return self._identity

    @property
    def identity_key(self) -> bytes:
        """The public identity key, 33 bytes."""
        return self._identity.public_key

    @property
    def registration_id(self) -> int:
        """Tells this installation of the device from an earlier one; 1 to 16,383."""
        return self._registration_id

    @property
    def one_time_prekey_count(self) -> int:
        """One-time prekeys that are still unused."""
        return len(self._one_time)

    @property
    def one_time_kem_prekey_count(self) -> int:
        """One-time KEM prekeys that are still unused."""
        return len(self._one_time_kem)

    def __repr__(self) -> str:
        return f"Account(identity_key={self.identity_key.hex()}, registration_id={self._registration_id})"

    def sign(self, label: str, data: bytes, *, entropy: Entropy = os.urandom) -> bytes:
        """Sign *data* with the identity key for the use that *label* (1 to 255 bytes) names; 64 bytes.

        `ratchet.verify_signature` checks it. No label can make this a signature of a prekey.
        """
        return self._identity.sign(label, data, entropy=entropy)

    # What it publishes.

    def published_prekeys(self) -> PublishedPreKeys:
        """Return all current public halves, for one upload to a relay."""
        return PublishedPreKeys(
            self._registration_id,
            self.identity_key,
            _publish_signed(self._current_signed()),
            _publish_kem(self._current_last_resort()),
            tuple(_publish_one_time(key) for key in self._one_time.values()),
            tuple(_publish_kem(key) for key in self._one_time_kem.values()),
        )

    def bundle(self, device_id: int = 1, *, one_time: bool = True, kem: bool = True) -> PreKeyBundle:
        """Hand out a bundle with the next unused one-time keys; for tests and for peers without a relay.

        Without *one_time*, or when none is left, it has no one-time prekey and the last-resort KEM key;
        without *kem* it allows X3DH only. Raises InvalidArgument for a device id outside 1 to 127.
        """
        if type(device_id) is not int or not 1 <= device_id <= DEVICE_ID_MAX:
            raise InvalidArgument(f"a device id is 1 to {DEVICE_ID_MAX}")
        signed = self._current_signed()
        last_resort = self._current_last_resort()
        kem_key = _take(self._fresh_kem_prekeys, self._one_time_kem) or last_resort if one_time and kem else last_resort
        one_time_key = _take(self._fresh_prekeys, self._one_time) if one_time else None
        return PreKeyBundle(
            registration_id=self._registration_id,
            device_id=device_id,
            identity_key=self.identity_key,
            signed_prekey_id=signed.id,
            signed_prekey=signed.pair.public,
            signed_prekey_signature=signed.signature,
            kem_prekey_id=kem_key.id if kem else None,
            kem_prekey=kem_key.public if kem else None,
            kem_prekey_signature=kem_key.signature if kem else None,
            one_time_prekey_id=one_time_key.id if one_time_key else None,
            one_time_prekey=one_time_key.pair.public if one_time_key else None,
        )

    def _current_signed(self) -> SignedPreKey:
        return next(reversed(self._signed.values()))

    def _current_last_resort(self) -> KemPreKey:
        return next(reversed(self._last_resort.values()))

    def replenish(
        self, one_time_prekeys: int = 100, *, entropy: Entropy = os.urandom, now: float | None = None
    ) -> PublishedPreKeys:
        """Top up both kinds of one-time prekeys to *one_time_prekeys* unused ones; return the new public halves.

        Also deletes replaced keys whose time is over.
        """
        require_count(one_time_prekeys, ONE_TIME_PREKEYS_MAX, "one_time_prekeys")
        seconds = seconds_since_1970(now)
        ids = _Ids(self._next_id, self._signed, self._last_resort, self._one_time, self._one_time_kem)
        new = [
            OneTimePreKey(ids.next(), KeyPair.generate(entropy)) for _ in range(one_time_prekeys - len(self._one_time))
        ]
        new_kem = [
            KemPreKey.generate(self._identity, ids.next(), entropy, seconds, last_resort=False)
            for _ in range(one_time_prekeys - len(self._one_time_kem))
        ]
        self._next_id = ids.following
        self._one_time |= {key.id: key for key in new}
        self._one_time_kem |= {key.id: key for key in new_kem}
        self._fresh_prekeys |= dict.fromkeys(key.id for key in new)
        self._fresh_kem_prekeys |= dict.fromkeys(key.id for key in new_kem)
        self._expire(seconds)
        return PublishedPreKeys(
            self._registration_id,
            self.identity_key,
            None,
            None,
            tuple(_publish_one_time(key) for key in new),
            tuple(_publish_kem(key) for key in new_kem),
        )

    def rotate_signed_prekey(self, *, entropy: Entropy = os.urandom, now: float | None = None) -> PublishedPreKeys:
        """Replace the signed and the last-resort KEM prekey; return the new public halves.

        The replaced ones still open first messages for 30 days. Raises InvalidArgument when 1,000 are kept.
        """
        seconds = seconds_since_1970(now)
        if len(self._signed) - len(_expired(self._signed, seconds)) >= SIGNED_PREKEYS_MAX:
            raise InvalidArgument(f"{SIGNED_PREKEYS_MAX} signed prekeys are kept already: rotate less often")
        ids = _Ids(self._next_id, self._signed, self._last_resort, self._one_time, self._one_time_kem)
        signed = SignedPreKey.generate(self._identity, ids.next(), entropy, seconds)
        last_resort = KemPreKey.generate(self._identity, ids.next(), entropy, seconds, last_resort=True)
        self._next_id = ids.following
        self._signed[signed.id] = signed
        self._last_resort[last_resort.id] = last_resort
        self._expire(seconds)
        return PublishedPreKeys(
            self._registration_id, self.identity_key, _publish_signed(signed), _publish_kem(last_resort), (), ()
        )

    def discard_one_time_prekeys(self) -> None:
        """Forget every one-time prekey, so that `replenish` makes new ones: the repair after a restored backup."""
        self._one_time.clear()
        self._one_time_kem.clear()
        self._fresh_prekeys.clear()
        self._fresh_kem_prekeys.clear()

    def _expire(self, seconds: int) -> None:
        """Delete replaced keys 30 days after they were replaced, and what is remembered of their use."""
        for prekey_id in _expired(self._signed, seconds):
            del self._signed[prekey_id]
        for prekey_id in _expired(self._last_resort, seconds):
            del self._last_resort[prekey_id]
        self._used = {
            (signed_id, kem_id): {entry for entry in entries if entry[0] in self._signed}
            for (signed_id, kem_id), entries in self._used.items()
            if signed_id in self._signed or kem_id in self._last_resort
        }

    # The prekey source of `Session`.

    def signed_prekey(self, prekey_id: int) -> SignedPreKey:
        """Find a signed prekey, current or replaced less than 30 days ago. Raises UnknownPreKey."""
        return _find(self._signed, prekey_id, "signed prekey")

    def one_time_prekey(self, prekey_id: int) -> OneTimePreKey:
        """Find an unused one-time prekey. Raises UnknownPreKey."""
        return _find(self._one_time, prekey_id, "one-time prekey")

    def kem_prekey(self, prekey_id: int) -> KemPreKey:
        """Find an unused one-time KEM prekey, or one of last resort. Raises UnknownPreKey."""
        return self._one_time_kem.get(prekey_id) or _find(self._last_resort, prekey_id, "KEM prekey")

    def base_key_used(self, use: PreKeyUse) -> bool:
        """Tell whether a first message with these ids and this base key was accepted before.

        Raises UnknownPreKey if the keys have been used 10,000 times: rotate them.
        """
        used = self._used.get(_kept_key(use), set())
        if (use.signed_prekey_id, use.base_key) in used:
            return True
        if len(used) >= USED_BASE_KEYS_MAX or sum(map(len, self._used.values())) >= USED_BASE_KEYS_TOTAL_MAX:
            raise UnknownPreKey("the last-resort prekey has been used too often: rotate it")
        return False

    def consume(self, use: PreKeyUse) -> None:
        """Delete the one-time keys of *use*; remember its base key while the keys that stay live."""
        consumed = False
        if use.one_time_prekey_id is not None:
            consumed = self._one_time.pop(use.one_time_prekey_id, None) is not None
            self._fresh_prekeys.pop(use.one_time_prekey_id, None)
        if use.kem_prekey_id is not None:
            consumed |= self._one_time_kem.pop(use.kem_prekey_id, None) is not None
            self._fresh_kem_prekeys.pop(use.kem_prekey_id, None)
        if not consumed:  # a key that is gone stops the replay by itself
            self._used.setdefault(_kept_key(use), set()).add((use.signed_prekey_id, use.base_key))

    def to_bytes(self) -> bytes:
        """Pack everything, private keys included; version 1. Seal it before it is stored."""
        return pack(
            [
                _VERSION,
                *self._identity.pair.secret(),
                self._registration_id,
                self._next_id,
                [pack_signed_prekey(key) for key in self._signed.values()],
                [pack_kem_prekey(key) for key in self._last_resort.values()],
                [pack_one_time_prekey(key) for key in self._one_time.values()],
                [pack_kem_prekey(key) for key in self._one_time_kem.values()],
                list(self._fresh_prekeys),
                list(self._fresh_kem_prekeys),
                pack_used_base_keys(self._used),
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Account:
        """Undo `to_bytes`. Raises CorruptSnapshot, or UnsupportedVersion if a newer release wrote it."""
        values = unpack(data, version=_VERSION, length=11, size_max=ACCOUNT_SIZE_MAX, what="account")
        is_seed, secret, registration_id, next_id, signed, last_resort, one_time, kem, fresh, fresh_kem, used = values
        pair = SigningKeyPair.from_secret(take_bool(is_seed, "identity"), take_bytes(secret, 32, "identity"))
        account = cls(
            IdentityKeyPair(pair), take_int(registration_id, REGISTRATION_ID_MAX, "registration id", minimum=1)
        )
        account._next_id = take_int(next_id, PREKEY_ID_MAX, "next prekey id")
        account._signed = take_signed_prekeys(signed)
        account._last_resort = take_kem_prekeys(last_resort, last_resort=True)
        account._one_time = take_one_time_prekeys(one_time)
        account._one_time_kem = take_kem_prekeys(kem, last_resort=False)
        account._fresh_prekeys = take_ids(fresh, account._one_time)
        account._fresh_kem_prekeys = take_ids(fresh_kem, account._one_time_kem)
        account._used = take_used_base_keys(used)
        if not account._signed or not account._last_resort:
            raise CorruptSnapshot("account: no signed prekey")
        return account


class _Ids:
    """The next prekey ids, 24 bits, skipping those in use; kept by the account only when all went well."""

    def __init__(self, following: int, *in_use: Container[int]) -> None:
        self.following = following
        self._in_use = in_use

    def next(self) -> int:
        while any(self.following in keys for keys in self._in_use):
            self.following = (self.following + 1) & PREKEY_ID_MAX
        taken = self.following
        self.following = (taken + 1) & PREKEY_ID_MAX
        return taken


def _kept_key(use: PreKeyUse) -> tuple[int | None, int | None]:
    """The key that stays, and so remembers: the last-resort KEM prekey, for X3DH the signed prekey."""
    return (use.signed_prekey_id, None) if use.kem_prekey_id is None else (None, use.kem_prekey_id)


def _expired(keys: Mapping[int, SignedPreKey | KemPreKey], seconds: int) -> list[int]:
    """Ids of the keys that were replaced 30 days ago or earlier."""
    return [
        key.id for key, successor in pairwise(keys.values()) if successor.created_at + REPLACED_KEY_AGE_S <= seconds
    ]


def _take(fresh: dict[int, None], keys: Mapping[int, _Key]) -> _Key | None:
    """Return the first key that has not been handed out, which then has."""
    for prekey_id in fresh:
        del fresh[prekey_id]
        return keys[prekey_id]
    return None


def _find(keys: dict[int, _Key], prekey_id: int, what: str) -> _Key:
    if prekey_id in keys:
        return keys[prekey_id]
    raise UnknownPreKey(f"{what} {prekey_id} is not (or no longer) here")


def _publish_signed(key: SignedPreKey) -> PublishedSignedPreKey:
    return PublishedSignedPreKey(key.id, key.pair.public, key.signature)


def _publish_kem(key: KemPreKey) -> PublishedKemPreKey:
    return PublishedKemPreKey(key.id, key.public, key.signature)


def _publish_one_time(key: OneTimePreKey) -> PublishedOneTimePreKey:
    return PublishedOneTimePreKey(key.id, key.pair.public)
