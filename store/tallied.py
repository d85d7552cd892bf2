"""Tables with a limit: the oldest rows make room, in the transaction that adds, or nothing is added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .database import Statement
from .errors import Full, TooLarge

if TYPE_CHECKING:
    from .work import Tally, Work

__all__ = ["TalliedTable"]


@dataclass(frozen=True, slots=True)
class TalliedTable:
    """One numbered table, with its limits by count, size and age. Ages count from the column *time*.

    The names are our own and go into fixed statements.
    """

    name: str
    time: str
    count_max: int
    size_max: int | None = None  # bytes in the column `size`; None: the table has none
    age_s: float | None = None  # None: kept until it is taken out
    item_size_max: int | None = None  # bytes of one row
    _count: Statement = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = "COALESCE(SUM(size), 0)" if self.size_max is not None else "0"
        count = Statement(self.name, f"SELECT COUNT(*), {size} FROM {self.name}")  # noqa: S608 - our own names
        object.__setattr__(self, "_count", count)  # once: a unit asks for each row that it adds

    def tally(self, work: Work) -> Tally:
        """What the table holds."""
        return work.tally(self.name, self._count)

    def require_room(self, work: Work, size: int = 0) -> None:
        """Count a row of *size* bytes in. Raises Full if the table is at its limit, TooLarge for the row itself."""
        self._require_size(size)
        tally = self.tally(work)
        if tally.count >= self.count_max or (self.size_max is not None and tally.size + size > self.size_max):
            raise Full(f"{self.name} holds {tally.count} rows and {tally.size} bytes, which is its limit")
        tally.count += 1
        tally.size += size

    def add(self, work: Work, size: int = 0) -> None:
        """Count a row of *size* bytes in; `evict` makes the room. Raises TooLarge."""
        self._require_size(size)
        tally = self.tally(work)
        tally.count += 1
        tally.size += size

    def remove(self, work: Work, rows: list[tuple[Any, ...]] | int) -> None:
        """Count deleted rows out: how many, or their sizes as each row's first value."""
        tally = self.tally(work)
        tally.count -= rows if isinstance(rows, int) else len(rows)
        if not isinstance(rows, int):
            tally.size -= sum(int(row[0]) for row in rows)

    def overflow(self, work: Work) -> int:
        """How many of the oldest rows must go for the limits by count and size to hold."""
        tally = self.tally(work)
        excess = max(0, tally.count - self.count_max)
        if self.size_max is None or tally.size <= self.size_max:
            return excess
        sizes = Statement(self.name, f"SELECT size FROM {self.name} ORDER BY number")  # noqa: S608 - our own names
        left = tally.size
        for position, (size,) in enumerate(work.rows(sizes)):
            if left <= self.size_max:
                return max(excess, position)
            left -= size
        return tally.count

    def evict(self, work: Work) -> None:
        """Delete the oldest rows until the limits by count and size hold."""
        overflow = self.overflow(work)
        if overflow:
            oldest = f"number IN (SELECT number FROM {self.name} ORDER BY number LIMIT ?)"  # noqa: S608
            self._delete(work, oldest, overflow)

    def expire(self, work: Work) -> None:
        """Delete the rows that are older than the limit by age."""
        if self.age_s is not None:
            self._delete(work, f"{self.time} < ?", work.now - self.age_s)

    def _delete(self, work: Work, condition: str, value: float) -> None:
        size = "size" if self.size_max is not None else "0"
        tally = self.tally(work)  # counted before the rows go
        gone = work.rows(Statement(self.name, f"DELETE FROM {self.name} WHERE {condition} RETURNING {size}"), (value,))  # noqa: S608
        tally.count -= len(gone)
        tally.size -= sum(int(row[0]) for row in gone)

    def _require_size(self, size: int) -> None:
        if self.item_size_max is not None and size > self.item_size_max:
            raise TooLarge(f"{self.name}: {size} bytes are more than {self.item_size_max}")
