"""A device that the relay has listed, for the first time or anew, makes itself known to its user's other devices.

One that was told that it is its user's only device makes no copies, and asks again after an hour at the earliest
(`peers`). So whatever is confirmed as listed owes the others a message, queued in the transaction that takes note of
the confirmation: a crash finds either an upload to be repeated or a message to be sent. It goes the way of a copy: to
the devices whose bundles our own identity key has signed. It says nothing: whoever opens a message of an own device
knows of that device. Nobody answers it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from e2ee.content import ContentKind, content_kind, decode_new_device, encode_new_device
from e2ee.errors import MalformedFrame
from store import Full

from .step import QUEUED, lane_of

if TYPE_CHECKING:
    from e2ee.content import Content

    from .step import Step

__all__ = ["announce", "take_new_device"]

_LOOKED_THROUGH: Final = 16  # messages at the head of the lane: one that was not found there is one too many, no harm


def announce(step: Step) -> None:
    """Tell our other devices that this one is there. One queued message says it, however often it is owed."""
    step.memory.own_devices_at = None  # what the relay said before may have become wrong: it is asked
    waiting = step.unit.outgoing.next_in(lane_of(step.user_id), QUEUED, limit=_LOOKED_THROUGH)
    if any(content_kind(message.content) == ContentKind.NEW_DEVICE for message in waiting):
        return
    with suppress(Full):  # messages of the application come first; the others ask within the hour
        step.queue(ContentKind.NEW_DEVICE, step.user_id, encode_new_device())


def take_new_device(step: Step, content: Content) -> None:
    """Take an announcement: that it has opened was all of it. Raises MalformedFrame, also for one of somebody else."""
    if content.sender_user_id != step.user_id:
        raise MalformedFrame("only a device of our own user makes itself known")
    decode_new_device(content.body)
