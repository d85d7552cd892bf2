"""An accepted fork: the log that the relay tells, verified from the first entry, takes the place of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.errors import MalformedFrame
from e2ee.events import GroupLeft
from e2ee.groups import take_entry

from .keys import drop_key
from .state import replayed
from .wanted import want_log

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.frames import GroupLog

    from .in_use import LoadedGroup
    from .memory import LogFetch

__all__ = ["accept", "compare_logs"]


def accept(step: Step, group: LoadedGroup) -> None:
    """Let a fork be decided about: compare logs with the relay, as soon as there is a connection."""
    if group.fork is None:
        return
    if not group.accepting:
        group.accept(group.fork)
        group.accepting = True
    want_log(step, group.membership.group_id)


def compare_logs(step: Step, group: LoadedGroup, fetch: LogFetch, start: int, reply: GroupLog) -> bool:
    """Go through a page of the relay's log; True when ours agrees with all of it, or was cut where it does not.

    What the page has behind that place is then taken like any other entries.
    """
    now = group.membership
    held = {
        one.number: one.hash for one in step.unit.groups.log(now.group_id, after=start - 1, limit=len(reply.entries))
    }
    number = start
    for data in reply.entries:
        try:
            digest = take_entry(data).hash
        except MalformedFrame:
            fetch.wait(step.now)  # no log at all: ours stays until there is one
            return False
        if held.get(number) != digest:
            break
        number += 1
    else:
        if number <= min(now.number, reply.head) and reply.entries:
            fetch.compared = number
            fetch.go_on()
            return False
    if number == 0:
        fetch.wait(step.now)  # the first entry is what the group's id stands for: this is not its log
        return False
    if number <= now.number:
        _cut(step, group, number - 1)
    group.accepting, group.fork, group.changed = False, None, True
    step.moved_logs[now.group_id] = None  # what has waited for the decision is judged now
    return True


def _cut(step: Step, group: LoadedGroup, last: int) -> None:
    """Go back to what both logs have. Everybody gets a new sender key: who has the old one is not known any more."""
    before, key = group.membership, step.account.identity.public_key
    after = replayed(step, before.group_id, last)
    step.unit.groups.truncate(before.group_id, last)
    step.groups.advance(group, after)
    drop_key(step, before.group_id)
    if before.is_member(step.user_id, key) and not after.is_member(step.user_id, key):
        step.keep(GroupLeft(group=after.id, name=after.name, by=step.user_id))
