"""Prekeys, one row each: made, published, loaded one by one, consumed in the transaction that uses them."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ratchet import UnknownPreKey
from ratchet.keys import KeyPair
from ratchet.limits import PREKEY_ID_MAX
from ratchet.prekeys import (
    KemPreKey,
    OneTimePreKey,
    PublishedKemPreKey,
    PublishedOneTimePreKey,
    PublishedPreKeys,
    PublishedSignedPreKey,
    SignedPreKey,
)

from .database import Statement
from .errors import TooLarge
from .limits import ONE_TIME_PREKEYS_MAX, REPLACED_PREKEY_AGE_S, USED_BASE_KEYS_MAX
from .packing import pack, take_bytes, unpack
from .schema import prekey_row

if TYPE_CHECKING:
    from ratchet import IdentityKeyPair
    from ratchet.prekeys import PreKeyUse

    from .accounts import Accounts
    from .work import Work

__all__ = ["PreKeyKind", "PreKeys"]

_TABLE: Final = "prekeys"
_FORM: Final = 1  # of the packed private halves
_NO_KEM: Final = -1  # in `used_base_keys`, of a handshake without a KEM prekey


class PreKeyKind(IntEnum):
    """The kinds, by the number that is stored."""

    SIGNED = 1
    LAST_RESORT_KEM = 2
    ONE_TIME = 3
    ONE_TIME_KEM = 4


_LOAD: Final = Statement(_TABLE, "SELECT private, created_at FROM prekeys WHERE kind = ? AND prekey_id = ?")
_ADD: Final = Statement(
    _TABLE, "INSERT INTO prekeys (kind, prekey_id, private, created_at, upload_number) VALUES (?, ?, ?, ?, NULL)"
)
_IN_USE: Final = Statement(_TABLE, "SELECT COUNT(*) FROM prekeys WHERE prekey_id = ?")
_COUNT: Final = Statement(_TABLE, "SELECT COUNT(*) FROM prekeys WHERE kind = ?")
_DELETE: Final = Statement(_TABLE, "DELETE FROM prekeys WHERE kind = ? AND prekey_id = ?")
_DELETE_KIND: Final = Statement(_TABLE, "DELETE FROM prekeys WHERE kind = ?")
_UNPUBLISHED: Final = Statement(
    _TABLE,
    "SELECT kind, prekey_id, private, created_at FROM prekeys WHERE upload_number IS NULL ORDER BY kind, prekey_id",
)
_ANY_UNPUBLISHED: Final = Statement(_TABLE, "SELECT 1 FROM prekeys WHERE upload_number IS NULL LIMIT 1")
_PUBLISHED: Final = Statement(_TABLE, "UPDATE prekeys SET upload_number = ? WHERE upload_number IS NULL")
_COUNT_PUBLISHED: Final = Statement(
    _TABLE, "SELECT COUNT(*) FROM prekeys WHERE kind IN (?, ?) AND upload_number IS NOT NULL"
)
_UNPUBLISH: Final = Statement(_TABLE, "UPDATE prekeys SET upload_number = NULL")
_IS_PUBLISHED: Final = Statement(_TABLE, "SELECT COUNT(*) FROM prekeys WHERE kind = ? AND upload_number IS NOT NULL")
_NEWEST: Final = Statement(
    _TABLE,
    "SELECT prekey_id, created_at FROM prekeys WHERE kind = ? ORDER BY created_at DESC, prekey_id DESC LIMIT 1",
)
_DELETE_ALL: Final = Statement(_TABLE, "DELETE FROM prekeys")
_TIMES: Final = Statement(
    _TABLE, "SELECT prekey_id, created_at FROM prekeys WHERE kind = ? ORDER BY created_at DESC, prekey_id DESC"
)

_USED: Final = "used_base_keys"
_IS_USED: Final = Statement(
    _USED,
    "SELECT COUNT(*) FROM used_base_keys WHERE signed_prekey_id = ? AND kem_prekey_id = ? AND base_key = ?",
)
_COUNT_USED: Final = Statement(
    _USED, "SELECT COUNT(*) FROM used_base_keys WHERE signed_prekey_id = ? AND kem_prekey_id = ?"
)
_USE: Final = Statement(
    _USED, "INSERT INTO used_base_keys (signed_prekey_id, kem_prekey_id, base_key) VALUES (?, ?, ?)"
)
_FORGET_SIGNED: Final = Statement(_USED, "DELETE FROM used_base_keys WHERE signed_prekey_id = ?")
_FORGET_USED: Final = Statement(_USED, "DELETE FROM used_base_keys")
_FORGET_KEM: Final = Statement(_USED, "DELETE FROM used_base_keys WHERE kem_prekey_id = ?")


class PreKeys:
    """The account's prekeys; to `Session.accept` and `Session.decrypt`, a prekey source."""

    def __init__(self, work: Work, accounts: Accounts) -> None:
        self._work = work
        self._accounts = accounts
        self._unpublished = True  # False: no key is

    # The prekey source of `ratchet`.

    @property
    def identity(self) -> IdentityKeyPair:
        """The account's identity key pair."""
        return self._accounts.require().identity

    @property
    def registration_id(self) -> int:
        """The device's registration id."""
        return self._accounts.require().registration_id

    def signed_prekey(self, prekey_id: int) -> SignedPreKey:
        """Load a signed prekey, current or replaced less than 30 days ago. Raises UnknownPreKey."""
        packed, created_at = self._load(PreKeyKind.SIGNED, prekey_id, "signed prekey")
        return _take_signed(prekey_id, packed, created_at)

    def one_time_prekey(self, prekey_id: int) -> OneTimePreKey:
        """Load an unused one-time prekey. Raises UnknownPreKey."""
        packed, _ = self._load(PreKeyKind.ONE_TIME, prekey_id, "one-time prekey")
        return _take_one_time(prekey_id, packed)

    def kem_prekey(self, prekey_id: int) -> KemPreKey:
        """Load an unused one-time KEM prekey, or one of last resort. Raises UnknownPreKey."""
        try:
            packed, created_at = self._load(PreKeyKind.ONE_TIME_KEM, prekey_id, "KEM prekey")
        except UnknownPreKey:
            packed, created_at = self._load(PreKeyKind.LAST_RESORT_KEM, prekey_id, "KEM prekey")
            return _take_kem(prekey_id, packed, created_at, last_resort=True)
        return _take_kem(prekey_id, packed, created_at, last_resort=False)

    def base_key_used(self, use: PreKeyUse) -> bool:
        """Tell whether a first message with these ids and this base key was accepted before.

        Raises UnknownPreKey if these keys have been used 10,000 times: rotate them.
        """
        kem_id = _NO_KEM if use.kem_prekey_id is None else use.kem_prekey_id
        if self._work.rows(_IS_USED, (use.signed_prekey_id, kem_id, use.base_key))[0][0]:
            return True
        if self._work.rows(_COUNT_USED, (use.signed_prekey_id, kem_id))[0][0] >= USED_BASE_KEYS_MAX:
            raise UnknownPreKey("the last-resort prekey has been used too often: rotate it")
        return False

    def consume(self, use: PreKeyUse) -> None:
        """Delete the one-time keys of *use*; remember its base key while the keys that stay live."""
        work = self._work
        if use.one_time_prekey_id is not None:
            work.change(_DELETE, (int(PreKeyKind.ONE_TIME), use.one_time_prekey_id))
        if use.kem_prekey_id is not None and work.change(_DELETE, (int(PreKeyKind.ONE_TIME_KEM), use.kem_prekey_id)):
            return
        kem_id = _NO_KEM if use.kem_prekey_id is None else use.kem_prekey_id
        work.change(_USE, (use.signed_prekey_id, kem_id, use.base_key))

    # Making and publishing.

    def add_one_time(self, one_time: int, one_time_kem: int) -> None:
        """Make that many one-time keys of each kind (0.05 and 0.15 ms each). They are published by `unpublished`.

        Raises TooLarge if the store would then hold more than 10,000 of a kind.
        """
        for kind, count in ((PreKeyKind.ONE_TIME, one_time), (PreKeyKind.ONE_TIME_KEM, one_time_kem)):
            if self.count(kind) + count > ONE_TIME_PREKEYS_MAX:
                raise TooLarge(f"at most {ONE_TIME_PREKEYS_MAX} one-time prekeys of a kind")
        entropy, seconds = self._work.entropy, int(self._work.now)
        for _ in range(one_time):
            key = OneTimePreKey(self._next_id(), KeyPair.generate(entropy))
            self._add(PreKeyKind.ONE_TIME, key.id, pack(_FORM, key.pair.public, key.pair.private), seconds)
        for _ in range(one_time_kem):
            kem = KemPreKey.generate(self.identity, self._next_id(), entropy, seconds, last_resort=False)
            self._add(PreKeyKind.ONE_TIME_KEM, kem.id, pack(_FORM, kem.seed, kem.signature), seconds)

    def rotate(self) -> None:
        """Make a new signed and a new last-resort key; delete those replaced more than 30 days ago."""
        entropy, seconds = self._work.entropy, int(self._work.now)
        signed = SignedPreKey.generate(self.identity, self._next_id(), entropy, seconds)
        packed = pack(_FORM, signed.pair.public, signed.pair.private, signed.signature)
        self._add(PreKeyKind.SIGNED, signed.id, packed, seconds)
        kem = KemPreKey.generate(self.identity, self._next_id(), entropy, seconds, last_resort=True)
        self._add(PreKeyKind.LAST_RESORT_KEM, kem.id, pack(_FORM, kem.seed, kem.signature), seconds)
        self.expire()

    def expire(self) -> int:
        """Delete signed and last-resort keys replaced more than 30 days ago, and what is remembered of their use."""
        work = self._work
        deleted = 0
        for kind, forget in ((PreKeyKind.SIGNED, _FORGET_SIGNED), (PreKeyKind.LAST_RESORT_KEM, _FORGET_KEM)):
            replaced_at = None  # when the next newer one was made
            for prekey_id, created_at in work.rows(_TIMES, (int(kind),)):
                if replaced_at is not None and replaced_at + REPLACED_PREKEY_AGE_S <= work.now:
                    deleted += work.change(_DELETE, (int(kind), prekey_id))
                    work.change(forget, (prekey_id,))
                replaced_at = created_at
        return deleted

    def count(self, kind: PreKeyKind) -> int:
        """How many keys of *kind* are held; of one-time keys, how many are unused."""
        count: int = self._work.rows(_COUNT, (int(kind),))[0][0]
        return count

    def has_unpublished(self) -> bool:
        """Whether `unpublished` has anything. Every step asks, so a "no" is remembered until there is a new key."""
        if self._unpublished:
            self._unpublished = bool(self._work.rows(_ANY_UNPUBLISHED))
        return self._unpublished

    def unpublished(self) -> PublishedPreKeys:
        """The public halves that no upload has carried yet; each upload again names all of them until one is done."""
        found: dict[PreKeyKind, list[tuple[int, bytes, float]]] = {kind: [] for kind in PreKeyKind}
        for kind, prekey_id, sealed, created_at in self._work.rows(_UNPUBLISHED):
            packed = self._work.vault.open(_TABLE, prekey_row(kind, prekey_id), 1, sealed)
            found[PreKeyKind(kind)].append((prekey_id, packed, created_at))
        signed = [_take_signed(*one) for one in found[PreKeyKind.SIGNED]]
        last_resort = [_take_kem(*one, last_resort=True) for one in found[PreKeyKind.LAST_RESORT_KEM]]
        one_time = [_take_one_time(one[0], one[1]) for one in found[PreKeyKind.ONE_TIME]]
        kem = [_take_kem(*one, last_resort=False) for one in found[PreKeyKind.ONE_TIME_KEM]]
        return PublishedPreKeys(
            self.registration_id,
            self.identity.public_key,
            _publish_signed(max(signed, key=lambda key: (key.created_at, key.id))) if signed else None,
            _publish_kem(max(last_resort, key=lambda key: (key.created_at, key.id))) if last_resort else None,
            tuple(PublishedOneTimePreKey(key.id, key.pair.public) for key in one_time),
            tuple(_publish_kem(key) for key in kem),
        )

    def published(self, upload_number: int) -> None:
        """Take note that the relay has stored what `unpublished` named, in the upload of this number."""
        self._work.change(_PUBLISHED, (upload_number,))
        counters = self._work.counters
        counters.upload_number = max(counters.upload_number, upload_number)
        counters.confirmed_upload_number = max(counters.confirmed_upload_number, upload_number)

    def count_published(self) -> int:
        """How many of the unused one-time keys, of both kinds, an upload has carried; 0: the relay can have none."""
        kinds = (int(PreKeyKind.ONE_TIME), int(PreKeyKind.ONE_TIME_KEM))
        count: int = self._work.rows(_COUNT_PUBLISHED, kinds)[0][0]
        return count

    def publish_again(self) -> None:
        """Let the next upload name every key: the relay has lost them, or this is another registration."""
        self._unpublished = True
        self._work.change(_UNPUBLISH)

    def is_published(self) -> bool:
        """Whether the relay has confirmed a signed prekey of this device: then others can write to it."""
        return bool(self._work.rows(_IS_PUBLISHED, (int(PreKeyKind.SIGNED),))[0][0])

    def made_at(self) -> float | None:
        """When the signed prekey in use was made, in seconds since 1970; None: there is none."""
        row = self._work.row(_NEWEST, (int(PreKeyKind.SIGNED),))
        return None if row is None else float(row[1])

    def is_worn_out(self) -> bool:
        """Whether the signed and last-resort keys in use have opened 10,000 first messages: they open no more."""
        newest = [self._work.row(_NEWEST, (int(kind),)) for kind in (PreKeyKind.SIGNED, PreKeyKind.LAST_RESORT_KEM)]
        ids = tuple(row[0] for row in newest if row is not None)
        return len(ids) == len(newest) and self._work.rows(_COUNT_USED, ids)[0][0] >= USED_BASE_KEYS_MAX

    def delete_all(self) -> None:
        """Delete every prekey, and what is remembered of their use: another identity signs the next ones."""
        self._work.change(_DELETE_ALL)
        self._work.change(_FORGET_USED)

    def purge_one_time(self) -> None:
        """Delete every one-time key: after a rollback, some of those that are here were used before."""
        self._work.change(_DELETE_KIND, (int(PreKeyKind.ONE_TIME),))
        self._work.change(_DELETE_KIND, (int(PreKeyKind.ONE_TIME_KEM),))

    def settle(self, *, committed: bool) -> None:
        """Take note of the unit's end: after one that failed, it is not known whether a key is unpublished."""
        self._unpublished = self._unpublished or not committed

    # Below.

    def _load(self, kind: PreKeyKind, prekey_id: int, what: str) -> tuple[bytes, float]:
        row = self._work.row(_LOAD, (int(kind), prekey_id))
        if row is None:
            raise UnknownPreKey(f"{what} {prekey_id} is not (or no longer) here")
        return self._work.vault.open(_TABLE, prekey_row(kind, prekey_id), 1, row[0]), row[1]

    def _add(self, kind: PreKeyKind, prekey_id: int, packed: bytes, seconds: int) -> None:
        sealed = self._work.vault.seal(_TABLE, prekey_row(kind, prekey_id), 1, packed)
        self._unpublished = True
        self._work.defer(_ADD, (int(kind), prekey_id, sealed, float(seconds)))

    def _next_id(self) -> int:
        """Take the next id of the one sequence for all kinds, passing over those still in use when it wraps."""
        counters = self._work.counters
        while True:
            taken = counters.prekey_id
            counters.prekey_id = (taken + 1) & PREKEY_ID_MAX
            if not self._work.rows(_IN_USE, (taken,))[0][0]:
                return taken


