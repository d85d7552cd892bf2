"""What was received: durable events, ids seen, receipts due, and where each conversation stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from .database import Statement
from .errors import InvalidUse, StaleWriter, TooLarge
from .kept import Kept
from .limits import (
    CONTENT_SIZE_MAX,
    GAPS_MAX,
    INBOX_MAX,
    INBOX_SIZE_MAX,
    RECEIPTS_MAX,
    RECEIVED_KEPT_MAX,
    SEEN_AGE_S,
    SEEN_MAX,
)
from .packing import pack, take_int, take_list, unpack
from .schema import number_row
from .tallied import TalliedTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .work import Work

__all__ = [
    "Conversations",
    "DueReceipt",
    "DurableEvent",
    "Inbox",
    "Receipts",
    "Received",
    "Seen",
    "seen_envelope",
    "seen_message",
]

INBOX: Final = TalliedTable("inbox", "created_at", INBOX_MAX, INBOX_SIZE_MAX, item_size_max=CONTENT_SIZE_MAX)
RECEIPTS: Final = TalliedTable("receipts", "due_at", RECEIPTS_MAX)


@dataclass(frozen=True, slots=True, eq=False)
class DurableEvent:
    """An event that the application has not acknowledged."""

    number: int  # its place
    kind: str
    body: bytes = field(repr=False)
    deliveries: int  # how often it was given to the application
    created_at: float  # seconds since 1970


_ADD: Final = Statement(
    "inbox", "INSERT INTO inbox (number, kind, body, size, deliveries, created_at) VALUES (?, ?, ?, ?, 0, ?)"
)
_AFTER: Final = Statement(
    "inbox", "SELECT number, kind, body, deliveries, created_at FROM inbox WHERE number > ? ORDER BY number LIMIT ?"
)
_DELIVERED: Final = Statement("inbox", "UPDATE inbox SET deliveries = deliveries + 1 WHERE number = ?")
_ACKNOWLEDGE: Final = Statement("inbox", "DELETE FROM inbox WHERE number = ? RETURNING size")


class Inbox:
    """Messages and other durable events, in order, until the application has acknowledged them."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, kind: str, body: bytes, *, over: bool = False) -> int:
        """Add an event and return its number; *over* the limits if it is rare and must not be lost.

        Raises Full (`room` tells before), TooLarge.
        """
        work = self._work
        if over:
            INBOX.add(work, len(body))
        else:
            INBOX.require_room(work, len(body))
        number = work.next_number()
        work.defer(_ADD, (number, kind, work.vault.seal("inbox", number_row(number), 1, body), len(body), work.now))
        return number

    def room(self) -> int:
        """How many more events of the largest size it takes: 0 means that no more mail may be taken."""
        tally = INBOX.tally(self._work)
        return max(0, min(INBOX_MAX - tally.count, (INBOX_SIZE_MAX - tally.size) // CONTENT_SIZE_MAX))

    def count(self) -> int:
        """How many events wait."""
        return INBOX.tally(self._work).count

    def after(self, number: int, *, limit: int) -> list[DurableEvent]:
        """The first events behind *number* (0: all of them), in order."""
        vault = self._work.vault
        return [
            DurableEvent(one, kind, vault.open("inbox", number_row(one), 1, body), deliveries, created_at)
            for one, kind, body, deliveries, created_at in self._work.rows(_AFTER, (number, limit))
        ]

    def delivered(self, number: int) -> None:
        """Count that an event was given to the application."""
        self._work.change(_DELIVERED, (number,))

    def acknowledge(self, number: int) -> bool:
        """Delete an event; False if it was gone already."""
        INBOX.tally(self._work)
        rows = self._work.rows(_ACKNOWLEDGE, (number,))
        INBOX.remove(self._work, list(rows))
        return bool(rows)


def seen_envelope(user_id: str, device_id: int, envelope_id: bytes) -> bytes:
    """The key of an envelope: its id is unique only for one sending device, or others could spend it."""
    return sha256(b"envelope\x00" + user_id.encode() + b"\x00" + bytes([device_id]) + envelope_id).digest()[:16]


def seen_message(user_id: str, message_id: bytes) -> bytes:
    """The key of a message: its id is unique only for one sending user."""
    return sha256(b"message\x00" + user_id.encode() + b"\x00" + message_id).digest()[:16]


_KEY_SIZE: Final = 16  # bytes of a key of `seen_envelope` and `seen_message`
_ALL_SEEN: Final = Statement("seen", "SELECT keys FROM seen")
_SEE: Final = Statement("seen", "INSERT INTO seen (number, keys, seen_at) VALUES (?, ?, ?)")
_FORGET_OLDEST: Final = Statement(
    "seen", "DELETE FROM seen WHERE number = (SELECT MIN(number) FROM seen) RETURNING keys"
)
_FORGET_OLD: Final = Statement("seen", "DELETE FROM seen WHERE seen_at < ? RETURNING keys")


class Seen:
    """Ids that arrived before: 30 days, 200,000 of them; the oldest go first.

    All of them are kept in memory (75 bytes each), which one owner may do, and stored in rows of one
    unit each. An index in the database would have a page of its own for each of the random ids: half
    a megabyte written for a batch of 64 messages.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._known: set[bytes] | None = None  # None: to be loaded
        self._added: list[bytes] = []  # in this unit

    def known(self, keys: Iterable[bytes]) -> set[bytes]:
        """Those of *keys* (of `seen_envelope` and `seen_message`) that were seen before."""
        return self._loaded().intersection(keys)

    def add(self, key: bytes) -> None:
        """Remember a key, in the transaction of what it stands for. Raises StaleWriter if it is known."""
        known = self._loaded()
        if key in known:
            raise StaleWriter("seen: the id is known already")
        if len(key) != _KEY_SIZE:
            raise InvalidUse(f"a key has {_KEY_SIZE} bytes")
        known.add(key)
        self._added.append(key)

    def write(self) -> None:
        """Store what was added, in one row; forget the oldest rows beyond the limit. The unit does so at its end."""
        if not self._added:
            return
        work, known = self._work, self._loaded()
        work.change(_SEE, (work.next_number(), b"".join(self._added), work.now))
        while len(known) > SEEN_MAX:
            known.difference_update(_split(work.rows(_FORGET_OLDEST)))

    def expire(self) -> None:
        """Forget what is older than 30 days."""
        gone = _split(self._work.rows(_FORGET_OLD, (self._work.now - SEEN_AGE_S,)))
        if gone:
            self._loaded().difference_update(gone)

    def settle(self, *, committed: bool) -> None:
        """Take note of the unit's end: what it changed in memory holds, or is to be loaded again."""
        if not committed:
            self._known = None
        self._added.clear()

    def _loaded(self) -> set[bytes]:
        if self._known is None:
            self._known = set(_split(self._work.rows(_ALL_SEEN)))
        return self._known


def _split(rows: Sequence[tuple[bytes, ...]]) -> list[bytes]:
    return [keys[start : start + _KEY_SIZE] for (keys,) in rows for start in range(0, len(keys), _KEY_SIZE)]


@dataclass(frozen=True, slots=True)
class DueReceipt:
    """A receipt that its device has not been sent yet."""

    number: int
    conversation: bytes
    conversation_number: int
    kind: str


_DUE: Final = Statement(
    "receipts",
    "INSERT INTO receipts (number, user_id, device_id, conversation, conversation_number, kind, due_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)",
)
_DUE_TO: Final = Statement(
    "receipts",
    "SELECT number, conversation, conversation_number, kind FROM receipts "
    "WHERE user_id = ? AND device_id = ? ORDER BY number LIMIT ?",
)
_DEVICES_DUE: Final = Statement(
    "receipts",
    "SELECT user_id, device_id, COUNT(*), MIN(due_at) FROM receipts GROUP BY user_id, device_id ORDER BY 4, 1, 2",
)
_GIVEN: Final = Statement(
    "receipts", "DELETE FROM receipts WHERE user_id = ? AND device_id = ? AND number <= ? RETURNING 0"
)


class Receipts:
    """Receipts due, until one control message carries all those of a device."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, user_id: str, device_id: int, conversation: bytes, conversation_number: int, kind: str) -> None:
        """Note that a receipt is due. Beyond 100,000 the oldest are given up."""
        work = self._work
        RECEIPTS.add(work)
        work.defer(
            _DUE,
            (work.next_number(), user_id, device_id, conversation, conversation_number, kind, work.now),
        )

    def devices(self) -> list[tuple[str, int, int, float]]:
        """The devices that are due some: user, device, how many, since when; longest waiting first."""
        return [(row[0], row[1], row[2], row[3]) for row in self._work.rows(_DEVICES_DUE)]

    def due(self, user_id: str, device_id: int, *, limit: int) -> list[DueReceipt]:
        """The first receipts due to a device, in order."""
        return [DueReceipt(*row) for row in self._work.rows(_DUE_TO, (user_id, device_id, limit))]

    def given(self, user_id: str, device_id: int, number: int) -> int:
        """Delete a device's receipts up to *number*, in the transaction that encrypts them; return how many."""
        RECEIPTS.tally(self._work)
        gone = self._work.rows(_GIVEN, (user_id, device_id, number))
        RECEIPTS.remove(self._work, len(gone))
        return len(gone)


@dataclass(frozen=True, slots=True)
class Received:
    """Which numbers of one sender device in one conversation have arrived."""

    highest: int  # 0: none
    gaps: tuple[tuple[int, int], ...] = ()  # first and last of each run that is missing, ascending
    gaps_since: float | None = None  # seconds since 1970, for those on the clock; None: there are none
    told: int = 0  # gaps up to this number were told
    watched: int = 0  # those above it, and up to this number, are on the clock


_GAPS_VERSION: Final = 1
_SENT: Final = Statement(
    "conversations",
    "INSERT INTO conversations (conversation, sent_number) VALUES (?, 1) "
    "ON CONFLICT (conversation) DO UPDATE SET sent_number = conversations.sent_number + 1 RETURNING sent_number",
)
_LAST_SENT: Final = Statement("conversations", "SELECT sent_number FROM conversations WHERE conversation = ?")
_RECEIVED_COLUMNS: Final = "conversation, user_id, device_id, highest, gaps, gaps_since, told, watched"
_RECEIVED: Final = Statement(
    "received",
    "SELECT highest, gaps, gaps_since, told, watched FROM received "
    "WHERE conversation = ? AND user_id = ? AND device_id = ?",
)
_SAVE_RECEIVED: Final = Statement(
    "received",
    f"INSERT INTO received ({_RECEIVED_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
    "ON CONFLICT (conversation, user_id, device_id) DO UPDATE SET highest = excluded.highest, gaps = excluded.gaps, "
    "gaps_since = excluded.gaps_since, told = excluded.told, watched = excluded.watched",
)
_OPEN_GAPS: Final = Statement(
    "received",
    f"SELECT {_RECEIVED_COLUMNS} FROM received WHERE gaps_since <= ? ORDER BY gaps_since LIMIT ?",  # noqa: S608
)


class Conversations:
    """The numbers that show whether something is missing: sent by this device, received from others."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._kept: Kept[tuple[bytes, str, int], Received] = Kept(RECEIVED_KEPT_MAX)

    def next_number(self, conversation: bytes) -> int:
        """Take the number of our next message in a conversation; the first is 1."""
        number: int = self._work.rows(_SENT, (conversation,))[0][0]
        return number

    def last_number(self, conversation: bytes) -> int:
        """The number of our last message in a conversation; 0: there was none."""
        row = self._work.row(_LAST_SENT, (conversation,))
        return 0 if row is None else row[0]

    def received(self, conversation: bytes, user_id: str, device_id: int) -> Received:
        """What has arrived from a device."""
        kept = self._kept.take((conversation, user_id, device_id))
        if kept is not None:
            return kept
        row = self._work.row(_RECEIVED, (conversation, user_id, device_id))
        return Received(0) if row is None else _take_received(row)

    def save_received(self, conversation: bytes, user_id: str, device_id: int, received: Received) -> None:
        """Store what has arrived. Raises TooLarge for more than 200 gaps."""
        if len(received.gaps) > GAPS_MAX:
            raise TooLarge(f"at most {GAPS_MAX} gaps")
        self._kept.put((conversation, user_id, device_id), received, 1)
        packed = pack(_GAPS_VERSION, [number for gap in received.gaps for number in gap])
        self._work.defer(
            _SAVE_RECEIVED,
            (
                conversation,
                user_id,
                device_id,
                received.highest,
                packed,
                received.gaps_since,
                received.told,
                received.watched,
            ),
        )

    def settle(self, *, committed: bool) -> None:
        """Take note of the unit's end: what it saved is kept, or nothing."""
        self._kept.settle(committed=committed)

    def open_gaps(self, age_s: float, *, limit: int = GAPS_MAX) -> list[tuple[bytes, str, int, Received]]:
        """The first *limit* conversations with a gap on the clock for as long as that, the longest first."""
        rows = self._work.rows(_OPEN_GAPS, (self._work.now - age_s, limit))
        return [(row[0], row[1], row[2], _take_received(row[3:])) for row in rows]


def _take_received(row: Sequence[object]) -> Received:
    highest, packed, since, told, watched = row
    (numbers,) = unpack(packed, version=_GAPS_VERSION, length=1, what="gaps")  # type: ignore[arg-type]
    flat = [take_int(number, "gap") for number in take_list(numbers, "gaps", length_max=2 * GAPS_MAX)]
    gaps = tuple(zip(flat[::2], flat[1::2], strict=False))
    return Received(
        take_int(highest, "highest number"),
        gaps,
        since,  # type: ignore[arg-type]
        take_int(told, "number told"),
        take_int(watched, "number watched"),
    )
