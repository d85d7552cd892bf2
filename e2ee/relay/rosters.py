"""Groups as the relay's store has them, read as the pure values that the rules are made for; who may read what."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from e2ee.frames import DeviceRef, MemberDevices
from e2ee.groups import GroupKind, Member, Membership, Role
from e2ee.ids import UserId
from e2ee.limits import GROUP_ENTRIES_PER_FRAME_MAX
from store.relay import Device, GroupHead, Seat
from store.relay.limits import INVITED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2ee.groups import GroupEntry
    from store.relay import RelayUnit

    from .connection import Session

__all__ = ["DELETED", "changed_seats", "log_entries", "member_devices", "membership", "readable"]

DELETED: Final = 0  # the kind of a group that is over


def membership(head: GroupHead, roster: Iterable[Seat]) -> Membership:
    """The group's membership, by which its next entry is judged; `since` is not known, and no rule asks for it.

    The roster holds what the log says, so the log need not be read: 100,000 entries would take seconds.
    """
    members: dict[UserId, Member] = {}
    invited: dict[UserId, Member] = {}
    for seat in roster:
        if seat.role < INVITED:
            members[UserId(seat.user_id)] = Member(seat.identity_key, Role(seat.role), 0)
        else:
            invited[UserId(seat.user_id)] = Member(seat.identity_key, Role(seat.role - INVITED), 0)
    return Membership(
        head.group_id,
        head.name,
        GroupKind(head.kind),
        head.number,
        head.hash,
        head.epoch,
        MappingProxyType(members),
        MappingProxyType(invited),
    )


def changed_seats(entry: GroupEntry, after: Membership) -> tuple[list[Seat], list[str]]:
    """What *entry* does to the roster: seats to be taken, users whose seat or invitation ends.

    An entry changes nobody's but its actor's and its subject's.
    """
    seats: list[Seat] = []
    removed: list[str] = []
    for user_id in dict.fromkeys((entry.actor, entry.subject)):
        member, invitation = after.members.get(user_id), after.invited.get(user_id)
        if member is not None:
            seats.append(Seat(user_id, member.identity_key, member.role))
        elif invitation is not None:
            seats.append(Seat(user_id, invitation.identity_key, INVITED + invitation.role))
        else:
            removed.append(user_id)
    return seats, removed


def readable(session: Session, head: GroupHead, unit: RelayUnit) -> int | None:
    """The number of the last entry that a user may read; None: whoever asks learns not even that there is a group.

    Who has had a seat or an invitation may read up to the entry that ended it, so as to learn of it.
    """
    if head.kind == GroupKind.OPEN:
        return head.number
    user_id, key = session.device.user_id, session.identity_key
    seat = unit.groups.seat(head.group_id, user_id)
    if seat is not None and seat.identity_key == key:
        return head.number
    return unit.groups.left_at(head.group_id, user_id, key)


def log_entries(unit: RelayUnit, group_id: bytes, start: int, last: int) -> tuple[bytes, ...]:
    """The log from *start* to at most *last*."""
    if start > last:
        return ()
    count_max = min(GROUP_ENTRIES_PER_FRAME_MAX, last - start + 1)
    return tuple(one.entry for one in unit.groups.entries(group_id, after=start - 1, count_max=count_max))


def member_devices(devices: Iterable[Device]) -> tuple[MemberDevices, ...]:
    """*devices*, which come in order of user and device, by member."""
    found: dict[str, list[DeviceRef]] = {}
    for device in devices:
        found.setdefault(device.user_id, []).append(DeviceRef(device.device_id, device.registration_id))
    return tuple(MemberDevices(user_id, tuple(refs)) for user_id, refs in sorted(found.items()))
