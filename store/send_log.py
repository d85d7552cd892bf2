"""Messages that are final, kept for those who ask for them again, and how often each was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .database import Statement
from .limits import CONTENT_SIZE_MAX, SEND_LOG_AGE_S, SEND_LOG_MAX, SEND_LOG_SIZE_MAX
from .outbox import require_id
from .schema import number_row
from .tallied import TalliedTable

if TYPE_CHECKING:
    from .work import Work

__all__ = ["SEND_LOG", "LoggedMessage", "RetryAttempts", "SendLog"]

SEND_LOG: Final = TalliedTable(
    "send_log", "logged_at", SEND_LOG_MAX, SEND_LOG_SIZE_MAX, SEND_LOG_AGE_S, CONTENT_SIZE_MAX
)


@dataclass(frozen=True, slots=True, eq=False)
class LoggedMessage:
    """A final message that may be asked for again."""

    message_id: bytes
    lane: str
    content: bytes = field(repr=False)
    logged_at: float  # seconds since 1970


_LOG: Final = Statement(
    "send_log", "INSERT INTO send_log (number, message_id, lane, content, size, logged_at) VALUES (?, ?, ?, ?, ?, ?)"
)
_LOGGED: Final = Statement("send_log", "SELECT number, lane, content, logged_at FROM send_log WHERE message_id = ?")


class SendLog:
    """Contents kept for retry requests: 14 days, 5,000 messages, 64 MiB; the oldest go first."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, message_id: bytes, lane: str, content: bytes) -> None:
        """Keep a message that is final. Raises TooLarge."""
        work = self._work
        SEND_LOG.add(work, len(content))
        number = work.next_number()
        sealed = work.vault.seal("send_log", number_row(number), 1, content)
        work.change(_LOG, (number, require_id(message_id), lane, sealed, len(content), work.now))
        SEND_LOG.evict(work)

    def get(self, message_id: bytes) -> LoggedMessage | None:
        """Return a message; None if it is not (or no longer) kept."""
        row = self._work.row(_LOGGED, (message_id,))
        if row is None:
            return None
        number, lane, sealed, logged_at = row
        if logged_at < self._work.now - SEND_LOG_AGE_S:
            return None
        return LoggedMessage(
            message_id, lane, self._work.vault.open("send_log", number_row(number), 1, sealed), logged_at
        )


_COUNT_ATTEMPT: Final = Statement(
    "retry_attempts",
    "INSERT INTO retry_attempts (message_id, user_id, device_id, attempts, attempted_at) VALUES (?, ?, ?, 1, ?) "
    "ON CONFLICT (message_id, user_id, device_id) DO UPDATE SET attempts = retry_attempts.attempts + 1, "
    "attempted_at = excluded.attempted_at RETURNING attempts",
)


class RetryAttempts:
    """How often a message was sent again to a device."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def count(self, message_id: bytes, user_id: str, device_id: int) -> int:
        """Count one more attempt and return how many there were, this one included."""
        attempts: int = self._work.rows(_COUNT_ATTEMPT, (require_id(message_id), user_id, device_id, self._work.now))[
            0
        ][0]
        return attempts
