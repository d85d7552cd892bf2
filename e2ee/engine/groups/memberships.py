"""Memberships in memory: a function of the log, so a value under the right hash is right, whatever made it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from e2ee.groups import Membership

__all__ = ["MEMBERSHIPS_CACHED_MAX", "Memberships"]

MEMBERSHIPS_CACHED_MAX: Final = 64  # values of up to 100 kB: the present ones of busy groups, and those just before


class Memberships:
    """Memberships that were made or read lately, by group and hash of the newest entry."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes, bytes], Membership] = OrderedDict()

    def get(self, group_id: bytes, head: bytes) -> Membership | None:
        """The membership after the entry with the hash *head*."""
        found = self._known.get((group_id, head))
        if found is not None:
            self._known.move_to_end((group_id, head))
        return found

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._known)

    def put(self, one: Membership) -> None:
        """Remember one; the one that was not asked for longest goes."""
        self._known[one.group_id, one.hash] = one
        self._known.move_to_end((one.group_id, one.hash))
        if len(self._known) > MEMBERSHIPS_CACHED_MAX:
            self._known.popitem(last=False)
