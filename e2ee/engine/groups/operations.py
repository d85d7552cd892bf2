"""Our own operations on groups: stored, signed, sent, signed again if somebody was faster (messaging 10).

A signed entry is stored before it is sent, and goes as the same bytes until its fate is known: the relay takes it
once. It is signed again only when the log has another entry under its number, for then it can never be taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.engine.identities import shows, undecided
from e2ee.engine.peers import ask_devices
from e2ee.errors import (
    GroupError,
    GroupRefused,
    IdentityUndecided,
    LogForked,
    NotAMember,
    RefusalCode,
)
from e2ee.frames import AppendEntry
from e2ee.groups import EntryRefused, GroupFull, GroupKind, Membership, Operation, reread_entry
from e2ee.limits import GROUP_LOG_MAX
from e2ee.trust import Direction, Verdict

from . import forks
from .chains import logs_awaited
from .endings import finish
from .fetching import INBOX_ROOM, fetches_due, pump_fetches
from .giving_back import compare, take_put_back
from .log import Taken, take_entries
from .wanted import want_log, want_name
from .wish import SIGNED, WANTED, GroupWish, wish_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2ee.engine.step import Step
    from e2ee.frames import GroupLog
    from e2ee.ids import UserId
    from store import GroupOperation

    from .in_use import LoadedGroup
    from .memory import GroupsMemory

__all__ = ["begin", "group_work_at", "pump_groups", "take_appended", "take_up"]

TRIES_MAX: Final = 5  # signings of one operation: somebody else was faster each time
OPERATIONS_MAX: Final = 64  # of our own under way at once
CONFLICT_WAIT_S: Final = 0.1  # seconds at most before the second try; doubled each time
OPERATION_ID_SIZE: Final = 16
_MS: Final = 1000.0
_REFUSED_WAIT_S: Final = 1.0  # seconds, if the relay gives none
_UNDECIDED: Final = "the user's identity is not decided about: compare safety numbers, then trust it"
_FRACTION: Final = 2**32
# The relay has stored nothing and may later: the same bytes go again.
_LATER: Final = (RefusalCode.RATE_LIMITED, RefusalCode.UNAVAILABLE, RefusalCode.SHUTTING_DOWN)


def begin(step: Step, wish: GroupWish) -> bytes:
    """Store an operation; it goes on when the step ends. Return its id. Raises GroupError: then nothing was begun."""
    if len(step.unit.group_operations.all()) >= OPERATIONS_MAX:
        raise GroupError(f"{OPERATIONS_MAX} operations on groups are under way: wait for one")
    operation_id = step.entropy(OPERATION_ID_SIZE)
    if wish.operation is Operation.CREATE and wish.name is not None and wish.kind is not None:
        if step.unit.groups.pinned(wish.name) is not None:
            raise GroupRefused(RefusalCode.GROUP_NAME_TAKEN)
        entry = Membership.genesis(
            step.account.identity,
            step.user_id,
            name=wish.name,
            kind=wish.kind,
            time_ms=int(step.now * _MS),
            entropy=step.entropy,
        )
        group_id = reread_entry(entry).group_id
        step.unit.group_operations.add(operation_id, group_id, entry, state=SIGNED)
    else:
        step.unit.group_operations.add(operation_id, wish.group_id or b"", wish.to_bytes(), state=WANTED)
    step.memory.groups.operating = True
    return operation_id


def take_up(step: Step) -> None:
    """Go on, on a new connection, with what the last one, or the last run, has left."""
    groups = step.memory.groups
    groups.operating = bool(step.unit.group_operations.all())
    groups.left.extend(dict.fromkeys((*step.groups.unfinished(), *logs_awaited(step))))


def group_work_at(groups: GroupsMemory) -> Iterator[float]:
    """The times at which something about groups is due."""
    yield from groups.waits.values()
    yield from fetches_due(groups)


def pump_groups(step: Step) -> None:
    """Bring operations and questions forward."""
    groups = step.memory.groups
    left = OPERATIONS_MAX + 1
    while groups.operating:
        operations = step.unit.group_operations.all()
        groups.operating = bool(operations)
        if len(operations) >= left:
            break
        left = len(operations)  # what has ended lets the next one of its group go on
        busy: set[bytes] = set()  # one entry of ours at a time: a second would be made on the same number
        for operation in operations:
            _advance(step, operation, busy)
    if groups.left or groups.logs or groups.names:
        pump_fetches(step)


def _advance(step: Step, operation: GroupOperation, busy: set[bytes]) -> None:
    groups, operation_id = step.memory.groups, operation.operation_id
    wish = wish_of(operation)
    group_id = wish.group_id
    if group_id is None and wish.name is not None:
        group_id = step.unit.groups.pinned(wish.name)
    if group_id is not None:
        if group_id in busy:
            return
        busy.add(group_id)
    if operation_id in groups.appending or groups.waits.get(operation_id, 0.0) > step.now:
        return
    groups.waits.pop(operation_id, None)
    entry: bytes | None = operation.entry
    if operation.state == WANTED:
        entry = _sign(step, operation, wish, group_id)
    elif wish.operation is not Operation.CREATE:
        entry = _sign_again(step, operation, wish)
    if entry is not None and step.memory.online and step.memory.ready:
        groups.appending.add(operation_id)
        step.requests.append(AppendEntry(0, 0, entry))


# Signing.


def _sign(step: Step, operation: GroupOperation, wish: GroupWish, group_id: bytes | None) -> bytes | None:
    """Sign what is wanted; None: something is asked for first, or the operation has ended."""
    if group_id is None:
        if wish.name is not None and not want_name(step, wish.name):
            finish(step, operation, GroupError("too many groups are being looked up: try again"))
        return None
    group = step.groups.get(group_id)
    if group is None or group.fetching:
        if not want_log(step, group_id):
            finish(step, operation, GroupError("there is no room for one more group: leave one"))
        return None
    try:
        entry = _signed(step, operation, wish, group)
    except GroupError as error:
        finish(step, operation, error)
        return None
    if entry is not None:
        step.unit.group_operations.retry(operation.operation_id, entry, state=SIGNED)
    return entry


def _sign_again(step: Step, operation: GroupOperation, wish: GroupWish) -> bytes | None:
    """The entry as it is while it can be taken; else signed on top of the log, if the wish still makes sense."""
    entry = reread_entry(operation.entry)
    group = step.groups.get(entry.group_id)
    if entry.group_id in step.memory.groups.logs:
        return None  # more of the log is on its way: first see whether ours is in it
    if group is None:
        finish(step, operation, GroupRefused(RefusalCode.UNKNOWN_GROUP))
        return None
    now = group.membership
    if entry.number == now.number + 1 and entry.previous_hash == now.hash:
        return operation.entry
    there = step.unit.groups.log(now.group_id, after=entry.number - 1, limit=1)
    if (there and there[0].hash == entry.hash) or _is_fulfilled(now, wish):
        finish(step, operation, None)
        return None
    if operation.attempts >= TRIES_MAX:
        finish(step, operation, GroupRefused(RefusalCode.GROUP_CHANGED, "others were faster each time: try again"))
        return None
    return _sign(step, operation, wish, now.group_id)


def _signed(step: Step, operation: GroupOperation, wish: GroupWish, group: LoadedGroup) -> bytes | None:
    """Raises GroupError if the wish cannot be."""
    now, what = group.membership, wish.operation
    if what is Operation.JOIN and step.user_id in now.invited:
        what = Operation.ACCEPT
    if _is_done(step, now, what):
        finish(step, operation, None)
        return None
    if not _may_sign(step, group, what):
        return None
    subject_key = None
    if wish.subject is not None:
        subject_key = _subject_key(step, operation, wish.subject, now, what)
        if subject_key is None:
            return None
    try:
        return now.next_entry(
            step.account.identity,
            step.user_id,
            what,
            subject=wish.subject,
            subject_key=subject_key,
            role=wish.role,
            time_ms=int(step.now * _MS),
            entropy=step.entropy,
        )
    except EntryRefused as cause:
        code = RefusalCode.GROUP_FULL if isinstance(cause, GroupFull) else RefusalCode.ENTRY_REFUSED
        raise GroupRefused(code, str(cause)) from cause


def _is_done(step: Step, now: Membership, what: Operation) -> bool:
    """Whether there is nothing to be signed: we are in already, or out."""
    seated = now.is_member(step.user_id, step.account.identity.public_key)
    if what is Operation.LEAVE:
        return not seated and step.user_id not in now.invited
    return what in (Operation.JOIN, Operation.ACCEPT) and seated


def _may_sign(step: Step, group: LoadedGroup, what: Operation) -> bool:
    """Whether an entry may be made now; False: after two logs have been compared. Raises GroupError."""
    now = group.membership
    enters = what in (Operation.JOIN, Operation.ACCEPT)
    declines = what is Operation.LEAVE and step.user_id in now.invited
    if not enters and not declines and not now.is_member(step.user_id, step.account.identity.public_key):
        raise NotAMember("we are no member of the group under our present identity key")
    if group.fork is None:
        return True
    if what is not Operation.LEAVE:
        raise LogForked("two logs of the group were seen: accept the fork, or leave")
    forks.accept(step, group)  # whoever leaves need not know which log is the right one
    return False


def _subject_key(
    step: Step, operation: GroupOperation, subject: UserId, now: Membership, what: Operation
) -> bytes | None:
    """The identity key that an entry names for whom it is about; None: the relay is asked for it."""
    if what not in (Operation.INVITE, Operation.REKEY):
        seat = now.members.get(subject) or now.invited.get(subject)
        if seat is None:
            raise GroupRefused(RefusalCode.ENTRY_REFUSED, "the user is not in the group")
        return seat.identity_key
    record = step.unit.identities.current(subject)
    asked = operation.operation_id in step.memory.groups.asked
    if record is None or (what is Operation.REKEY and not asked):
        # A new identity is looked for even where we have one: it is what a rekey is about.
        if asked and not step.memory.lane(subject).asking:
            if any(step.unit.identities.history(subject)):
                raise IdentityUndecided(_UNDECIDED)
            raise GroupRefused(RefusalCode.UNKNOWN_USER)
        if step.memory.online:
            step.memory.groups.asked.add(operation.operation_id)
            ask_devices(step, subject)
        return None
    if step.memory.lane(subject).asking and asked:
        return None
    if (
        undecided(step.unit.identities.history(subject))
        or shows(step, subject, record.identity_key, Direction.SENDING) is not Verdict.USE
    ):
        raise IdentityUndecided(_UNDECIDED)
    return record.identity_key


def _is_fulfilled(now: Membership, wish: GroupWish) -> bool:
    """Whether somebody else's entries have done what was wanted."""
    match wish.operation:
        case Operation.REMOVE:
            return wish.subject not in now.members and wish.subject not in now.invited
        case Operation.CLOSE:
            return now.kind is GroupKind.INVITATION
        case Operation.DELETE:
            return now.deleted
        case _:
            return False


