"""Chains of peers that have ended, and how long they are still kept for what is on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from .database import Statement

if TYPE_CHECKING:
    from .work import Work

__all__ = ["EndedChain", "EndedChains"]


@dataclass(frozen=True, slots=True)
class EndedChain:
    """One chain of a peer's device."""

    user_id: str
    device_id: int
    distribution_id: UUID
    chain_id: int


_ADD: Final = Statement(
    "ended_chains",
    "INSERT INTO ended_chains (user_id, device_id, distribution_id, chain_id, drained, messages_left, connected_left_s)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, device_id, distribution_id, chain_id) DO NOTHING",
)
_DRAINED: Final = Statement("ended_chains", "UPDATE ended_chains SET drained = ? WHERE drained = ?")
_COUNT_DOWN: Final = Statement(
    "ended_chains",
    "UPDATE ended_chains SET messages_left = messages_left - ?, connected_left_s = connected_left_s - ? "
    "WHERE drained = ?",
)
_OVER: Final = Statement(
    "ended_chains",
    "SELECT user_id, device_id, distribution_id, chain_id FROM ended_chains "
    "WHERE messages_left <= ? OR connected_left_s <= ? ORDER BY user_id, device_id, distribution_id, chain_id LIMIT ?",
)
_COUNT: Final = Statement("ended_chains", "SELECT COUNT(*) FROM ended_chains")
_DELETE: Final = Statement(
    "ended_chains",
    "DELETE FROM ended_chains WHERE user_id = ? AND device_id = ? AND distribution_id = ? AND chain_id = ?",
)


class EndedChains:
    """A chain waits until the mailbox is drained; then its clock runs, while there is a connection."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, chain: EndedChain, *, messages: int, connected_s: float) -> None:
        """Note that a chain has ended, and what is left to it; nothing happens if that is known."""
        key = (chain.user_id, chain.device_id, chain.distribution_id.bytes, chain.chain_id)
        self._work.change(_ADD, (*key, 0, messages, connected_s))

    def any(self) -> bool:
        """Whether some wait to be erased."""
        return bool(self._work.rows(_COUNT)[0][0])

    def drained(self) -> None:
        """The mailbox is drained past whatever ended those that are noted: let their clock run."""
        self._work.change(_DRAINED, (1, 0))

    def count_down(self, *, messages: int, connected_s: float) -> None:
        """Take from what is left to those whose clock runs."""
        self._work.change(_COUNT_DOWN, (messages, connected_s, 1))

    def over(self, *, limit: int) -> list[EndedChain]:
        """Some of those that nothing is left to."""
        rows = self._work.rows(_OVER, (0, 0.0, limit))
        return [EndedChain(row[0], row[1], UUID(bytes=row[2]), row[3]) for row in rows]

    def delete(self, chain: EndedChain) -> None:
        """Forget one, which is erased."""
        key = (chain.user_id, chain.device_id, chain.distribution_id.bytes, chain.chain_id)
        self._work.change(_DELETE, key)
