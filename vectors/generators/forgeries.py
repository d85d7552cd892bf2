"""Deliveries that take the place of a genuine message: what was changed, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from vectors.generators.form import invalid, valid
from vectors.generators.script import Script

if TYPE_CHECKING:
    from vectors.files import Json
    from vectors.reference.faults import Fault

Begin: TypeAlias = Callable[[str], Script]  # makes the script of a name: both sides ours, or one of them libsignal


class Forgeries:
    """Tests of one group: the script's last two messages are genuine, and not delivered yet."""

    def __init__(self, script: Script, receiver: str, kind: int) -> None:
        self._script = script
        self._receiver = receiver
        self._kind = kind
        self._tests: list[Json] = []
        self.genuine, self.following = script.last_message - 1, script.last_message

    def refuse(self, comment: str, fault: Fault, flag: str, body: bytes) -> None:
        """Add a delivery that is refused."""
        step = {**self._delivery(body), "error": fault.error, "fault": fault.label}
        self._tests.append(invalid(comment, fault.error, fault.label, flag, steps=[step]))

    def accept(self, comment: str, body: bytes, plaintext: bytes, **consumed: object) -> None:
        """Add a delivery that is read; *consumed* is the entropy of the step, if it needs some."""
        step = {**self._delivery(body), "plaintext": plaintext.hex(), **consumed}
        self._tests.append(valid(comment, "Tolerated", steps=[step]))

    def _delivery(self, body: bytes) -> Json:
        return {"by": self._receiver, "do": "decrypt", "kind": self._kind, "body": body.hex()}

    def group(self, comment: str) -> Json:
        """Return the group: after each test the genuine messages that it did not replace are still read."""
        refused = all(test["result"] == "invalid" for test in self._tests)
        following = {"by": self._receiver, "do": "decrypt", "message": self.following}
        return {
            "comment": comment,
            "parties": self._script.parties,
            "steps": self._script.steps,
            "then": [self._script.delivery(self._receiver, self.genuine), following] if refused else [following],
            "tests": self._tests,
        }
