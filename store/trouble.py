"""What did not open: messages that wait, and envelopes on which our own code failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .database import Statement
from .errors import TooLarge
from .limits import (
    CIPHERTEXT_SIZE_MAX,
    PENDING_AGE_S,
    PENDING_MAX,
    PENDING_PER_DEVICE_MAX,
    PENDING_SIZE_MAX,
    QUARANTINE_AGE_S,
    QUARANTINE_MAX,
)
from .outbox import require_id, require_text
from .tallied import TalliedTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .work import Work

__all__ = ["ASKED_FOR", "DeliveryAttempts", "Pending", "PendingMessage", "Quarantine", "Quarantined"]

PENDING: Final = TalliedTable("pending", "parked_at", PENDING_MAX, PENDING_SIZE_MAX, item_size_max=CIPHERTEXT_SIZE_MAX)
QUARANTINE: Final = TalliedTable("quarantine", "quarantined_at", QUARANTINE_MAX, age_s=QUARANTINE_AGE_S)
ASKED_FOR: Final = b"asked:"
"""Names that begin so stand for what is waited for while the message itself is asked for too."""
_ASKED_FOR_END: Final = b"asked;"  # behind all of them
_IS_ASKED_FOR: Final = "(waits_for IS NULL OR (waits_for >= ? AND waits_for < ?))"


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """An envelope that was acknowledged and does not open yet."""

    number: int
    user_id: str
    device_id: int
    envelope_id: bytes
    kind: int
    ciphertext: bytes = field(repr=False)
    reason: str
    waits_for: bytes | None  # the engine's name for a sender key, a seat, a log; None: for a heal
    parked_at: float  # seconds since 1970
    requests: int  # how often it was asked for

    @property
    def is_asked_for(self) -> bool:
        """Whether its sender is asked for it; else it waits for what the engine names, and that is asked for."""
        return self.waits_for is None or self.waits_for.startswith(ASKED_FOR)


_COLUMNS: Final = "number, user_id, device_id, envelope_id, kind, ciphertext, reason, waits_for, parked_at, requests"
_PARK: Final = Statement(
    "pending",
    f"INSERT INTO pending ({_COLUMNS}, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own names
)
_BEYOND: Final = b"\xff" * 64  # behind whatever a name goes on with: a group's id, and a user's in UTF-8
_FOR_KEY: Final = Statement("pending", f"SELECT {_COLUMNS} FROM pending WHERE waits_for = ? ORDER BY number")  # noqa: S608
_SENDERS: Final = Statement(
    "pending", "SELECT user_id, device_id FROM pending WHERE waits_for = ? GROUP BY user_id, device_id"
)
_RENAME: Final = Statement("pending", "UPDATE pending SET waits_for = ?, requests = 0 WHERE waits_for = ?")
_WAIT_FOR: Final = Statement("pending", "UPDATE pending SET waits_for = ?, reason = ?, requests = 0 WHERE number = ?")
_NAMES: Final = Statement(
    "pending", "SELECT DISTINCT waits_for FROM pending WHERE waits_for >= ? AND waits_for < ? ORDER BY waits_for"
)
_FROM_DEVICE: Final = Statement(
    "pending",
    f"SELECT {_COLUMNS} FROM pending WHERE user_id = ? AND device_id = ? ORDER BY number",  # noqa: S608
)
_COUNT_FROM_DEVICE: Final = Statement("pending", "SELECT COUNT(*) FROM pending WHERE user_id = ? AND device_id = ?")
_OLDEST_FROM_DEVICE: Final = Statement(
    "pending",
    f"SELECT {_COLUMNS} FROM pending WHERE user_id = ? AND device_id = ? ORDER BY number LIMIT ?",  # noqa: S608
)
_OLDEST: Final = Statement("pending", f"SELECT {_COLUMNS} FROM pending ORDER BY number LIMIT ?")  # noqa: S608
_OLD: Final = Statement("pending", f"SELECT {_COLUMNS} FROM pending WHERE parked_at < ? ORDER BY number")  # noqa: S608
_ASKED: Final = Statement("pending", "UPDATE pending SET requests = requests + 1 WHERE number = ?")
_NOT_ASKED: Final = Statement(
    "pending",
    "UPDATE pending SET requests = requests - 1 "  # noqa: S608 - our own names
    f"WHERE user_id = ? AND device_id = ? AND {_IS_ASKED_FOR} AND requests > 0",
)
_DEVICES: Final = Statement(
    "pending",
    f"SELECT user_id, device_id, MIN(requests) FROM pending WHERE {_IS_ASKED_FOR} "  # noqa: S608
    "GROUP BY user_id, device_id ORDER BY MIN(number)",
)
_TAKE_OUT: Final = Statement("pending", "DELETE FROM pending WHERE number = ? RETURNING size")


class Pending:
    """Messages that wait for a heal or a key: 2,000 or 64 MiB, 200 of one device, 14 days."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(
        self,
        user_id: str,
        device_id: int,
        envelope_id: bytes,
        kind: int,
        ciphertext: bytes,
        *,
        reason: str,
        waits_for: bytes | None = None,
    ) -> list[PendingMessage]:
        """Park a message. Returns those that had to go for it, or by age: they are lost, and somebody is to be told.

        A device that has its 200 loses its own oldest, so that one sender cannot push out another's.
        """
        work = self._work
        PENDING.add(work, len(ciphertext))
        number = work.next_number()
        work.change(
            _PARK,
            (
                number,
                user_id,
                device_id,
                require_id(envelope_id),
                kind,
                ciphertext,
                require_text(reason),
                waits_for,
                work.now,
                0,
                len(ciphertext),
            ),
        )
        lost = self.expire()
        own = work.rows(_COUNT_FROM_DEVICE, (user_id, device_id))[0][0]
        if own > PENDING_PER_DEVICE_MAX:
            oldest = work.rows(_OLDEST_FROM_DEVICE, (user_id, device_id, own - PENDING_PER_DEVICE_MAX))
            lost += [self.take_out(PendingMessage(*row)) for row in oldest]
        overflow = PENDING.overflow(work)
        if overflow:
            lost += [self.take_out(PendingMessage(*row)) for row in work.rows(_OLDEST, (overflow,))]
        return lost

    def waiting_for(self, key: bytes) -> list[PendingMessage]:
        """The messages that wait for what has this name, in order of arrival."""
        return [PendingMessage(*row) for row in self._work.rows(_FOR_KEY, (key,))]

    def rename(self, key: bytes, to: bytes) -> list[tuple[str, int]]:
        """Let what waits for one name wait for another, as if never asked for; return whose devices' it is."""
        senders = [(row[0], row[1]) for row in self._work.rows(_SENDERS, (key,))]
        self._work.change(_RENAME, (to, key))
        return senders

    def wait_for(self, message: PendingMessage, key: bytes, reason: str) -> None:
        """Let a message wait for something else, as if never asked for."""
        self._work.change(_WAIT_FOR, (key, reason, message.number))

    def names(self, start: bytes) -> list[bytes]:
        """What messages wait for, of the names that begin with *start*."""
        return [row[0] for row in self._work.rows(_NAMES, (start, start + _BEYOND))]

    def from_device(self, user_id: str, device_id: int) -> list[PendingMessage]:
        """The messages of a device, in order of arrival."""
        return [PendingMessage(*row) for row in self._work.rows(_FROM_DEVICE, (user_id, device_id))]

    def devices(self) -> list[tuple[str, int, int]]:
        """The devices that are asked for messages: user, device, how often the one least asked for was asked for."""
        return [(row[0], row[1], row[2]) for row in self._work.rows(_DEVICES, (ASKED_FOR, _ASKED_FOR_END))]

    def asked(self, messages: Iterable[PendingMessage]) -> None:
        """Count that messages were asked for, in the transaction that makes the request."""
        for message in messages:
            self._work.change(_ASKED, (message.number,))

    def not_asked(self, user_id: str, device_id: int) -> int:
        """The last request to a device has reached nobody: count it no more; return how many messages it is of."""
        return self._work.change(_NOT_ASKED, (user_id, device_id, ASKED_FOR, _ASKED_FOR_END))

    def take_out(self, message: PendingMessage) -> PendingMessage:
        """Delete a message that has opened or is lost; return it."""
        PENDING.tally(self._work)
        PENDING.remove(self._work, list(self._work.rows(_TAKE_OUT, (message.number,))))
        return message

    def count(self) -> int:
        """How many messages wait."""
        return PENDING.tally(self._work).count

    def expire(self) -> list[PendingMessage]:
        """Take out what waits for more than 14 days and return it."""
        old = self._work.rows(_OLD, (self._work.now - PENDING_AGE_S,))
        return [self.take_out(PendingMessage(*row)) for row in old]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An envelope that our code failed on three times."""

    number: int
    user_id: str
    device_id: int
    envelope_id: bytes
    ciphertext: bytes = field(repr=False)
    cause: str  # redacted
    quarantined_at: float  # seconds since 1970


_QUARANTINE_COLUMNS: Final = "number, user_id, device_id, envelope_id, ciphertext, cause, quarantined_at"
_QUARANTINE: Final = Statement(
    "quarantine",
    f"INSERT INTO quarantine ({_QUARANTINE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
)
_QUARANTINED: Final = Statement("quarantine", f"SELECT {_QUARANTINE_COLUMNS} FROM quarantine ORDER BY number")  # noqa: S608


class Quarantine:
    """Envelopes put aside so that a bug of ours costs one message: the last 1,000, for 90 days."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, user_id: str, device_id: int, envelope_id: bytes, ciphertext: bytes, cause: str) -> None:
        """Put an envelope aside, with a cause that holds no content."""
        if len(ciphertext) > CIPHERTEXT_SIZE_MAX:
            raise TooLarge(f"an envelope of more than {CIPHERTEXT_SIZE_MAX} bytes")
        work = self._work
        QUARANTINE.add(work)
        values = (work.next_number(), user_id, device_id, require_id(envelope_id), ciphertext, require_text(cause))
        work.change(_QUARANTINE, (*values, work.now))
        QUARANTINE.evict(work)

    def count(self) -> int:
        """How many envelopes are there."""
        return QUARANTINE.tally(self._work).count

    def all(self) -> list[Quarantined]:
        """What is there, oldest first."""
        return [Quarantined(*row) for row in self._work.rows(_QUARANTINED)]


_ATTEMPT: Final = Statement(
    "delivery_attempts",
    "INSERT INTO delivery_attempts (user_id, device_id, envelope_id, attempts, attempted_at) VALUES (?, ?, ?, 1, ?) "
    "ON CONFLICT (user_id, device_id, envelope_id) DO UPDATE SET attempts = delivery_attempts.attempts + 1, "
    "attempted_at = excluded.attempted_at RETURNING attempts",
)
_SUCCEEDED: Final = Statement(
    "delivery_attempts", "DELETE FROM delivery_attempts WHERE user_id = ? AND device_id = ? AND envelope_id = ?"
)


class DeliveryAttempts:
    """How often our code failed on an envelope, counted before it is tried again."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def count(self, user_id: str, device_id: int, envelope_id: bytes) -> int:
        """Count one more attempt and return how many there were, this one included."""
        values = (user_id, device_id, require_id(envelope_id), self._work.now)
        attempts: int = self._work.rows(_ATTEMPT, values)[0][0]
        return attempts

    def forget(self, user_id: str, device_id: int, envelope_id: bytes) -> None:
        """Forget an envelope that is dealt with."""
        self._work.change(_SUCCEEDED, (user_id, device_id, envelope_id))
