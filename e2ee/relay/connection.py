"""One connection as the core sees it: who it is, what was pushed to it, what it may still do; and what goes in and out.

Everything here belongs to the one thread that runs the core.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from .rates import Rate

if TYPE_CHECKING:
    from collections.abc import Collection

    from e2ee.frames import ClientFrame, Closing, RelayFrame, UnknownFrame
    from e2ee.ids import UserId
    from store.relay import Delivery, Device, DeviceKey

    from .claim import Claim
    from .limits import RelayOptions

__all__ = [
    "Announced",
    "Arrived",
    "Ask",
    "Authorized",
    "Close",
    "Connection",
    "Ended",
    "Input",
    "Malformed",
    "Opened",
    "Output",
    "Phase",
    "Send",
    "Session",
    "Stopping",
    "Subscription",
    "Sweep",
    "SweepOn",
    "Tick",
    "TooSlow",
    "Woken",
]


class Phase(Enum):
    """How far a conversation is (R4.1)."""

    CHALLENGED = "challenged"
    LOGGING_IN = "logging in"  # the application or the store decides
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Session:
    """Who is logged in on a connection."""

    device: Device
    identity_key: bytes  # 33 bytes
    connection_number: int  # of this device
    # Numbers that the relay had seen beyond the client's own: another life of its store has used them (R4.4).
    lost_submissions: range
    lost_uploads: range


class Connection:
    """One connection. Only its `number` and `nonce` mean something outside the core."""

    __slots__ = (
        "_unacknowledged",
        "_unacknowledged_size",
        "acknowledged",
        "claim",
        "drained",
        "envelopes",
        "fan_out",
        "full_since",
        "heard_at",
        "identity_key",
        "low_told",
        "nonce",
        "number",
        "opened_at",
        "phase",
        "pushed",
        "registered",
        "requests",
        "session",
        "submitted",
    )

    def __init__(self, number: int, nonce: bytes, now: float, options: RelayOptions) -> None:
        self.number = number  # counts the connections of this process
        self.nonce = nonce  # 32 random bytes, told in the challenge
        self.opened_at = now
        self.heard_at = now
        self.phase = Phase.CHALLENGED
        self.claim: Claim | None = None  # while logging in
        self.identity_key = b""  # whose signature under the claim verified
        self.session: Session | None = None
        self.registered = False  # prekeys are uploaded
        self.pushed = 0  # the delivery number up to which mail was pushed, or committed before this connection
        self.acknowledged = 0  # the highest number that this connection has acknowledged
        self.drained = -1  # the delivery number that the last `Drained` told
        self.full_since: float | None = None  # when the window of deliveries became full; None: it is not
        self.low_told = False  # `LowPreKeys` was sent since the last upload
        self.envelopes = Rate(options.envelopes_per_s, options.envelopes_burst, now)
        self.fan_out = Rate(options.group_deliveries_per_s, options.group_deliveries_burst, now)
        self.requests = Rate(options.requests_per_s, options.requests_burst, now)
        self.submitted = 0  # the highest submission number that the relay has seen of the device
        self._unacknowledged: deque[tuple[int, int]] = deque()  # number and size of what was pushed
        self._unacknowledged_size = 0

    def room(self, acknowledged: int, options: RelayOptions) -> tuple[int, int]:
        """How many deliveries, and of how many bytes, may be pushed once *acknowledged* is."""
        left = [size for number, size in self._unacknowledged if number > acknowledged]
        return options.window - len(left), options.window_size - sum(left)

    def acknowledge(self, number: int) -> None:
        """Forget what is acknowledged: it makes room."""
        self.acknowledged = max(number, self.acknowledged)
        while self._unacknowledged and self._unacknowledged[0][0] <= number:
            self._unacknowledged_size -= self._unacknowledged.popleft()[1]
            self.full_since = None

    def push(self, deliveries: Collection[Delivery]) -> None:
        """Remember what is on its way."""
        for one in deliveries:
            self._unacknowledged.append((one.number, len(one.content)))
            self._unacknowledged_size += len(one.content)
            self.pushed = one.number

    def is_full(self, options: RelayOptions) -> bool:
        """Whether nothing more may be pushed before something is acknowledged."""
        return len(self._unacknowledged) >= options.window or self._unacknowledged_size >= options.window_size


# What goes in.


@dataclass(frozen=True, slots=True)
class Opened:
    """A carrier is there; the server has sent the challenge."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame, decoded."""

    connection: Connection
    frame: ClientFrame | UnknownFrame


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes that are no frame."""

    connection: Connection
    explanation: str


@dataclass(frozen=True, slots=True)
class Authorized:
    """The application's answer to `Ask`; None: it could not say."""

    connection: Connection
    allowed: bool | None


@dataclass(frozen=True, slots=True)
class TooSlow:
    """The carrier takes nothing more."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Ended:
    """The carrier is gone."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Woken:
    """Another worker has changed something of these devices."""

    devices: tuple[DeviceKey, ...]


@dataclass(frozen=True, slots=True)
class Announced:
    """Another worker passes on what is told beside mail."""

    announcements: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: see who was silent too long; with *poll*, look for mail of other workers too."""

    poll: bool = False


@dataclass(frozen=True, slots=True)
class Sweep:
    """Remove some of what is too old."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The relay closes: every connection is told."""


Input: TypeAlias = (
    Opened | Arrived | Malformed | Authorized | TooSlow | Ended | Woken | Announced | Tick | Sweep | Stopping
)

# What comes out, once what it tells of is committed.


@dataclass(frozen=True, slots=True)
class Send:
    """A frame for a connection."""

    connection: Connection
    frame: RelayFrame


@dataclass(frozen=True, slots=True)
class Close:
    """The last frame of a connection, which is then closed."""

    connection: Connection
    frame: Closing


@dataclass(frozen=True, slots=True)
class Ask:
    """The application is to say whether this user may come in; answer with `Authorized`."""

    connection: Connection
    user_id: UserId
    token: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A connection hears a channel from now on, or no more: for the hooks."""

    connection: Connection
    channel: str
    on: bool


@dataclass(frozen=True, slots=True)
class SweepOn:
    """There is more that is too old: `Sweep` again."""


Output: TypeAlias = Send | Close | Ask | Subscription | SweepOn
