"""The client's calls about groups, a part of `Client` (`docs/groups.md`)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from e2ee.engine.groups.standing import group_keys
from e2ee.errors import GroupTimeout
from e2ee.groups import Group, GroupKind, Operation, Role

from .account import AccountCalls
from .contents import read_content

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.engine import Engine, Output
    from e2ee.engine.groups.calls import GroupCalls as EngineGroups
    from e2ee.engine.groups.outcome import GroupOutcome
    from e2ee.groups.member_key import MemberKey
    from e2ee.ids import MessageId
    from e2ee.shell import Shell

    from .contents import Content

__all__ = ["GroupCalls"]


class GroupCalls(AccountCalls):
    """Groups: who is in one, and what is done about it. A group is named by its id, its name, or a `Group`.

    What changes a group waits up to *timeout* seconds for its outcome. GroupTimeout then says that it is unknown: the
    operation goes on, and the outcome is an event. Raises GroupError, InvalidArgument, InvalidUserId, ClientEnded.
    """

    async def create_group(
        self,
        name: str,
        *,
        kind: GroupKind = GroupKind.OPEN,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> Group:
        """Make a group, whose first admin we are; an open one lets in whoever asks. GroupRefused: the name is taken."""
        outcome = await _outcome(self._opened(), lambda groups: groups.create(name, kind), timeout)
        return await _view(self._opened(), outcome.group_id.hex())

    async def join_group(self, group: str | Group, *, timeout: float = 10.0) -> Group:  # noqa: ASYNC109
        """Join an open group, or accept an invitation.

        A name is looked up once and from then on stands for that group, whatever the relay says later. Raises
        UnknownGroup; GroupRefused if the group is by invitation, or what the relay tells of it does not verify.
        """
        outcome = await _outcome(self._opened(), lambda groups: groups.join(group), timeout)
        return await _view(self._opened(), outcome.group_id.hex())

    async def leave_group(
        self,
        group: str | Group,
        *,
        successor: str | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> None:
        """Leave. The last admin names a *successor*, unless nobody else is there; else GroupRefused."""
        await _act(self._opened(), group, Operation.LEAVE, timeout, user=successor)

    async def delete_group(self, group: str | Group, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """End a group for all its members, as an admin."""
        await _act(self._opened(), group, Operation.DELETE, timeout)

    async def close_group(self, group: str | Group, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Make an open group one by invitation, as an admin."""
        await _act(self._opened(), group, Operation.CLOSE, timeout)

    async def add_member(
        self,
        group: str | Group,
        user: str,
        *,
        admin: bool = False,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> None:
        """Invite a user, as an admin. Nobody gives it a key before it has accepted."""
        role = Role.ADMIN if admin else Role.MEMBER
        await _act(self._opened(), group, Operation.INVITE, timeout, user=user, role=role)

    async def remove_member(
        self,
        group: str | Group,
        user: str,
        *,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> None:
        """Take a member's seat, or an invitation, as an admin. Whoever learns of it sends with another key."""
        await _act(self._opened(), group, Operation.REMOVE, timeout, user=user)

    async def promote(self, group: str | Group, user: str, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Make a member an admin, as an admin."""
        await _act(self._opened(), group, Operation.PROMOTE, timeout, user=user)

    async def demote(self, group: str | Group, user: str, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Make an admin a member, as an admin; one stays."""
        await _act(self._opened(), group, Operation.DEMOTE, timeout, user=user)

    async def rekey_member(
        self,
        group: str | Group,
        user: str,
        *,
        timeout: float = 10.0,  # noqa: ASYNC109
    ) -> None:
        """Let a member continue under its new identity key, as an admin who trusts that key."""
        await _act(self._opened(), group, Operation.REKEY, timeout, user=user)

    async def accept_invitation(self, group: str | Group, *, timeout: float = 10.0) -> Group:  # noqa: ASYNC109
        """Become a member of a group that an admin has invited us to."""
        outcome = await _act(self._opened(), group, Operation.ACCEPT, timeout)
        return await _view(self._opened(), outcome.group_id.hex())

    async def decline_invitation(self, group: str | Group, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """End an invitation that we do not want."""
        await _act(self._opened(), group, Operation.LEAVE, timeout)

    async def group(self, group: str | Group) -> Group:
        """The group as this device knows it. Raises UnknownGroup."""
        return await _view(self._opened(), group)

    async def groups(self) -> list[Group]:
        """The groups that we are a member of or invited to, in order of their names."""
        shell, engine = self._opened()
        return await shell.ask(lambda _: engine.groups.all())

    async def send_group(self, group: str | Group, content: Content) -> MessageId:
        """Queue a message to a group: text, bytes or a binary file object; return when it is durably stored.

        It is encrypted once, for the members as they are when it leaves. `MessageState` events tell the rest: with the
        group, and for what each member did with it the recipient. Raises UnknownGroup, NotAMember; InvalidArgument for
        what is no content or larger than 256 KiB; `store.Full`.
        """
        shell, engine = self._opened()
        read = await read_content(content)
        return await shell.do(lambda _: engine.send_group(group, read))

    async def group_keys(self, group: str | Group) -> tuple[MemberKey, ...]:
        """How far our sender key of a group has got, device by device of its members. Raises UnknownGroup."""
        shell, engine = self._opened()
        return await shell.do(lambda _: engine.do(partial(group_keys, group=group)))

    async def accept_fork(self, group: str | Group) -> None:
        """After `GroupForked`: let the log that the relay tells, verified anew, take the place of ours."""
        shell, engine = self._opened()
        await shell.perform(lambda _: engine.groups.accept_fork(group))


async def _view(opened: tuple[Shell, Engine], group: str | Group) -> Group:
    shell, engine = opened
    return await shell.ask(lambda _: engine.groups.group(group))


async def _act(
    opened: tuple[Shell, Engine],
    group: str | Group,
    operation: Operation,
    timeout_s: float,
    *,
    user: str | None = None,
    role: Role = Role.MEMBER,
) -> GroupOutcome:
    return await _outcome(opened, lambda groups: groups.act(group, operation, user=user, role=role), timeout_s)


async def _outcome(
    opened: tuple[Shell, Engine], begin: Callable[[EngineGroups], tuple[bytes, Output]], timeout_s: float
) -> GroupOutcome:
    shell, engine = opened
    operation_id = await shell.do(lambda _: begin(engine.groups))
    try:
        async with asyncio.timeout(timeout_s):
            return _good(await _settled(shell, operation_id))
    except (TimeoutError, asyncio.CancelledError) as ended:
        # Whatever was committed before this step is told by now; what comes after it is an event.
        await shell.ask(lambda _: engine.groups.abandon(operation_id))
        outcome = shell.group_calls.take(operation_id)
        if isinstance(ended, asyncio.CancelledError):
            raise
        if outcome is not None:
            return _good(outcome)
        raise GroupTimeout("no answer in time: the operation goes on, its outcome comes as an event") from None


async def _settled(shell: Shell, operation_id: bytes) -> GroupOutcome:
    while True:
        changed = shell.changed.next
        shell.require_going()
        outcome = shell.group_calls.take(operation_id)
        if outcome is not None:
            return outcome
        await changed.wait()


def _good(outcome: GroupOutcome) -> GroupOutcome:
    if outcome.error is not None:
        raise outcome.error
    return outcome
