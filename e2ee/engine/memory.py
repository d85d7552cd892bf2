"""What the engine remembers between steps and may forget at any time: about this connection, nothing else.

Everything that must not be forgotten is in the store. A step that fails leaves the engine offline with a
new `Memory`, so nothing here can contradict what is stored.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from .groups.lane import GroupLane
from .groups.memberships import Memberships
from .groups.memory import GroupsMemory
from .lane import Lane

if TYPE_CHECKING:
    from e2ee.frames import Delivery
    from ratchet import IdentityKeyPair

__all__ = ["DeviceName", "Healing", "Memory", "NewIdentity"]

DeviceName: TypeAlias = tuple[str, int]
"""User id and device id."""


@dataclass(slots=True)
class Stock:
    """One-time prekeys: how many are still to be made, and whether an upload is under way."""

    one_time: int = 0
    one_time_kem: int = 0
    uploading: bool = False
    look_at: float = 0.0  # seconds since 1970: when to see next whether the long-lived keys are to be replaced
    not_before: float = 0.0  # seconds since 1970: after a refusal

    @property
    def wanted(self) -> bool:
        """Whether some are to be made."""
        return self.one_time > 0 or self.one_time_kem > 0


@dataclass(frozen=True, slots=True)
class NewIdentity:
    """An identity that the relay was asked to take in the place of ours."""

    identity: IdentityKeyPair = field(repr=False)
    registration_id: int


@dataclass(slots=True)
class Healing:
    """Devices of which something does not open. What is here are hints: the store has the rows and the schedules."""

    parked: set[DeviceName] = field(default_factory=set)  # of which envelopes wait
    wanted: dict[DeviceName, float] = field(default_factory=dict)  # when to see to a device, seconds since 1970
    asking: dict[bytes, DeviceName] = field(default_factory=dict)  # request ids of bundles
    overtaken: set[bytes] = field(default_factory=set)  # of those, asked for before the identity on record changed
    opens: set[DeviceName] = field(default_factory=set)  # of which a message opened after the last that was parked
    unproven: dict[DeviceName, float] = field(default_factory=dict)  # healed then, and nothing has opened since
    asked_at: dict[DeviceName, float] = field(default_factory=dict)  # when a retry request went last
    unasked: set[DeviceName] = field(default_factory=set)  # whose last request has reached nobody
    paused: set[DeviceName] = field(default_factory=set)  # whose pause was told

    def due_at(self) -> float | None:
        """When a device is to be seen to; None: there is none, or its bundle is under way."""
        asked = set(self.asking.values())
        return min((at for name, at in self.wanted.items() if name not in asked), default=None)


@dataclass(slots=True)
class ChainsWanted:
    """When missing sender keys are asked for again."""

    at: float | None = None  # seconds since 1970; None: none is missing
    delay_s: float = 0.0  # waited last
    last: bytes = b""  # name of the chain asked for last

    def soon(self, at: float) -> None:
        """Another one is missing: begin anew with the shortest interval."""
        self.at = at if self.at is None else min(self.at, at)
        self.delay_s = 0.0


@dataclass(slots=True)
class Memory:
    """The state of one connection, and of none."""

    online: bool = False
    nonce: bytes = b""  # of the challenge that this connection was let in for
    ready: bool = False  # the relay has prekeys of this device: others can write to it
    new_identity: NewIdentity | None = None
    caught_up: bool = False
    lanes: dict[str, Lane] = field(default_factory=dict)  # by user id
    active: dict[str, None] = field(default_factory=dict)  # users in whose lane something may be waiting, in order
    group_lanes: dict[bytes, GroupLane] = field(default_factory=dict)  # by group id
    active_groups: dict[bytes, None] = field(default_factory=dict)  # in whose lane something may be waiting
    chains_counted_at: float | None = None  # when ended chains were last looked at; None: there are none
    deliveries_taken: int = 0  # since then
    # When a missing sender key was last asked for: by group and user, and by what waits for it.
    key_requests: dict[tuple[bytes, str], dict[bytes, float]] = field(default_factory=dict)
    chains_wanted: ChainsWanted = field(default_factory=ChainsWanted)
    key_answers: dict[tuple[bytes, str, int], float] = field(default_factory=dict)  # when a device was last answered
    stale: set[tuple[str, int]] = field(default_factory=set)  # devices whose session must be renewed before it sends
    stock: Stock = field(default_factory=Stock)
    receipts: int = 0  # due since the last flush
    receipts_since: float | None = None  # seconds since 1970; None: none is due
    expiry_at: float = 0.0  # seconds since 1970: when to look for messages that are too old
    own_devices_at: float | None = None  # when the relay last told our own other devices
    waiting: deque[Delivery] = field(default_factory=deque)  # deliveries that the inbox has no room for
    inbox_full: bool = False
    healing: Healing = field(default_factory=Healing)
    gaps_at: float | None = None  # when missing messages are to be told; None: none are missing
    groups: GroupsMemory = field(default_factory=GroupsMemory)
    memberships: Memberships = field(default_factory=Memberships)

    def lane(self, user_id: str) -> Lane:
        """The lane of a user."""
        return self.lanes.setdefault(user_id, Lane())

    def lane_to(self, group_id: bytes) -> GroupLane:
        """The lane to a group."""
        return self.group_lanes.setdefault(group_id, GroupLane())

    def overtake(self, user_id: str) -> None:
        """Another identity is on record for a user: what the relay is being asked for says nothing of that one."""
        lane = self.lane(user_id)
        lane.overtaken = lane.asking
        self.healing.overtaken |= {one for one, device in self.healing.asking.items() if device[0] == user_id}
