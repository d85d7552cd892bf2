"""Frames beside the encrypted traffic: channels and the directory (`docs/protocol.md` section 3.4). Not encrypted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Done", "Publish", "Published", "Subscribe", "Unsubscribe", "UserNotice", "UserNotices", "WatchUsers"]


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Asks for everything that is published to a channel, on this connection."""

    acknowledged: int
    request: int
    channel: str  # a mask, if the relay takes masks


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Ends a subscription; nothing happens if there is none."""

    acknowledged: int
    request: int
    channel: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Data for whoever is subscribed just now. The relay reads it and keeps nothing."""

    acknowledged: int
    request: int
    channel: str
    data: bytes


@dataclass(frozen=True, slots=True)
class WatchUsers:
    """Asks to be told of every user there is, and of those that come and go; or not any more."""

    acknowledged: int
    request: int
    on: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The request is carried out."""

    request: int


@dataclass(frozen=True, slots=True)
class Published:
    """What somebody published to a channel that this connection is subscribed to."""

    channel: str
    sender_user_id: str
    sender_device_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class UserNotice:
    """A user came, or is gone: its account, not its connection."""

    user_id: str
    exists: bool


@dataclass(frozen=True, slots=True)
class UserNotices:
    """Users that exist when the watch begins, and what changes afterwards."""

    users: tuple[UserNotice, ...]
