"""Groups as of an entry of their logs: from what is stored, from memory, or by replay of our own log (messaging 10)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from e2ee.errors import MalformedFrame, UnknownGroup
from e2ee.groups import EntryRefused, Group, Membership, reread_entry
from e2ee.ids import UserId
from store import StoreCorrupt

if TYPE_CHECKING:
    from e2ee.engine.step import Step

    from .in_use import LoadedGroup

__all__ = [
    "ID_DIGITS",
    "epoch_at",
    "group_view",
    "membership",
    "membership_at",
    "replayed",
    "require_group",
    "resolve",
    "was_member",
]

REPLAYED_MAX: Final = 10_000  # entries replayed for the membership at one of them: 0.3 s
_PAGE: Final = 256  # entries read from the store at once
ID_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


def membership(step: Step, group_id: bytes) -> Membership | None:
    """The group as of the newest entry that we have verified; None: not known, or not completely."""
    group = step.groups.get(group_id)
    return None if group is None or group.fetching else group.membership


def membership_at(step: Step, group_id: bytes, number: int) -> Membership | None:
    """The group as of an entry, by replay of our own log.

    None: there is none such, it is too long ago, or too much was replayed lately.
    """
    group = step.groups.get(group_id)
    if group is None or not 0 <= number <= group.membership.number:
        return None
    if number == group.membership.number:
        return group.membership
    found = step.unit.groups.log(group_id, after=number - 1, limit=1)
    if not found or found[0].number != number:
        raise StoreCorrupt("the log of a group has a gap")
    known = step.memory.memberships.get(group_id, found[0].hash)
    if known is not None:
        return known
    affordable = number <= REPLAYED_MAX and step.memory.groups.may_replay(number + 1, step.now)
    return replayed(step, group_id, number) if affordable else None


def epoch_at(step: Step, group_id: bytes, number: int) -> int | None:
    """The epoch that an entry of our own log begins or goes on with; None: there is none such."""
    found = step.unit.groups.log(group_id, after=number - 1, limit=1)
    if not found or found[0].number != number:
        return None
    try:
        return reread_entry(found[0].entry).epoch
    except MalformedFrame as cause:
        raise StoreCorrupt("the log of a group is damaged") from cause


def was_member(step: Step, group_id: bytes, number: int, user_id: str, identity_key: bytes) -> bool:
    """Whether somebody had a seat under a key as of an entry: who has it since then needs no replay."""
    group = step.groups.get(group_id)
    if group is None or number > group.membership.number:
        return False
    seat = group.membership.members.get(UserId(user_id))
    if seat is not None and seat.identity_key == identity_key and seat.since <= number:
        return True
    then = membership_at(step, group_id, number)
    return then is not None and then.is_member(user_id, identity_key)


def replayed(step: Step, group_id: bytes, number: int) -> Membership:
    """The group as of an entry of our own log, which was verified before it was stored. Raises StoreCorrupt."""
    at: Membership | None = None
    while at is None or at.number < number:
        after = -1 if at is None else at.number
        page = step.unit.groups.log(group_id, after=after, limit=min(_PAGE, number - after))
        if not page:
            raise StoreCorrupt("the log of a group has a gap")
        try:
            for one in page:
                entry = reread_entry(one.entry)
                at = Membership.start(entry) if at is None else at.apply(entry)
        except (MalformedFrame, EntryRefused) as cause:
            raise StoreCorrupt("the log of a group is damaged") from cause
    step.memory.memberships.put(at)
    return at


def resolve(step: Step, group: str | Group) -> bytes | None:
    """The id behind a group, an id in digits, or a pinned name; None: not known here."""
    if isinstance(group, Group):
        return bytes.fromhex(group.id)
    if ID_DIGITS.fullmatch(group):
        return bytes.fromhex(group)
    return step.unit.groups.pinned(group)


def require_group(step: Step, group: str | Group) -> Membership:
    """The group that an application names: by its value, its id, or its name. Raises UnknownGroup."""
    group_id = resolve(step, group)
    found = None if group_id is None else membership(step, group_id)
    if found is None:
        raise UnknownGroup("no group is known here under this id or name: join it first")
    return found


def group_view(step: Step, group: LoadedGroup) -> Group:
    """The group as the application sees it."""
    key = step.account.identity.public_key
    return Group.of(group.membership, step.user_id, key, forked=group.fork is not None)
