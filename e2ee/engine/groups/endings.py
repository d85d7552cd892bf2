"""How operations on groups end: whoever waits is told by the outcome, everybody else by an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.events import GroupOperationFailed
from e2ee.ids import GroupId

from .outcome import GroupOutcome
from .wish import WANTED, wish_of

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.errors import GroupError
    from store import GroupOperation

__all__ = ["finish", "group_failed", "is_operated", "name_failed"]

INBOX_WAIT_S: Final = 60.0  # seconds between two looks at an inbox that is full


def finish(step: Step, operation: GroupOperation, error: GroupError | None) -> None:
    """Let an operation end: done (None), or with the reason why it cannot be."""
    wish = wish_of(operation)
    groups = step.memory.groups
    if error is not None and operation.operation_id not in step.callers and not step.unit.inbox.room():
        groups.waits[operation.operation_id] = step.now + INBOX_WAIT_S  # its end can be told when there is room
        return
    step.unit.group_operations.delete(operation.operation_id)
    groups.waits.pop(operation.operation_id, None)
    groups.asked.discard(operation.operation_id)
    group_id = wish.group_id
    if group_id is None and wish.name is not None:
        group_id = step.unit.groups.pinned(wish.name)
    if operation.operation_id in step.callers:
        step.outcomes.append(GroupOutcome(operation.operation_id, group_id or b"", error))
    elif error is not None:
        known = None if group_id is None else step.groups.get(group_id)
        name = known.membership.name if known is not None else wish.name or ""
        group = GroupId((group_id or b"").hex())
        what = wish.operation.name.lower()
        step.keep(GroupOperationFailed(group=group, name=name, operation=what, reason=str(error)))


def group_failed(step: Step, group_id: bytes, error: GroupError) -> None:
    """End what has waited for the log of a group that cannot be had."""
    for operation in step.unit.group_operations.all():
        if operation.state == WANTED and _group_of(step, operation) == group_id:
            finish(step, operation, error)


def name_failed(step: Step, name: str, error: GroupError) -> None:
    """End what has waited for the group of a name."""
    for operation in step.unit.group_operations.all():
        wish = wish_of(operation)
        if operation.state == WANTED and wish.group_id is None and wish.name == name:
            finish(step, operation, error)


def is_operated(step: Step, group_id: bytes) -> bool:
    """Whether an operation of ours on the group is under way."""
    return any(_group_of(step, operation) == group_id for operation in step.unit.group_operations.all())


def _group_of(step: Step, operation: GroupOperation) -> bytes | None:
    wish = wish_of(operation)
    if wish.group_id is None and wish.name is not None:
        return step.unit.groups.pinned(wish.name)
    return wish.group_id
