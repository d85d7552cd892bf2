"""Users and devices: who an id belongs to, what is known of each device, and how both are removed."""

# ruff: noqa: S608 - statements are put together from constants of this file

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.database import Statement

from . import limits
from .transaction import Forms, require
from .values import Counters, Device, DeviceState, Registration, User

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .mailboxes import Mailboxes
    from .submissions import Submissions
    from .transaction import Transaction
    from .values import DeviceKey

__all__ = ["Devices", "Users"]

_FIND_USER: Final = Statement(
    "users", "SELECT user_key, user_id, identity_key, created_at FROM users WHERE user_id = ?"
)
_ADD_USER: Final = Statement(
    "users",
    "INSERT INTO users (user_id, identity_key, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
)
_USERS_AFTER: Final = Forms(
    "users",
    "SELECT user_id FROM users WHERE user_id > ? ORDER BY user_id LIMIT ?",
    'SELECT user_id FROM users WHERE user_id COLLATE "C" > %s ORDER BY user_id COLLATE "C" LIMIT %s',
)
_REMOVE_USER: Final = Statement("users", "DELETE FROM users WHERE user_key = ?")

_DEVICE: Final = "SELECT d.device_key, d.user_key, u.user_id, d.device_id, d.registration_id"
_OWNED: Final = "FROM devices d JOIN users u ON u.user_key = d.user_key"
_FIND_DEVICE: Final = Statement(
    "devices",
    f"{_DEVICE}, d.submission_number, d.delivery_number, d.upload_number, d.connection_number, d.seen_at, "
    f"d.upload_digest {_OWNED} "
    "WHERE u.user_id = ? AND d.device_id = ?",
)
_OF_USER: Final = Statement("devices", f"{_DEVICE} {_OWNED} WHERE d.user_key = ?")
_LISTED: Final = "WHERE EXISTS (SELECT 1 FROM bundles b WHERE b.device_key = d.device_key)"
_OF_USERS: Final = Forms(
    "devices",
    f"{_DEVICE} {_OWNED} {_LISTED} AND u.user_id IN (SELECT value FROM json_each(?)) ORDER BY u.user_id, d.device_id",
    f"{_DEVICE} {_OWNED} {_LISTED} AND u.user_id = ANY(%s::text[]) ORDER BY u.user_id, d.device_id",
)
_ADD_ADDRESS: Final = Statement(
    "addresses",
    "INSERT INTO addresses (user_id, device_id, removed_at) VALUES (?, ?, NULL) RETURNING device_key",
)
_ADD_DEVICE: Final = Statement(
    "devices",
    "INSERT INTO devices (device_key, user_key, device_id, registration_id, submission_number, delivery_number, "
    "upload_number, connection_number, seen_at) VALUES (?, ?, ?, ?, 0, 0, 0, 0, ?)",
)
_ADD_MAILBOX: Final = Statement(
    "mailboxes", "INSERT INTO mailboxes (device_key, last_number, count, size) VALUES (?, 0, 0, 0)"
)
_REREGISTER: Final = Statement(
    "devices",
    "UPDATE devices SET registration_id = ?, seen_at = ? WHERE device_key = ?",
)
_UNLIST: Final = tuple(
    Statement(table, f"DELETE FROM {table} WHERE device_key = ?")
    for table in ("bundles", "one_time_prekeys", "handed_prekeys")
)
_CONNECT: Final = Statement(
    "devices",
    "UPDATE devices SET connection_number = connection_number + 1, seen_at = ? WHERE device_key = ? "
    "RETURNING connection_number",
)
_SEEN: Final = Forms(
    "devices",
    "UPDATE devices SET seen_at = ? WHERE device_key IN (SELECT value FROM json_each(?)) AND seen_at < ?",
    "UPDATE devices SET seen_at = %s WHERE device_key = ANY(%s::bigint[]) AND seen_at < %s",
)
_ADVANCE: Final = Forms(
    "devices",
    "UPDATE devices SET submission_number = max(submission_number, ?), upload_number = max(upload_number, ?) "
    "WHERE device_key = ?",
    "UPDATE devices SET submission_number = greatest(submission_number, %s), "
    "upload_number = greatest(upload_number, %s) WHERE device_key = %s",
)
_ADVANCE_SUBMISSIONS: Final = Forms(
    "devices",
    "UPDATE devices SET submission_number = max(submission_number, ?) WHERE device_key = ?",
    "UPDATE devices d SET submission_number = greatest(d.submission_number, given.number) "
    "FROM unnest(%s::bigint[], %s::bigint[]) AS given(number, device_key) WHERE d.device_key = given.device_key",
)
_RECORD_UPLOAD: Final = Statement("devices", "UPDATE devices SET upload_digest = ? WHERE device_key = ?")
_REMOVE_DEVICE: Final = Statement("devices", "DELETE FROM devices WHERE device_key = ?")
_WAS_REMOVED: Final = Statement(
    "addresses",
    "SELECT COUNT(*) FROM (SELECT user_id, device_id FROM addresses WHERE removed_at > ? ORDER BY removed_at DESC "
    "LIMIT ?) lately WHERE user_id = ? AND device_id = ?",
)
_RETIRE: Final = Statement("addresses", "UPDATE addresses SET removed_at = ? WHERE device_key = ?")


