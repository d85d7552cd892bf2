"""What applications do with groups, drawn from the seed."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from e2ee.errors import GroupError, InvalidArgument
from e2ee.groups import GroupKind, Operation, Role

if TYPE_CHECKING:
    from random import Random

    from e2ee.groups import Group

    from .device import Device
    from .world import World

__all__ = ["GroupLife"]

GROUPS_MAX: Final = 2  # in one world: names that several want at a time


class GroupLife:
    """Somebody does something with a group; often enough it makes no sense, and is refused."""

    def __init__(self, world: World, dice: Random) -> None:
        self._world = world
        self._dice = dice
        self._texts = 0
        self.names = [f"group {number}" for number in range(1, GROUPS_MAX + 1)]

    def begin(self) -> None:
        """Let there be a group, often with everybody in it."""
        first, *others = self._world.devices
        first.ask(lambda engine: engine.groups.create(self.names[0], GroupKind.OPEN))
        for device in others:
            self._world.schedule.after(self._dice.uniform(1.0, 10.0), partial(self._join, device, self.names[0]))

    def send(self) -> None:
        """Send a few texts to a group."""
        device, name = self._device(), self._dice.choice(self.names)
        for _ in range(self._dice.randint(1, 3)):
            self._texts += 1
            self._world.send_group(device, name, f"group text {self._texts} of {device.name}")

    def create(self) -> None:
        """Make a group whose name may be taken."""
        device, name = self._device(), self._dice.choice(self.names)
        kind = self._dice.choice(list(GroupKind))
        with suppress(GroupError):
            device.ask(lambda engine: engine.groups.create(name, kind))

    def join(self) -> None:
        """Join an open group, or accept an invitation."""
        self._join(self._device(), self._dice.choice(self.names))

    def _join(self, device: Device, name: str) -> None:
        with suppress(GroupError):
            device.ask(lambda engine: engine.groups.join(name))

    def act(self) -> None:
        """Do something in or to a group that the device knows."""
        device = self._device()
        group = self._known(device)
        if group is None:
            return
        if group.is_invited:
            self._act(device, group, self._dice.choice([Operation.ACCEPT, Operation.ACCEPT, Operation.LEAVE]), None)
            return
        operation = self._dice.choice(
            [
                Operation.INVITE,
                Operation.INVITE,
                Operation.REMOVE,
                Operation.PROMOTE,
                Operation.DEMOTE,
                Operation.CLOSE,
                Operation.LEAVE,
                Operation.DELETE,
            ]
        )
        user = self._dice.choice(self._world.users())
        if operation in (Operation.CLOSE, Operation.DELETE) or (
            operation is Operation.LEAVE and self._dice.random() < 0.5
        ):
            self._act(device, group, operation, None)
        else:
            self._act(device, group, operation, user)

    def _known(self, device: Device) -> Group | None:
        found = device.look(lambda engine: engine.groups.all())
        return self._dice.choice(found) if found else None

    def _act(self, device: Device, group: Group, operation: Operation, user: str | None) -> None:
        role = self._dice.choice(list(Role)) if operation is Operation.INVITE else Role.MEMBER
        with suppress(GroupError, InvalidArgument):
            device.ask(lambda engine: engine.groups.act(group, operation, user=user, role=role))

    def _device(self) -> Device:
        return self._dice.choice(self._world.devices)
