"""Groups: logs that grow by compare-and-swap, rosters, and entries put into every member's mailboxes."""

# ruff: noqa: S608 - statements are put together from constants of this file

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from store.database import Statement
from store.errors import TooLarge

from . import limits
from .transaction import Forms, require
from .values import Appended, Conflict, Device, DeviceKey, Entry, EntryRefused, GroupHead, Seat

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .mailboxes import Mailboxes
    from .transaction import Transaction

__all__ = ["Groups"]

_HEAD: Final = "SELECT group_id, name, kind, number, hash, epoch FROM groups"
_FIND: Final = Statement("groups", f"{_HEAD} WHERE group_id = ?")
_FIND_NAME: Final = Statement("groups", f"{_HEAD} WHERE name = ?")
_ADD: Final = Statement(
    "groups",
    "INSERT INTO groups (group_id, name, kind, number, hash, epoch, created_at) VALUES (?, ?, ?, 0, ?, ?, ?) "
    "ON CONFLICT DO NOTHING",
)
_SWAP: Final = Statement(
    "groups", "UPDATE groups SET number = number + 1, hash = ?, epoch = ?, kind = ? WHERE group_id = ? AND number = ?"
)
_RETIRE: Final = Statement("groups", "UPDATE groups SET name = ? WHERE group_id = ?")
_REMOVE: Final = Statement("groups", "DELETE FROM groups WHERE group_id = ?")
_ADD_ENTRY: Final = Statement(
    "group_entries",
    "INSERT INTO group_entries (group_id, number, entry, hash, stored_at) VALUES (?, ?, ?, ?, ?)",
)
_SIZES: Final = Statement(
    "group_entries",
    "SELECT number, length(entry) FROM group_entries WHERE group_id = ? AND number > ? ORDER BY number LIMIT ?",
)
_ENTRIES: Final = Statement(
    "group_entries",
    "SELECT number, entry, hash FROM group_entries WHERE group_id = ? AND number > ? AND number <= ? ORDER BY number",
)
_RECENT: Final = Statement(
    "group_entries",
    "SELECT entry, stored_at FROM (SELECT number, entry, stored_at FROM group_entries WHERE group_id = ? "
    "ORDER BY number DESC LIMIT ?) newest WHERE stored_at > ? ORDER BY number DESC",
)
_SEAT: Final = Statement(
    "group_seats",
    "INSERT INTO group_seats (group_id, user_id, identity_key, role) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (group_id, user_id) DO UPDATE SET identity_key = excluded.identity_key, role = excluded.role",
)
_UNSEAT: Final = Statement("group_seats", "DELETE FROM group_seats WHERE group_id = ? AND user_id = ?")
_UNSEAT_ALL: Final = Statement("group_seats", "DELETE FROM group_seats WHERE group_id = ?")
_TAKEN: Final = Statement(
    "group_seats", "SELECT user_id, identity_key, role FROM group_seats WHERE group_id = ? AND user_id = ?"
)
_ROSTER: Final = Statement(
    "group_seats", "SELECT user_id, identity_key, role FROM group_seats WHERE group_id = ? ORDER BY user_id"
)
# A seat is its key's: a user who has another identity by now has no devices in the group.
_DEVICE: Final = "SELECT d.device_key, d.user_key, u.user_id, d.device_id, d.registration_id"
_SEATED: Final = (
    "FROM group_seats s "
    "JOIN users u ON u.user_id = s.user_id AND u.identity_key = s.identity_key "
    "JOIN devices d ON d.user_key = u.user_key WHERE s.group_id = ?"
)
_SEATED_DEVICES: Final = Statement("group_seats", f"{_DEVICE}, s.role {_SEATED}")
_MEMBERS_DEVICES: Final = Statement(
    "group_seats",
    f"{_DEVICE}, EXISTS (SELECT 1 FROM bundles b WHERE b.device_key = d.device_key) {_SEATED} "
    f"AND s.role < {limits.INVITED} ORDER BY u.user_id, d.device_id",
)
_LEAVE: Final = (
    "INSERT INTO group_leavers (group_id, user_id, identity_key, number) "
    "SELECT group_id, user_id, identity_key, ? FROM group_seats WHERE group_id = ?{} "
    "ON CONFLICT (group_id, user_id, identity_key) DO UPDATE SET number = excluded.number"
)
_LEAVE_ONE: Final = Statement("group_leavers", _LEAVE.format(" AND user_id = ? AND identity_key <> ?"))
_LEAVE_ALL: Final = Statement("group_leavers", _LEAVE.format(""))
_LEFT: Final = Statement(
    "group_leavers", "SELECT number FROM group_leavers WHERE group_id = ? AND user_id = ? AND identity_key = ?"
)
_SHARING: Final = (
    "SELECT other.user_id, max((SELECT count(*) FROM group_seats s WHERE s.group_id = mine.group_id "
    f"AND s.role < {limits.INVITED})) FROM group_seats mine "
    "JOIN users me ON me.user_id = mine.user_id AND me.identity_key = mine.identity_key "
    "JOIN group_seats other ON other.group_id = mine.group_id "
    "JOIN users you ON you.user_id = other.user_id AND you.identity_key = other.identity_key "
    f"WHERE mine.role < {limits.INVITED} AND other.role < {limits.INVITED} AND mine.user_id = "
)
_SHARED: Final = Forms(
    "group_seats",
    f"{_SHARING}? AND other.user_id IN (SELECT value FROM json_each(?)) GROUP BY other.user_id",
    f"{_SHARING}%s AND other.user_id = ANY(%s::text[]) GROUP BY other.user_id",
)


