"""What the relay answers about a group's messages: stored, refused, and what each refusal leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.diagnostics import Reason
from e2ee.engine.lane import REPAIRS_MAX
from e2ee.engine.lanes import fail
from e2ee.engine.receipts import log_oldest_delivered
from e2ee.engine.relay_loss import confirmed
from e2ee.engine.rollback import recover
from e2ee.engine.step import DELIVERED, SENT, SUBMITTED
from e2ee.errors import RefusalCode
from e2ee.events import DeliveryState, MessageState
from e2ee.frames import Outcome
from e2ee.ids import GroupId, MessageId, UserId
from e2ee.options import RECEIPTS_MEMBERS_MAX

from .lane import group_lane
from .log import take_entries
from .restoring import is_behind
from .sending import again, hold_group
from .state import membership

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2ee.engine.step import Step
    from e2ee.frames import GroupDevices, GroupSubmitted, SubmitGroup
    from store import OutgoingMessage

    from .lane import GroupLane

__all__ = ["take_devices", "take_group_submitted", "take_refusal"]

_MS: Final = 1000.0
# Refusals that waiting does not change: they cost the message, not the lane.
_FINAL: Final = (RefusalCode.BLOCKED, RefusalCode.TOO_LARGE, RefusalCode.MALFORMED, RefusalCode.NOT_AUTHORIZED)


def take_devices(step: Step, group_id: bytes, reply: GroupDevices) -> None:
    """Take a group's devices. A list for another state of the log than ours is used all the same.

    What it was wrong about, the submission will be refused for, with the entries that we lack.
    """
    lane = step.memory.lane_to(group_id)
    lane.asking = False
    step.memory.active_groups[group_id] = None
    group = membership(step, group_id)
    if group is not None and step.user_id in group.members and is_behind(step, group, reply):
        return
    if reply.refusal is not None:
        _refused(step, group_id, lane, (), reply.refusal, None)
        return
    if group is not None:
        lane.learn(reply.members, group.number)


def take_group_submitted(step: Step, request: SubmitGroup, reply: GroupSubmitted) -> None:
    """Take what became of messages to a group."""
    lane = step.memory.lane_to(request.group_id)
    lane.in_flight = False
    step.memory.active_groups[request.group_id] = None
    taken = request.messages[: reply.accepted]
    full: dict[int, dict[str, set[int]]] = {}  # by position: users, and which of their devices had no room
    for miss in reply.missed:
        if miss.outcome is Outcome.FULL:
            full.setdefault(miss.position, {}).setdefault(miss.user_id, set()).add(miss.device_id)
    for position, submission in enumerate(taken):
        confirmed(step, submission.number)
        message = _stored(step, request.group_id, submission.envelope_id)
        if message is not None:
            _tell_full(step, request.group_id, message, full.get(position, {}))
    if taken:
        log_oldest_delivered(step, group_lane(request.group_id))
        lane.moved()
        lane.any_devices = False
    wait_s = None if reply.retry_after_ms is None else reply.retry_after_ms / _MS
    left = tuple(one.envelope_id for one in request.messages[reply.accepted :])
    match reply.refusal:
        case None:
            pass
        case RefusalCode.GROUP_CHANGED:
            again(step, request.group_id)
            take_entries(step, request.group_id, reply.entries)
            group = membership(step, request.group_id)
            _repeat(step, request.group_id, lane, moved=group is not None and group.number > request.log_number)
        case RefusalCode.DEVICES_CHANGED:
            again(step, request.group_id)
            group = membership(step, request.group_id)
            lane.learn(reply.members, request.log_number if group is None else group.number)
            _repeat(step, request.group_id, lane, moved=True)
        case code:
            _refused(step, request.group_id, lane, left[:1], code, wait_s)


def take_refusal(step: Step, group_id: bytes, envelope_ids: Sequence[bytes], code: int, wait_s: float | None) -> None:
    """A request about the group was refused as a whole."""
    lane = step.memory.lane_to(group_id)
    lane.in_flight = lane.asking = False
    step.memory.active_groups[group_id] = None
    _refused(step, group_id, lane, envelope_ids[:1], code, wait_s)


def _repeat(step: Step, group_id: bytes, lane: GroupLane, *, moved: bool) -> None:
    """Count a refusal that is to be repaired. After three in a row the message goes to whatever devices there are."""
    lane.repairs += 1
    if lane.repairs >= REPAIRS_MAX:
        lane.any_devices = True
    if not moved or lane.repairs > REPAIRS_MAX:
        lane.wait(step.now)
        hold_group(step, group_id, Reason.GROUP_CHANGED)


def _stored(step: Step, group_id: bytes, envelope_id: bytes) -> OutgoingMessage | None:
    """The relay has stored a message for every device of the group. Return it; None if that was known."""
    row = step.unit.envelopes.get(envelope_id)
    if row is None:
        return None
    step.unit.envelopes.delete(envelope_id)
    message = step.unit.outgoing.get(row.message_id)
    if message is None or message.state != SUBMITTED:
        return None
    group = membership(step, group_id)
    small = group is not None and len(group.members) <= RECEIPTS_MEMBERS_MAX
    # In a large group nobody confirms deliveries: the message is kept as if it were delivered, for a read mark.
    step.unit.outgoing.set_state(message.message_id, SENT if small else DELIVERED)
    step.state(message, DeliveryState.SENT)
    return message


def _tell_full(step: Step, group_id: bytes, message: OutgoingMessage, full: dict[str, set[int]]) -> None:
    """Tell of members that a message does not reach: none of their devices has room in its mailbox."""
    for user_id, devices in full.items():
        known = {device.device_id for device in step.unit.devices.of(user_id)}
        if user_id != step.user_id and known <= devices:
            step.keep(
                MessageState(
                    message_id=MessageId(message.message_id.hex()),
                    recipient=UserId(user_id),
                    state=DeliveryState.FAILED,
                    reason=Reason.MAILBOX_FULL.value,
                    group=GroupId(group_id.hex()),
                )
            )


def _refused(
    step: Step, group_id: bytes, lane: GroupLane, refused: Sequence[bytes], code: int, wait_s: float | None
) -> None:
    if code == RefusalCode.ROLLED_BACK:
        recover(step, None)
        return
    if code in _FINAL:
        for envelope_id in refused:
            row = step.unit.envelopes.get(envelope_id)
            message = None if row is None else step.unit.outgoing.get(row.message_id)
            if message is not None:
                fail(step, message, Reason.of_refusal(RefusalCode(code)))
        return
    lane.wait(step.now, wait_s)
    known = code in RefusalCode.__members__.values()
    hold_group(step, group_id, Reason.of_refusal(RefusalCode(code) if known else code))
