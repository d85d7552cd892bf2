"""Prekeys: uploads that may be repeated, one-time keys handed out once, answers that may be asked for again."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from store.packing import pack, take_bytes, take_int, take_list, unpack

from . import limits
from .prekey_statements import (
    ADD_KEYS,
    ANSWER,
    BUNDLES,
    DROP_OLD_ANSWERS,
    HAND_OUT,
    IS_THERE,
    KNOWN_KEYS,
    LIST,
    PURGE,
    RECORD,
    RESERVE_ANSWER,
    SAVE_ANSWER,
    STOCK,
    TAKEN,
    TAKEN_FROM,
)
from .transaction import require
from .values import Bundle, Device, DeviceKey, HandedKey, LongLivedPreKeys, PreKeyKind, Stock, UploadRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .transaction import Transaction
    from .values import OneTimePreKey, UserKey, Wanted

__all__ = ["PreKeys"]

_ANSWER_VERSION: Final = 1

_Handed = dict[tuple[int, PreKeyKind], HandedKey]


class PreKeys:
    """`unit.prekeys`. Signatures are the caller's to verify."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def upload(
        self, device: DeviceKey, long_lived: LongLivedPreKeys | None, one_time: Sequence[OneTimePreKey] = ()
    ) -> Stock | UploadRefused:
        """Replace the long-lived keys (None: they stay), add the one-time keys; tell how many of these are left.

        Long-lived keys list the device. The call may be repeated: a key that is there, or was handed
        out within 30 days, is not added again. A refusal stores nothing: another key under an id
        that is taken is `OTHER_KEY`, more keys than are kept are `TOO_MANY`.
        """
        require(len({(key.kind, key.key_id) for key in one_time}) == len(one_time), "an upload names each id once")
        for key in one_time:
            _check_key(key.key_id, key.public_key, key.signature)
        parts = () if long_lived is None else _parts(long_lived)
        for key_id, public_key, signature in parts:
            _check_key(key_id, public_key, signature)
        transaction = self._transaction
        transaction.exclusive()
        if transaction.row(IS_THERE, device) is None:
            return UploadRefused.GONE
        ids = transaction.listing(sorted({key.key_id for key in one_time}))
        known = {(row[0], row[1]): row[2] for row in transaction.rows(KNOWN_KEYS, device, ids, device, ids)}
        new: list[tuple[Any, ...]] = []
        for key in one_time:
            digest = _digest(key)
            if known.get((key.kind, key.key_id), digest) != digest:
                return UploadRefused.OTHER_KEY
            if (key.kind, key.key_id) not in known:
                new.append((device, int(key.kind), key.key_id, key.public_key, key.signature, digest))
        stock = self.stock(device)
        added = [row[1] for row in new]
        if (
            stock.ec + added.count(PreKeyKind.EC) > limits.ONE_TIME_PREKEYS_MAX
            or stock.kem + added.count(PreKeyKind.KEM) > limits.ONE_TIME_PREKEYS_MAX
        ):
            return UploadRefused.TOO_MANY
        if parts:
            transaction.change(LIST, device, *(value for part in parts for value in part))
        transaction.change_many(ADD_KEYS, new)
        return Stock(stock.ec + added.count(PreKeyKind.EC), stock.kem + added.count(PreKeyKind.KEM))

    def stock(self, device: DeviceKey) -> Stock:
        """How many one-time keys are left."""
        found = {row[0]: row[1] for row in self._transaction.rows(STOCK, device)}
        return Stock(found.get(PreKeyKind.EC, 0), found.get(PreKeyKind.KEM, 0))

    def purge(self, device: DeviceKey) -> None:
        """Drop the one-time keys that are left: their private halves are lost. Their ids may be used again."""
        self._transaction.exclusive()
        self._transaction.change(PURGE, device)

    def hand_out(self, asker: Device, request_id: bytes, wanted: Sequence[Wanted]) -> list[Bundle]:
        """Give a bundle of each device that has one, in the order asked for; leave the others out.

        Each one-time key is given once, here or in another worker. Workers do not wait for each
        other: what another one is about to hand out is passed over, at worst for the last-resort key.
        Best in a unit without other writes, which would keep a device's removal waiting.
        Asked again under the same request id within 10 minutes, the same one-time keys are given,
        with the long-lived keys as they are then.
        """
        require(len(request_id) == limits.ID_SIZE, "a request id has 16 bytes")
        require(len(wanted) <= limits.BUNDLES_MAX, "a request names up to 100 devices")
        transaction = self._transaction
        keys = transaction.listing(sorted({one.device.key for one in wanted}))
        found = {row[0]: row for row in transaction.rows(BUNDLES, keys)}
        registrations = {key: row[4] for key, row in found.items()}
        oldest = transaction.now - limits.BUNDLE_ANSWER_AGE_S
        # The place of the answer is taken before any key: of two workers asked at once, one waits here.
        if transaction.change(RESERVE_ANSWER, request_id, transaction.now, b"", asker.key, oldest) == 0:
            answer = transaction.row(ANSWER, asker.key, request_id)
            if answer is None:
                return []  # the asker has been removed
            handed = _read_answer(answer[0], registrations)
        else:
            handed = self._take(asker, [one for one in wanted if one.one_time and one.device.key in found])
            self._remember_answer(asker, request_id, registrations, handed)
        return [
            Bundle(
                Device(*row[:5]),
                row[5],
                LongLivedPreKeys(*row[6:]),
                handed.get((key, PreKeyKind.EC)),
                handed.get((key, PreKeyKind.KEM)),
            )
            for key, row in ((one.device.key, found.get(one.device.key)) for one in wanted)
            if row is not None
        ]

    def taken(self, asker: UserKey) -> int:
        """How many devices' one-time keys this user has been given within `ASKER_WINDOW_S`."""
        since = self._transaction.now - limits.ASKER_WINDOW_S
        count: int = self._transaction.row(TAKEN, asker, since)[0]
        return count

    def taken_from(self, devices: Sequence[DeviceKey]) -> dict[DeviceKey, int]:
        """How many times strangers were given one-time keys of each device within `TARGET_WINDOW_S`."""
        since = self._transaction.now - limits.TARGET_WINDOW_S
        found = {
            row[0]: row[1] for row in self._transaction.rows(TAKEN_FROM, self._transaction.listing(devices), since)
        }
        return {device: found.get(device, 0) for device in devices}

    def _take(self, asker: Device, wanted: Sequence[Wanted]) -> _Handed:
        strangers = {one.device.key: one.stranger for one in wanted}
        if not strangers:
            return {}
        rows = self._transaction.rows(HAND_OUT, self._transaction.listing(sorted(strangers)))
        now = self._transaction.now
        self._transaction.change_many(
            RECORD, [(*row[:3], row[5], now, asker.user_key, strangers[row[0]]) for row in rows]
        )
        return {(row[0], PreKeyKind(row[1])): HandedKey(row[2], row[3], row[4]) for row in rows}

    def _remember_answer(
        self, asker: Device, request_id: bytes, registrations: Mapping[int, int], handed: _Handed
    ) -> None:
        listed = [
            [device, registrations[device], int(kind), key.key_id, key.public_key, key.signature or b""]
            for (device, kind), key in sorted(handed.items())
        ]
        self._transaction.change(SAVE_ANSWER, pack(_ANSWER_VERSION, listed), asker.key, request_id)
        self._transaction.change(DROP_OLD_ANSWERS, asker.key, asker.key, limits.BUNDLE_ANSWERS_MAX)


