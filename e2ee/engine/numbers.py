"""Conversation numbers: which messages of a device have arrived, which are missing, and when that is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from e2ee.events import MessagesMissing
from e2ee.ids import GroupId, UserId
from e2ee.limits import GAPS_TOLD_MAX
from e2ee.recovery import GAP_AGE_S

from .groups.lane import group_of

if TYPE_CHECKING:
    from e2ee.content import Content
    from store import Received

    from .step import Step

__all__ = ["find_gaps", "note_number", "take_numbers", "tell_missing"]

GAPS_KEPT_MAX: Final = GAPS_TOLD_MAX  # runs of missing numbers of one device; the oldest are forgotten


def take_numbers(before: Received, number: int, now: float) -> Received:
    """Note that a conversation number has arrived. What came before the first that we saw is not missing."""
    gaps = list(before.gaps)
    if number > before.highest:
        if before.highest and number > before.highest + 1:
            gaps.append((before.highest + 1, number - 1))
        before = replace(before, highest=number)
    else:
        halves = [
            half for first, last in gaps for half in ((first, min(last, number - 1)), (max(first, number + 1), last))
        ]
        gaps = [half for half in halves if half[0] <= half[1]]
    return _on_the_clock(replace(before, gaps=tuple(gaps[-GAPS_KEPT_MAX:])), now)


def _on_the_clock(received: Received, now: float) -> Received:
    """Let the clock run for the gaps that were not told. Those that open while it runs wait for the next round."""
    untold = [first for first, _ in received.gaps if first > received.told]
    if not untold:
        return replace(received, gaps_since=None)
    if received.gaps_since is not None and untold[0] <= received.watched:
        return received
    return replace(received, gaps_since=now, watched=received.highest)


def _note_gaps(step: Step, received: Received) -> None:
    """See to it that open gaps are told in time."""
    if received.gaps_since is not None:
        at = received.gaps_since + GAP_AGE_S
        step.memory.gaps_at = at if step.memory.gaps_at is None else min(step.memory.gaps_at, at)


def note_number(step: Step, conversation: bytes, content: Content) -> bool:
    """Note the number of a message that nobody has seen before; return whether a later one came before it."""
    sender, device = content.sender_user_id, content.sender_device_id
    before = step.unit.conversations.received(conversation, sender, device)
    after = take_numbers(before, content.conversation_number, step.now)
    step.unit.conversations.save_received(conversation, sender, device, after)
    _note_gaps(step, after)
    return content.conversation_number < before.highest


def find_gaps(step: Step) -> None:
    """Look in the store for the gap that is to be told first."""
    step.memory.gaps_at = None
    for *_, received in step.unit.conversations.open_gaps(0.0, limit=1):
        _note_gaps(step, received)


def tell_missing(step: Step) -> None:
    """Tell of gaps that have been open for 10 minutes: once, and only when everything that waited was taken."""
    if not step.unit.inbox.room():
        step.memory.gaps_at = step.now + GAP_AGE_S
        return
    for conversation, user_id, device_id, received in step.unit.conversations.open_gaps(GAP_AGE_S):
        missing = tuple(gap for gap in received.gaps if received.told < gap[0] <= received.watched)
        if missing:
            group_id = group_of(conversation.decode())
            group = None if group_id is None else GroupId(group_id.hex())
            step.keep(MessagesMissing(sender=UserId(user_id), sender_device=device_id, numbers=missing, group=group))
        told = replace(received, told=received.watched, gaps_since=None)
        step.unit.conversations.save_received(conversation, user_id, device_id, _on_the_clock(told, step.now))
    find_gaps(step)
