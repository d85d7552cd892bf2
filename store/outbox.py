"""What is to be sent: contents, the envelopes made of them, and who gets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .database import Statement
from .errors import InvalidUse, TooLarge
from .limits import (
    CIPHERTEXT_SIZE_MAX,
    CONTENT_SIZE_MAX,
    OUTGOING_MAX,
    OUTGOING_SIZE_MAX,
    TEXT_SIZE_MAX,
)
from .schema import ID_SIZE
from .tallied import TalliedTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .work import Work

__all__ = [
    "Envelope",
    "Envelopes",
    "Outgoing",
    "OutgoingMessage",
    "Recipient",
    "Recipients",
    "require_id",
    "require_text",
]

OUTGOING: Final = TalliedTable(
    "outgoing", "created_at", OUTGOING_MAX, OUTGOING_SIZE_MAX, item_size_max=CONTENT_SIZE_MAX
)


def require_id(value: bytes) -> bytes:
    """Return *value* if it is an id of 16 bytes. Raises InvalidUse."""
    if type(value) is not bytes or len(value) != ID_SIZE:
        raise InvalidUse(f"an id has {ID_SIZE} bytes")
    return value


def require_text(value: str) -> str:
    """Return *value* if it is short enough to be a stored state or reason. Raises TooLarge."""
    if len(value.encode()) > TEXT_SIZE_MAX:
        raise TooLarge(f"a text of more than {TEXT_SIZE_MAX} bytes")
    return value


@dataclass(frozen=True, slots=True, eq=False)
class OutgoingMessage:
    """A message that is not final for every recipient."""

    message_id: bytes  # 16 bytes
    number: int  # its place in its lane
    lane: str  # one per destination; the engine's name for it
    content: bytes = field(repr=False)
    state: str
    reason: str  # why it is held; empty if it is not
    created_at: float  # seconds since 1970
    again: int = 0  # how often it was sent again because the relay had lost it


_ADD: Final = Statement(
    "outgoing",
    "INSERT INTO outgoing (message_id, number, lane, content, size, state, reason, created_at, again, "
    "conversation_number) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
)
_COLUMNS: Final = "message_id, number, lane, content, state, reason, created_at, again"
_GET: Final = Statement("outgoing", f"SELECT {_COLUMNS} FROM outgoing WHERE message_id = ?")  # noqa: S608 - ours
_IN_LANE: Final = Statement(
    "outgoing",
    f"SELECT {_COLUMNS} FROM outgoing WHERE lane = ? AND state = ? ORDER BY number LIMIT ?",  # noqa: S608
)
_LANES: Final = Statement("outgoing", "SELECT lane, MIN(number) FROM outgoing WHERE state = ? GROUP BY lane ORDER BY 2")
_SET: Final = Statement("outgoing", "UPDATE outgoing SET state = ?, reason = ? WHERE message_id = ?")
_REWRITE: Final = Statement("outgoing", "UPDATE outgoing SET content = ?, state = ?, reason = ? WHERE message_id = ?")
_OLDER: Final = Statement("outgoing", "SELECT message_id FROM outgoing WHERE created_at < ? ORDER BY number")
_TAKE_OUT: Final = Statement("outgoing", "DELETE FROM outgoing WHERE message_id = ? RETURNING size, lane, content")


class Outgoing:
    """Messages from `send()` until they are final. Each lane is in the order of its numbers."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(
        self, message_id: bytes, lane: str, content: bytes, *, state: str, conversation_number: int = 0
    ) -> OutgoingMessage:
        """Queue a message at the end of its lane; number 0 counts in no conversation. Raises Full, TooLarge."""
        work = self._work
        OUTGOING.require_room(work, len(content))
        number = work.next_number()
        sealed = work.vault.seal("outgoing", require_id(message_id), 1, content)
        values = (message_id, number, lane, sealed, len(content), state, "", work.now, conversation_number)
        work.defer(_ADD, values)
        return OutgoingMessage(message_id, number, lane, content, state, "", work.now)

    def get(self, message_id: bytes) -> OutgoingMessage | None:
        """Return a message; None if it is not (or no longer) here."""
        row = self._work.row(_GET, (message_id,))
        return None if row is None else self._message(row)

    def next_in(self, lane: str, state: str, *, limit: int) -> list[OutgoingMessage]:
        """The first messages of a lane that are in *state*, in order."""
        return [self._message(row) for row in self._work.rows(_IN_LANE, (lane, state, limit))]

    def count(self) -> int:
        """How many messages are not final."""
        return OUTGOING.tally(self._work).count

    def lanes(self, state: str) -> list[str]:
        """The lanes that have a message in *state*, the one with the oldest first."""
        return [row[0] for row in self._work.rows(_LANES, (state,))]

    def set_state(self, message_id: bytes, state: str, *, reason: str = "") -> None:
        """Note a message's state. Raises StaleWriter if it is not here."""
        self._work.replace(_SET, (state, require_text(reason), message_id))

    def rewrite(self, message_id: bytes, content: bytes, *, state: str) -> None:
        """Put a content in place of the one that was queued; its size counts as it did. Raises StaleWriter."""
        if len(content) > CONTENT_SIZE_MAX:
            raise TooLarge(f"a content of more than {CONTENT_SIZE_MAX} bytes")
        sealed = self._work.vault.seal("outgoing", message_id, 1, content)
        self._work.replace(_REWRITE, (sealed, state, "", message_id))

    def older_than(self, age_s: float) -> list[bytes]:
        """The ids of messages queued longer ago than that, oldest first."""
        return [row[0] for row in self._work.rows(_OLDER, (self._work.now - age_s,))]

    def take_out(self, message_id: bytes) -> tuple[str, bytes] | None:
        """Delete a message that is final; return its lane and content, for the send log. None if it is not here."""
        OUTGOING.tally(self._work)
        rows = self._work.rows(_TAKE_OUT, (message_id,))
        if not rows:
            return None
        OUTGOING.remove(self._work, list(rows))
        return rows[0][1], self._work.vault.open("outgoing", message_id, 1, rows[0][2])

    def _message(self, row: Sequence[object]) -> OutgoingMessage:
        message_id, number, lane, sealed, *rest = row
        content = self._work.vault.open("outgoing", message_id, 1, sealed)  # type: ignore[arg-type]
        return OutgoingMessage(message_id, number, lane, content, *rest)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One ciphertext for one device, exactly as it goes out each time."""

    envelope_id: bytes  # 16 bytes
    message_id: bytes  # 16 bytes, of the message or control message inside
    lane: str
    user_id: str
    device_id: int
    registration_id: int  # of the device, as the session knows it
    identity_key: bytes  # of the user, as the session knows it; 33 bytes
    kind: int
    ciphertext: bytes = field(repr=False)
    submission_number: int | None = None  # None: not submitted yet
    alone: int = 0  # 1: for this device alone, whatever other devices the user has


_ENVELOPE_COLUMNS: Final = (
    "envelope_id, message_id, lane, user_id, device_id, registration_id, identity_key, kind, ciphertext, "
    "submission_number, alone"
)
_ADD_ENVELOPE: Final = Statement(
    "envelopes",
    f"INSERT INTO envelopes ({_ENVELOPE_COLUMNS}, number) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
)
_OF_LANE: Final = Statement(
    "envelopes",
    f"SELECT {_ENVELOPE_COLUMNS} FROM envelopes WHERE lane = ? ORDER BY number LIMIT ?",  # noqa: S608
)
_OF_MESSAGE: Final = Statement(
    "envelopes",
    f"SELECT {_ENVELOPE_COLUMNS} FROM envelopes WHERE message_id = ? ORDER BY number",  # noqa: S608
)
_GET_ENVELOPE: Final = Statement(
    "envelopes",
    f"SELECT {_ENVELOPE_COLUMNS} FROM envelopes WHERE envelope_id = ?",  # noqa: S608
)
_ENVELOPE_LANES: Final = Statement("envelopes", "SELECT lane, MIN(number) FROM envelopes GROUP BY lane ORDER BY 2")
_SUBMITTED: Final = Statement("envelopes", "UPDATE envelopes SET submission_number = ? WHERE envelope_id = ?")
_DELETE_ENVELOPE: Final = Statement("envelopes", "DELETE FROM envelopes WHERE envelope_id = ?")
_DELETE_ALL: Final = Statement("envelopes", "DELETE FROM envelopes")
_DELETE_FOR_DEVICE: Final = Statement("envelopes", "DELETE FROM envelopes WHERE user_id = ? AND device_id = ?")
_DELETE_FOR_OTHERS: Final = Statement(
    "envelopes", "DELETE FROM envelopes WHERE user_id = ? AND device_id = ? AND registration_id <> ?"
)


class Envelopes:
    """Envelopes that the relay has not confirmed. They are sent again as they are, never made again."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, envelope: Envelope) -> Envelope:
        """Store an envelope, in the transaction of the ratchet state that made it; return it with its number."""
        if len(envelope.ciphertext) > CIPHERTEXT_SIZE_MAX:
            raise TooLarge(f"an envelope of more than {CIPHERTEXT_SIZE_MAX} bytes")
        work = self._work
        values = (
            require_id(envelope.envelope_id),
            require_id(envelope.message_id),
            envelope.lane,
            envelope.user_id,
            envelope.device_id,
            envelope.registration_id,
            envelope.identity_key,
            envelope.kind,
            envelope.ciphertext,
            envelope.submission_number,
            envelope.alone,
            work.next_number(),
        )
        work.defer(_ADD_ENVELOPE, values)
        return envelope

    def in_lane(self, lane: str, *, limit: int) -> list[Envelope]:
        """The first envelopes of a lane, in the order in which they were made."""
        return [_envelope(row) for row in self._work.rows(_OF_LANE, (lane, limit))]

    def of_message(self, message_id: bytes) -> list[Envelope]:
        """The envelopes of one message that are still here."""
        return [_envelope(row) for row in self._work.rows(_OF_MESSAGE, (message_id,))]

    def get(self, envelope_id: bytes) -> Envelope | None:
        """Return an envelope; None if it is not (or no longer) here."""
        row = self._work.row(_GET_ENVELOPE, (envelope_id,))
        return None if row is None else _envelope(row)

    def lanes(self) -> list[str]:
        """The lanes with an envelope to send, the one with the oldest first."""
        return [row[0] for row in self._work.rows(_ENVELOPE_LANES)]

    def submit(self, envelope_id: bytes) -> int:
        """Give an envelope the next submission number, which is counted in this transaction; return it."""
        self._work.counters.submission_number += 1
        number = self._work.counters.submission_number
        self._work.replace(_SUBMITTED, (number, envelope_id))
        return number

    def delete(self, envelope_id: bytes) -> bool:
        """Delete an envelope that the relay has stored or refused; False if it was gone already."""
        return self._work.change(_DELETE_ENVELOPE, (envelope_id,)) == 1

    def delete_all(self) -> int:
        """Delete every envelope: what sealed them is not to be relied on; return how many there were."""
        return self._work.change(_DELETE_ALL)

    def delete_for(self, user_id: str, device_id: int) -> int:
        """Delete all envelopes for a device that is no more; return how many."""
        return self._work.change(_DELETE_FOR_DEVICE, (user_id, device_id))

    def delete_for_others(self, user_id: str, device_id: int, registration_id: int) -> int:
        """Delete the envelopes for a device that were made for another registration of it; return how many."""
        return self._work.change(_DELETE_FOR_OTHERS, (user_id, device_id, registration_id))


