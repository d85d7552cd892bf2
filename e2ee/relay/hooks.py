"""Where an application puts its own rules, and where frames can be traced and filtered.

Every hook is optional. One that raises refuses: what cannot be decided is not allowed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from e2ee.errors import RefusalCode
from e2ee.frames import ClientFrame, RelayFrame, UnknownFrame
from e2ee.ids import UserId

__all__ = [
    "Authorize",
    "BeforeSubscription",
    "Inbound",
    "MayCreateGroup",
    "MaySend",
    "OnConnect",
    "OnDisconnect",
    "OnSubscription",
    "Outbound",
    "Peer",
    "Raw",
    "RelayHooks",
    "Verdict",
    "judge",
    "tell",
]

_log: Final = logging.getLogger("e2ee.relay")


class Verdict(Enum):
    """What a filter says of a frame."""

    PASS = "pass"  # noqa: S105 - the verdict, not a password
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Peer:
    """Whose connection a frame came from or goes to; before the login is accepted user and device are None."""

    connection: int  # counts the connections of this process
    user_id: UserId | None
    device_id: int | None


Authorize: TypeAlias = Callable[[UserId, bytes | None], bool | Awaitable[bool]]
MaySend: TypeAlias = Callable[[UserId, UserId], bool]
MayCreateGroup: TypeAlias = Callable[[UserId], bool]
BeforeSubscription: TypeAlias = Callable[[UserId, str], bool]
OnSubscription: TypeAlias = Callable[["Peer", str], object]
OnConnect: TypeAlias = Callable[["Peer"], object]
OnDisconnect: TypeAlias = Callable[["Peer", RefusalCode | None], object]
Raw: TypeAlias = Callable[[Peer, str | bytes], Verdict]
Inbound: TypeAlias = Callable[[Peer, ClientFrame | UnknownFrame], Verdict]
Outbound: TypeAlias = Callable[[Peer, RelayFrame], Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayHooks:
    """An application's own rules.

    `may_send`, `may_create_group` and `before_subscription` are called in the relay's store thread, the first two for
    entries of groups within a transaction, all others in the event loop. None may block: all connections wait for it.
    """

    # (user, token) once the signature of a login has verified: whether the user may come in. May be a coroutine.
    authorize: Authorize | None = None
    # (from, to) for every Submit to another user, and for every invitation to a group that would be appended, whoever
    # brings it: False refuses it with NOT_AUTHORIZED. A message to a group is not asked about: its members have joined
    # or accepted.
    may_send: MaySend | None = None
    # (user) who has signed it, for every new group: False refuses it with NOT_AUTHORIZED.
    may_create_group: MayCreateGroup | None = None
    # (user, channel or mask) for every Subscribe: False refuses it with NOT_AUTHORIZED.
    before_subscription: BeforeSubscription | None = None
    # After a subscription began, or ended: asked for, or with its connection.
    on_subscription: OnSubscription | None = None
    on_unsubscription: OnSubscription | None = None
    # After a login was accepted, and after such a connection has ended, with the relay's reason if it was the relay's.
    on_connect: OnConnect | None = None
    on_disconnect: OnDisconnect | None = None
    # Every message as it came, text and binary, before it is decoded. Text has no other receiver.
    on_raw: Raw | None = None
    # Every frame of a client, decoded. DROP refuses a request with NOT_AUTHORIZED and forgets any other frame.
    on_inbound: Inbound | None = None
    # Every frame before it is sent. A Deliver that is dropped stays in the mailbox and comes with the next connection.
    on_outbound: Outbound | None = None


def judge(hook: Callable[[], Verdict]) -> Verdict:
    """Ask a filter; one that raises drops."""
    try:
        return hook()
    except Exception:  # noqa: BLE001 - it is the application's: whatever it raises, the relay stays up
        _log.exception("a hook failed: the frame is dropped")
        return Verdict.DROP


def tell(hook: Callable[[], object]) -> None:
    """Tell a hook that has no say; one that raises is logged."""
    try:
        hook()
    except Exception:  # noqa: BLE001 - it is the application's: whatever it raises, the relay stays up
        _log.exception("a hook failed")
