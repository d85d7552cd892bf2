"""How far our sender key of a group has got, as an application sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e2ee.ids import UserId

__all__ = ["KeyState", "MemberKey"]


class KeyState(Enum):
    """Whether a device can read what we send to a group."""

    KEYED = "keyed"  # the device has confirmed that it has our key
    PENDING = "pending"  # it is on its way, or goes ahead of the next message
    FAILED = "failed"  # it could not be given; the device asks for it when it finds that it lacks it


@dataclass(frozen=True, slots=True)
class MemberKey:
    """One device of a member."""

    user: UserId
    device_id: int
    state: KeyState
    reason: str = ""  # of FAILED
