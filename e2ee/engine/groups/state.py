"""The groups of a step: each loaded once, changed in memory, written once (messaging 10).

The membership is a function of the log, so it is kept in memory too, by the hash of the log's newest entry: a value
under the right hash is right, whatever became of the step that made it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from e2ee.codec import decode_array, encode_array, flag, integer, items, octets, optional, record
from e2ee.errors import MalformedFrame, UnknownGroup
from e2ee.groups import EntryRefused, Group, Membership, reread_entry
from e2ee.ids import UserId
from e2ee.limits import COUNTER_MAX, GROUP_ID_SIZE
from store import StoreCorrupt, StoredGroup

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from store import Unit

__all__ = [
    "ID_DIGITS",
    "Fork",
    "GroupsInUse",
    "LoadedGroup",
    "Memberships",
    "epoch_at",
    "group_view",
    "membership",
    "membership_at",
    "replayed",
    "require_group",
    "resolve",
    "was_member",
]

MEMBERSHIPS_CACHED_MAX: Final = 64  # values of up to 100 kB: the present ones of busy groups, and those just before
REPLAYED_MAX: Final = 10_000  # entries replayed for the membership at one of them: 0.3 s
_PAGE: Final = 256  # entries read from the store at once
_FORM: Final = 1
_STATE_SIZE_MAX: Final = 512 * 1024  # bytes: 1,000 seats and 1,000 invitations with the longest names
_FORKS_MAX: Final = 16  # decided about, and not told again; the oldest go first
ID_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Fork:
    """Another log than ours, as far as we have seen of it."""

    number: int  # of the entry that both logs have
    theirs: bytes = field(repr=False)  # its hash in the other, 32 bytes


@dataclass(slots=True)
class LoadedGroup:
    """A group in the hands of a step."""

    membership: Membership
    stored: StoredGroup | None  # None: new in this step
    fetching: bool = False  # the log is not complete yet: nothing of it counts
    fork: Fork | None = None  # not decided about
    accepting: bool = False  # the fork is accepted: the relay's log is being compared with ours, from its start
    accepted: tuple[Fork, ...] = ()
    behind: bool = False  # entries may have been missed with the mail of another life: the log is asked for once
    changed: bool = False

    @property
    def usable(self) -> bool:
        """Whether the log is complete, and nothing contradicts it."""
        return not self.fetching and self.fork is None

    def accept(self, fork: Fork) -> None:
        """Note that a fork is decided about."""
        self.accepted = (*self.accepted, fork)[-_FORKS_MAX:]
        self.changed = True


class Memberships:
    """Memberships that were made or read lately, by group and hash of the newest entry."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[bytes, bytes], Membership] = OrderedDict()

    def get(self, group_id: bytes, head: bytes) -> Membership | None:
        """The membership after the entry with the hash *head*."""
        found = self._known.get((group_id, head))
        if found is not None:
            self._known.move_to_end((group_id, head))
        return found

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._known)

    def put(self, one: Membership) -> None:
        """Remember one; the one that was not asked for longest goes."""
        self._known[one.group_id, one.hash] = one
        self._known.move_to_end((one.group_id, one.hash))
        if len(self._known) > MEMBERSHIPS_CACHED_MAX:
            self._known.popitem(last=False)


_fork = record(Fork, integer(COUNTER_MAX), octets(GROUP_ID_SIZE, GROUP_ID_SIZE))
_STATE: Final = (octets(_STATE_SIZE_MAX), flag, optional(_fork), flag, items(_fork, _FORKS_MAX), flag)
_OLDEST_SIZE: Final = 5  # parts of the first release's form; what is missing behind them is False


class GroupsInUse:
    """The groups of one step."""

    def __init__(self, unit: Unit, known: Memberships) -> None:
        self._unit = unit
        self._known = known
        self._loaded: dict[bytes, LoadedGroup | None] = {}

    def get(self, group_id: bytes) -> LoadedGroup | None:
        """A group; None if it is not known. Raises StoreCorrupt."""
        if group_id not in self._loaded:
            stored = self._unit.groups.load(group_id)
            self._loaded[group_id] = None if stored is None else self._unpacked(stored)
        return self._loaded[group_id]

    def all(self) -> list[LoadedGroup]:
        """Every group, in order of their ids."""
        self.write()
        found = [self.get(stored.group_id) for stored in self._unit.groups.all()]
        return [one for one in found if one is not None]

    def unfinished(self) -> list[bytes]:
        """Groups whose logs are to be read on, or compared with the relay's. Reads no membership."""
        return [
            stored.group_id
            for stored in self._unit.groups.all()
            if (parts := _parts(stored.state)) and (parts[1] or parts[3] or parts[5])
        ]

    def fall_behind(self) -> None:
        """Mail was lost, perhaps with entries: the rest of each log is asked for once, on this connection or later.

        An entry that was lost may be told again by nobody: the group may be quiet.
        """
        for group in self.all():
            if not group.membership.deleted:
                group.behind = group.changed = True

    def add(self, group: LoadedGroup) -> None:
        """Take up a group that was not known."""
        group.changed = True
        self._loaded[group.membership.group_id] = group
        self._known.put(group.membership)

    def advance(self, group: LoadedGroup, after: Membership) -> None:
        """Let the group be *after* from now on."""
        group.membership = after
        group.changed = True
        self._known.put(after)

    def forget(self, group_id: bytes) -> None:
        """Delete a group with everything that belongs to it."""
        self._unit.sender_keys.delete_own(group_id)  # which the unit may have in memory
        self._unit.groups.delete(group_id)
        self._loaded[group_id] = None

    def write(self) -> None:
        """Write what has changed."""
        for group_id, group in self._loaded.items():
            if group is None or not group.changed:
                continue
            now = group.membership
            state = encode_array(
                [
                    _FORM,
                    now.to_bytes(),
                    group.fetching,
                    None if group.fork is None else _packed(group.fork),
                    group.accepting,
                    [_packed(one) for one in group.accepted],
                    group.behind,
                ]
            )
            version = 0 if group.stored is None else group.stored.version
            row = StoredGroup(group_id, now.name, now.epoch, now.number, now.hash, state, version)
            group.stored = self._unit.groups.save(row)
            group.changed = False

    def _unpacked(self, stored: StoredGroup) -> LoadedGroup:
        try:
            packed, fetching, fork, accepting, accepted, behind = _parts(stored.state)
            found = self._known.get(stored.group_id, stored.head)
            if found is None:
                found = Membership.from_bytes(packed)
                self._known.put(found)
        except MalformedFrame as cause:
            raise StoreCorrupt("the state of a group is damaged") from cause
        return LoadedGroup(found, stored, fetching, fork, accepting, tuple(accepted), behind)


def _parts(state: bytes) -> list[Any]:
    form, *parts = decode_array(state) or [None]
    if form != _FORM or len(parts) < _OLDEST_SIZE:
        raise MalformedFrame("a group in another form")
    parts += [False] * (len(_STATE) - len(parts))
    return [read(part) for read, part in zip(_STATE, parts, strict=False)]


def _packed(fork: Fork) -> list[object]:
    return [fork.number, fork.theirs]


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
