"""Who hears what beside mail: subscriptions to channels, and watchers of the directory (R8.1 to R8.6).

All of it is memory of one worker, belongs to the thread that runs the core, and ends with the connection.
"""

from __future__ import annotations

import logging
import os
import re
from fnmatch import translate
from typing import TYPE_CHECKING, Final

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import Done, Published, UserNotice, UserNotices
from e2ee.ids import UserId
from e2ee.limits import USERS_PER_FRAME_MAX
from e2ee.wire import decode_relay_frame, encode_frame

from .connection import Send, Subscription
from .limits import MASKS_MAX, WATCHED_USERS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from e2ee.frames import Publish, Subscribe, Unsubscribe
    from store.relay import RelayUnit

    from .connection import Connection, Output
    from .hooks import BeforeSubscription
    from .limits import RelayOptions
    from .plan import Plan

__all__ = ["Audience", "watch"]

_log: Final = logging.getLogger("e2ee.relay")

_MASK_SIGNS: Final = "*?["
_WORKER_SIZE: Final = 8  # bytes: which worker an announcement comes from
_COUNT_SIZE: Final = 8  # bytes: PostgreSQL passes two equal notices of one transaction on as one
_NOTICES_ANNOUNCED_MAX: Final = 16  # users in one announcement, which has room for 8,000 characters


