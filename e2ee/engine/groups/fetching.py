"""Asking the relay for logs of groups: by id for what is missing, by name for a group that is to be joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.errors import GroupRefused, MalformedFrame, RefusalCode, UnknownGroup
from e2ee.frames import GetGroupLog
from e2ee.groups import take_entry
from e2ee.limits import GROUP_LOG_MAX

from .endings import group_failed, is_operated, name_failed
from .events import tell_whole_log
from .forgetting import forget_group
from .forks import compare_logs
from .log import Taken, take_entries
from .wanted import GROUPS_MAX, want_log

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.errors import GroupError
    from e2ee.frames import GroupLog

    from .in_use import LoadedGroup
    from .memory import GroupsMemory, LogFetch

__all__ = ["INBOX_ROOM", "fetches_due", "pump_fetches", "take_log"]

FETCHES_OPEN_MAX: Final = 4  # questions under way at once: a page is half a megabyte
TAKEN_UP_MAX: Final = 128  # logs wanted at once of those that earlier connections left: mail names others
INBOX_ROOM: Final = 512  # events that a page of entries may make: two for each
_MS: Final = 1000.0


def fetches_due(groups: GroupsMemory) -> list[float]:
    """When the next questions may be put; nothing while as many as may be are under way."""
    fetches = [*groups.logs.values(), *groups.names.values()]
    waiting = [fetch.not_before for fetch in fetches if not fetch.in_flight]
    return waiting if len(fetches) - len(waiting) < FETCHES_OPEN_MAX else []


def pump_fetches(step: Step) -> None:
    """Put the questions that are due."""
    groups = step.memory.groups
    while groups.left and len(groups.logs) < TAKEN_UP_MAX:
        want_log(step, groups.left.popleft())
    everything = [*groups.logs.values(), *groups.names.values()]
    room = FETCHES_OPEN_MAX - sum(fetch.in_flight for fetch in everything)
    for group_id, fetch in groups.logs.items():
        if room > 0 and _due(step, fetch):
            fetch.in_flight, fetch.again = True, False
            room -= 1
            step.requests.append(GetGroupLog(0, 0, group_id, None, _start(step, group_id, fetch)))
    for name, fetch in groups.names.items():
        if room > 0 and _due(step, fetch):
            fetch.in_flight = True
            room -= 1
            step.requests.append(GetGroupLog(0, 0, None, name, 0))


def take_log(step: Step, request: GetGroupLog, reply: GroupLog) -> None:
    """Take a page of a log, or the news that there is none."""
    groups = step.memory.groups
    fetch = groups.logs.get(request.group_id) if request.group_id is not None else groups.names.get(request.name or "")
    if fetch is None:
        return
    fetch.in_flight = False
    if reply.refusal is None and step.unit.inbox.room() < INBOX_ROOM:
        fetch.wait(step.now)  # the same page again, when there is room for what it tells
    elif reply.refusal not in (None, RefusalCode.UNKNOWN_GROUP):
        fetch.wait(step.now, None if reply.retry_after_ms is None else reply.retry_after_ms / _MS)
    elif request.group_id is not None:
        _take_page(step, request.group_id, fetch, request.start, reply)
    elif request.name is not None:
        _take_named(step, request.name, reply)


def _take_named(step: Step, name: str, reply: GroupLog) -> None:
    """Pin a name to the group that the relay names, if that group's own first entry bears the name."""
    del step.memory.groups.names[name]
    if reply.refusal is not None or reply.group_id is None or not reply.entries:
        name_failed(step, name, UnknownGroup("no group of this name is known at the relay"))
        return
    try:
        genesis = take_entry(reply.entries[0])
    except MalformedFrame:
        genesis = None
    pinned = step.unit.groups.pinned(name)
    if genesis is None or (genesis.number, genesis.group_id, genesis.name) != (0, reply.group_id, name):
        reason = "the relay names a group whose first entry does not bear the name"
        name_failed(step, name, GroupRefused(RefusalCode.NOT_AUTHENTIC, reason))
    elif pinned is not None and pinned != genesis.group_id:
        reason = "the relay names another group than the one that this name stands for here"
        name_failed(step, name, GroupRefused(RefusalCode.NOT_AUTHENTIC, reason))
    elif want_log(step, genesis.group_id):
        step.unit.groups.pin_name(name, genesis.group_id)
        _take_page(step, genesis.group_id, step.memory.groups.logs[genesis.group_id], 0, reply)
    else:
        reason = f"a device is in at most {GROUPS_MAX} groups: leave one"
        name_failed(step, name, GroupRefused(RefusalCode.GROUP_FULL, reason))


def _take_page(step: Step, group_id: bytes, fetch: LogFetch, start: int, reply: GroupLog) -> None:
    group = step.groups.get(group_id)
    if reply.refusal is not None or reply.group_id != group_id:
        _give_up(step, group_id, UnknownGroup("the relay knows no such group, or not for us"))
        return
    if group is not None and group.accepting and not compare_logs(step, group, fetch, start, reply):
        return  # the next page tells more
    taken = take_entries(step, group_id, reply.entries)
    group = step.groups.get(group_id)
    if group is None or taken not in (Taken.APPLIED, Taken.DUPLICATE):
        reason = f"the log that the relay tells is not good: {taken.value}"
        _give_up(step, group_id, GroupRefused(RefusalCode.NOT_AUTHENTIC, reason))
    elif group.membership.number >= min(reply.head, GROUP_LOG_MAX - 1):
        if fetch.again:
            fetch.wait(step.now)
        else:
            del step.memory.groups.logs[group_id]
            step.whole_logs[group_id] = None
        _caught_up(group)
        if group.fetching:
            _completed(step, group)
    elif taken is Taken.APPLIED:
        fetch.go_on()  # the next page
    else:
        fetch.wait(step.now)  # there is more, and it was not told


def _give_up(step: Step, group_id: bytes, error: GroupError) -> None:
    """Ask no more. What there is of a log that was not complete is nothing."""
    del step.memory.groups.logs[group_id]
    group_failed(step, group_id, error)
    group = step.groups.get(group_id)
    if group is not None:
        _caught_up(group)
        if group.fetching:
            step.groups.forget(group_id)


def _caught_up(group: LoadedGroup) -> None:
    """The relay has told all of the log that it tells."""
    if group.behind:
        group.behind, group.changed = False, True


def _completed(step: Step, group: LoadedGroup) -> None:
    """The whole log of a group that was new to us is here: keep it if it is any business of ours."""
    now, key = group.membership, step.account.identity.public_key
    group.fetching, group.changed = False, True
    step.moved_logs[now.group_id] = None  # messages that came before the log are judged now
    invitation = now.invited.get(step.user_id)
    invited = invitation is not None and invitation.identity_key == key
    if now.is_member(step.user_id, key) or invited:
        step.unit.groups.pin_name(now.name, now.group_id)
        inviter = None
        if invitation is not None and invited:
            found = step.unit.groups.log(now.group_id, after=invitation.since - 1, limit=1)
            inviter = take_entry(found[0].entry).actor
        tell_whole_log(step, now, inviter)
    elif not is_operated(step, now.group_id):
        forget_group(step, now.group_id)


def _start(step: Step, group_id: bytes, fetch: LogFetch) -> int:
    group = step.groups.get(group_id)
    if group is None:
        return 0
    return fetch.compared if group.accepting else group.membership.number + 1


def _due(step: Step, fetch: LogFetch) -> bool:
    return step.memory.online and not fetch.in_flight and step.now >= fetch.not_before
