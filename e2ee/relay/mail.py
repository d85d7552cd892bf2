"""The end of every batch: envelopes into mailboxes, acknowledged ones out, and what waits to who is connected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2ee.frames import Deliver, Delivery, Drained, EnvelopeKind, Outcome, RelayFrame, Submitted
from e2ee.limits import ENVELOPES_PER_FRAME_MAX, FRAME_SIZE_MAX
from store.relay import DeviceKey, RelayUnit
from store.relay import Outcome as Stored

from .limits import DELIVERY_OVERHEAD, RelayOptions
from .plan import Plan, Push

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["OUTCOMES", "acknowledge", "frames", "push", "record", "store"]

OUTCOMES = {
    Stored.STORED: Outcome.STORED,
    Stored.DUPLICATE: Outcome.DUPLICATE,
    Stored.FULL: Outcome.FULL,
    Stored.GONE: Outcome.GONE,
}
# Bytes of content in one frame, so that it stays within R1.1 whatever the ids are.
_CONTENT_MAX = FRAME_SIZE_MAX - ENVELOPES_PER_FRAME_MAX * DELIVERY_OVERHEAD


def store(plan: Plan, unit: RelayUnit) -> None:
    """Put the mail of all steps so far into the mailboxes at once, and make the replies.

    What writes into mailboxes by itself calls this first: nothing overtakes what came before it in the batch.
    """
    outcomes = unit.mailboxes.append(plan.mail)
    for envelope, outcome in zip(plan.mail, outcomes, strict=True):
        plan.count(outcome, envelope.recipient)
    for accepted in plan.accepted:
        position = accepted.first
        told: list[tuple[Outcome, ...]] = []
        for submission in accepted.submissions:
            end = position + len(submission.envelopes)
            told.append(tuple(OUTCOMES[outcome] for outcome in outcomes[position:end]))
            position = end
        plan.reply(accepted.connection, Submitted(accepted.request, tuple(told), accepted.refusal, None, None))
    plan.mail.clear()
    plan.accepted.clear()


def record(plan: Plan, unit: RelayUnit) -> None:
    """Note the submission numbers that were used."""
    for connection, number in plan.submitted.items():
        if connection.session is not None:
            unit.devices.advance(connection.session.device.key, submission_number=number)
    unit.submissions.record(plan.numbers)


def acknowledge(plan: Plan, unit: RelayUnit) -> None:
    """Take what was acknowledged out of the mailboxes."""
    plan.removed_mail = unit.mailboxes.acknowledge(plan.acknowledged)


def push(plan: Plan, unit: RelayUnit, options: RelayOptions) -> None:
    """Read what waits for the devices connected here, as far as their windows have room (R4.13)."""
    readers: dict[DeviceKey, _Reader] = {}
    for key in sorted(plan.touched):
        entered = plan.entered.get(key)
        connection = plan.connected.get(key) if entered is None else entered.connection
        if connection is not None and key not in plan.gone:
            start = connection.pushed if entered is None else entered.start
            drained = connection.drained if entered is None else -1
            readers[key] = _Reader(connection, start, drained, *connection.room(plan.acknowledged.get(key, 0), options))
    while readers:
        # One question for all of them: most have no more than one frame, or have only acknowledged.
        behind = set(unit.mailboxes.waiting({key: reader.cursor for key, reader in readers.items()}))
        for key, reader in list(readers.items()):
            if key not in behind or not reader.read(key, plan, unit):
                if reader.cursor != reader.drained:
                    plan.pushes.append(Push(reader.connection, (), reader.cursor))
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
        plan.pushes.append(Push(self.connection, tuple(found), None))
        self.cursor = found[-1].number
        self.count -= len(found)
        self.size -= sum(len(one.content) for one in found)
        return True


def frames(push: Push) -> list[RelayFrame]:
    """What is sent of a push."""
    sent: list[RelayFrame] = []
    if push.deliveries:
        sent.append(
            Deliver(
                tuple(
                    Delivery(
                        one.number,
                        one.sender_user_id,
                        one.sender_device_id,
                        one.envelope_id,
                        EnvelopeKind(one.kind),
                        one.content,
                        int(one.stored_at * 1000),
                    )
                    for one in push.deliveries
                )
            )
        )
    if push.drained is not None:
        sent.append(Drained(push.drained))
    return sent
