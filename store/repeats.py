"""Messages that the relay had confirmed and has lost: which they may be, and how often each was sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .database import Statement

if TYPE_CHECKING:
    from .work import Work

__all__ = ["Repeats"]

_COUNT: Final = Statement("outgoing", "SELECT COUNT(*) FROM outgoing WHERE state = ?")
_NEWEST: Final = Statement(
    "outgoing",
    "SELECT message_id FROM outgoing WHERE state = ? AND again < ? AND created_at >= ? ORDER BY number DESC LIMIT ?",
)
_AGAIN: Final = Statement(
    "outgoing", "UPDATE outgoing SET state = ?, reason = ?, again = again + 1 WHERE message_id = ?"
)


class Repeats:
    """The messages of the outbox in one state, to be sent once more."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def count(self, state: str) -> int:
        """How many messages are in *state*."""
        count: int = self._work.rows(_COUNT, (state,))[0][0]
        return count

    def newest(self, state: str, *, again_max: int, age_s: float, limit: int) -> list[bytes]:
        """The ids of the newest in *state* that are not older than that and went again fewer than *again_max* times."""
        values = (state, again_max, self._work.now - age_s, limit)
        return [row[0] for row in self._work.rows(_NEWEST, values)]

    def send_again(self, message_id: bytes, state: str) -> None:
        """Put a message into *state*, at the place that it has in its lane, and count it. Raises StaleWriter."""
        self._work.replace(_AGAIN, (state, "", message_id))
