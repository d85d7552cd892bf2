"""A relay that has lost the end of a group's log, or the group: noticed by what it says of the group's devices.

Until the log is whole again (`giving_back`) nothing can be sent to the group: the relay would let in whoever it has
forgotten to be removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.diagnostics import Reason
from e2ee.errors import RefusalCode

from .giving_back import give_back
from .lane import Search
from .sending import hold_group

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.frames import GroupDevices
    from e2ee.groups import Membership

__all__ = ["is_behind"]


def is_behind(step: Step, group: Membership, reply: GroupDevices) -> bool:
    """Whether the relay's log is shorter than ours; if so, give back what it lacks, and ask again after a while.

    It may also be that an entry has come while the answer was on its way: so only a second look counts.
    """
    lane = step.memory.lane_to(group.group_id)
    lost = reply.refusal == RefusalCode.UNKNOWN_GROUP
    if not lost and (reply.refusal is not None or reply.log_number >= group.number):
        lane.comparing = False
        return False
    lane.wait(step.now)
    if lane.comparing:
        hold_group(step, group.group_id, Reason.RELAY_LOG_BEHIND)
        # To the relay we may be no member: then what made us one is where we begin to look for its end.
        number = group.members[step.user_id].since if lost else reply.log_number + 1
        give_back(step, group, Search(number, number, looking=lost))
    lane.comparing = True
    return True
