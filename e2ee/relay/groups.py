"""Logs of groups: entries are verified, judged by the membership before them, and put into every member's mailbox.

Rules R7.1 to R7.5 and R7.9 to R7.12 of `docs/protocol.md`. The relay makes no entry and knows no member that the log
does not name. Whether the identity key that an entry names for its subject is that user's it leaves to the members:
it can be wrong only about somebody, never let somebody in, since who accepts does so with a key of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from e2ee.codec import decode_array
from e2ee.errors import RefusalCode
from e2ee.frames import EnvelopeKind, GetGroupLog, GroupLog
from e2ee.groups import EntryRefused, GroupFull, Membership, Operation
from e2ee.groups.entry import SIGNATURE_SIZE
from e2ee.limits import GROUP_ENTRIES_PER_FRAME_MAX
from store import relay as stored
from store.relay import Appended, Conflict, Entry, GroupHead, Seat
from store.relay.limits import ID_SIZE

from . import mail
from .rosters import DELETED, changed_seats, log_entries, membership, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2ee.groups import GroupEntry
    from store.relay import RelayUnit

    from .connection import Connection, Session
    from .entry_rules import EntryRules
    from .limits import RelayOptions
    from .plan import Plan

__all__ = ["Brought", "append", "read_log", "refuse_log"]

_JOINING: Final = (Operation.JOIN, Operation.ACCEPT)
_OPERATION: Final = 6  # its place in an entry
JOINS_WINDOW_S: Final = 60.0  # over which joins are counted


def refuse_log(request: int, code: RefusalCode, *, wait_ms: int | None = None) -> GroupLog:
    """The reply to an entry or a question of which there is nothing more to say."""
    return GroupLog(request, None, 0, code, (), wait_ms)


@dataclass(frozen=True, slots=True)
class Brought:
    """An entry that has verified, and who has brought it: not always its actor."""

    connection: Connection
    session: Session
    request: int
    entry: GroupEntry

    def refuse(self, code: RefusalCode, *, wait_ms: int | None = None) -> GroupLog:
        """The answer of which there is nothing more to say."""
        return refuse_log(self.request, code, wait_ms=wait_ms)

    def accept(self, head: int) -> GroupLog:
        """The answer that the log has the entry, and that *head* is the newest."""
        return GroupLog(self.request, self.entry.group_id, head, None, (), None)


def append(brought: Brought, rules: EntryRules, plan: Plan, unit: RelayUnit) -> None:
    """Append an entry, whoever has brought it, or say why not; a repetition is accepted again."""
    unit.exclusive()  # what is read from here on is what the entry is appended to
    session = brought.session
    user = unit.users.find(session.device.user_id)
    if user is None or user.identity_key != session.identity_key:
        plan.gone[session.device.key] = RefusalCode.NOT_AUTHORIZED
        return
    mail.store(plan, unit)
    plan.reply(brought.connection, _answer(brought, rules, plan, unit))


def _answer(brought: Brought, rules: EntryRules, plan: Plan, unit: RelayUnit) -> GroupLog:
    entry = brought.entry
    head = unit.groups.head(entry.group_id)
    last = None if head is None else readable(brought.session, head, unit)
    if head is not None and _is_stored(entry, unit):
        # Who has the entry may know that the log has it; what is behind it, only who may read that.
        return brought.accept(max(entry.number, last or 0))
    if not rules.knows_actor(entry, brought.session, unit):
        return brought.refuse(RefusalCode.NOT_AUTHENTIC)
    if entry.operation is Operation.CREATE:
        return _create(brought, rules, plan, unit)
    if head is None:
        return brought.refuse(RefusalCode.UNKNOWN_GROUP)
    return _follow(brought, rules, head, last, plan, unit)


def read_log(connection: Connection, session: Session, frame: GetGroupLog, plan: Plan, unit: RelayUnit) -> None:
    """Answer with entries from the one asked for on, as many as fit and whoever asks may read."""
    head = None
    if frame.group_id is not None:
        head = unit.groups.head(frame.group_id)
    elif frame.name is not None:
        head = unit.groups.named(frame.name)
    last = None if head is None else readable(session, head, unit)
    if head is None or last is None:
        plan.reply(connection, refuse_log(frame.request, RefusalCode.UNKNOWN_GROUP))
        return
    entries = log_entries(unit, head.group_id, frame.start, last)
    plan.reply(connection, GroupLog(frame.request, head.group_id, last, None, entries, None))


def _is_stored(entry: GroupEntry, unit: RelayUnit) -> bool:
    """Whether the log has this very entry: its reply was lost, and it came again (R4.14)."""
    found = unit.groups.entries(entry.group_id, after=entry.number - 1, count_max=1)
    return bool(found) and found[0] == Entry(entry.number, entry.data, entry.hash)


def _create(brought: Brought, rules: EntryRules, plan: Plan, unit: RelayUnit) -> GroupLog:
    entry = brought.entry
    try:
        group = Membership.start(entry)
    except EntryRefused:
        return brought.refuse(RefusalCode.ENTRY_REFUSED)
    if not rules.allows(entry):
        return brought.refuse(RefusalCode.NOT_AUTHORIZED)
    creator = Seat(entry.actor, entry.actor_key, int(entry.role))
    made = unit.groups.create(group.group_id, group.name, group.kind, entry.data, entry.hash, creator=creator)
    if isinstance(made, stored.EntryRefused):
        return brought.refuse(RefusalCode.GROUP_NAME_TAKEN)
    devices = unit.groups.reached(group.group_id)
    outcomes = unit.mailboxes.fan_out(
        brought.session.device,
        devices,
        envelope_id=entry.hash[:ID_SIZE],
        kind=EnvelopeKind.GROUP_ENTRY,
        body=entry.data,
    )
    plan.count_all(outcomes, list(devices))
    return brought.accept(0)


def _follow(
    brought: Brought, rules: EntryRules, head: GroupHead, last: int | None, plan: Plan, unit: RelayUnit
) -> GroupLog:
    """Append an entry that follows from the log; *last* is the newest one that who has brought it may read."""
    entry = brought.entry
    roster = unit.groups.roster(head.group_id) if entry.previous_hash == head.hash else []
    after = _applied(entry, head, roster)
    if isinstance(after, RefusalCode):
        return _misfit(brought, head, last, after, unit)
    if not rules.allows(entry):
        return brought.refuse(RefusalCode.NOT_AUTHORIZED)
    wait_ms = _join_wait(head, rules.options, unit) if entry.operation in _JOINING else 0
    wait_ms = wait_ms or plan.fan_out(brought.connection, len(roster) + 1)
    if wait_ms:
        return brought.refuse(RefusalCode.RATE_LIMITED, wait_ms=wait_ms)
    refusal = _store(brought.session, entry, after, plan, unit)
    return brought.accept(entry.number) if refusal is None else brought.refuse(refusal)


def _applied(entry: GroupEntry, head: GroupHead, roster: Sequence[Seat]) -> Membership | RefusalCode:
    """The group after the entry, or that it does not follow from the log."""
    if head.kind == DELETED or entry.previous_hash != head.hash:
        return RefusalCode.ENTRY_REFUSED
    try:
        return membership(head, roster).apply(entry)
    except GroupFull:
        return RefusalCode.GROUP_FULL
    except EntryRefused:
        return RefusalCode.ENTRY_REFUSED


def _misfit(brought: Brought, head: GroupHead, last: int | None, code: RefusalCode, unit: RelayUnit) -> GroupLog:
    """Refuse an entry that does not follow, and tell of the log what who has brought it may read (R7.11)."""
    number = brought.entry.number
    if last is None:
        return brought.refuse(RefusalCode.UNKNOWN_GROUP)
    if last < head.number or number != head.number + 1:
        since = log_entries(unit, head.group_id, number, last)
        return GroupLog(brought.request, head.group_id, last, RefusalCode.GROUP_CHANGED, since, None)
    return brought.refuse(code)


def _store(session: Session, entry: GroupEntry, after: Membership, plan: Plan, unit: RelayUnit) -> RefusalCode | None:
    """Append what has been judged, and tell everybody whom it concerns; or say that there is no room."""
    seats, removed = changed_seats(entry, after)
    over = after.deleted
    appended = unit.groups.append(
        entry.group_id,
        Entry(entry.number, entry.data, entry.hash),
        epoch=after.epoch,
        actor=session.device,
        kind=EnvelopeKind.GROUP_ENTRY,
        seats=seats,
        removed=removed,
        # Who is invited, or was, sees the entries about the invitation; the end of the group is one.
        told=after.invited.keys() | {entry.subject} if over else {entry.subject},
        group_kind=DELETED if over else int(after.kind),
    )
    match appended:
        case Appended(outcomes=outcomes):
            plan.count_all([outcome for _, outcome in outcomes], [device.key for device, _ in outcomes])
        case Conflict():  # not under the lock
            return RefusalCode.GROUP_CHANGED
        case _:
            return RefusalCode.GROUP_FULL
    if over:
        unit.groups.retire(entry.group_id)
    return None


def _join_wait(head: GroupHead, options: RelayOptions, unit: RelayUnit) -> int:
    """Milliseconds until somebody may join or accept: everybody keys everybody who does. 0: now.

    Counted in the log, so that it holds for all workers together.
    """
    since = unit.now - JOINS_WINDOW_S
    recent = [
        stored_at
        for entry, stored_at in unit.groups.recent(head.group_id, since=since, count_max=GROUP_ENTRIES_PER_FRAME_MAX)
        if decode_array(entry[:-SIGNATURE_SIZE])[_OPERATION] in _JOINING
    ]
    if len(recent) < options.group_joins_per_minute:
        return 0
    return int((recent[options.group_joins_per_minute - 1] - since) * 1000) + 1
