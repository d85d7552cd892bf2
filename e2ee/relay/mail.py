"""The end of every batch: envelopes into mailboxes, acknowledged ones out, and what waits to who is connected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2ee.frames import Deliver, Drained, EnvelopeKind, Outcome, RelayFrame, Submitted
from e2ee.frames import Delivery as DeliveryFrame
from e2ee.limits import ENVELOPES_PER_FRAME_MAX, FRAME_SIZE_MAX
from store.relay import Delivery, DeviceKey, RelayUnit
from store.relay import Outcome as Stored

from .limits import DELIVERY_OVERHEAD, RelayOptions
from .plan import Plan, Push

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .connection import Connection

__all__ = ["OUTCOMES", "acknowledge", "frames", "push", "record", "store"]

OUTCOMES = {
    Stored.STORED: Outcome.STORED,
    Stored.DUPLICATE: Outcome.DUPLICATE,
    Stored.FULL: Outcome.FULL,
    Stored.GONE: Outcome.GONE,
}
_KINDS = {kind.value: kind for kind in EnvelopeKind}
# Bytes of content in one frame, so that it stays within R1.1 whatever the ids are.
_CONTENT_MAX = FRAME_SIZE_MAX - ENVELOPES_PER_FRAME_MAX * DELIVERY_OVERHEAD


def store(plan: Plan, unit: RelayUnit) -> None:
    """Put the mail of all steps so far into the mailboxes at once, and make the replies.

    What writes into mailboxes by itself calls this first: nothing overtakes what came before it in the batch.
    """
    stored = unit.mailboxes.append(plan.mail)
    plan.count_all(stored, [one.recipient for one in plan.mail])
    # Nearly all are stored, and to look a member of an enumeration up costs a call of Python.
    outcomes = [Outcome.STORED if one is Stored.STORED else OUTCOMES[one] for one in stored]
    for accepted in plan.accepted:
        end = accepted.first
        told: list[tuple[Outcome, ...]] = []
        for submission in accepted.submissions:
            start, end = end, end + len(submission.envelopes)
            told.append(tuple(outcomes[start:end]))
        plan.reply(accepted.connection, Submitted(accepted.request, tuple(told), accepted.refusal, None, None))
    plan.mail.clear()
    plan.accepted.clear()


def record(plan: Plan, unit: RelayUnit) -> None:
    """Note the submission numbers that were used."""
    highest: dict[DeviceKey, int] = {}
    for connection, number in plan.submitted.items():
        if connection.session is not None:
            key = connection.session.device.key
            highest[key] = max(number, highest.get(key, 0))
    unit.devices.advance_submissions(highest)
    unit.submissions.record(plan.numbers)


def acknowledge(plan: Plan, unit: RelayUnit) -> None:
    """Take what was acknowledged out of the mailboxes."""
    plan.removed_mail = unit.mailboxes.acknowledge(plan.acknowledged)


def push(plan: Plan, unit: RelayUnit, options: RelayOptions) -> None:
    """Push what waits for the devices connected here, as far as their windows have room (R4.13)."""
    readers: dict[DeviceKey, _Reader] = {}
    for key in sorted(plan.touched | plan.acknowledged.keys()):
        entered = plan.entered.get(key)
        connection = plan.connected.get(key) if entered is None else entered.connection
        if connection is None or key in plan.gone:
            continue
        start = connection.pushed if entered is None else entered.start
        drained = connection.drained if entered is None else -1
        if key not in plan.touched and drained == start:
            continue  # it has made room, but nothing waits for it
        reader = _Reader(connection, start, drained, *connection.room(plan.acknowledged.get(key, 0), options))
        added = unit.mailboxes.added(key, after=start)
        if added is None:
            readers[key] = reader
        else:
            reader.take(added, plan)
    while readers:
        # One question for all of them: most have no more than one frame, or have only acknowledged.
        behind = set(unit.mailboxes.waiting({key: reader.cursor for key, reader in readers.items()}))
        for key, reader in list(readers.items()):
            if key not in behind or not reader.read(key, plan, unit):
                reader.drain(plan)
                del readers[key]
            elif not reader.has_room:
                del readers[key]


@dataclass(slots=True)
class _Reader:
    """A device that mail is pushed to, while it is read."""

    connection: Connection
    cursor: int  # delivery number up to which it was pushed
    drained: int  # the number that it was last told nothing waits behind
    count: int  # deliveries that the window has room for
    size: int  # bytes

    @property
    def has_room(self) -> bool:
        return self.count > 0 and self.size > 0

    def read(self, key: DeviceKey, plan: Plan, unit: RelayUnit) -> bool:
        """Read one frame, if there is room; False: nothing waits, though something may have that has expired."""
        if not self.has_room:
            return True
        found = unit.mailboxes.deliveries(
            key, after=self.cursor, count_max=min(self.count, ENVELOPES_PER_FRAME_MAX), size_max=_CONTENT_MAX
        )
        if not found:
            return False
        self._push(found, plan)
        return True

    def take(self, added: Sequence[Delivery], plan: Plan) -> None:
        """Push what this transaction has stored, as far as there is room, without reading it back."""
        start = 0
        while start < len(added) and self.has_room:
            end, size = start, 0
            for one in added[start : start + min(self.count, ENVELOPES_PER_FRAME_MAX)]:
                size += len(one.content)
                if end > start and size > _CONTENT_MAX:  # one is let through, however large
                    break
                end += 1
            self._push(added[start:end], plan)
            start = end
        if start == len(added) and self.has_room:
            self.drain(plan)

    def drain(self, plan: Plan) -> None:
        """Tell that nothing waits behind what was pushed, if it was not told before."""
        if self.cursor != self.drained:
            plan.pushes.append(Push(self.connection, (), self.cursor))

    def _push(self, found: Sequence[Delivery], plan: Plan) -> None:
        plan.pushes.append(Push(self.connection, tuple(found), None))
        self.cursor = found[-1].number
        self.count -= len(found)
        self.size -= sum([len(one.content) for one in found])


def frames(push: Push) -> list[RelayFrame]:
    """What is sent of a push."""
    sent: list[RelayFrame] = []
    if push.deliveries:
        sent.append(
            Deliver(
                tuple(
                    [
                        DeliveryFrame(number, user_id, device_id, one_id, _KINDS[kind], content, int(stored_at * 1000))
                        for number, user_id, device_id, one_id, kind, content, stored_at in push.deliveries
                    ]
                )
            )
        )
    if push.drained is not None:
        sent.append(Drained(push.drained))
    return sent
