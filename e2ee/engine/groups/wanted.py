"""Which logs are wanted from the relay, as far as there is room for more groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .endings import is_operated
from .forgetting import forget_group

if TYPE_CHECKING:
    from e2ee.engine.step import Step

__all__ = ["GROUPS_MAX", "is_wanted", "want_log", "want_name"]

FETCHES_MAX: Final = 256  # logs wanted at once; more are asked for when somebody names them again
GROUPS_MAX: Final = 1_000  # groups known to one device; those that we are out of make room


def is_wanted(step: Step, group_id: bytes) -> bool:
    """Whether the group's log has been asked for."""
    return group_id in step.memory.groups.logs


def want_log(step: Step, group_id: bytes) -> bool:
    """Ask for the rest of a group's log, or all of it; False: there is no room for more."""
    groups = step.memory.groups
    if group_id in groups.logs:
        return True
    if len(groups.logs) >= FETCHES_MAX or (step.groups.get(group_id) is None and not _make_room(step)):
        return False
    groups.want(group_id)
    return True


def want_name(step: Step, name: str) -> bool:
    """Ask which group has a name; False: there is no room for more."""
    groups = step.memory.groups
    if name in groups.names:
        return True
    if len(groups.names) >= FETCHES_MAX or not _make_room(step):
        return False
    groups.want_name(name)
    return True


def _make_room(step: Step) -> bool:
    """Whether there may be one more group; one that we are out of goes if there are too many."""
    if step.unit.groups.count() < GROUPS_MAX:
        return True
    key = step.account.identity.public_key
    for group in step.groups.all():
        now = group.membership
        out = now.deleted or (step.user_id not in now.invited and not now.is_member(step.user_id, key))
        if out and not group.fetching and not is_operated(step, now.group_id):
            forget_group(step, now.group_id)
            return True
    return False
