"""The packed forms of durable events, as they wait in the inbox: ``[version, the fields in order]``.

A form only grows at the end, by fields with a default: what an earlier release has stored stays readable.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from typing import Final

from e2ee.codec import Reader, decode_array, encode_array, flag, integer, items, octets, optional, text, user, utf8
from e2ee.errors import MalformedFrame
from e2ee.frames import DEVICE_ID_MAX
from e2ee.ids import MESSAGE_ID_SIZE, GroupId, MessageId
from e2ee.limits import (
    CONTENT_SIZE_MAX,
    COUNTER_MAX,
    GAPS_TOLD_MAX,
    GROUP_ENTRY_SIZE_MAX,
    GROUP_ID_SIZE,
    GROUP_MEMBERS_MAX,
    GROUP_NAME_SIZE_MAX,
    READ_COPY_MESSAGES_MAX,
    RETRY_ENVELOPES_MAX,
    TEXT_SIZE_MAX,
)

from .durable import (
    DeliveryQuarantined,
    DeliveryState,
    DirectMessage,
    DurableEvent,
    HistoryGap,
    IdentityChanged,
    MessageHealed,
    MessageLost,
    MessagesMissing,
    MessageState,
    OwnMessage,
    OwnRead,
)
from .groups import (
    GroupClosed,
    GroupCreated,
    GroupDeleted,
    GroupForked,
    GroupInvitation,
    GroupJoined,
    GroupLeft,
    GroupMemberJoined,
    GroupMemberLeft,
    GroupMemberRekeyed,
    GroupMessage,
    GroupOperationFailed,
    GroupRoleChanged,
)

__all__ = ["pack_event", "unpack_event"]

_VERSION: Final = 1
_CORRELATION_SIZE_MAX: Final = 32  # bytes


def _message_id(value: object) -> MessageId:
    found = text(2 * MESSAGE_ID_SIZE)(value)
    if len(found) != 2 * MESSAGE_ID_SIZE:
        raise MalformedFrame("not a message id")
    return MessageId(found)


def _group_id(value: object) -> GroupId:
    found = text(2 * GROUP_ID_SIZE)(value)
    if len(found) != 2 * GROUP_ID_SIZE:
        raise MalformedFrame("not a group id")
    return GroupId(found)


def _known_group_id(value: object) -> GroupId:
    """A group id, or nothing: no group was found under the name."""
    return GroupId("") if value == "" else _group_id(value)


def _state(value: object) -> DeliveryState:
    try:
        return DeliveryState(integer(255)(value))
    except ValueError as cause:
        raise MalformedFrame("not a delivery state") from cause


_device = integer(DEVICE_ID_MAX, 1)
_counter = integer(COUNTER_MAX)
_key = octets(33, 33)
_digits = text(60)
_reason = text(TEXT_SIZE_MAX)
_correlations = items(text(_CORRELATION_SIZE_MAX), RETRY_ENVELOPES_MAX)
_run = items(_counter, 2, 2)
_content: tuple[Reader, Reader] = (optional(text(CONTENT_SIZE_MAX)), octets(CONTENT_SIZE_MAX))
_group: tuple[Reader, Reader] = (_group_id, text(GROUP_NAME_SIZE_MAX))
_FORMS: Final[dict[str, tuple[type[DurableEvent], tuple[Reader, ...]]]] = {
    "direct_message": (DirectMessage, (user, _device, _message_id, _counter, _counter, *_content, flag)),
    "own_message": (OwnMessage, (user, _device, _message_id, _counter, *_content)),
    "own_read": (OwnRead, (user, _device, items(_message_id, READ_COPY_MESSAGES_MAX, 1))),
    "message_state": (MessageState, (_message_id, optional(user), _state, _reason, optional(_group_id))),
    "identity_changed": (IdentityChanged, (user, _key, _key, flag, _digits, _digits)),
    "message_lost": (MessageLost, (user, _device, _reason, _counter, _correlations)),
    "message_healed": (MessageHealed, (user, _device, _message_id, _correlations)),
    "messages_missing": (MessagesMissing, (user, _device, items(_run, GAPS_TOLD_MAX, 1), optional(_group_id))),
    "history_gap": (HistoryGap, (_counter, _counter)),
    "delivery_quarantined": (DeliveryQuarantined, (user, _device, _reason)),
    "group_message": (GroupMessage, (*_group, user, _device, _message_id, _counter, _counter, *_content, flag)),
    "group_created": (GroupCreated, _group),
    "group_deleted": (GroupDeleted, (*_group, user)),
    "group_closed": (GroupClosed, (*_group, user)),
    "group_invitation": (GroupInvitation, (*_group, user)),
    "group_joined": (GroupJoined, (*_group, items(user, GROUP_MEMBERS_MAX))),
    "group_left": (GroupLeft, (*_group, user)),
    "group_member_joined": (GroupMemberJoined, (*_group, user)),
    "group_member_left": (GroupMemberLeft, (*_group, user, user)),
    "group_member_rekeyed": (GroupMemberRekeyed, (*_group, user, user)),
    "group_role_changed": (GroupRoleChanged, (*_group, user, user, flag)),
    "group_operation_failed": (GroupOperationFailed, (_known_group_id, _group[1], _reason, _reason)),
    "group_forked": (GroupForked, (*_group, _counter, octets(GROUP_ENTRY_SIZE_MAX), octets(GROUP_ENTRY_SIZE_MAX))),
}
_KINDS: Final = {kind: name for name, (kind, _) in _FORMS.items()}
_PLACE: Final = ("number", "redelivered")  # of every durable event; not packed: the inbox knows them


def _names(kind: type[DurableEvent]) -> list[str]:
    return [part.name for part in fields(kind) if part.name not in _PLACE]


def _added_later(kind: type[DurableEvent]) -> int:
    """How many of the last fields an earlier release may not have stored."""
    return sum(part.default is not MISSING for part in fields(kind) if part.name not in _PLACE)


def pack_event(event: DurableEvent) -> tuple[str, bytes]:
    """Return the name of the event's kind and its packed form."""
    kind = type(event)
    values = [getattr(event, name) for name in _names(kind)]
    if isinstance(event, DirectMessage | GroupMessage | OwnMessage):
        # The text is the data: it is not stored twice, only that it is a text.
        values[_names(kind).index("text")] = None if event.text is None else ""
    return _KINDS[kind], encode_array([_VERSION, *values])


def unpack_event(name: str, body: bytes, *, number: int, redelivered: int) -> DurableEvent:
    """Undo `pack_event`, for an event at its place in the inbox. Raises MalformedFrame if it is damaged."""
    if name not in _FORMS:
        raise MalformedFrame("an event of a newer release")
    kind, readers = _FORMS[name]
    version, *values = decode_array(body) or [None]
    names = _names(kind)
    if version != _VERSION or len(values) < len(names) - _added_later(kind):
        raise MalformedFrame("an event in another form")
    found = {one: read(value) for one, read, value in zip(names, readers, values, strict=False)}
    event = kind(**found, number=number, redelivered=redelivered)
    if isinstance(event, DirectMessage | GroupMessage | OwnMessage) and event.text is not None:
        return replace(event, text=utf8(event.data))
    return event
