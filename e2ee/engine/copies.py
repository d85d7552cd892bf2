"""What another device of our own user has sent or read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.content import ContentKind, decode_read_copy
from e2ee.errors import MalformedFrame
from e2ee.events import OwnMessage, OwnRead
from e2ee.ids import MessageId, UserId

from .contents import unpadded_content

if TYPE_CHECKING:
    from e2ee.content import Content

    from .step import Step

__all__ = ["take_copy", "take_read_copy"]


def take_copy(step: Step, content: Content) -> None:
    """Take a message that another own device has sent."""
    copy = unpadded_content(content.body)
    recipient = copy.destination.user_id
    if recipient is None:
        return
    step.keep(
        OwnMessage(
            recipient=UserId(recipient),
            own_device=content.sender_device_id,
            message_id=MessageId(copy.message_id.hex()),
            sent_at_ms=copy.time_ms,
            text=copy.body.decode() if copy.kind == ContentKind.TEXT else None,
            data=copy.body,
        )
    )


def take_read_copy(step: Step, content: Content) -> None:
    """Take what another own device has read. Raises MalformedFrame, also for one of somebody else."""
    if content.sender_user_id != step.user_id:
        raise MalformedFrame("a copy comes from our own devices only")
    copy = decode_read_copy(content.body)
    ids = tuple(MessageId(one.hex()) for one in copy.message_ids)
    step.keep(OwnRead(sender=UserId(copy.sender_user_id), own_device=content.sender_device_id, message_ids=ids))
