"""Frames of groups (`docs/protocol.md` section 3.3): signed entries, rosters of devices, one upload for all.

A group's messages and entries reach a device as deliveries: kind SENDER_KEY with the body
``group id (32 bytes) || sender-key message``, kind GROUP_ENTRY with the entry itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .parts import DeviceRef, Outcome

__all__ = [
    "AppendEntry",
    "GetGroupDevices",
    "GetGroupLog",
    "GroupDevices",
    "GroupLog",
    "GroupMiss",
    "GroupSubmission",
    "GroupSubmitted",
    "MemberDevices",
    "SubmitGroup",
]


# Parts.


@dataclass(frozen=True, slots=True)
class MemberDevices:
    """The devices of one member that a message to the group goes to."""

    user_id: str
    devices: tuple[DeviceRef, ...]


@dataclass(frozen=True, slots=True)
class GroupSubmission:
    """One message to a group: one ciphertext for all. The number is the sender device's submission counter."""

    number: int
    envelope_id: bytes  # 16 bytes
    body: bytes  # the sender-key message


@dataclass(frozen=True, slots=True)
class GroupMiss:
    """A device that a message did not reach, though it is one of the group's."""

    position: int  # of the message in the frame, from 0
    user_id: str
    device_id: int
    outcome: Outcome  # FULL or GONE


# Frames of the client.


@dataclass(frozen=True, slots=True)
class AppendEntry:
    """A signed entry for a group's log; the genesis entry makes the group. Answered by `GroupLog`."""

    acknowledged: int
    request: int
    entry: bytes  # as it was signed


@dataclass(frozen=True, slots=True)
class GetGroupLog:
    """Asks for a group's log from entry number *start* on: by id, or by name. Answered by `GroupLog`.

    Members may read the log, and everybody that of an open group or of one that invites them.
    """

    acknowledged: int
    request: int
    group_id: bytes | None  # 32 bytes
    name: str | None  # if there is no id
    start: int


@dataclass(frozen=True, slots=True)
class GetGroupDevices:
    """Asks a group's devices, for a member. Answered by `GroupDevices`."""

    acknowledged: int
    request: int
    group_id: bytes  # 32 bytes


@dataclass(frozen=True, slots=True)
class SubmitGroup:
    """Messages to a group, in order, made for its epoch and for the devices that *digest* stands for.

    The digest (`docs/protocol.md` R7.6) covers every device of the members but the sending one; nil: for whatever
    devices there are, after it has changed three times in a row.
    """

    acknowledged: int
    request: int
    group_id: bytes  # 32 bytes
    epoch: int
    log_number: int  # of the newest entry that the sender has
    digest: bytes | None  # 32 bytes
    messages: tuple[GroupSubmission, ...]


# Frames of the relay.


@dataclass(frozen=True, slots=True)
class GroupLog:
    """The answer to `AppendEntry` and `GetGroupLog`.

    To an entry: no refusal, and it is stored; GROUP_CHANGED, and *entries* are those since the one that it was made
    on; or why it can never be stored. To a question: the entries from *start* on, as many as fit.
    """

    request: int
    group_id: bytes | None  # 32 bytes; None: there is no such group
    head: int  # number of the newest entry there is
    refusal: int | None  # a RefusalCode
    entries: tuple[bytes, ...]  # in order, each as it was signed
    retry_after_ms: int | None


@dataclass(frozen=True, slots=True)
class GroupDevices:
    """The devices of a group's members, the asking one left out."""

    request: int
    refusal: int | None  # a RefusalCode
    epoch: int
    log_number: int
    members: tuple[MemberDevices, ...]  # in order of user id; members without a device are left out


@dataclass(frozen=True, slots=True)
class GroupSubmitted:
    """What became of a `SubmitGroup`: how many messages are stored for the group's devices, then why it stopped."""

    request: int
    accepted: int  # messages, from the first on
    missed: tuple[GroupMiss, ...]  # of those, devices that could not be reached
    refusal: int | None  # a RefusalCode for the first message not accepted; nothing of it was stored
    entries: tuple[bytes, ...]  # with GROUP_CHANGED: those since *log_number*, as many as fit
    members: tuple[MemberDevices, ...]  # with DEVICES_CHANGED: all devices, as `GroupDevices` has them
    retry_after_ms: int | None
