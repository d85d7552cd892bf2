"""What the application wants: messages to send, marks of what was read, decisions about identities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.content import ContentKind
from e2ee.errors import InvalidArgument
from e2ee.events import DirectMessage, unpack_event
from e2ee.ids import UserId, parse_user_id
from e2ee.limits import CONTENT_SIZE_MAX

from . import receipts
from .contents import encode_unpadded
from .peers import adopt
from .receiving import reopen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2ee.ids import MessageId
    from store import Unit

    from .step import Step

__all__ = ["distrust", "mark_read", "queue_message", "trust"]

_INBOX_PAGE: Final = 64  # events looked through at once, for a message that is marked as read by its id


def queue_message(step: Step, to: str, content: str | bytes) -> bytes:
    """Queue a message, and its copy for our own other devices; return its id, 16 bytes."""
    user_id = parse_user_id(to)
    kind = ContentKind.TEXT if isinstance(content, str) else ContentKind.DATA
    message = step.queue(kind, user_id, _body(content), counted=True)
    if user_id != step.user_id and not _alone(step):
        step.queue(ContentKind.SENT_COPY, step.user_id, encode_unpadded(message))
    return message.message_id


def mark_read(step: Step, messages: Sequence[DirectMessage | MessageId]) -> None:
    """Note that read receipts are due."""
    receipts.mark_read(step, _resolved(step.unit, messages))


def trust(step: Step, user_id: str, identity_key: bytes, verification: str) -> None:
    """Put a key that the user has shown on record, and let go what was held."""
    if all(one.identity_key != identity_key for one in step.unit.identities.history(user_id)):
        raise InvalidArgument("the user has not shown this identity key")
    adopt(step, user_id, identity_key)
    step.unit.identities.decide(user_id, identity_key, verification=verification, decision="trusted")
    step.memory.lane(user_id).moved()
    step.memory.active[UserId(user_id)] = None
    reopen(step, user_id)


def distrust(step: Step, user_id: str, identity_key: bytes) -> None:
    """Stay with the key on record: what another key has sent stays held, and what is for the user goes to the old."""
    record = step.unit.identities.current(user_id)
    if record is None or record.identity_key == identity_key:
        raise InvalidArgument("this is the key on record: block the user, or trust another key")
    if all(one.identity_key != identity_key for one in step.unit.identities.history(user_id)):
        raise InvalidArgument("the user has not shown this identity key")
    step.unit.identities.decide(user_id, identity_key, verification="", decision="distrusted")
    step.memory.active[user_id] = None


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


def _resolved(unit: Unit, wanted: Sequence[DirectMessage | MessageId]) -> list[DirectMessage]:
    """The messages themselves; those named by id are looked up in the inbox, from its start."""
    found = [one for one in wanted if isinstance(one, DirectMessage)]
    ids = {one for one in wanted if not isinstance(one, DirectMessage)}
    after = 0
    while ids:
        page = unit.inbox.after(after, limit=_INBOX_PAGE)
        if not page:
            raise InvalidArgument("a message is marked as read while it is in the inbox, or as the event that it was")
        for one in page:
            event = unpack_event(one.kind, one.body, number=one.number, redelivered=one.deliveries)
            if isinstance(event, DirectMessage) and event.message_id in ids:
                ids.discard(event.message_id)
                found.append(event)
        after = page[-1].number
    return found