# Answers.


def take_appended(step: Step, request: AppendEntry, reply: GroupLog) -> None:
    """Take what the relay says to an entry of ours."""
    groups = step.memory.groups
    operation = next((one for one in step.unit.group_operations.all() if one.entry == request.entry), None)
    if operation is None:
        take_put_back(step, request, reply)
        return
    groups.appending.discard(operation.operation_id)
    groups.operating = True
    entry = reread_entry(request.entry)
    if step.unit.inbox.room() < INBOX_ROOM:
        groups.waits[operation.operation_id] = step.now + _REFUSED_WAIT_S  # the same bytes, when the inbox has room
    elif reply.refusal is None:
        _stored(step, operation, entry.group_id, request.entry)
    elif reply.refusal == RefusalCode.GROUP_CHANGED:
        _outrun(step, operation, entry.group_id, reply)
    elif reply.refusal in _LATER:
        wait_s = _REFUSED_WAIT_S if reply.retry_after_ms is None else reply.retry_after_ms / _MS
        groups.waits[operation.operation_id] = step.now + wait_s
    else:
        known = reply.refusal in RefusalCode.__members__.values()
        code = RefusalCode(reply.refusal) if known else RefusalCode.ENTRY_REFUSED
        if code is RefusalCode.UNKNOWN_GROUP and step.groups.get(entry.group_id) is not None:
            compare(step, entry.group_id)
        finish(step, operation, GroupRefused(code))


