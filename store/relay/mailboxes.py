"""Mailboxes: envelopes put in with rising numbers, listed in order, acknowledged cumulatively, within quotas.

Every change is made under the write lock, so the counts in `mailboxes` and `mailbox_shares` may be
read, worked out here and written back, and numbers become visible in their order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.errors import TooLarge

from . import limits
from .mail_statements import (
    ACKNOWLEDGE,
    ADD_BODY,
    ADD_BODY_REFERENCES,
    ADD_MAIL,
    ADD_SHARES,
    DELIVERIES,
    DROP_BODIES,
    DROP_REFERENCES,
    DROP_SHARES,
    EMPTY,
    FORGET,
    MAILBOXES,
    RAISE_ACKNOWLEDGED,
    REDUCE_MAILBOX,
    REDUCE_SHARE,
    RELEASE_BODIES,
    REMEMBER,
    SAVE_MAILBOX,
    SHARES,
    SIZES,
    STATE,
    WAITING,
)
from .transaction import require
from .values import Delivery, Device, DeviceKey, Envelope, MailboxState, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .transaction import Forms, Transaction

__all__ = ["Mailboxes", "Removed"]

_SHARE_COUNT_MAX: Final = limits.MAILBOX_COUNT_MAX // limits.SHARE_DIVISOR
_SHARE_SIZE_MAX: Final = limits.MAILBOX_SIZE_MAX // limits.SHARE_DIVISOR


class _Item(NamedTuple):
    """One envelope for one mailbox; the content is here or in `bodies`."""

    device_key: int
    sender_key: int
    sender_user_key: int
    envelope_id: bytes
    kind: int
    size: int
    content: bytes | None
    body_key: int | None


class Removed(NamedTuple):
    """What a mailbox loses: a row of the statements that delete mail."""

    device_key: int
    sender_user_key: int
    size: int
    body_key: int | None


@dataclass(slots=True)
class _Fill:
    """How full a mailbox, or one sender's share of it, is."""

    count: int
    size: int

    def takes(self, size: int, count_max: int, size_max: int) -> bool:
        return self.count < count_max and self.size + size <= size_max

    def add(self, size: int) -> None:
        self.count += 1
        self.size += size


