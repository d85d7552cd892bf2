"""A relay that has lost the end of a group's log, or the group: whoever has signed an entry gives it back.

The log that we hold is verified, and entries are bytes: put back, they are what they were. The relay takes an entry
from its actor only, and judges it as it did the first time. So each member gives back its own, in their order, and the
log is whole when all have connected who have changed the group since. Until then nothing can be sent to the group:
the relay would let in whoever it has forgotten to be removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.diagnostics import Reason
from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import AppendEntry
from e2ee.groups import reread_entry
from store import StoreCorrupt

from .sending import hold_group
from .state import membership

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.frames import GroupDevices, GroupLog
    from e2ee.groups import Membership

__all__ = ["is_behind", "put_back", "take_put_back"]


def is_behind(step: Step, group: Membership, reply: GroupDevices) -> bool:
    """Whether the relay's log is shorter than ours; if so, give back what we have signed, and ask again after a while.

    It may also be that an entry has come while the answer was on its way: then a second look shows nothing.
    """
    lane = step.memory.lane_to(group.group_id)
    lost = reply.refusal == RefusalCode.UNKNOWN_GROUP
    if not lost and (reply.refusal is not None or reply.log_number >= group.number):
        lane.comparing = False
        return False
    lane.wait(step.now)
    if lane.comparing:
        hold_group(step, group.group_id, Reason.RELAY_LOG_BEHIND)
    lane.comparing = True
    # To the relay we may be no member: then what made us one is where we know to begin.
    put_back(step, group, group.members[step.user_id].since if lost else reply.log_number + 1)
    return True


def put_back(step: Step, group: Membership, number: int) -> None:
    """Give the relay an entry of our log, if it is our own under our present key."""
    found = step.unit.groups.log(group.group_id, after=number - 1, limit=1)
    if number > group.number or not found:
        return
    try:
        entry = reread_entry(found[0].entry)
    except MalformedFrame as cause:
        raise StoreCorrupt("the log of a group is damaged") from cause
    if (entry.actor, entry.actor_key) == (step.user_id, step.account.identity.public_key):
        step.requests.append(AppendEntry(0, 0, found[0].entry))


def take_put_back(step: Step, request: AppendEntry, reply: GroupLog) -> None:
    """The relay has an entry again, or says where its log ends: go on from there, only ever forward."""
    entry = reread_entry(request.entry)
    group = membership(step, entry.group_id)
    if group is None:
        return
    if reply.refusal is None:
        put_back(step, group, entry.number + 1)
    elif reply.refusal == RefusalCode.GROUP_CHANGED and reply.head >= entry.number:
        put_back(step, group, reply.head + 1)
