"""Which message each envelope carried that left: for whoever asks for an envelope again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .database import Statement
from .limits import SENT_ENVELOPES_AGE_S, SENT_ENVELOPES_MAX
from .outbox import require_id
from .tallied import TalliedTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .work import Work

__all__ = ["SENT_ENVELOPES", "SentEnvelopes"]

SENT_ENVELOPES: Final = TalliedTable("sent_envelopes", "sent_at", SENT_ENVELOPES_MAX, age_s=SENT_ENVELOPES_AGE_S)

_GROUPS: Final = ""  # in the place of the user: the envelope went to a group
_ADD: Final = Statement(
    "sent_envelopes",
    "INSERT INTO sent_envelopes (number, envelope_id, user_id, message_id, sent_at) VALUES (?, ?, ?, ?, ?)",
)
_FIND: Final = Statement(
    "sent_envelopes", "SELECT message_id FROM sent_envelopes WHERE envelope_id = ? AND user_id IN (?, ?)"
)


class SentEnvelopes:
    """The message of each envelope; 100,000 envelopes, 44 days, the oldest go first."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, envelope_id: bytes, user_id: str, message_id: bytes | None) -> None:
        """Remember an envelope to a user, or to a group (*user_id* is then empty), in the transaction that makes it.

        *message_id* is None if nothing in it is ever sent again.
        """
        work = self._work
        SENT_ENVELOPES.add(work)
        carried = None if message_id is None else require_id(message_id)
        work.defer(_ADD, (work.next_number(), require_id(envelope_id), user_id, carried, work.now))

    def find(self, user_id: str, envelope_ids: Iterable[bytes]) -> dict[bytes, bytes | None]:
        """The messages of those of *envelope_ids* that went to the user or to a group."""
        found = ((one, self._work.row(_FIND, (one, user_id, _GROUPS))) for one in dict.fromkeys(envelope_ids))
        return {envelope_id: row[0] for envelope_id, row in found if row is not None}
