"""The calls of `e2ee.sync.Client` about groups: those of `e2ee.calls.groups`, without ``await``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.groups import Group, GroupKind

from .loop import LOOP

if TYPE_CHECKING:
    from e2ee.calls.contents import Content
    from e2ee.client import Client as AsynchronousClient
    from e2ee.groups.member_key import MemberKey
    from e2ee.ids import MessageId

__all__ = ["GroupCalls"]


class GroupCalls:
    """Groups. Calls with a *timeout* in seconds raise GroupTimeout when the outcome is not known by then."""

    _client: AsynchronousClient

    def create_group(self, name: str, *, kind: GroupKind = GroupKind.OPEN, timeout: float = 10.0) -> Group:
        """Make a group, whose first admin we are; an open one lets in whoever asks. GroupRefused: the name is taken."""
        return LOOP.run(self._client.create_group(name, kind=kind, timeout=timeout))

    def join_group(self, group: str | Group, *, timeout: float = 10.0) -> Group:
        """Join an open group, or accept an invitation. Raises UnknownGroup, GroupRefused."""
        return LOOP.run(self._client.join_group(group, timeout=timeout))

    def leave_group(self, group: str | Group, *, successor: str | None = None, timeout: float = 10.0) -> None:
        """Leave. The last admin names a *successor*, unless nobody else is there; else GroupRefused."""
        LOOP.run(self._client.leave_group(group, successor=successor, timeout=timeout))

    def delete_group(self, group: str | Group, *, timeout: float = 10.0) -> None:
        """End a group for all its members, as an admin."""
        LOOP.run(self._client.delete_group(group, timeout=timeout))

    def close_group(self, group: str | Group, *, timeout: float = 10.0) -> None:
        """Make an open group one by invitation, as an admin."""
        LOOP.run(self._client.close_group(group, timeout=timeout))

    def add_member(self, group: str | Group, user: str, *, admin: bool = False, timeout: float = 10.0) -> None:
        """Invite a user, as an admin. Nobody gives it a key before it has accepted."""
        LOOP.run(self._client.add_member(group, user, admin=admin, timeout=timeout))

    def remove_member(self, group: str | Group, user: str, *, timeout: float = 10.0) -> None:
        """Take a member's seat, or an invitation, as an admin."""
        LOOP.run(self._client.remove_member(group, user, timeout=timeout))

    def promote(self, group: str | Group, user: str, *, timeout: float = 10.0) -> None:
        """Make a member an admin, as an admin."""
        LOOP.run(self._client.promote(group, user, timeout=timeout))

    def demote(self, group: str | Group, user: str, *, timeout: float = 10.0) -> None:
        """Make an admin a member, as an admin; one stays."""
        LOOP.run(self._client.demote(group, user, timeout=timeout))

    def rekey_member(self, group: str | Group, user: str, *, timeout: float = 10.0) -> None:
        """Let a member continue under its new identity key, as an admin who trusts that key."""
        LOOP.run(self._client.rekey_member(group, user, timeout=timeout))

    def accept_invitation(self, group: str | Group, *, timeout: float = 10.0) -> Group:
        """Become a member of a group that an admin has invited us to."""
        return LOOP.run(self._client.accept_invitation(group, timeout=timeout))

    def decline_invitation(self, group: str | Group, *, timeout: float = 10.0) -> None:
        """End an invitation that we do not want."""
        LOOP.run(self._client.decline_invitation(group, timeout=timeout))

    def group(self, group: str | Group) -> Group:
        """The group as this device knows it. Raises UnknownGroup."""
        return LOOP.run(self._client.group(group))

    def groups(self) -> list[Group]:
        """The groups that we are a member of or invited to, in order of their names."""
        return LOOP.run(self._client.groups())

    def send_group(self, group: str | Group, content: Content) -> MessageId:
        """Queue a message to a group: text, bytes or a binary file object; return when it is durably stored."""
        return LOOP.run(self._client.send_group(group, content))

    def group_keys(self, group: str | Group) -> tuple[MemberKey, ...]:
        """How far our sender key of a group has got, device by device of its members. Raises UnknownGroup."""
        return LOOP.run(self._client.group_keys(group))

    def accept_fork(self, group: str | Group) -> None:
        """After `GroupForked`: let the log that the relay tells, verified anew, take the place of ours."""
        LOOP.run(self._client.accept_fork(group))
