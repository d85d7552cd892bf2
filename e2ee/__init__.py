"""End-to-end encrypted messages for applications: client, relay, and what travels between them.

No cryptography of its own: that is `ratchet`; and no persistence: that is `store`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from .siblings import require_siblings

if TYPE_CHECKING:
    from .client import (
        Client,
    )
    from .errors import (
        ClientEnded,
        ConnectionEnded,
        E2eeError,
        InvalidArgument,
        InvalidUserId,
        NotAuthorized,
        OpenElsewhere,
        RefusalCode,
        Refused,
        StoreGone,
        StoreRolledBack,
        UserIdTaken,
    )
    from .events import (
        CaughtUp,
        ChannelMessage,
        ClientFault,
        Connected,
        ConnectionFailed,
        DeliveryQuarantined,
        DeliveryRefused,
        DeliveryState,
        DirectMessage,
        Disconnected,
        DurableEvent,
        Event,
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
        HandshakeWithoutOneTimeKey,
        IdentityChanged,
        InboxFull,
        LiveEvent,
        MessageLost,
        MessagePending,
        MessageState,
        OwnMessage,
        PreKeysLow,
        RawMessage,
        RelayRolledBack,
        Subscribed,
        UnknownContent,
        Unsubscribed,
        UserCreated,
        UserDeleted,
    )
    from .ids import (
        GroupId,
        MessageId,
        UserId,
    )
    from .options import (
        ClientOptions,
        InboxMode,
    )
    from .relay import (
        Relay,
        RelayHooks,
        RelayOptions,
    )
    from .trust import (
        IdentityPolicy,
    )

__all__ = [
    "CaughtUp",
    "ChannelMessage",
    "Client",
    "ClientEnded",
    "ClientFault",
    "ClientOptions",
    "Connected",
    "ConnectionEnded",
    "ConnectionFailed",
    "DeliveryQuarantined",
    "DeliveryRefused",
    "DeliveryState",
    "DirectMessage",
    "Disconnected",
    "DurableEvent",
    "E2eeError",
    "Event",
    "GroupClosed",
    "GroupCreated",
    "GroupDeleted",
    "GroupEvent",
    "GroupForked",
    "GroupId",
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
    "IdentityPolicy",
    "InboxFull",
    "InboxMode",
    "InvalidArgument",
    "InvalidUserId",
    "LiveEvent",
    "MessageId",
    "MessageLost",
    "MessagePending",
    "MessageState",
    "NotAuthorized",
    "OpenElsewhere",
    "OwnMessage",
    "PreKeysLow",
    "RawMessage",
    "RefusalCode",
    "Refused",
    "Relay",
    "RelayHooks",
    "RelayOptions",
    "RelayRolledBack",
    "StoreGone",
    "StoreRolledBack",
    "Subscribed",
    "UnknownContent",
    "Unsubscribed",
    "UserCreated",
    "UserDeleted",
    "UserId",
    "UserIdTaken",
]

require_siblings(__name__, __path__[0], "ratchet", "store")

_EXPORTS: Final[dict[str, tuple[str, ...]]] = {
    "client": ("Client",),
    "errors": (
        "ClientEnded",
        "ConnectionEnded",
        "E2eeError",
        "InvalidArgument",
        "InvalidUserId",
        "NotAuthorized",
        "OpenElsewhere",
        "RefusalCode",
        "Refused",
        "StoreGone",
        "StoreRolledBack",
        "UserIdTaken",
    ),
    "events": (
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
        "PreKeysLow",
        "RawMessage",
        "RelayRolledBack",
        "Subscribed",
        "UnknownContent",
        "Unsubscribed",
        "UserCreated",
        "UserDeleted",
    ),
    "ids": ("GroupId", "MessageId", "UserId"),
    "options": ("ClientOptions", "InboxMode"),
    "relay": ("Relay", "RelayHooks", "RelayOptions"),
    "trust": ("IdentityPolicy",),
}
_MODULE_OF: Final = {name: module for module, names in _EXPORTS.items() for name in names}

if not TYPE_CHECKING:  # a type checker takes the imports above; __getattr__ would hide misspelt names from it

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value  # the next use finds it without this function
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
