"""What an event says, in one line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from e2ee import (
    CaughtUp,
    ChannelMessage,
    Connected,
    ConnectionFailed,
    DirectMessage,
    Disconnected,
    GroupMessage,
    IdentityChanged,
    MessageState,
    OwnMessage,
)

from .output import plain

if TYPE_CHECKING:
    from e2ee import Event

__all__ = ["content", "line"]

_BYTES_SHOWN: Final = 32


def content(text: str | None, data: bytes) -> str:
    """The content of a message, made safe to show."""
    if text is not None:
        return plain(text)
    shown = data[:_BYTES_SHOWN].hex(" ")
    return f"{len(data)} bytes: {shown}{' …' if len(data) > _BYTES_SHOWN else ''}"


def line(event: Event) -> str:
    """Say what happened."""
    match event:
        case DirectMessage():
            return f"{_at(event.sent_at_ms)} {event.sender}: {content(event.text, event.data)}"
        case GroupMessage():
            return f"{_at(event.sent_at_ms)} {plain(event.name)} / {event.sender}: {content(event.text, event.data)}"
        case OwnMessage():
            return f"{_at(event.sent_at_ms)} you, to {event.recipient}: {content(event.text, event.data)}"
        case MessageState():
            reason = f" ({event.reason})" if event.reason else ""
            return f"message {event.message_id[:8]} to {event.recipient}: {event.state.name.lower()}{reason}"
        case IdentityChanged():
            return f"{event.user} has another identity key: compare safety numbers, then trust or distrust it"
        case _:
            return _other(event)


def _other(event: Event) -> str:
    match event:
        case Connected():
            return "connected"
        case Disconnected():
            return f"disconnected: {event.reason}"
        case ConnectionFailed():
            return f"not connected: {event.reason}; next attempt in {event.next_attempt_s:.0f} s"
        case CaughtUp():
            return "caught up"
        case ChannelMessage():
            return f"channel {event.channel}, {event.sender}, not encrypted: {content(None, event.data)}"
        case _:
            return plain(repr(event))


def _at(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().strftime("%H:%M:%S")