class Devices:
    """`unit.devices`."""

    def __init__(self, transaction: Transaction, mailboxes: Mailboxes, submissions: Submissions) -> None:
        self._transaction = transaction
        self._mailboxes = mailboxes
        self._submissions = submissions

    def register(self, user: User, device_id: int, registration_id: int) -> Device:
        """Add a device, or tell which it is if it is there under this registration id (then nothing changes).

        Another registration id is the same device with a new store: its prekeys go, its mail stays. Its
        counters stay too: an older copy of its store, under whatever registration id, must still meet
        them. It is not listed until it uploads.
        *user* is read in the same unit after `RelayUnit.exclusive`; one that is no more is StaleWriter.
        """
        require(1 <= device_id <= limits.DEVICE_ID_MAX, "a device id is from 1 to 127")
        require(0 <= registration_id <= limits.REGISTRATION_ID_MAX, "a registration id has 14 bits")
        transaction = self._transaction
        transaction.exclusive()
        known = self.find(user.user_id, device_id)
        if known is not None and known.device.user_key == user.key:
            if known.device.registration_id == registration_id:
                return known.device
            key = known.device.key
            transaction.change(_REREGISTER, registration_id, transaction.now, key)
            for statement in _UNLIST:
                transaction.change(statement, key)
        else:
            key = transaction.row(_ADD_ADDRESS, user.user_id, device_id)[0]
            transaction.change(_ADD_DEVICE, key, user.key, device_id, registration_id, transaction.now)
            transaction.change(_ADD_MAILBOX, key)
        return Device(key, user.key, user.user_id, device_id, registration_id)

    def find(self, user_id: str, device_id: int) -> DeviceState | None:
        """What is known of a device; None if it is not registered."""
        row = self._transaction.row(_FIND_DEVICE, user_id, device_id)
        if row is None:
            return None
        return DeviceState(Device(*row[:5]), Counters(*row[5:8]), *row[8:])

    def of_users(self, user_ids: Iterable[str]) -> list[Device]:
        """The devices that others may write to: those that have uploaded prekeys. In order of user and device id."""
        return [
            Device(*row) for row in self._transaction.rows(_OF_USERS, self._transaction.listing(sorted(set(user_ids))))
        ]

    def connect(self, device: DeviceKey) -> int | None:
        """Count a connection and return its number, by which older ones know that they are replaced.

        Other workers are told of the device. None if it was removed.
        """
        self._transaction.exclusive()
        row = self._transaction.row(_CONNECT, self._transaction.now, device)
        if row is None:
            return None
        self._transaction.wake([device])
        number: int = row[0]
        return number

    def seen(self, devices: Iterable[DeviceKey]) -> None:
        """Note that these devices are connected now, which keeps them from being removed as idle."""
        self._transaction.exclusive()
        now = self._transaction.now
        self._transaction.change(_SEEN, now, self._transaction.listing(sorted(set(devices))), now)

    def advance(self, device: DeviceKey, *, submission_number: int = 0, upload_number: int = 0) -> None:
        """Raise the counters to these numbers, if they are higher; `Mailboxes.acknowledge` raises the third."""
        numbers = (submission_number, upload_number)
        require(all(0 <= number <= limits.NUMBER_MAX for number in numbers), "a counter is from 0 to 2^63 - 1")
        self._transaction.exclusive()
        self._transaction.change(_ADVANCE, *numbers, device)

    def advance_submissions(self, numbers: Mapping[DeviceKey, int]) -> None:
        """Raise the submission numbers of many devices, where they are higher than what was seen, in one statement."""
        require(all(0 <= number <= limits.NUMBER_MAX for number in numbers.values()), "a counter is from 0 to 2^63 - 1")
        if numbers:
            self._transaction.exclusive()
            self._transaction.change_many(
                _ADVANCE_SUBMISSIONS, [(number, key) for key, number in sorted(numbers.items())]
            )

    def record_upload(self, device: DeviceKey, upload_number: int, digest: bytes) -> None:
        """Raise the counter, and remember what the upload was (16 bytes): only the last number may come again."""
        require(len(digest) == limits.DIGEST_SIZE, "a digest has 16 bytes")
        self.advance(device, upload_number=upload_number)
        self._transaction.change(_RECORD_UPLOAD, digest, device)

    def was_removed(self, user_id: str, device_id: int, *, since: float = 0.0) -> bool:
        """Whether a device of this name was removed in the last 60 days, and after *since* (seconds since 1970).

        Devices removed as idle do not count. Only the last 10,000 removals are looked at.
        """
        since = max(since, self._transaction.now - limits.ADDRESS_AGE_S)
        row = self._transaction.row(_WAS_REMOVED, since, limits.REMOVED_LOOKED_AT_MAX, user_id, device_id)
        return row is not None and row[0] > 0

    def remove(self, devices: Sequence[Device], *, last_used_at: float | None = None) -> None:
        """Remove devices with their mail, prekeys and remembered ids; mail that they sent stays where it waits.

        Devices that are removed as idle have a time *last_used_at*: they may come again.
        Workers are told, so that they close the connections.
        """
        transaction = self._transaction
        transaction.exclusive()
        self._mailboxes.empty([device.key for device in devices])
        self._submissions.forget([device.key for device in devices])
        for device in devices:
            transaction.change(_REMOVE_DEVICE, device.key)
            transaction.change(_RETIRE, transaction.now if last_used_at is None else last_used_at, device.key)
        transaction.wake(device.key for device in devices)


