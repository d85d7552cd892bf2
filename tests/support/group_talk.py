"""What the applications of a `World` do with groups, in few words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from e2ee.events import GroupEvent
from e2ee.frames import Deliver, Delivery, EnvelopeKind
from e2ee.groups import Group, GroupKind, Membership, Operation, Role, take_entry
from e2ee.ids import UserId

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.engine import Output
    from e2ee.engine.step import Step
    from ratchet import IdentityKeyPair

    from .engines import Device, World
    from .post_groups import StoredGroup


Answer = TypeVar("Answer")


class Member:
    """A device, as far as it has to do with groups; every call but `group` settles the world."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def begin(self, begun: tuple[bytes, Output]) -> bytes:
        operation_id, output = begun
        self.device.take(output)
        return operation_id

    def done(self, begun: tuple[bytes, Output]) -> None:
        """Let the world go on until an operation has ended well."""
        operation_id = self.begin(begun)
        self.device.world.settle()
        error = self.device.outcomes[operation_id]
        if error is not None:
            raise error

    def create(self, name: str = "team", kind: GroupKind = GroupKind.OPEN) -> Group:
        self.done(self.device.engine.groups.create(name, kind))
        return self.group(name)

    def join(self, group: str | Group = "team") -> Group:
        self.done(self.device.engine.groups.join(group))
        return self.group(group)

    def act(
        self, operation: Operation, user: str | None = None, *, group: str | Group = "team", role: Role = Role.MEMBER
    ) -> None:
        self.done(self.device.engine.groups.act(group, operation, user=user, role=role))

    def group(self, group: str | Group = "team") -> Group:
        return self.device.engine.groups.group(group)

    def groups(self) -> list[Group]:
        return self.device.engine.groups.all()

    def told(self) -> list[GroupEvent]:
        """What the application has read about groups, as it came."""
        return self.device.of(GroupEvent)

    @property
    def identity(self) -> IdentityKeyPair:
        with self.device.store.begin() as unit:
            return unit.account.require().identity

    def shown(self, *entries: bytes) -> None:
        """Let the relay deliver entries, whether they are in a log or not."""
        box = self.device.world.relay.boxes[self.device.name]
        for entry in entries:
            box.number += 1
            kind = EnvelopeKind.GROUP_ENTRY
            box.pushed = box.number
            self.device.push(Deliver((Delivery(box.number, "alice", 9, os.urandom(16), kind, entry, 0),)))
        self.device.world.settle()


class Three:
    """Three users of one relay."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alice, self.bob, self.carol = (Member(world.device(name)) for name in ("alice", "bob", "carol"))

    def device_knows(self, member: Member, user: str, identity_key: bytes) -> None:
        """Let a device have a user's key on record."""
        member.device.do(lambda step: step.unit.identities.see(user, identity_key, current=True))

    @property
    def stored(self) -> StoredGroup:
        """The group `team` as the relay has it."""
        found = self.world.relay.groups.named("team")
        assert found is not None
        return found


def entry_after(
    state: Membership,
    identity: IdentityKeyPair,
    actor: str,
    operation: Operation,
    *,
    subject: str | None = None,
    subject_key: bytes | None = None,
) -> bytes:
    """An entry that may follow, by whoever has the identity."""
    return state.next_entry(
        identity,
        UserId(actor),
        operation,
        subject=None if subject is None else UserId(subject),
        subject_key=subject_key,
        time_ms=1_700_000_000_000,
        entropy=os.urandom,
    )


def then(state: Membership, *entries: bytes) -> Membership:
    """The membership after some more entries."""
    for entry in entries:
        state = state.apply(take_entry(entry))
    return state


def in_step(member: Member, work: Callable[[Step], Answer]) -> Answer:
    """What a function of the engine says in a step of its own."""
    return member.device.do(work)
