"""What became of a group call whose caller waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e2ee.errors import GroupError

__all__ = ["GroupOutcome"]


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """The end of one operation."""

    operation_id: bytes  # 16 bytes
    group_id: bytes  # 32 bytes; empty: none was found
    error: GroupError | None  # None: it is done
