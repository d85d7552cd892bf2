"""Replays vectors of the post-quantum ratchet alone."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from vectors.reference.expectations import Json, RecordedEntropy, expect, expected_outcome, place
from vectors.reference.spqr import PostQuantumRatchet

if TYPE_CHECKING:
    from collections.abc import Sequence


class Exchange:
    """Both sides, and the messages so far."""

    def __init__(self, auth_key: bytes) -> None:
        self.sides = {"a": PostQuantumRatchet(auth_key, is_a=True), "b": PostQuantumRatchet(auth_key, is_a=False)}
        self._sent: list[tuple[bytes, bytes]] = []  # message, key

    def fork(self) -> Exchange:
        """Return an independent copy."""
        return copy.deepcopy(self)

    def run(self, steps: Sequence[Json]) -> None:
        """Take steps and compare everything that they state. Raises Mismatch."""
        for number, step in enumerate(steps):
            with place(f"step {number} ({step['by']} {step['do']})"):
                self.take(step)
                if "state" in step:
                    self._check_annotations(step)

    def _check_annotations(self, step: Json) -> None:
        side = self.sides[step["by"]]
        expect("state", side.braid.state.value, step["state"])
        emitted = side.emitted if step["do"] != "skip" else None
        expect("epoch secret", emitted.secret.hex() if emitted else None, step.get("epoch_secret"))

    def take(self, step: Json) -> None:
        """Take one step and compare its message and key."""
        side = copy.deepcopy(self.sides[step["by"]])
        entropy = RecordedEntropy(step)
        with expected_outcome(step):
            match step["do"]:
                case "send":
                    message, key = side.send(entropy)
                    expect("message", message, step["message"])
                    expect("key", key, step["key"])
                    self._sent.append((message, key))
                case "receive":
                    stated = step["message"]
                    if isinstance(stated, str):
                        message, key = bytes.fromhex(stated), bytes.fromhex(step.get("key", ""))
                    else:
                        message, key = self._sent[stated]
                    expect("key", side.receive(message), key.hex())
                case "skip":
                    side.skip(step["count"], entropy)
        if "fault" in step:
            return
        entropy.finish()
        self.sides[step["by"]] = side
