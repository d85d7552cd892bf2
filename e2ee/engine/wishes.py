"""What the application wants of messages: to send them, to mark them as read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.content import ContentKind, ReadCopy, encode_read_copy
from e2ee.errors import InvalidArgument
from e2ee.events import DirectMessage, GroupMessage, unpack_event
from e2ee.ids import parse_user_id
from e2ee.limits import CONTENT_SIZE_MAX, READ_COPY_MESSAGES_MAX

from . import receipts
from .contents import encode_unpadded
from .groups.sending import queue_group_message
from .groups.state import require_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2ee.groups import Group
    from e2ee.ids import MessageId
    from store import Unit

    from .step import Step

__all__ = ["mark_read", "queue_message", "queue_to_group"]

_INBOX_PAGE: Final = 64  # events looked through at once, for a message that is marked as read by its id


def queue_message(step: Step, to: str, content: str | bytes) -> bytes:
    """Queue a message, and its copy for our own other devices; return its id, 16 bytes."""
    user_id = parse_user_id(to)
    kind = ContentKind.TEXT if isinstance(content, str) else ContentKind.DATA
    message = step.queue(kind, user_id, _body(content), counted=True)
    if user_id != step.user_id and not _alone(step):
        step.queue(ContentKind.SENT_COPY, step.user_id, encode_unpadded(message))
    return message.message_id


def queue_to_group(step: Step, group: str | Group, content: str | bytes) -> bytes:
    """Queue a message to a group; return its id, 16 bytes. Our own other devices are of the group like any other."""
    kind = ContentKind.TEXT if isinstance(content, str) else ContentKind.DATA
    return queue_group_message(step, require_group(step, group), kind, _body(content))


def mark_read(step: Step, messages: Sequence[DirectMessage | GroupMessage | MessageId]) -> None:
    """Note that read receipts are due, and tell our other devices."""
    found = _resolved(step.unit, messages)
    receipts.mark_read(step, found)
    if _alone(step):
        return
    read: dict[str, list[bytes]] = {}
    for message in found:
        read.setdefault(message.sender, []).append(bytes.fromhex(message.message_id))
    for sender, ids in read.items():
        for start in range(0, len(ids), READ_COPY_MESSAGES_MAX):
            some = tuple(ids[start : start + READ_COPY_MESSAGES_MAX])
            step.queue(ContentKind.READ_COPY, step.user_id, encode_read_copy(ReadCopy(sender, some)))


def _body(content: str | bytes) -> bytes:
    try:
        body = content.encode() if isinstance(content, str) else bytes(content)
    except (TypeError, UnicodeEncodeError) as cause:
        raise InvalidArgument("a message is text that has a UTF-8 form, or bytes") from cause
    if len(body) > CONTENT_SIZE_MAX:
        raise InvalidArgument(f"a message has at most {CONTENT_SIZE_MAX} bytes, this has {len(body)}")
    return body


def _alone(step: Step) -> bool:
    """Whether the relay has told lately that this is the user's only device."""
    return step.memory.own_devices_at is not None and not step.unit.devices.of(step.user_id)


def _resolved(
    unit: Unit, wanted: Sequence[DirectMessage | GroupMessage | MessageId]
) -> list[DirectMessage | GroupMessage]:
    """The messages themselves; those named by id are looked up in the inbox, from its start."""
    found = [one for one in wanted if isinstance(one, DirectMessage | GroupMessage)]
    ids = {one for one in wanted if not isinstance(one, DirectMessage | GroupMessage)}
    after = 0
    while ids:
        page = unit.inbox.after(after, limit=_INBOX_PAGE)
        if not page:
            raise InvalidArgument("a message is marked as read while it is in the inbox, or as the event that it was")
        for one in page:
            event = unpack_event(one.kind, one.body, number=one.number, redelivered=one.deliveries)
            if isinstance(event, DirectMessage | GroupMessage) and event.message_id in ids:
                ids.discard(event.message_id)
                found.append(event)
        after = page[-1].number
    return found
