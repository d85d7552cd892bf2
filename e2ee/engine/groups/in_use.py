"""The groups of a step: each loaded once, changed in memory, written once (messaging 10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from e2ee.codec import decode_array, encode_array, flag, integer, items, octets, optional, record
from e2ee.errors import MalformedFrame
from e2ee.groups import Membership
from e2ee.limits import COUNTER_MAX, GROUP_ID_SIZE
from store import StoreCorrupt, StoredGroup

if TYPE_CHECKING:
    from store import Unit

    from .memberships import Memberships

__all__ = ["Fork", "GroupsInUse", "LoadedGroup"]

_FORM: Final = 1
_STATE_SIZE_MAX: Final = 512 * 1024  # bytes: 1,000 seats and 1,000 invitations with the longest names
_FORKS_MAX: Final = 16  # decided about, and not told again; the oldest go first


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