def _stored(step: Step, operation: GroupOperation, group_id: bytes, entry: bytes) -> None:
    """The relay says that it has the entry. It counts when it stands in the log as we verify it."""
    number = reread_entry(entry).number
    match take_entries(step, group_id, [entry]):
        case Taken.APPLIED | Taken.DUPLICATE:
            if number == 0:
                finish(step, operation, None)
            # Else `pump_groups` finds it in the log, at the end of this step.
        case Taken.GAP:
            # What is before it is fetched. Should it not be there, it is not asked about all the time.
            step.memory.groups.waits[operation.operation_id] = step.now + _REFUSED_WAIT_S
        case Taken.FORKED:
            finish(step, operation, LogForked("two logs of the group were seen: accept the fork, or leave"))
        case Taken.REFUSED | Taken.UNWANTED:
            code = RefusalCode.GROUP_FULL if number >= GROUP_LOG_MAX else RefusalCode.ENTRY_REFUSED
            finish(step, operation, GroupRefused(code))


def _outrun(step: Step, operation: GroupOperation, group_id: bytes, reply: GroupLog) -> None:
    """Somebody was faster: take what there is since, and try again after a moment that is another one for everybody."""
    take_entries(step, group_id, reply.entries)
    group = step.groups.get(group_id)
    if group is not None and group.membership.number < reply.head:
        want_log(step, group_id)
    elif group is not None and group.membership.number > reply.head:
        compare(step, group_id)
        reason = "the relay has lost entries of the log, and is given them back: try again"
        finish(step, operation, GroupRefused(RefusalCode.GROUP_CHANGED, reason))
        return
    fraction = int.from_bytes(step.entropy(4), "big") / _FRACTION
    longest = CONFLICT_WAIT_S * 2 ** min(operation.attempts, TRIES_MAX)
    step.memory.groups.waits[operation.operation_id] = step.now + fraction * longest
