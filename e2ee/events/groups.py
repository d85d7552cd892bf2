"""What happens in groups: their messages, and who came and went. Durable, as all of `durable`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .durable import DurableEvent

if TYPE_CHECKING:
    from e2ee.ids import GroupId, MessageId, UserId

__all__ = [
    "GroupClosed",
    "GroupCreated",
    "GroupDeleted",
    "GroupEvent",
    "GroupForked",
    "GroupInvitation",
    "GroupJoined",
    "GroupLeft",
    "GroupMemberJoined",
    "GroupMemberLeft",
    "GroupMemberRekeyed",
    "GroupMessage",
    "GroupOperationFailed",
    "GroupRoleChanged",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEvent(DurableEvent):
    """An event of a group."""

    group: GroupId
    name: str  # the group's, as its first entry has it


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMessage(GroupEvent):
    """A message to the group, authenticated: from another member, or from another device of our own user."""

    sender: UserId
    sender_device: int
    message_id: MessageId
    conversation_number: int  # of this message, among those of this device to the group
    sent_at_ms: int  # since 1970, by the sender's clock
    text: str | None = field(repr=False)  # None: the content was bytes
    data: bytes = field(repr=False)  # the content, of a text its UTF-8
    late: bool = False  # a later message of the same device came before it


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCreated(GroupEvent):
    """A group that we, or another device of our own user, made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDeleted(GroupEvent):
    """An admin has deleted the group: nothing can be sent to it any more."""

    by: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupClosed(GroupEvent):
    """An admin has closed an open group: whoever comes from now on is invited."""

    by: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInvitation(GroupEvent):
    """An admin invites us: `accept_invitation` makes us a member, `decline_invitation` ends the matter."""

    by: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupJoined(GroupEvent):
    """We are a member now."""

    members: tuple[UserId, ...]  # in order, ourselves included


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLeft(GroupEvent):
    """We are a member no more."""

    by: UserId  # ourselves, or the admin who removed us


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMemberJoined(GroupEvent):
    """Another member came. It reads what is sent from here on."""

    user: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMemberLeft(GroupEvent):
    """A member is gone, and cannot read what is sent by anyone who knows it."""

    user: UserId
    by: UserId  # the member itself, or the admin who removed it


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMemberRekeyed(GroupEvent):
    """An admin has let a member continue under a new identity key: compare safety numbers."""

    user: UserId
    by: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRoleChanged(GroupEvent):
    """A member became an admin, or an admin a member."""

    user: UserId
    by: UserId
    admin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOperationFailed(GroupEvent):
    """What we wanted of a group, whose outcome was unknown after a timeout, has not happened.

    Its ``group`` is empty if no group was found under the name.
    """

    operation: str  # create, join, leave …
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupForked(GroupEvent):
    """Two members have been shown different logs: the relay has lied to one, or has lost entries and taken others.

    Nothing more is sent to the group.
    Both entries are signed; compare `Group.fingerprint` with the other members, then leave or `accept_fork`.
    """

    log_number: int
    ours: bytes = field(repr=False)  # the entry that we hold
    theirs: bytes = field(repr=False)  # the hash that another member's message named, or its entry
