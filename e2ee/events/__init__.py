"""What a client tells its application: frozen values, to be matched by type (messaging section 12).

*Durable* events wait in the inbox, in a packed form, until the application has acknowledged them; a crash
delivers them again, counted in ``redelivered``. *Live* events are told once, to whoever listens.
"""

from __future__ import annotations

from typing import TypeAlias

from .durable import (
    DeliveryQuarantined,
    DeliveryState,
    DirectMessage,
    DurableEvent,
    IdentityChanged,
    MessageLost,
    MessageState,
    OwnMessage,
    OwnRead,
)
from .groups import (
    GroupClosed,
    GroupCreated,
    GroupDeleted,
    GroupEvent,
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
from .live import (
    CaughtUp,
    ChannelMessage,
    ClientFault,
    Connected,
    ConnectionFailed,
    DeliveryRefused,
    Disconnected,
    HandshakeWithoutOneTimeKey,
    InboxFull,
    LiveEvent,
    MessagePending,
    PreKeysLow,
    RawMessage,
    RelayRolledBack,
    Subscribed,
    UnknownContent,
    Unsubscribed,
    UserCreated,
    UserDeleted,
)
from .packing import (
    pack_event,
    unpack_event,
)

__all__ = [
    "CaughtUp",
    "ChannelMessage",
    "ClientFault",
    "Connected",
    "ConnectionFailed",
    "DeliveryQuarantined",
    "DeliveryRefused",
    "DeliveryState",
    "DirectMessage",
    "Disconnected",
    "DurableEvent",
    "Event",
    "GroupClosed",
    "GroupCreated",
    "GroupDeleted",
    "GroupEvent",
    "GroupForked",
    "GroupInvitation",
    "GroupJoined",
    "GroupLeft",
    "GroupMemberJoined",
    "GroupMemberLeft",
    "GroupMemberRekeyed",
    "GroupMessage",
    "GroupOperationFailed",
    "GroupRoleChanged",
    "HandshakeWithoutOneTimeKey",
    "IdentityChanged",
    "InboxFull",
    "LiveEvent",
    "MessageLost",
    "MessagePending",
    "MessageState",
    "OwnMessage",
    "OwnRead",
    "PreKeysLow",
    "RawMessage",
    "RelayRolledBack",
    "Subscribed",
    "UnknownContent",
    "Unsubscribed",
    "UserCreated",
    "UserDeleted",
    "pack_event",
    "unpack_event",
]

Event: TypeAlias = DurableEvent | LiveEvent
