"""Giving a relay back what it has lost of a group's log: whoever knows the log can.

The log that we hold is verified, and entries are bytes: put back, they are what they were. The relay judges each by its
actor and by the log, whoever brings it, as it did the first time. So every member gives back what the relay lacks, one
entry after the other, whoever made it.

What the relay lacks it says to whom it knows as a member. To one whose own entry is lost it says only whether it has an
entry, or takes it as the next one: then we look back from that entry, twice as far each time, and go forward from the
first one that is taken.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from e2ee.engine.waits import WAIT_MIN_S
from e2ee.errors import RefusalCode
from e2ee.frames import AppendEntry
from e2ee.groups import reread_entry

from .fetching import INBOX_ROOM
from .lane import Search
from .log import take_entries
from .state import membership

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.frames import GroupLog
    from e2ee.groups import Membership

__all__ = ["compare", "give_back", "give_back_the_end", "take_put_back"]

# Ours: it may change in any release.
GIVEN_BACK_MAX: Final = 4_096  # entries after one look, 2 MB: a relay that always says it is behind costs no more
_MS: Final = 1000.0
# To an entry that does not follow, if we may not read the log; and to one of an actor that the relay does not know.
_NOT_THERE: Final = (RefusalCode.UNKNOWN_GROUP, RefusalCode.NOT_AUTHENTIC)


def compare(step: Step, group_id: bytes) -> None:
    """Let the relay's log be compared with ours, as soon as there is a connection and the lane does not wait."""
    step.memory.lane_to(group_id).comparing = True
    step.memory.active_groups[group_id] = None


def give_back_the_end(step: Step, group: Membership) -> None:
    """We are out of the group: see that the relay has what ended it, or that we are; once after a loss.

    Only where it says what it lacks. A log of which it knows nothing is its members' to give back: it may be that there
    are none, and another group has the name by now.
    """
    give_back(step, group, Search(group.number, group.number))


def give_back(step: Step, group: Membership, search: Search) -> None:
    """Give the relay one entry of our log, unless one is on its way, or that would be too much after one look."""
    lane = step.memory.lane_to(group.group_id)
    known = step.groups.get(group.group_id)
    # What stands in a log that may be the wrong one is given to nobody.
    if lane.search is not None or known is None or not known.usable or search.given >= GIVEN_BACK_MAX:
        return
    found = step.unit.groups.log(group.group_id, after=search.number - 1, limit=1)
    if found and search.number <= group.number:
        lane.search = replace(search, given=search.given + 1)
        step.requests.append(AppendEntry(0, 0, found[0].entry))


def take_put_back(step: Step, request: AppendEntry, reply: GroupLog) -> None:
    """The relay has an entry, or says where its log ends, or does not take it: go on from there, if that leads on."""
    entry = reread_entry(request.entry)
    lane = step.memory.lane_to(entry.group_id)
    search, lane.search = lane.search, None
    group = membership(step, entry.group_id)
    if group is None or search is None or search.number != entry.number:
        return
    if reply.entries and step.unit.inbox.room() >= INBOX_ROOM:
        # Another entry in its place is another log, of which we, no member there, are told by nobody else.
        take_entries(step, entry.group_id, reply.entries)
    following = _following(search, reply)
    if following is not None:
        give_back(step, group, following)
    elif reply.refusal == RefusalCode.RATE_LIMITED:
        lane.wait(step.now, max(WAIT_MIN_S, (reply.retry_after_ms or 0) / _MS))


def _following(search: Search, reply: GroupLog) -> Search | None:
    """What is given back next; None: it leads no further for now.

    Backward only until the relay has taken an entry, or said where its log ends; then forward only. So a relay that
    says something else each time has us send no more than one that says nothing new.
    """
    number, found = search.number, replace(search, looking=False, found=True)
    if reply.refusal is None:
        return replace(found, number=max(number, reply.head) + 1)
    if reply.refusal == RefusalCode.GROUP_CHANGED and (reply.head >= number or not search.found):
        return replace(found, number=reply.head + 1)
    if reply.refusal in _NOT_THERE and search.looking and number > 0:
        return replace(search, number=max(0, search.first - max(1, 2 * (search.first - number))))
    return None
