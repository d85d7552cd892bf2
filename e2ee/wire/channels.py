"""The frames of channels and of the directory, read as those of `conversation`."""

from __future__ import annotations

from typing import Final

from e2ee.codec import Reader, flag, items, octets, record, text, user
from e2ee.errors import MalformedFrame
from e2ee.frames import (
    ClientFrame,
    Done,
    Publish,
    Published,
    RelayFrame,
    Subscribe,
    Unsubscribe,
    UserNotice,
    UserNotices,
    WatchUsers,
)
from e2ee.limits import CHANNEL_DATA_SIZE_MAX, CHANNEL_NAME_SIZE_MAX, USERS_PER_FRAME_MAX

from .readers import counter, device_id, request

__all__ = ["CLIENT", "RELAY"]

_name = text(CHANNEL_NAME_SIZE_MAX)
_data = octets(CHANNEL_DATA_SIZE_MAX)


def _channel(value: object) -> str:
    name: str = _name(value)
    if not name or not name.isprintable():
        raise MalformedFrame("a channel has a name of printable characters")
    return name


CLIENT: Final[dict[int, tuple[type[ClientFrame], Reader]]] = {
    kind: (frame, record(frame, *readers))
    for kind, frame, readers in (
        (12, Subscribe, (counter, request, _channel)),
        (13, Unsubscribe, (counter, request, _channel)),
        (14, Publish, (counter, request, _channel, _data)),
        (15, WatchUsers, (counter, request, flag)),
    )
}

RELAY: Final[dict[int, tuple[type[RelayFrame], Reader]]] = {
    kind: (frame, record(frame, *readers))
    for kind, frame, readers in (
        (79, Done, (request,)),
        (80, Published, (_channel, user, device_id, _data)),
        (81, UserNotices, (items(record(UserNotice, user, flag), USERS_PER_FRAME_MAX, 1),)),
    )
}