def _read_answer(packed: bytes, registrations: Mapping[int, int]) -> _Handed:
    what = "bundle answer"
    handed: _Handed = {}
    (listed,) = unpack(packed, version=_ANSWER_VERSION, length=1, what=what)
    for entry in take_list(listed, what):
        device, registration_id, kind, key_id, public_key, signature = take_list(entry, what, length=6)
        key = HandedKey(take_int(key_id, what), take_bytes(public_key, what), take_bytes(signature, what) or None)
        # A device that has registered anew since has none of the private halves any more.
        if registrations.get(take_int(device, what)) == registration_id:
            handed[device, PreKeyKind(take_int(kind, what, maximum=1))] = key
    return handed


def _parts(keys: LongLivedPreKeys) -> tuple[tuple[int, bytes, bytes], tuple[int, bytes, bytes]]:
    return (
        (keys.signed_id, keys.signed_key, keys.signed_signature),
        (keys.kem_id, keys.kem_key, keys.kem_signature),
    )


def _digest(key: OneTimePreKey) -> bytes:
    """What tells one key from another under the same id: SHA-256 over the key, then its signature."""
    return sha256(key.public_key + (key.signature or b"")).digest()


def _check_key(key_id: int, public_key: bytes, signature: bytes | None) -> None:
    require(0 <= key_id <= limits.KEY_ID_MAX, "a prekey's id has 32 bits")
    require(0 < len(public_key) <= limits.PREKEY_SIZE_MAX, "a prekey has a key of known size")
    require(signature is None or 0 < len(signature) <= limits.SIGNATURE_SIZE_MAX, "a signature has at most 128 bytes")
