"""The outbox by conversation number: which messages a receipt names, found without reading what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .database import Statement

if TYPE_CHECKING:
    from .work import Work

__all__ = ["NumberedMessage", "NumberedMessages"]

# All columns are in the index, so no content is read: 256 KiB each, and 10,000 of them may wait in a lane.
_BETWEEN: Final = Statement(
    "outgoing",
    "SELECT message_id, number, conversation_number FROM outgoing "
    "WHERE lane = ? AND state = ? AND number > ? AND conversation_number BETWEEN ? AND ? ORDER BY number LIMIT ?",
)
_COUNT: Final = Statement("outgoing", "SELECT COUNT(*) FROM outgoing WHERE lane = ? AND state = ?")
_OLDEST: Final = Statement(
    "outgoing", "SELECT message_id FROM outgoing WHERE lane = ? AND state = ? ORDER BY number LIMIT ?"
)
_WITHOUT: Final = Statement("outgoing", "SELECT message_id FROM outgoing WHERE conversation_number IS NULL")
_NUMBER: Final = Statement("outgoing", "UPDATE outgoing SET conversation_number = ? WHERE message_id = ?")


@dataclass(frozen=True, slots=True)
class NumberedMessage:
    """A message of the outbox, without its content."""

    message_id: bytes
    number: int  # its place in its lane
    conversation_number: int  # 0: it counts in no conversation


class NumberedMessages:
    """The messages of the outbox with their conversation numbers."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def between(self, lane: str, state: str, first: int, last: int, *, after: int, limit: int) -> list[NumberedMessage]:
        """The first messages of a lane in *state*, behind place *after*, with a number from *first* to *last*."""
        rows = self._work.rows(_BETWEEN, (lane, state, after, first, last, limit))
        return [NumberedMessage(*row) for row in rows]

    def all_but_newest(self, lane: str, state: str, newest: int, *, limit: int) -> list[bytes]:
        """The ids of a lane's messages in *state* except its *newest* ones: the oldest, *limit* at most, in order."""
        excess = min(limit, self._work.rows(_COUNT, (lane, state))[0][0] - newest)
        return [row[0] for row in self._work.rows(_OLDEST, (lane, state, excess))] if excess > 0 else []

    def without(self) -> list[bytes]:
        """The ids of messages that were queued before version 5 of the tables: nobody has said their number."""
        return [row[0] for row in self._work.rows(_WITHOUT)]

    def set_number(self, message_id: bytes, conversation_number: int) -> None:
        """Say the number of a message `without` one. Raises StaleWriter."""
        self._work.replace(_NUMBER, (conversation_number, message_id))
