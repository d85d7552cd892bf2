"""Every lane brought forward, in the order in which one makes work for the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .groups.sending import pump_group_lanes
from .lanes import pump

if TYPE_CHECKING:
    from .memory import Memory
    from .step import Step

__all__ = ["lanes_due", "pump_lanes"]


def pump_lanes(step: Step) -> None:
    """Bring the lanes to groups forward, which queue keys for users; then those to users; then what these made free.

    A user whose lane turns out to be held is not waited for by a group any more, hence the second round.
    """
    pump_group_lanes(step)
    _pump_users(step)
    if step.memory.active_groups:
        pump_group_lanes(step)
        _pump_users(step)


def _pump_users(step: Step) -> None:
    for user_id in list(step.memory.active):
        pump(step, user_id)


def lanes_due(memory: Memory) -> list[float]:
    """When lanes that wait go on by time alone, in seconds since 1970."""
    if not memory.ready:
        return []
    users = [
        lane.not_before
        for user_id, lane in memory.lanes.items()
        if user_id in memory.active and not (lane.in_flight or lane.asking)
    ]
    groups = [
        lane.not_before
        for group_id, lane in memory.group_lanes.items()
        if group_id in memory.active_groups and not (lane.in_flight or lane.asking or lane.keying or lane.bundles)
    ]
    return users + groups
