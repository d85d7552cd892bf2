"""Group calls of a client that wait for their outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2ee.engine.groups.outcome import GroupOutcome

__all__ = ["WaitingCalls"]

OUTCOMES_MAX: Final = 256  # kept for callers who have not taken them yet, or were cancelled; the oldest go first


class WaitingCalls:
    """Outcomes, each kept from the step that had it until its caller takes it."""

    def __init__(self) -> None:
        self._settled: dict[bytes, GroupOutcome] = {}

    def settle(self, outcomes: Iterable[GroupOutcome]) -> None:
        """Keep outcomes."""
        for one in outcomes:
            self._settled[one.operation_id] = one
            if len(self._settled) > OUTCOMES_MAX:
                del self._settled[next(iter(self._settled))]

    def take(self, operation_id: bytes) -> GroupOutcome | None:
        """Take the outcome of an operation; None: it is not known yet."""
        return self._settled.pop(operation_id, None)
