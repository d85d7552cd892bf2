"""What an entry of a group's log means to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from e2ee.events import (
    GroupClosed,
    GroupCreated,
    GroupDeleted,
    GroupInvitation,
    GroupJoined,
    GroupLeft,
    GroupMemberJoined,
    GroupMemberLeft,
    GroupMemberRekeyed,
    GroupRoleChanged,
)
from e2ee.groups import Operation, Role

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.groups import GroupEntry, Membership
    from e2ee.ids import UserId

__all__ = ["tell_entry", "tell_whole_log"]


def tell_whole_log(step: Step, group: Membership, inviter: UserId | None) -> None:
    """Tell of a group whose log was read at once: not what once happened in it, but what we are in it now."""
    if group.is_member(step.user_id, step.account.identity.public_key):
        step.keep(GroupJoined(group=group.id, name=group.name, members=tuple(group.members)))
    elif inviter is not None:
        step.keep(GroupInvitation(group=group.id, name=group.name, by=inviter))


def tell_entry(step: Step, before: Membership | None, after: Membership, entry: GroupEntry) -> None:
    """Tell what one more entry has changed, if it concerns us."""
    key = step.account.identity.public_key
    was = before is not None and before.is_member(step.user_id, key)
    now = after.is_member(step.user_id, key)
    if was and not now:
        step.keep(GroupLeft(group=after.id, name=after.name, by=entry.actor))
    elif now and not was:
        created = entry.operation is Operation.CREATE
        step.keep(
            GroupCreated(group=after.id, name=after.name)
            if created
            else GroupJoined(group=after.id, name=after.name, members=tuple(after.members))
        )
    elif was and before is not None:
        _tell_of_others(step, before, after, entry)
    elif entry.operation is Operation.INVITE and (entry.subject, entry.subject_key) == (step.user_id, key):
        step.keep(GroupInvitation(group=after.id, name=after.name, by=entry.actor))


def _tell_of_others(step: Step, before: Membership, after: Membership, entry: GroupEntry) -> None:
    group, name = after.id, after.name
    match entry.operation:
        case Operation.JOIN | Operation.ACCEPT:
            _tell_left(step, before, entry.actor, entry)  # under another identity key, whose seat is nobody's now
            step.keep(GroupMemberJoined(group=group, name=name, user=entry.actor))
        case Operation.LEAVE:
            _tell_left(step, before, entry.actor, entry)
            _tell_role(step, before, after, entry)
        case Operation.REMOVE:
            _tell_left(step, before, entry.subject, entry)
        case Operation.PROMOTE | Operation.DEMOTE:
            _tell_role(step, before, after, entry)
        case Operation.REKEY:
            step.keep(GroupMemberRekeyed(group=group, name=name, user=entry.subject, by=entry.actor))
        case Operation.CLOSE:
            step.keep(GroupClosed(group=group, name=name, by=entry.actor))
        case Operation.DELETE:
            step.keep(GroupDeleted(group=group, name=name, by=entry.actor))
        case Operation.INVITE | Operation.CREATE:
            pass
        case _:
            assert_never(entry.operation)


def _tell_left(step: Step, before: Membership, user: UserId, entry: GroupEntry) -> None:
    if user in before.members:  # else it was only invited
        step.keep(GroupMemberLeft(group=before.id, name=before.name, user=user, by=entry.actor))


def _tell_role(step: Step, before: Membership, after: Membership, entry: GroupEntry) -> None:
    had, has = before.members.get(entry.subject), after.members.get(entry.subject)
    if had is not None and has is not None and had.role is not has.role:
        admin = has.role is Role.ADMIN
        step.keep(GroupRoleChanged(group=after.id, name=after.name, user=entry.subject, by=entry.actor, admin=admin))