def _envelope(row: Sequence[object]) -> Envelope:
    names = _ENVELOPE_COLUMNS.split(", ")
    return Envelope(**dict(zip(names, row, strict=True)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Recipient:
    """One device that a message was sent to."""

    message_id: bytes
    user_id: str
    device_id: int
    identity_key: bytes  # of the user at that time: a message is only ever sent again to the same
    state: str
    changed_at: float  # seconds since 1970


_RECIPIENT_COLUMNS: Final = "message_id, user_id, device_id, identity_key, state, changed_at"
_ADD_RECIPIENT: Final = Statement(
    "recipients",
    f"INSERT INTO recipients ({_RECIPIENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) "  # noqa: S608
    "ON CONFLICT (message_id, user_id, device_id) DO UPDATE SET identity_key = excluded.identity_key, "
    "state = excluded.state, changed_at = excluded.changed_at",
)
_RECIPIENTS: Final = Statement(
    "recipients",
    f"SELECT {_RECIPIENT_COLUMNS} FROM recipients WHERE message_id = ? ORDER BY user_id, device_id",  # noqa: S608
)
_DELETE_RECIPIENTS: Final = Statement("recipients", "DELETE FROM recipients WHERE message_id = ?")
_FORGET_RECIPIENTS: Final = Statement(
    "recipients",
    "DELETE FROM recipients WHERE NOT EXISTS (SELECT 1 FROM outgoing WHERE outgoing.message_id = recipients.message_id)"
    " AND NOT EXISTS (SELECT 1 FROM send_log WHERE send_log.message_id = recipients.message_id)",
)


class Recipients:
    """Who each message in the outbox or the send log was sent to, and how far it got."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def put(self, message_id: bytes, user_id: str, device_id: int, identity_key: bytes, state: str) -> None:
        """Note a recipient's state, the first time or again."""
        values = (require_id(message_id), user_id, device_id, identity_key, state, self._work.now)
        self._work.defer(_ADD_RECIPIENT, values)

    def of(self, message_id: bytes) -> list[Recipient]:
        """The recipients of a message, in order of user and device."""
        return [Recipient(*row) for row in self._work.rows(_RECIPIENTS, (message_id,))]

    def delete(self, message_id: bytes) -> int:
        """Forget the recipients of a message; return how many there were."""
        return self._work.change(_DELETE_RECIPIENTS, (message_id,))

    def forget_orphans(self) -> int:
        """Forget those of messages that are neither in the outbox nor in the send log; return how many."""
        self._work.flush()
        return self._work.change(_FORGET_RECIPIENTS)
