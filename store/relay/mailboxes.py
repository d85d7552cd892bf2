"""Mailboxes: envelopes put in with rising numbers, listed in order, acknowledged cumulatively, within quotas.

Every change is made under the write lock, so the counts in `mailboxes` and `mailbox_shares` may be
read, worked out here and written back, and numbers become visible in their order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.errors import InvalidUse, TooLarge

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


class Removed(NamedTuple):
    """What a mailbox loses: a row of the statements that delete mail."""

    device_key: int
    sender_user_key: int
    size: int
    body_key: int | None


@dataclass(slots=True)
class _Added:
    """What a unit has put into one mailbox so far."""

    before: int  # the last number before it
    envelopes: list[Envelope]  # with the numbers that follow


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
        self._added: dict[int, _Added] = {}  # by mailbox

    def append(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """Put envelopes into their mailboxes, in this order; say for each what became of it.

        Raises TooLarge, having stored nothing.
        """
        for envelope in envelopes:
            _check(envelope.envelope_id, envelope.kind, envelope.content)
        return self._put(envelopes, None)

    def fan_out(
        self, sender: Device, recipients: Iterable[DeviceKey], *, envelope_id: bytes, kind: int, body: bytes
    ) -> list[Outcome]:
        """Put the same envelope into many mailboxes; its body is stored once. Raises TooLarge, as `append`."""
        _check(envelope_id, kind, body)
        self._transaction.exclusive()
        body_key = self._transaction.row(ADD_BODY, body)[0]
        outcomes = self._put([Envelope(sender, one, envelope_id, kind, body) for one in recipients], body_key)
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

    def added(self, device: DeviceKey, *, after: int) -> list[Delivery] | None:
        """What this unit has put into a mailbox, in order, if that is all there is behind number *after*.

        None if there is more, or nothing: what waits is to be read. So what was just stored need not be read back.
        """
        added = self._added.get(device)
        if added is None or added.before != after:
            return None
        now = self._transaction.now
        return [
            Delivery(
                number, one.sender.user_id, one.sender.device_id, one.envelope_id, one.kind, one.content, stored_at=now
            )
            for number, one in enumerate(added.envelopes, after + 1)
        ]

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
        for device in devices:
            self._added.pop(device, None)

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

    def _put(self, items: Sequence[Envelope], body_key: int | None) -> list[Outcome]:
        """Store what is new, has a mailbox and fits into it; the content in `mail`, or once under *body_key*."""
        if not items:
            return []
        self._transaction.exclusive()
        boxes = self._rows(MAILBOXES, {item.recipient for item in items})
        outcomes: list[Outcome | None] = [None if item.recipient in boxes else Outcome.GONE for item in items]
        same = self._mark_duplicates(items, outcomes)
        fills = {key: _Fill(count, size) for key, (_, count, size) in boxes.items()}
        shares = self._shares(items, fills)
        new: dict[DeviceKey, list[Envelope]] = {}
        added: dict[tuple[DeviceKey, int], _Fill] = {}
        for position, item in enumerate(items):
            if outcomes[position] is not None:
                continue
            key, size = item.recipient, len(item.content)
            share_key = (key, item.sender.user_key)
            fill, share = fills[key], shares.get(share_key)
            if not fill.takes(size, limits.MAILBOX_COUNT_MAX, limits.MAILBOX_SIZE_MAX) or (
                share is not None and not share.takes(size, _SHARE_COUNT_MAX, _SHARE_SIZE_MAX)
            ):
                outcomes[position] = Outcome.FULL
                continue
            fill.add(size)
            (added.get(share_key) or added.setdefault(share_key, _Fill(0, 0))).add(size)
            if share is not None:
                share.add(size)
            (new.get(key) or new.setdefault(key, [])).append(item)
            outcomes[position] = Outcome.STORED
        self._forget_refused(items, outcomes)
        self._write(new, body_key, {key: last for key, (last, _, _) in boxes.items()}, fills, added)
        for position, first in same.items():
            outcomes[position] = Outcome.DUPLICATE if outcomes[first] is Outcome.STORED else outcomes[first]
        return [outcome for outcome in outcomes if outcome is not None]

    def _mark_duplicates(self, items: Sequence[Envelope], outcomes: list[Outcome | None]) -> dict[int, int]:
        """Remember the ids of what is not judged yet; mark DUPLICATE what was remembered before.

        Returns the positions of repetitions within *items*, marked too, with the position of the first.
        """
        first: dict[tuple[int, int, bytes], int] = {}
        same: dict[int, int] = {}
        rows: list[tuple[int, int, bytes, float]] = []
        now = self._transaction.now
        for position, (sender, recipient, envelope_id, _kind, _content) in enumerate(items):
            if outcomes[position] is None:
                before = first.setdefault((recipient, sender.key, envelope_id), position)
                if before == position:
                    rows.append((recipient, sender.key, envelope_id, now))
                else:
                    same[position] = before
                    outcomes[position] = Outcome.DUPLICATE
        fresh = self._transaction.insert_new(REMEMBER, rows)
        for position, is_new in zip(first.values(), fresh, strict=True):
            if not is_new:
                outcomes[position] = Outcome.DUPLICATE
        return same

    def _shares(self, items: Sequence[Envelope], fills: Mapping[DeviceKey, _Fill]) -> dict[tuple[int, int], _Fill]:
        """The senders' shares of those mailboxes in which one could be used up by these *items*.

        While a whole mailbox holds less than one share, no sender's part needs to be looked at:
        that is nearly always so, and saves a look-up for each member of a large group.
        """
        counts = Counter(item.recipient for item in items)
        sizes: Counter[DeviceKey] = Counter()
        for item in items:
            sizes[item.recipient] += len(item.content)
        tight = [
            key
            for key, fill in fills.items()
            if fill.count + counts[key] > _SHARE_COUNT_MAX or fill.size + sizes[key] > _SHARE_SIZE_MAX
        ]
        if not tight:
            return {}
        wanted = {(item.recipient, item.sender.user_key) for item in items}
        found = {
            (row[0], row[1]): _Fill(row[2], row[3])
            for row in self._transaction.rows(SHARES, self._transaction.listing(sorted(tight)))
        }
        in_tight = set(tight)
        return {key: found.get(key, _Fill(0, 0)) for key in wanted if key[0] in in_tight}

    def _forget_refused(self, items: Sequence[Envelope], outcomes: Sequence[Outcome | None]) -> None:
        """What found no room must be new again when it is sent again."""
        if Outcome.FULL in outcomes:
            refused = [item for item, outcome in zip(items, outcomes, strict=True) if outcome is Outcome.FULL]
            keys = [(item.recipient, item.sender.key, item.envelope_id) for item in refused]
            self._transaction.change_many(FORGET, keys)

    def _write(
        self,
        new: Mapping[DeviceKey, Sequence[Envelope]],
        body_key: int | None,
        last: Mapping[DeviceKey, int],
        fills: Mapping[DeviceKey, _Fill],
        added: Mapping[tuple[DeviceKey, int], _Fill],
    ) -> None:
        write = self._transaction.change_many
        changed = sorted(new)
        write(SAVE_MAILBOX, [(last[key] + len(new[key]), fills[key].count, fills[key].size, key) for key in changed])
        write(ADD_SHARES, [(*key, fill.count, fill.size) for key, fill in added.items()])
        # Mailbox by mailbox, as their rows and their numbers follow each other in the table.
        now = self._transaction.now
        rows: list[tuple[Any, ...]] = []
        for key in changed:
            for number, (sender, _, envelope_id, kind, content) in enumerate(new[key], last[key] + 1):
                here = content if body_key is None else None
                rows.append(
                    (key, number, sender.key, sender.user_key, envelope_id, kind, len(content), now, here, body_key)
                )
            self._added.setdefault(key, _Added(last[key], [])).envelopes.extend(new[key])
        write(ADD_MAIL, rows)
        self._transaction.wake(changed)

    def _rows(self, statement: Forms, keys: Iterable[DeviceKey]) -> dict[DeviceKey, tuple[int, int, int]]:
        return {
            row[0]: (row[1], row[2], row[3])
            for row in self._transaction.rows(statement, self._transaction.listing(sorted(keys)))
        }


def _check(envelope_id: bytes, kind: int, content: bytes) -> None:
    if len(envelope_id) != limits.ID_SIZE or not 0 <= kind <= limits.KIND_MAX:
        raise InvalidUse("an envelope id has 16 bytes, and a kind is from 0 to 255")
    if len(content) > limits.ENVELOPE_SIZE_MAX:
        raise TooLarge(f"an envelope has at most {limits.ENVELOPE_SIZE_MAX} bytes")
