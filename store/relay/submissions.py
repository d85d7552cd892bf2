"""What the last submission numbers of each device stood for: how a clone is noticed on a later connection (R4.11).

A ring of `SUBMISSIONS_REMEMBERED` rows for each device: number n has the place n modulo its size, and a later number
takes the place of an earlier one. So the table is bounded by the devices that there are, nothing has to be removed by
age, and a transaction writes all of its numbers in one statement.
"""

# ruff: noqa: S608 - statements are put together from constants of this file

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.database import Statement
from store.errors import StaleWriter

from . import limits
from .transaction import Forms, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .transaction import Transaction
    from .values import DeviceKey

__all__ = ["Submissions"]

_SIZE: Final = limits.SUBMISSIONS_REMEMBERED
_KNOWN: Final = Statement("submissions", "SELECT number, digest FROM submissions WHERE device_key = ?")
_ADD: Final = "INSERT INTO submissions AS s (device_key, slot, number, digest)"
_LATER: Final = (
    "ON CONFLICT (device_key, slot) DO UPDATE SET number = excluded.number, digest = excluded.digest "
    "WHERE excluded.number > s.number"
)
_RECORD: Final = Forms(
    "submissions",
    f"{_ADD} VALUES (?, ?, ?, ?) {_LATER}",
    f"{_ADD} SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %b::bytea[]) {_LATER}",
)
_FORGET: Final = Forms(
    "submissions",
    "DELETE FROM submissions WHERE device_key IN (SELECT value FROM json_each(?))",
    "DELETE FROM submissions WHERE device_key = ANY(%s::bigint[])",
)


class Submissions:
    """`unit.submissions`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def known(self, device: DeviceKey, numbers: Iterable[int]) -> dict[int, bytes]:
        """The digests that these numbers of a device were recorded with, as far as they are remembered."""
        wanted = set(numbers)
        return {number: digest for number, digest in self._transaction.rows(_KNOWN, device) if number in wanted}

    def record(self, digests: Mapping[tuple[DeviceKey, int], bytes]) -> None:
        """Remember what numbers stand for (16 bytes each) that `known` does not know; one statement for all of them.

        Of more numbers than a device's ring has places, the latest stay. Raises StaleWriter if another worker has
        recorded one of them, or a later one in its place: whoever comes again is told the counters.
        """
        if not digests:
            return
        require({len(digest) for digest in digests.values()} == {limits.DIGEST_SIZE}, "a digest has 16 bytes")
        self._transaction.exclusive()
        # In order of their numbers: the latest of those that share a place is what stays.
        entries = sorted(digests.items())
        places = {(device, number % _SIZE): (number, digest) for (device, number), digest in entries}
        rows = [(*place, *entry) for place, entry in places.items()]
        if self._transaction.change_many(_RECORD, rows) != len(rows):
            raise StaleWriter("another worker has recorded a submission of the same device: do the unit again")

    def forget(self, devices: Sequence[DeviceKey]) -> None:
        """Forget devices that are being removed."""
        self._transaction.change(_FORGET, self._transaction.listing(devices))