def _take_signed(prekey_id: int, packed: bytes, created_at: float) -> SignedPreKey:
    public, private, signature = unpack(packed, version=_FORM, length=3, what="signed prekey")
    return SignedPreKey(prekey_id, _pair(public, private), _signature(signature), int(created_at))


def _take_one_time(prekey_id: int, packed: bytes) -> OneTimePreKey:
    public, private = unpack(packed, version=_FORM, length=2, what="one-time prekey")
    return OneTimePreKey(prekey_id, _pair(public, private))


def _take_kem(prekey_id: int, packed: bytes, created_at: float, *, last_resort: bool) -> KemPreKey:
    seed, signature = unpack(packed, version=_FORM, length=2, what="KEM prekey")
    return KemPreKey(
        prekey_id, take_bytes(seed, "KEM seed", size=64), _signature(signature), int(created_at), last_resort
    )


def _pair(public: object, private: object) -> KeyPair:
    return KeyPair(take_bytes(public, "public key", size=33), take_bytes(private, "private key", size=32))


def _signature(signature: object) -> bytes:
    return take_bytes(signature, "signature", size=64)


def _publish_signed(key: SignedPreKey) -> PublishedSignedPreKey:
    return PublishedSignedPreKey(key.id, key.pair.public, key.signature)


def _publish_kem(key: KemPreKey) -> PublishedKemPreKey:
    return PublishedKemPreKey(key.id, key.public, key.signature)
