"""What a client does beside its encrypted messages: channels, the directory, raw data. Nothing of it is encrypted.

No engine and no store take part: what is published now is heard now, or not at all. What was subscribed to is
subscribed to again after each reconnection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from e2ee.errors import ConnectionEnded, InvalidArgument, RefusalCode, Refused
from e2ee.events import ChannelMessage, RawMessage, Subscribed, Unsubscribed, UserCreated, UserDeleted
from e2ee.frames import Done, Publish, Published, RefusedRequest, Subscribe, Unsubscribe, UserNotices, WatchUsers
from e2ee.ids import UserId
from e2ee.limits import CHANNEL_DATA_SIZE_MAX, CHANNEL_NAME_SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.events import LiveEvent
    from e2ee.frames import Reply, Request

    from .connection import Connection

__all__ = ["Beside", "check_channel", "check_publication"]

_Asked: TypeAlias = Subscribe | Unsubscribe | Publish | WatchUsers


class Beside:
    """Belongs to the event loop. *tell* passes a live event on."""

    def __init__(self, tell: Callable[[LiveEvent], None]) -> None:
        self._tell = tell
        self._connection: Connection | None = None  # None: not online
        self._channels: dict[str, None] = {}  # wanted, now and after each reconnection
        self._watching = False
        self._asked: dict[int, tuple[_Asked, asyncio.Future[None]]] = {}  # by the identity of the request

    def came_online(self, connection: Connection) -> None:
        """Take up a connection that was welcomed; ask again for what is wanted."""
        self._connection = connection
        for channel in self._channels:
            self._send(Subscribe(0, 0, channel))
        if self._watching:
            self._send(WatchUsers(0, 0, on=True))

    def went_offline(self) -> None:
        """The connection is gone, and with it every answer that was waited for."""
        self._connection = None
        asked, self._asked = self._asked, {}
        for _, future in asked.values():
            if not future.done():
                future.set_exception(ConnectionEnded("the connection ended before the relay answered"))

    def takes(self, request: Request, reply: Reply) -> bool:
        """Take the answer to a request of this file; False: it is somebody else's."""
        if not isinstance(request, _Asked):
            return False
        _, future = self._asked.pop(id(request), (request, None))
        if isinstance(reply, RefusedRequest):
            self._refused(request, reply, future)
        elif isinstance(reply, Done):
            if isinstance(request, Subscribe):
                self._tell(Subscribed(request.channel))
            elif isinstance(request, Unsubscribe):
                self._tell(Unsubscribed(request.channel))
            if future is not None and not future.done():
                future.set_result(None)
        return True

    def _refused(self, request: _Asked, reply: RefusedRequest, future: asyncio.Future[None] | None) -> None:
        if isinstance(request, Subscribe):
            self._channels.pop(request.channel, None)
            self._tell(Unsubscribed(request.channel))
        known = reply.code in RefusalCode.__members__.values()
        wait_s = None if reply.retry_after_ms is None else reply.retry_after_ms / 1000
        if future is not None and not future.done():
            future.set_exception(
                Refused(RefusalCode(reply.code) if known else RefusalCode.UNKNOWN_REQUEST, retry_after_s=wait_s)
            )

    def pushed(self, frame: Published | UserNotices) -> None:
        """Tell what the relay says unasked."""
        if isinstance(frame, Published):
            self._tell(ChannelMessage(frame.channel, UserId(frame.sender_user_id), frame.sender_device_id, frame.data))
            return
        for notice in frame.users:
            kind = UserCreated if notice.exists else UserDeleted
            self._tell(kind(UserId(notice.user_id)))

    def raw(self, data: str | bytes) -> None:
        """Tell what the relay's application has sent."""
        self._tell(RawMessage(data))

    # What the application asks for.

    async def subscribe(self, channel: str) -> None:
        """Hear a channel from now on. Raises Refused, ConnectionEnded."""
        check_channel(channel)
        self._channels[channel] = None
        await self._ask(Subscribe(0, 0, channel))

    async def unsubscribe(self, channel: str) -> None:
        """Hear a channel no more. Raises Refused, ConnectionEnded."""
        check_channel(channel)
        self._channels.pop(channel, None)
        await self._ask(Unsubscribe(0, 0, channel))

    async def publish(self, channel: str, data: bytes) -> None:
        """Give *data* to whoever is subscribed now. Raises Refused, ConnectionEnded."""
        check_channel(channel)
        await self._ask(Publish(0, 0, channel, data))

    async def watch(self, *, on: bool) -> None:
        """Hear of users, or no more. Raises Refused, ConnectionEnded."""
        self._watching = on
        await self._ask(WatchUsers(0, 0, on))

    def write_raw(self, data: str | bytes) -> None:
        """Send raw data now. Raises InvalidArgument, ConnectionEnded."""
        if self._connection is None or not self._connection.write_raw(data):
            raise ConnectionEnded("not connected: raw data is not kept")

    async def _ask(self, request: _Asked) -> None:
        future = asyncio.get_running_loop().create_future()
        self._asked[id(request)] = (request, future)
        try:
            self._send(request)
            await future
        finally:
            self._asked.pop(id(request), None)

    def _send(self, request: _Asked) -> None:
        if self._connection is None:
            raise ConnectionEnded("not connected")
        self._connection.request(request)


def check_channel(channel: str) -> None:
    """Raise InvalidArgument unless it is a channel's name."""
    if not channel or not channel.isprintable():
        raise InvalidArgument("a channel has a name of printable characters")
    if len(channel.encode()) > CHANNEL_NAME_SIZE_MAX:
        raise InvalidArgument(f"a channel's name has at most {CHANNEL_NAME_SIZE_MAX} bytes")


def check_publication(data: str | bytes) -> bytes:
    """Return what is published, text in UTF-8. Raises InvalidArgument."""
    if not isinstance(data, str | bytes):
        raise InvalidArgument("what is published is text or bytes")
    packed = data.encode() if isinstance(data, str) else data
    if len(packed) > CHANNEL_DATA_SIZE_MAX:
        raise InvalidArgument(f"what is published has at most {CHANNEL_DATA_SIZE_MAX} bytes, this has {len(packed)}")
    return packed