class Groups:
    """`unit.groups`. Entries are opaque: the caller has verified them and says what they mean for the roster."""

    def __init__(self, transaction: Transaction, mailboxes: Mailboxes) -> None:
        self._transaction = transaction
        self._mailboxes = mailboxes

    def create(
        self, group_id: bytes, name: str, kind: int, entry: bytes, entry_hash: bytes, *, creator: Seat, epoch: int = 0
    ) -> GroupHead | EntryRefused:
        """Start a group with its genesis entry, number 0, and its first seat. Raises TooLarge."""
        require(len(group_id) == limits.GROUP_ID_SIZE, "a group id has 32 bytes")
        require(0 < len(name.encode()) <= limits.GROUP_NAME_SIZE_MAX, "a group's name has 1 to 256 bytes")
        require(0 <= kind <= limits.KIND_MAX, "a kind is from 0 to 255")
        _check_entry(entry, entry_hash)
        _check_seats([creator])
        transaction = self._transaction
        transaction.exclusive()
        if transaction.change(_ADD, group_id, name, kind, entry_hash, epoch, transaction.now) == 0:
            return EntryRefused.NAME_TAKEN
        transaction.change(_ADD_ENTRY, group_id, 0, entry, entry_hash, transaction.now)
        self._seat(group_id, [creator])
        return GroupHead(group_id, name, kind, 0, entry_hash, epoch)

    def append(  # noqa: PLR0913 - what an entry means, all by name
        self,
        group_id: bytes,
        entry: Entry,
        *,
        epoch: int,
        actor: Device,
        kind: int,
        seats: Sequence[Seat] = (),
        removed: Collection[str] = (),
        told: Collection[str] = (),
        group_kind: int | None = None,
    ) -> Appended | Conflict | EntryRefused:
        """Add the entry if its number is the next one, and put it into the mailboxes of old and new members.

        *seats* are taken (or changed), those of the users *removed* are given up; *kind* is the
        envelopes', *group_kind* the group's from now on if it is another. Of who is or was only invited,
        the users *told* get the entry too. A device whose mailbox is full misses the entry there and
        reads it from the log. Raises TooLarge. Whatever is not `Appended` has changed nothing.
        """
        _check_entry(entry.entry, entry.hash)
        _check_seats(seats)
        transaction = self._transaction
        transaction.exclusive()
        head = self.head(group_id)
        if head is None:
            return EntryRefused.NO_GROUP
        if head.number != entry.number - 1:
            return Conflict(head, tuple(self.entries(group_id, after=min(entry.number - 1, head.number))))
        if entry.number >= limits.GROUP_ENTRIES_MAX:
            return EntryRefused.LOG_FULL
        seated = {seat.user_id for seat in self.roster(group_id) if seat.role < limits.INVITED}
        # Leaving is never refused, whatever the limit is by then.
        grown = len((seated | {seat.user_id for seat in seats if seat.role < limits.INVITED}) - set(removed))
        if grown > limits.GROUP_MEMBERS_MAX and grown > len(seated):
            return EntryRefused.TOO_MANY_MEMBERS
        reached = self.reached(group_id, told)
        after = replace(
            head,
            number=entry.number,
            hash=entry.hash,
            epoch=epoch,
            kind=head.kind if group_kind is None else group_kind,
        )
        transaction.change(_SWAP, entry.hash, epoch, after.kind, group_id, head.number)
        transaction.change(_ADD_ENTRY, group_id, entry.number, entry.entry, entry.hash, transaction.now)
        for user_id in removed:
            transaction.change(_LEAVE_ONE, entry.number, group_id, user_id, b"")
            transaction.change(_UNSEAT, group_id, user_id)
        kept = [seat for seat in seats if seat.user_id not in removed]
        for seat in kept:  # another key's seat ends when it is taken
            transaction.change(_LEAVE_ONE, entry.number, group_id, seat.user_id, seat.identity_key)
        self._seat(group_id, kept)
        devices = reached | self.reached(group_id, told)
        # The hash makes an id that no other entry has, so a mailbox holds each entry once.
        envelope_id = entry.hash[: limits.ID_SIZE]
        outcomes = self._mailboxes.fan_out(actor, devices, envelope_id=envelope_id, kind=kind, body=entry.entry)
        return Appended(after, tuple(zip(devices.values(), outcomes, strict=True)))

    def retire(self, group_id: bytes) -> None:
        """End a group after its last entry: nobody has a seat, and its name is free.

        Its id stays taken, and its log is there for who had a seat or an invitation.
        """
        self._transaction.exclusive()
        # Longer than a name may be: nobody can have chosen it.
        self._transaction.change(_RETIRE, group_id.hex() * 5, group_id)
        number = self._transaction.row(_FIND, group_id)[3]
        self._transaction.change(_LEAVE_ALL, number, group_id)
        self._transaction.change(_UNSEAT_ALL, group_id)

    def head(self, group_id: bytes) -> GroupHead | None:
        """The group as it is now; None if there is none.

        To store a message only if the epoch is still the one it was made for, call
        `RelayUnit.exclusive` first: then no entry comes between this and the commit.
        """
        row = self._transaction.row(_FIND, group_id)
        return None if row is None else GroupHead(*row)

    def named(self, name: str) -> GroupHead | None:
        """The group that has this name; None if there is none."""
        row = self._transaction.row(_FIND_NAME, name)
        return None if row is None else GroupHead(*row)

    def entries(
        self,
        group_id: bytes,
        *,
        after: int = -1,
        count_max: int = limits.GROUP_ENTRIES_READ_MAX,
        size_max: int = limits.DELIVERY_SIZE_MAX,
    ) -> list[Entry]:
        """The log behind number *after*, in order: up to *count_max* entries and *size_max* bytes, at least one."""
        found = self._transaction.rows(_SIZES, group_id, after, count_max)
        totals = accumulate(size for _, size in found)
        last = max((row[0] for row, total in zip(found, totals, strict=True) if total <= size_max), default=after + 1)
        return [Entry(*row) for row in self._transaction.rows(_ENTRIES, group_id, after, last)] if found else []

    def roster(self, group_id: bytes) -> list[Seat]:
        """The seats and invitations as the log has them, in order of user id.

        Also of users who have another identity key by now, or are gone: they are in the log until an entry takes
        them out, and have no devices in the group.
        """
        return [Seat(*row) for row in self._transaction.rows(_ROSTER, group_id)]

    def seat(self, group_id: bytes, user_id: str) -> Seat | None:
        """One user's seat or invitation; None if there is none."""
        row = self._transaction.row(_TAKEN, group_id, user_id)
        return None if row is None else Seat(*row)

    def left_at(self, group_id: bytes, user_id: str, identity_key: bytes) -> int | None:
        """The entry that last ended the user's seat or invitation under this key; None if none has."""
        row = self._transaction.row(_LEFT, group_id, user_id, identity_key)
        return None if row is None else int(row[0])

    def recent(self, group_id: bytes, *, since: float, count_max: int) -> list[tuple[bytes, float]]:
        """Of the *count_max* newest entries those stored after *since*, and when each was; the newest first."""
        return [(row[0], row[1]) for row in self._transaction.rows(_RECENT, group_id, count_max, since)]

    def devices(self, group_id: bytes) -> tuple[list[Device], list[Device]]:
        """The devices that a message to the group goes to: those listed, which have uploaded prekeys, and the others.

        Each in order of user and device id. The digest of a message is compared with the first ones: nobody knows
        the others yet.
        """
        listed: list[Device] = []
        unlisted: list[Device] = []
        for key, user_key, user_id, device_id, registration_id, is_listed in self._transaction.rows(
            _MEMBERS_DEVICES, group_id
        ):
            (listed if is_listed else unlisted).append(Device(key, user_key, user_id, device_id, registration_id))
        return listed, unlisted

    def shared(self, user_id: str, others: Collection[str]) -> dict[str, int]:
        """Of *others*, those who share a group with the user, and the number of seats of the largest such group."""
        return {
            row[0]: row[1]
            for row in self._transaction.rows(_SHARED, user_id, self._transaction.listing(sorted(set(others))))
        }

    def remove(self, group_id: bytes) -> None:
        """Delete a group with its log and roster; its name is free again. What is in mailboxes stays there."""
        self._transaction.exclusive()
        self._transaction.change(_REMOVE, group_id)

    def reached(self, group_id: bytes, told: Collection[str] = ()) -> dict[DeviceKey, Device]:
        """The devices that get an entry: of all members, and of those invited who are to be told."""
        return {
            row[0]: Device(*row[:5])
            for row in self._transaction.rows(_SEATED_DEVICES, group_id)
            if row[5] < limits.INVITED or row[2] in told
        }

    def _seat(self, group_id: bytes, seats: Sequence[Seat]) -> None:
        for seat in seats:
            self._transaction.change(_SEAT, group_id, seat.user_id, seat.identity_key, seat.role)


def _check_entry(entry: bytes, entry_hash: bytes) -> None:
    require(len(entry_hash) == limits.GROUP_ID_SIZE, "an entry's hash has 32 bytes")
    if len(entry) > limits.GROUP_ENTRY_SIZE_MAX:
        raise TooLarge(f"an entry has at most {limits.GROUP_ENTRY_SIZE_MAX} bytes")


def _check_seats(seats: Sequence[Seat]) -> None:
    for seat in seats:
        require(len(seat.identity_key) == limits.IDENTITY_KEY_SIZE, "an identity key has 33 bytes")
        require(0 <= seat.role <= limits.KIND_MAX, "a role is from 0 to 255")