class Audience:
    """The connections of one worker that asked for more than their mail."""

    def __init__(self, options: RelayOptions, before_subscription: BeforeSubscription | None) -> None:
        self._options = options
        self._before_subscription = before_subscription
        self._channels: dict[str, dict[Connection, None]] = {}
        # Those of the channels that have signs of a mask. `fnmatch` would keep 256 of them compiled: too few.
        self._masks: dict[str, re.Pattern[str]] = {}
        self._of: dict[Connection, dict[str, None]] = {}
        self._watchers: dict[Connection, None] = {}
        self._worker = os.urandom(_WORKER_SIZE)
        self._announced = 0

    # Channels.

    def subscribe(self, connection: Connection, frame: Subscribe, outputs: list[Output]) -> RefusalCode | None:
        """Let a connection hear a channel; a repetition is the same. Returns why it may not."""
        channel = frame.channel
        own = self._of.get(connection, {})
        if channel not in own:
            refusal = self._refusal(connection, channel, len(own))
            if refusal is not None:
                return refusal
            self._of.setdefault(connection, {})[channel] = None
            self._channels.setdefault(channel, {})[connection] = None
            if _is_mask(channel):
                self._masks[channel] = re.compile(translate(channel))
            outputs.append(Subscription(connection, channel, on=True))
        outputs.append(Send(connection, Done(frame.request)))
        return None

    def _refusal(self, connection: Connection, channel: str, subscriptions: int) -> RefusalCode | None:
        session = connection.session
        if session is None or not self._options.channels or (_is_mask(channel) and not self._options.channel_masks):
            return RefusalCode.NOT_AUTHORIZED
        if subscriptions >= self._options.subscriptions_max:
            return RefusalCode.TOO_LARGE
        if _is_mask(channel) and channel not in self._masks and len(self._masks) >= MASKS_MAX:
            return RefusalCode.UNAVAILABLE
        hook = self._before_subscription
        try:
            allowed = hook is None or hook(UserId(session.device.user_id), channel) is True
        except Exception:  # noqa: BLE001 - it is the application's: what cannot be decided is not allowed
            _log.exception("the hook before_subscription failed: the subscription is refused")
            allowed = False
        return None if allowed else RefusalCode.NOT_AUTHORIZED

    def unsubscribe(self, connection: Connection, frame: Unsubscribe, outputs: list[Output]) -> None:
        """End a subscription, if there is one."""
        if frame.channel in self._of.get(connection, {}):
            self._drop(connection, frame.channel)
            outputs.append(Subscription(connection, frame.channel, on=False))
        outputs.append(Send(connection, Done(frame.request)))

    def published(self, connection: Connection, frame: Publish) -> Published | None:
        """What subscribers get of a publication; None if this relay has no channels."""
        session = connection.session
        if session is None or not self._options.channels:
            return None
        return Published(frame.channel, session.device.user_id, session.device.device_id, frame.data)

    def tell(self, frame: Published, *, but: Connection | None, outputs: list[Output]) -> None:
        """Pass a publication on to everybody here who is subscribed, each once; not to who published it."""
        heard = dict(self._channels.get(frame.channel, {}))
        for mask, pattern in self._masks.items():
            if pattern.match(frame.channel):
                heard |= self._channels[mask]
        outputs.extend(Send(connection, frame) for connection in heard if connection is not but)

    # The directory.

    def may_watch(self) -> bool:
        """Whether this relay tells who its users are."""
        return self._options.directory

    def watch(self, connection: Connection, *, on: bool) -> None:
        """Tell a connection of users from now on, or no more."""
        if on:
            self._watchers[connection] = None
        else:
            self._watchers.pop(connection, None)

    def notices(self, notices: Sequence[UserNotice], outputs: list[Output]) -> None:
        """Tell every watcher here of users that came or went."""
        for at in range(0, len(notices), USERS_PER_FRAME_MAX):
            frame = UserNotices(tuple(notices[at : at + USERS_PER_FRAME_MAX]))
            outputs.extend(Send(connection, frame) for connection in self._watchers)

    # Other workers.

    def announce_publication(self, frame: Published, _plan: Plan, unit: RelayUnit) -> None:
        """Pass a publication on to the other workers, at the commit."""
        unit.announce(self._announcement(frame))

    def announce_notices(self, notices: Sequence[UserNotice], unit: RelayUnit) -> None:
        """Pass notices on to the other workers, at the commit."""
        if self._options.directory:
            for at in range(0, len(notices), _NOTICES_ANNOUNCED_MAX):
                unit.announce(self._announcement(UserNotices(tuple(notices[at : at + _NOTICES_ANNOUNCED_MAX]))))

    def announced(self, data: bytes, outputs: list[Output]) -> None:
        """Take what another worker has announced; our own come back too, and are passed over."""
        if data.startswith(self._worker):
            return
        try:
            frame = decode_relay_frame(data[_WORKER_SIZE + _COUNT_SIZE :])
        except MalformedFrame:
            _log.warning("an announcement of another worker could not be read: is it of another release?")
            return
        if isinstance(frame, Published):
            self.tell(frame, but=None, outputs=outputs)
        elif isinstance(frame, UserNotices):
            self.notices(frame.users, outputs)

    def _announcement(self, frame: Published | UserNotices) -> bytes:
        self._announced += 1
        return self._worker + self._announced.to_bytes(_COUNT_SIZE, "big") + encode_frame(frame)

    # The end of a connection.

    def forget(self, connection: Connection) -> Iterator[Subscription]:
        """Forget a connection; yield the subscriptions that end with it."""
        self._watchers.pop(connection, None)
        for channel in list(self._of.get(connection, {})):
            self._drop(connection, channel)
            yield Subscription(connection, channel, on=False)

    def _drop(self, connection: Connection, channel: str) -> None:
        del self._of[connection][channel]
        if not self._of[connection]:
            del self._of[connection]
        heard = self._channels[channel]
        del heard[connection]
        if not heard:
            del self._channels[channel]
            self._masks.pop(channel, None)


def _is_mask(channel: str) -> bool:
    return any(sign in channel for sign in _MASK_SIGNS)


def watch(connection: Connection, request: int, plan: Plan, unit: RelayUnit) -> None:
    """Answer a `WatchUsers` that begins a watch: first everybody who is there, as far as the limit goes."""
    after = ""
    told = 0
    while told < WATCHED_USERS_MAX:
        page = unit.users.after(after, USERS_PER_FRAME_MAX)
        if not page:
            break
        plan.reply(connection, UserNotices(tuple(UserNotice(user_id, exists=True) for user_id in page)))
        told, after = told + len(page), page[-1]
    plan.watching.append(connection)
    plan.reply(connection, Done(request))
