"""A group as applications see it: a frozen value, as of the newest entry that this device has verified."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from .entry import GroupKind, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2ee.ids import GroupId, UserId

    from .membership import Membership

__all__ = ["Group"]


@dataclass(frozen=True, slots=True)
class Group:
    """Who is in a group, and what we are in it."""

    id: GroupId
    name: str  # a label: another group may have the same, the id is this one's alone
    kind: GroupKind
    members: Mapping[UserId, Role] = field(hash=False)  # in the order of their coming
    invited: tuple[UserId, ...]  # who have not answered yet
    epoch: int  # a new one whenever another set of people can read
    log_number: int  # of the newest entry known here
    fingerprint: str  # 60 digits over the whole log: equal at members who have seen the same
    is_member: bool  # under our present identity key
    is_admin: bool
    is_invited: bool
    forked: bool  # two logs were seen: nothing is sent until `accept_fork` (see `GroupForked`)
    deleted: bool

    @classmethod
    def of(cls, membership: Membership, user_id: UserId, identity_key: bytes, *, forked: bool) -> Group:
        """The view that the user with this identity key has of a membership."""
        member = membership.is_member(user_id, identity_key)
        invitation = membership.invited.get(user_id)
        return cls(
            membership.id,
            membership.name,
            membership.kind,
            MappingProxyType({name: seat.role for name, seat in membership.members.items()}),
            tuple(membership.invited),
            membership.epoch,
            membership.number,
            membership.fingerprint,
            member and not membership.deleted,
            member and membership.members[user_id].role is Role.ADMIN,
            invitation is not None and invitation.identity_key == identity_key,
            forked,
            membership.deleted,
        )
