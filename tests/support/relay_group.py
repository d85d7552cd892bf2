"""A group as one of its members sees it at the relay: signs entries on top of the log, and submits to its devices."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from e2ee.frames import (
    AppendEntry,
    GetGroupDevices,
    GetGroupLog,
    GroupDevices,
    GroupLog,
    GroupSubmission,
    GroupSubmitted,
    SubmitGroup,
)
from e2ee.groups import GroupKind, Membership, Operation, Role, device_digest, take_entry
from e2ee.ids import UserId

if TYPE_CHECKING:
    from e2ee.frames import MemberDevices
    from e2ee.groups import GroupEntry

    from .relay_device import Device
    from .relay_talk import Line

_dice = Random("relay groups")
TIME_MS = 1_700_000_000_000


def genesis(device: Device, name: str = "team", kind: GroupKind = GroupKind.INVITATION) -> bytes:
    """The first entry of a group of the device's user."""
    actor = UserId(device.user_id)
    return Membership.genesis(
        device.account.identity, actor, name=name, kind=kind, time_ms=TIME_MS, entropy=_dice.randbytes
    )


def append(line: Line, entry: bytes) -> GroupLog:
    """Send an entry and return the relay's answer."""
    return line.send(AppendEntry(0, line.device.next_request(), entry)).one(GroupLog)


def read(line: Line, group_id: bytes | None = None, *, name: str | None = None, start: int = 0) -> GroupLog:
    return line.send(GetGroupLog(0, line.device.next_request(), group_id, name, start)).one(GroupLog)


class Group:
    """A group at the relay; `state` is its membership after the last entry that was accepted through here."""

    def __init__(self, creator: Line, name: str = "team", kind: GroupKind = GroupKind.INVITATION) -> None:
        self.log = [genesis(creator.device, name, kind)]
        self.state = Membership.start(take_entry(self.log[0]))
        answer = append(creator, self.log[0])
        assert answer == GroupLog(answer.request, self.id, 0, None, (), None)

    @property
    def id(self) -> bytes:
        return self.state.group_id

    def entry(
        self, actor: Device, operation: Operation, subject: Device | None = None, role: Role = Role.MEMBER
    ) -> bytes:
        """An entry that may follow the last one. Raises EntryRefused."""
        return self.state.next_entry(
            actor.account.identity,
            UserId(actor.user_id),
            operation,
            subject=None if subject is None else UserId(subject.user_id),
            subject_key=None if subject is None else subject.account.identity_key,
            role=role,
            time_ms=TIME_MS,
            entropy=_dice.randbytes,
        )

    def take(self, data: bytes) -> GroupEntry:
        entry = take_entry(data)
        self.state = self.state.apply(entry)
        self.log.append(data)
        return entry

    def do(
        self, actor: Line, operation: Operation, subject: Device | None = None, role: Role = Role.MEMBER
    ) -> GroupEntry:
        """Append an entry, which the relay accepts."""
        data = self.entry(actor.device, operation, subject, role)
        answer = append(actor, data)
        assert (answer.refusal, answer.head) == (None, self.state.number + 1)
        return self.take(data)

    def bring_in(self, admin: Line, *lines: Line) -> None:
        """Invite users, who accept."""
        for line in lines:
            self.do(admin, Operation.INVITE, line.device)
            self.do(line, Operation.ACCEPT)

    def devices(self, line: Line) -> GroupDevices:
        return line.send(GetGroupDevices(0, line.device.next_request(), self.id)).one(GroupDevices)

    def frame(
        self, line: Line, *bodies: bytes, members: tuple[MemberDevices, ...] | None = None, epoch: int | None = None
    ) -> SubmitGroup:
        """A submission made for *members* (None: for whatever devices there are) in the present epoch."""
        device = line.device
        messages = []
        for body in bodies:
            device.submission_number += 1
            messages.append(GroupSubmission(device.submission_number, _dice.randbytes(16), body))
        digest = None if members is None else device_digest(members)
        at = self.state.epoch if epoch is None else epoch
        return SubmitGroup(0, device.next_request(), self.id, at, self.state.number, digest, tuple(messages))

    def send(self, line: Line, *bodies: bytes) -> GroupSubmitted:
        """Submit messages for the devices that the relay tells."""
        return line.send(self.frame(line, *bodies, members=self.devices(line).members)).one(GroupSubmitted)
