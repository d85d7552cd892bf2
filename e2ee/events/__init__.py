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
    Connected,
    DeliveryRefused,
    Disconnected,
    HandshakeWithoutOneTimeKey,
    InboxFull,
    LiveEvent,
    MessagePending,
    PreKeysLow,
    RelayRolledBack,
    UnknownContent,
)
from .packing import (
    pack_event,
    unpack_event,
)

__all__ = [
    "CaughtUp",
    "Connected",
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
    "PreKeysLow",
    "RelayRolledBack",
    "UnknownContent",
    "pack_event",
    "unpack_event",
]

Event: TypeAlias = DurableEvent | LiveEvent
