"""Taking entries of groups' logs: verify, apply, store, tell; notice gaps, repetitions and forks (messaging 10, 11).

What is taken came from the relay, which is trusted for delivery only. An entry counts if its signature verifies and
it follows from the log that we hold; nothing else does. Who sent it does not matter.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from e2ee.diagnostics import Reason
from e2ee.errors import MalformedFrame
from e2ee.events import GroupForked
from e2ee.groups import EntryRefused, GroupKind, Membership, Operation, take_entry
from e2ee.limits import GROUP_LOG_MAX
from store import LogEntry

from .events import tell_entry
from .in_use import Fork, LoadedGroup
from .keys import drop_key, membership_changed
from .state import membership_at
from .wanted import is_wanted, want_log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2ee.engine.step import Step
    from e2ee.groups import GroupEntry

__all__ = ["Standing", "Taken", "apply_entry", "expect", "take_delivered", "take_entries"]


class Taken(Enum):
    """What became of an entry."""

    APPLIED = "applied"
    DUPLICATE = "we have it"
    GAP = "entries before it are missing"
    FORKED = "another log than ours"
    REFUSED = "it does not follow from the log"
    UNWANTED = "of a group that we have nothing to do with"


class Standing(Enum):
    """How an entry that an authentic message names stands to our log."""

    KNOWN = "we hold this very entry"
    AHEAD = "it is newer than our log, which is being fetched: judge the message afterwards"
    FORKED = "we hold another entry under its number, or are cut off from the log: nothing is sent there"


def take_delivered(step: Step, data: bytes) -> Reason | None:
    """Take an entry that was delivered; return why it was refused, or None."""
    try:
        entry = take_entry(data)
    except MalformedFrame:
        return Reason.BAD_ENTRY
    match apply_entry(step, entry):
        case Taken.APPLIED | Taken.DUPLICATE | Taken.FORKED:
            return None
        case Taken.GAP:
            # Also of a group that we have never heard of: another device of ours may be in it, or we are invited.
            return None if want_log(step, entry.group_id) else Reason.UNKNOWN_GROUP
        case Taken.REFUSED:
            return Reason.BAD_ENTRY
        case Taken.UNWANTED:
            return Reason.UNKNOWN_GROUP


def take_entries(step: Step, group_id: bytes, entries: Iterable[bytes]) -> Taken:
    """Take entries of a group as the relay told them, in order, as far as they are good.

    What is missing before them is fetched. Returns what became of the last one that was looked at.
    """
    taken = Taken.DUPLICATE
    for data in entries:
        try:
            entry = take_entry(data)
        except MalformedFrame:
            return Taken.REFUSED
        if entry.group_id != group_id:
            return Taken.REFUSED
        taken = apply_entry(step, entry)
        if taken is Taken.GAP:
            want_log(step, group_id)
        if taken not in (Taken.APPLIED, Taken.DUPLICATE):
            break
    return taken


def expect(step: Step, group_id: bytes, number: int, digest: bytes) -> Standing:
    """Take note of the newest entry that a sender had, from inside an authentic message of a member.

    So a relay that withholds an entry from us is found out by the first message of anybody who has it, and one that
    shows two logs by the first message that crosses between them.
    """
    group = step.groups.get(group_id)
    if group is None or group.fetching or number > group.membership.number:
        want_log(step, group_id)
        return Standing.AHEAD
    if _hash_at(step, group, number) == digest:
        return Standing.KNOWN
    return Standing.FORKED if _fork(step, group, number, digest, digest) else Standing.KNOWN


def apply_entry(step: Step, entry: GroupEntry) -> Taken:
    """Take one entry whose signature has verified."""
    group = step.groups.get(entry.group_id)
    if group is None:
        return _start(step, entry) if entry.number == 0 else Taken.GAP
    before = group.membership
    if entry.number <= before.number:
        return _held_already(step, group, entry)
    if entry.number > before.number + 1:
        return Taken.GAP
    return _next(step, group, entry)


def _next(step: Step, group: LoadedGroup, entry: GroupEntry) -> Taken:
    before = group.membership
    if entry.previous_hash != before.hash:
        return _other_past(step, group, entry)
    if entry.number >= GROUP_LOG_MAX:
        return Taken.REFUSED
    try:
        after = before.apply(entry)
    except EntryRefused:
        return Taken.REFUSED
    _append(step, group, before, after, entry)
    return Taken.APPLIED


def _start(step: Step, entry: GroupEntry) -> Taken:
    """Begin the log of a group: one that was asked for, or that our own user has made."""
    own = (entry.actor, entry.actor_key) == (step.user_id, step.account.identity.public_key)
    fetched = is_wanted(step, entry.group_id)
    if not own and not fetched:
        return Taken.UNWANTED
    try:
        after = Membership.start(entry)
    except EntryRefused:
        return Taken.REFUSED
    group = LoadedGroup(after, None, fetching=fetched)
    step.groups.add(group)
    if own:
        step.unit.groups.pin_name(after.name, after.group_id)
    _append(step, group, None, after, entry)
    return Taken.APPLIED


def _append(step: Step, group: LoadedGroup, before: Membership | None, after: Membership, entry: GroupEntry) -> None:
    step.unit.groups.append(entry.group_id, LogEntry(entry.number, entry.data, entry.hash))
    step.groups.advance(group, after)
    membership_changed(step, before, after, entry)
    if not group.fetching:
        tell_entry(step, before, after, entry)
    if entry.operation is Operation.INVITE and entry.subject == step.user_id:
        step.unit.groups.pin_name(after.name, after.group_id)
    if after.deleted and step.unit.groups.pinned(after.name) == after.group_id:
        step.unit.groups.unpin_name(after.name)  # its admin has signed that the name is free again


# Forks.


def _hash_at(step: Step, group: LoadedGroup, number: int) -> bytes:
    if number == group.membership.number:
        return group.membership.hash
    return step.unit.groups.log(group.membership.group_id, after=number - 1, limit=1)[0].hash


def _held_already(step: Step, group: LoadedGroup, entry: GroupEntry) -> Taken:
    if _hash_at(step, group, entry.number) == entry.hash:
        return Taken.DUPLICATE
    before = None if entry.number == 0 else membership_at(step, entry.group_id, entry.number - 1)
    try:
        if before is None:
            return Taken.REFUSED
        if before.hash == entry.previous_hash:
            before.apply(entry)  # what nobody could have put there is no other log, only a lie
        elif not _could_sign(before, entry):
            return Taken.REFUSED
    except EntryRefused:
        return Taken.REFUSED
    _fork(step, group, entry.number, entry.hash, entry.data)
    return Taken.FORKED


def _other_past(step: Step, group: LoadedGroup, entry: GroupEntry) -> Taken:
    """The entry follows upon another one than we hold: its actor has signed that it has seen another log."""
    if not _could_sign(group.membership, entry):
        return Taken.REFUSED
    _fork(step, group, group.membership.number, entry.previous_hash, entry.data)
    return Taken.FORKED


def _could_sign(group: Membership, entry: GroupEntry) -> bool:
    """Whether the actor is somebody whose word about the log counts: a member, or who may become one alone."""
    joins = entry.operation is Operation.JOIN and group.kind is GroupKind.OPEN
    return joins or group.is_member(entry.actor, entry.actor_key)


def _fork(step: Step, group: LoadedGroup, number: int, digest: bytes, evidence: bytes) -> bool:
    """Stop sending there, and tell it once; False for a fork that the application has accepted."""
    if Fork(number, digest) in group.accepted:
        return False
    if group.fork is None:
        group.fork = Fork(number, digest)
        group.changed = True
        drop_key(step, group.membership.group_id)  # what is sent after a decision, nobody of the other log can read
        ours = step.unit.groups.log(group.membership.group_id, after=number - 1, limit=1)[0].entry
        name = group.membership.name
        step.keep(GroupForked(group=group.membership.id, name=name, log_number=number, ours=ours, theirs=evidence))
    return True
