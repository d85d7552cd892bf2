"""Forgetting a group, with all that waits for it: nothing could open that any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.diagnostics import Reason
from e2ee.engine.losses import lose

from .chains import names_of_group

if TYPE_CHECKING:
    from e2ee.engine.step import Step

__all__ = ["forget_group"]


def forget_group(step: Step, group_id: bytes) -> None:
    """Delete a group; what waits for its log, its members or their chains is lost.

    Else each connection would have the log fetched again, and forgotten again, until the messages are too old.
    """
    waiting = [one for name in names_of_group(step, group_id) for one in step.unit.pending.waiting_for(name)]
    lose(step, [step.unit.pending.take_out(one) for one in waiting], Reason.UNKNOWN_GROUP)
    step.moved_logs.pop(group_id, None)
    step.groups.forget(group_id)