class Users:
    """`unit.users`."""

    def __init__(self, transaction: Transaction, devices: Devices) -> None:
        self._transaction = transaction
        self._devices = devices

    def find(self, user_id: str) -> User | None:
        """The user of this id; None if nobody has it."""
        row = self._transaction.row(_FIND_USER, user_id)
        return None if row is None else User(*row)

    def register(self, user_id: str, identity_key: bytes) -> Registration:
        """Bind an id to an identity key, for ever; tell if it was bound before, and to which."""
        require(0 < len(user_id.encode()) <= limits.USER_ID_SIZE_MAX, "a user id has 1 to 128 bytes")
        require(len(identity_key) == limits.IDENTITY_KEY_SIZE, "an identity key has 33 bytes")
        self._transaction.exclusive()
        if self._transaction.change(_ADD_USER, user_id, identity_key, self._transaction.now) == 1:
            return Registration.CREATED
        known = self.find(user_id)
        same = known is not None and known.identity_key == identity_key
        return Registration.KNOWN if same else Registration.OTHER_IDENTITY

    def after(self, user_id: str, limit: int) -> list[str]:
        """The first *limit* user ids behind *user_id*, byte by byte."""
        return [row[0] for row in self._transaction.rows(_USERS_AFTER, user_id, limit)]

    def devices(self, user: User) -> list[Device]:
        """All devices of a user, whether they have uploaded prekeys or not."""
        return [Device(*row) for row in self._transaction.rows(_OF_USER, user.key)]

    def replace_identity(self, user_id: str, identity_key: bytes) -> list[Device]:
        """Bind the id to another key; what was the old key's is removed: devices, mail, prekeys.

        Returns the devices removed. The roster of a group keeps what its log says; a seat is its key's, so the new
        one has none.
        """
        require(len(identity_key) == limits.IDENTITY_KEY_SIZE, "an identity key has 33 bytes")
        removed = self.remove(user_id)
        self.register(user_id, identity_key)
        return removed

    def remove(self, user_id: str) -> list[Device]:
        """Delete the account: the id is free again. Mail that it sent stays where it waits. Returns its devices."""
        self._transaction.exclusive()
        user = self.find(user_id)
        if user is None:
            return []
        removed = self.devices(user)
        self._devices.remove(removed)
        self._transaction.change(_REMOVE_USER, user.key)
        return removed
