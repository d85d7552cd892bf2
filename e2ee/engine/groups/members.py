"""Whose keys a group's log names, against the identities on record: who may be keyed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from e2ee.engine.identities import shows, undecided
from e2ee.events import GroupLeft
from e2ee.trust import Direction, Verdict
from store import Full

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.groups import Membership
    from e2ee.ids import UserId

__all__ = ["tell_seats_lost", "usable_members"]


def usable_members(step: Step, group: Membership) -> frozenset[UserId]:
    """The members that may be keyed: those whose entry names an identity key that the policy takes.

    The log counts as it is, whatever key it names: who signs with that key is a member. But a key other than the one on
    record for a user is a change of identity, told once and decided like any other, and a key of a user that we do
    not know is its first. Until then the member gets no sender key of ours.
    """
    return frozenset(name for name, seat in group.members.items() if _is_usable(step, name, seat.identity_key))


def _is_usable(step: Step, name: UserId, identity_key: bytes) -> bool:
    if name == step.user_id:
        return identity_key == step.account.identity.public_key
    if shows(step, name, identity_key, Direction.SENDING) is not Verdict.USE:
        return False
    return not undecided(step.unit.identities.history(name))


def tell_seats_lost(step: Step) -> None:
    """Tell that we are out of every group, before our identity key is another one: seats belong to keys."""
    key = step.account.identity.public_key
    for group in step.groups.all():
        now = group.membership
        if now.is_member(step.user_id, key) and not now.deleted:
            with suppress(Full):  # what has happened has happened, whether or not it can be told
                step.keep(GroupLeft(group=now.id, name=now.name, by=step.user_id))
