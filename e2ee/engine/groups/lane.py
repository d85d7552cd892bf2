"""The lane to one group: what the engine remembers of it during one connection, and its names in the store."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from e2ee.engine.lane import Lane

if TYPE_CHECKING:
    from e2ee.frames import MemberDevices

__all__ = ["GroupLane", "Search", "group_lane", "group_of"]

_LANE: Final = "group:"
_ID_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class Search:
    """An entry on its way back to a relay that may lack it (`giving_back`)."""

    number: int
    first: int  # of the one that this began with
    looking: bool = False  # for the relay's newest entry, backwards: it does not say which
    found: bool = False  # it has taken one, or has said which
    given: int = 0  # entries since this began


@dataclass(slots=True)
class GroupLane(Lane):
    """Submissions to one group, and the sender key on its way to those who have not got it."""

    devices: tuple[MemberDevices, ...] | None = None  # as the relay told them last; None: ask
    told_at: int = -1  # the number of the log entry that they were told for
    any_devices: bool = False  # the list has changed too often: the next message goes to whatever devices there are
    planned: int | None = None  # the chain that *to_key* was made for; None: who lacks it is not known
    without_session: deque[tuple[str, tuple[int, ...]]] = field(default_factory=deque)  # user, devices
    bundles: set[bytes] = field(default_factory=set)  # ids of requests for them without an answer
    to_key: deque[str] = field(default_factory=deque)  # users that lack the key
    requested: set[str] = field(default_factory=set)  # users who have asked for it
    looking: bool = False  # for devices of users who have asked for the key, and of whom none was known
    comparing: bool = False  # with the relay's log, which was or may be shorter than ours
    search: Search | None = None  # the entry of ours that it is being given back
    keying: set[str] = field(default_factory=set)  # users whom it is on its way to

    def learn(self, devices: tuple[MemberDevices, ...], number: int) -> None:
        """Take the relay's list, told when the log ended with entry *number*: it is a hint, like any other."""
        self.devices, self.told_at = devices, number
        self.replan()

    def replan(self) -> None:
        """Look again who lacks the key."""
        self.planned = None
        self.to_key.clear()
        self.without_session.clear()


def group_lane(group_id: bytes) -> str:
    """The store's name for the lane to a group, and for the conversation in it."""
    return _LANE + group_id.hex()


def group_of(lane: str) -> bytes | None:
    """Undo `group_lane`; None for another lane."""
    digits = lane[len(_LANE) :]
    return bytes.fromhex(digits) if lane.startswith(_LANE) and len(digits) == _ID_DIGITS else None
