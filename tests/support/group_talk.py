"""What the applications of a `World` do with groups, in few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.groups import Group, GroupKind, Operation, Role

if TYPE_CHECKING:
    from e2ee.engine import Output

    from .engines import Device


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
