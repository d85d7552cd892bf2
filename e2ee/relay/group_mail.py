"""Messages to groups: one body for every device of every member, made for the group as it is now (R7.6 to R7.8)."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import (
    EnvelopeKind,
    GetGroupDevices,
    GroupDevices,
    GroupMiss,
    GroupSubmitted,
    SubmitGroup,
)
from e2ee.groups import device_digest
from e2ee.limits import GROUP_DEVICES_MAX
from store.relay import Outcome
from store.relay.limits import DIGEST_SIZE

from . import mail
from .rosters import DELETED, log_entries, member_devices
from .submit import is_its_own, known_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2ee.frames import GroupSubmission, MemberDevices
    from store.relay import Device, GroupHead, RelayUnit

    from .connection import Connection, Session
    from .plan import Plan

__all__ = ["check_group_submit", "refuse_group_submit", "submit_group", "tell_devices"]


def check_group_submit(frame: SubmitGroup) -> None:
    """Check what the parts of a SubmitGroup say of each other (R7.7). Raises MalformedFrame."""
    if any(one.number >= following.number for one, following in pairwise(frame.messages)):
        raise MalformedFrame("the numbers of submissions rise")
    if len({one.envelope_id for one in frame.messages}) != len(frame.messages):
        raise MalformedFrame("two messages have one envelope id")


def refuse_group_submit(
    request: int,
    code: RefusalCode,
    *,
    entries: tuple[bytes, ...] = (),
    members: tuple[MemberDevices, ...] = (),
    wait_ms: int | None = None,
) -> GroupSubmitted:
    """The reply to a SubmitGroup of which nothing was stored."""
    return GroupSubmitted(request, 0, (), code, entries, members, wait_ms)


def tell_devices(connection: Connection, session: Session, frame: GetGroupDevices, plan: Plan, unit: RelayUnit) -> None:
    """Tell a member the devices that its messages go to."""
    head, others, _ = _others(session, frame.group_id, unit)
    if head is None:
        plan.reply(connection, GroupDevices(frame.request, RefusalCode.UNKNOWN_GROUP, 0, 0, ()))
        return
    plan.reply(connection, GroupDevices(frame.request, None, head.epoch, head.number, member_devices(others)))


def submit_group(connection: Connection, session: Session, frame: SubmitGroup, plan: Plan, unit: RelayUnit) -> None:
    """Store messages for all other devices of the group, or refuse them with what the sender has to know."""
    if not (connection.registered or connection in plan.uploaded):
        plan.reply(connection, refuse_group_submit(frame.request, RefusalCode.NOT_REGISTERED))
        return
    unit.exclusive()  # no entry slips between the look at the epoch and the commit
    head, others, unlisted = _others(session, frame.group_id, unit)
    known = known_numbers(connection, session, [one.number for one in frame.messages], unit)
    if head is None:
        refusal = _refuse_outsider(session, frame, unit)
    elif frame.epoch != head.epoch or frame.log_number > head.number:
        entries = log_entries(unit, head.group_id, frame.log_number + 1, head.number)
        refusal = refuse_group_submit(frame.request, RefusalCode.GROUP_CHANGED, entries=entries)
    elif frame.digest is not None and frame.digest != device_digest(members := member_devices(others)):
        refusal = refuse_group_submit(frame.request, RefusalCode.DEVICES_CHANGED, members=members)
    else:
        mail.store(plan, unit)  # keys that this batch has for members are ahead of the messages
        plan.reply(connection, _fan_out(connection, session, frame, others, unlisted, known, plan, unit))
        return
    plan.reply(connection, _with_repeated(refusal, session, frame, known, plan))


def _with_repeated(
    refusal: GroupSubmitted, session: Session, frame: SubmitGroup, known: dict[int, bytes], plan: Plan
) -> GroupSubmitted:
    """Refuse only what was not stored before: of that the reply was lost, and the group has changed since (R4.14)."""
    repeated = 0
    for message in frame.messages:
        before = plan.numbers.get((session.device.key, message.number), known.get(message.number))
        if before != _digest(frame.group_id, message) or message.number in session.lost_submissions:
            return replace(refusal, accepted=repeated)
        repeated += 1
    return GroupSubmitted(frame.request, repeated, (), None, (), (), None)


def _refuse_outsider(session: Session, frame: SubmitGroup, unit: RelayUnit) -> GroupSubmitted:
    """Refuse who has no seat: who had one is told the entries up to the one that ended it, nobody else anything."""
    last = unit.groups.left_at(frame.group_id, session.device.user_id, session.identity_key)
    if last is None:
        return refuse_group_submit(frame.request, RefusalCode.UNKNOWN_GROUP)
    entries = log_entries(unit, frame.group_id, frame.log_number + 1, last)
    return refuse_group_submit(frame.request, RefusalCode.GROUP_CHANGED, entries=entries)


def _others(session: Session, group_id: bytes, unit: RelayUnit) -> tuple[GroupHead | None, list[Device], list[Device]]:
    """The group, its listed devices but this one, and those not listed; no group unless this is a member's device."""
    head = unit.groups.head(group_id)
    if head is None or head.kind == DELETED:
        return None, [], []
    listed, unlisted = unit.groups.devices(group_id)
    others = [device for device in listed if device.key != session.device.key]
    return (head, others, unlisted) if len(others) < len(listed) else (None, [], [])


def _fan_out(
    connection: Connection,
    session: Session,
    frame: SubmitGroup,
    others: Sequence[Device],
    unlisted: Sequence[Device],
    known: dict[int, bytes],
    plan: Plan,
    unit: RelayUnit,
) -> GroupSubmitted:
    # A device that has registered and not yet uploaded finds the message, and asks for its key: else it would be lost
    # to it, and nobody would know.
    keys = [device.key for device in (*others, *unlisted)]
    missed: list[GroupMiss] = []
    for position, message in enumerate(frame.messages):
        wait_ms = plan.fan_out(connection, len(keys))
        if wait_ms:
            return GroupSubmitted(frame.request, position, tuple(missed), RefusalCode.RATE_LIMITED, (), (), wait_ms)
        digest = _digest(frame.group_id, message)
        if not is_its_own(connection, session, message.number, digest, known, plan):
            return GroupSubmitted(frame.request, position, tuple(missed), RefusalCode.ROLLED_BACK, (), (), None)
        outcomes = unit.mailboxes.fan_out(
            session.device,
            keys,
            envelope_id=message.envelope_id,
            kind=EnvelopeKind.SENDER_KEY,
            body=frame.group_id + message.body,
        )
        plan.count_all(outcomes, keys)
        if outcomes.count(Outcome.STORED) + outcomes.count(Outcome.DUPLICATE) < len(outcomes):
            # Of the devices that are not listed the sender knows nothing, and there is nothing that it could do.
            missed += _missed(position, others, outcomes[: len(others)])
            del missed[GROUP_DEVICES_MAX:]
    return GroupSubmitted(frame.request, len(frame.messages), tuple(missed), None, (), (), None)


def _missed(position: int, others: Sequence[Device], outcomes: Sequence[Outcome]) -> list[GroupMiss]:
    return [
        GroupMiss(position, device.user_id, device.device_id, mail.OUTCOMES[outcome])
        for device, outcome in zip(others, outcomes, strict=True)
        if outcome in (Outcome.FULL, Outcome.GONE)
    ]


def _digest(group_id: bytes, message: GroupSubmission) -> bytes:
    """What tells one submission to a group from another under the same number: the group and the envelope id."""
    return sha256(group_id + message.envelope_id).digest()[:DIGEST_SIZE]
