"""A group among engines: its entries go straight to the relay, as if signed elsewhere, and reach engines as mail."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from e2ee.engine.groups.state import membership
from e2ee.events import GroupMessage
from e2ee.frames import AppendEntry, EnvelopeKind
from e2ee.groups import GroupKind, Membership, Operation, Role, take_entry
from e2ee.ids import GroupId, UserId

if TYPE_CHECKING:
    from e2ee.frames import Delivery
    from e2ee.ids import MessageId
    from ratchet import IdentityKeyPair

    from .engines import Device, World


PAIRWISE: Final = (EnvelopeKind.PREKEY, EnvelopeKind.SIGNAL)


class Team:
    """A group; *devices* are of its founder and its first members, one device each."""

    def __init__(self, world: World, *devices: Device, kind: GroupKind = GroupKind.OPEN, name: str = "team") -> None:
        self.world = world
        founder = devices[0]
        genesis = Membership.genesis(
            _identity(founder), UserId(founder.name[0]), name=name, kind=kind, time_ms=1, entropy=os.urandom
        )
        self.group_id = take_entry(genesis).group_id
        self._append(founder, genesis)
        for device in devices[1:]:
            self.join(device)

    @property
    def id(self) -> GroupId:
        return GroupId(self.group_id.hex())

    @property
    def state(self) -> Membership:
        return self.world.relay.groups.stored[self.group_id].state

    @property
    def log(self) -> list[bytes]:
        return list(self.world.relay.groups.stored[self.group_id].log)

    def _append(self, device: Device, entry: bytes) -> None:
        reply = self.world.relay.handle(device.name, AppendEntry(0, 0, entry))
        assert getattr(reply, "refusal", 0) is None

    def change(self, device: Device, operation: Operation, **who: object) -> None:
        """Let a device's user change the group, as of what the relay has. It reaches everybody as mail."""
        entry = self.state.next_entry(
            _identity(device),
            UserId(device.name[0]),
            operation,
            role=Role.MEMBER,
            time_ms=1,
            entropy=os.urandom,
            **who,  # type: ignore[arg-type]
        )
        self._append(device, entry)

    def join(self, device: Device) -> None:
        self.change(device, Operation.JOIN)

    def leave(self, device: Device) -> None:
        self.change(device, Operation.LEAVE)

    def remove(self, admin: Device, device: Device) -> None:
        user = UserId(device.name[0])
        self.change(admin, Operation.REMOVE, subject=user, subject_key=self.state.members[user].identity_key)

    def send(self, device: Device, content: str | bytes) -> MessageId:
        message_id, output = device.engine.send_group(self.id, content)
        device.take(output)
        return message_id

    def seen_by(self, device: Device) -> Membership | None:
        return device.do(lambda step: membership(step, self.group_id))


def texts(device: Device) -> list[str | None]:
    """What group messages a device has received, in order."""
    return [event.text for event in device.of(GroupMessage)]


def withhold(device: Device, *kinds: EnvelopeKind) -> list[Delivery]:
    """Let the relay lose what waits of these kinds for a device; return it."""
    box = device.world.relay.boxes[device.name]
    lost = [one for one in box.mail if one.kind in kinds]
    box.mail = [one for one in box.mail if one.kind not in kinds]
    return lost


def settle_in_time(world: World) -> None:
    """Let what heals or is asked for have its time: a few waits of minutes."""
    for _ in range(6):
        world.settle()
        world.clock.now += 120
    world.settle()


def _identity(device: Device) -> IdentityKeyPair:
    return device.do(lambda step: step.account.identity)