class Mailboxes:
    """`unit.mailboxes`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def append(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """Put envelopes into their mailboxes, in this order; say for each what became of it.

        Raises TooLarge, having stored nothing.
        """
        for envelope in envelopes:
            _check(envelope.envelope_id, envelope.kind, envelope.content)
        return self._put(
            [
                _Item(
                    one.recipient,
                    one.sender.key,
                    one.sender.user_key,
                    one.envelope_id,
                    one.kind,
                    len(one.content),
                    one.content,
                    None,
                )
                for one in envelopes
            ]
        )

    def fan_out(
        self, sender: Device, recipients: Iterable[DeviceKey], *, envelope_id: bytes, kind: int, body: bytes
    ) -> list[Outcome]:
        """Put the same envelope into many mailboxes; its body is stored once. Raises TooLarge, as `append`."""
        _check(envelope_id, kind, body)
        self._transaction.exclusive()
        body_key = self._transaction.row(ADD_BODY, body)[0]
        values = (sender.key, sender.user_key, envelope_id, kind, len(body), None, body_key)
        outcomes = self._put([_Item(recipient, *values) for recipient in recipients])
        stored = outcomes.count(Outcome.STORED)
        if stored:
            self._transaction.change(ADD_BODY_REFERENCES, body_key, stored)
        else:
            self._transaction.change(DROP_BODIES, self._transaction.listing([body_key]))
        return outcomes

    def deliveries(
        self,
        device: DeviceKey,
        *,
        after: int,
        count_max: int = limits.DELIVERY_COUNT_MAX,
        size_max: int = limits.DELIVERY_SIZE_MAX,
    ) -> list[Delivery]:
        """What waits behind number *after*, in order: up to *count_max* envelopes and *size_max* bytes of content.

        One envelope is given however large it is. What has expired is not.
        """
        require(count_max > 0, "count_max is at least 1")
        oldest = self._transaction.now - limits.MAIL_AGE_S
        last, total = 0, 0
        for number, size in self._transaction.rows(SIZES, device, after, oldest, count_max):
            total += size
            if last and total > size_max:
                break
            last = number
        if not last:
            return []
        return [Delivery(*row) for row in self._transaction.rows(DELIVERIES, device, after, last, oldest)]

    def acknowledge(self, numbers: Mapping[DeviceKey, int]) -> int:
        """Remove everything up to the given number from each mailbox; return how many envelopes were removed.

        A number above the last one given out counts as that one. Devices that are gone are passed over.
        """
        if not numbers:
            return 0
        self._transaction.exclusive()
        ordered = sorted(numbers.items())
        removed = [Removed(*row) for row in self._transaction.rows_many(ACKNOWLEDGE, ordered)]
        self.release(removed)
        # min(number, last_number): a number from the future must not swallow what comes later.
        self._transaction.change_many(RAISE_ACKNOWLEDGED, ordered)
        return len(removed)

    def state(self, device: DeviceKey) -> MailboxState | None:
        """How full a mailbox is; None if the device is gone."""
        row = self._transaction.row(STATE, device)
        return None if row is None else MailboxState(*row)

    def waiting(self, cursors: Mapping[DeviceKey, int]) -> list[DeviceKey]:
        """Those devices that have mail behind the number given for each: the poll behind lost wake-ups."""
        keys = self._transaction.listing(sorted(cursors))
        return [DeviceKey(key) for key, last in self._transaction.rows(WAITING, keys) if last > cursors[DeviceKey(key)]]

    def empty(self, devices: Sequence[DeviceKey]) -> None:
        """Remove all mail of devices that are being removed, and what is remembered for them."""
        keys = self._transaction.listing(devices)
        mail, shares, ids = EMPTY
        bodies = [row[0] for row in self._transaction.rows(mail, keys)]
        self._release_bodies(body_key for body_key in bodies if body_key is not None)
        self._transaction.change(shares, keys)
        self._transaction.change(ids, keys)

    def release(self, removed: Sequence[Removed]) -> None:
        """Give back what deleted *removed* mail had taken: room in its mailbox and share, and its body."""
        counts: Counter[int] = Counter()
        sizes: Counter[int] = Counter()
        share_counts: Counter[tuple[int, int]] = Counter()
        share_sizes: Counter[tuple[int, int]] = Counter()
        for one in removed:
            share = (one.device_key, one.sender_user_key)
            counts[one.device_key] += 1
            sizes[one.device_key] += one.size
            share_counts[share] += 1
            share_sizes[share] += one.size
        write = self._transaction.change_many
        write(REDUCE_MAILBOX, [(count, sizes[key], key) for key, count in sorted(counts.items())])
        write(REDUCE_SHARE, [(count, share_sizes[share], *share) for share, count in sorted(share_counts.items())])
        write(DROP_SHARES, sorted(share_counts))
        self._release_bodies(one.body_key for one in removed if one.body_key is not None)

    def _release_bodies(self, body_keys: Iterable[int]) -> None:
        freed = Counter(body_keys)
        if not freed:
            return
        self._transaction.change_many(RELEASE_BODIES, [(count, key) for key, count in sorted(freed.items())])
        keys = self._transaction.listing(sorted(freed))
        unused = self._transaction.listing([row[0] for row in self._transaction.rows(DROP_REFERENCES, keys)])
        self._transaction.change(DROP_BODIES, unused)

    # Putting in.

    def _put(self, items: Sequence[_Item]) -> list[Outcome]:
        """Store what is new, has a mailbox and fits into it."""
        if not items:
            return []
        self._transaction.exclusive()
        boxes = self._rows(MAILBOXES, {item.device_key for item in items})
        outcomes: list[Outcome | None] = [None if item.device_key in boxes else Outcome.GONE for item in items]
        same = self._mark_duplicates(items, outcomes)
        fills = {key: _Fill(count, size) for key, (_, count, size) in boxes.items()}
        shares = self._shares(items, fills)
        numbers = {key: last for key, (last, _, _) in boxes.items()}
        mail: list[tuple[Any, ...]] = []
        added: dict[tuple[int, int], _Fill] = {}
        for position, item in enumerate(items):
            if outcomes[position] is not None:
                continue
            share_key = (item.device_key, item.sender_user_key)
            fill, share = fills[item.device_key], shares.get(share_key)
            if not fill.takes(item.size, limits.MAILBOX_COUNT_MAX, limits.MAILBOX_SIZE_MAX) or (
                share is not None and not share.takes(item.size, _SHARE_COUNT_MAX, _SHARE_SIZE_MAX)
            ):
                outcomes[position] = Outcome.FULL
                continue
            fill.add(item.size)
            added.setdefault(share_key, _Fill(0, 0)).add(item.size)
            if share is not None:
                share.add(item.size)
            numbers[item.device_key] += 1
            mail.append((item.device_key, numbers[item.device_key], *item[1:6], self._transaction.now, *item[6:]))
            outcomes[position] = Outcome.STORED
        self._write(items, outcomes, mail, numbers, fills, added)
        for position, first in same.items():
            outcomes[position] = Outcome.DUPLICATE if outcomes[first] is Outcome.STORED else outcomes[first]
        return [outcome for outcome in outcomes if outcome is not None]

    def _mark_duplicates(self, items: Sequence[_Item], outcomes: list[Outcome | None]) -> dict[int, int]:
        """Remember the ids of what is not judged yet; mark DUPLICATE what was remembered before.

        Returns the positions of repetitions within *items*, marked too, with the position of the first.
        """
        first: dict[tuple[int, int, bytes], int] = {}
        same: dict[int, int] = {}
        for position, item in enumerate(items):
            if outcomes[position] is None:
                key = (item.device_key, item.sender_key, item.envelope_id)
                before = first.setdefault(key, position)
                if before != position:
                    same[position] = before
                    outcomes[position] = Outcome.DUPLICATE
        now = self._transaction.now
        fresh = self._transaction.insert_new(REMEMBER, [(*key, now) for key in first])
        for position, is_new in zip(first.values(), fresh, strict=True):
            if not is_new:
                outcomes[position] = Outcome.DUPLICATE
        return same

    def _shares(self, items: Sequence[_Item], fills: dict[int, _Fill]) -> dict[tuple[int, int], _Fill]:
        """The senders' shares of those mailboxes in which one could be used up by these *items*.

        While a whole mailbox holds less than one share, no sender's part needs to be looked at:
        that is nearly always so, and saves a look-up for each member of a large group.
        """
        counts = Counter(item.device_key for item in items)
        sizes: Counter[int] = Counter()
        for item in items:
            sizes[item.device_key] += item.size
        tight = [
            key
            for key, fill in fills.items()
            if fill.count + counts[key] > _SHARE_COUNT_MAX or fill.size + sizes[key] > _SHARE_SIZE_MAX
        ]
        if not tight:
            return {}
        wanted = {(item.device_key, item.sender_user_key) for item in items}
        found = {
            (row[0], row[1]): _Fill(row[2], row[3])
            for row in self._transaction.rows(SHARES, self._transaction.listing(sorted(tight)))
        }
        in_tight = set(tight)
        return {key: found.get(key, _Fill(0, 0)) for key in wanted if key[0] in in_tight}

    def _write(
        self,
        items: Sequence[_Item],
        outcomes: Sequence[Outcome | None],
        mail: Sequence[tuple[Any, ...]],
        numbers: Mapping[int, int],
        fills: Mapping[int, _Fill],
        added: Mapping[tuple[int, int], _Fill],
    ) -> None:
        write = self._transaction.change_many
        # What found no room must be new again when it is sent again.
        refused = [item for item, outcome in zip(items, outcomes, strict=True) if outcome is Outcome.FULL]
        write(FORGET, [(item.device_key, item.sender_key, item.envelope_id) for item in refused])
        changed = sorted({key for key, _ in added})
        write(SAVE_MAILBOX, [(numbers[key], fills[key].count, fills[key].size, key) for key in changed])
        write(ADD_SHARES, [(*key, fill.count, fill.size) for key, fill in added.items()])
        write(ADD_MAIL, mail)
        self._transaction.wake(DeviceKey(key) for key in changed)

    def _rows(self, statement: Forms, keys: Iterable[int]) -> dict[int, tuple[int, int, int]]:
        return {
            row[0]: (row[1], row[2], row[3])
            for row in self._transaction.rows(statement, self._transaction.listing(sorted(keys)))
        }


def _check(envelope_id: bytes, kind: int, content: bytes) -> None:
    require(len(envelope_id) == limits.ID_SIZE, "an envelope id has 16 bytes")
    require(0 <= kind <= limits.KIND_MAX, "a kind is from 0 to 255")
    if len(content) > limits.ENVELOPE_SIZE_MAX:
        raise TooLarge(f"an envelope has at most {limits.ENVELOPE_SIZE_MAX} bytes")
