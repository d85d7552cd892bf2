"""The post-quantum ratchet of `ratchet`, driven by vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ratchet.limits import FORWARD_JUMP_MAX
from ratchet.spqr.ratchet import PostQuantumRatchet
from vectors.ours.outcome import expect_refusal, no_matter, no_refusal
from vectors.reference.expectations import Json, RecordedEntropy, expect, place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(slots=True)
class Side:
    """One side; `to_bytes` is what must not change when something is refused."""

    ratchet: PostQuantumRatchet

    def to_bytes(self) -> bytes:
        """Return the state in some fixed form."""
        return repr(self.ratchet.to_packed()).encode()

    def send(self, entropy: Callable[[int], bytes]) -> tuple[bytes, bytes]:
        """Return (message, key)."""
        step = self.ratchet.plan_send(entropy)
        self.ratchet.commit_send(step)
        return step.encoded, step.key

    def receive(self, data: bytes) -> bytes:
        """Return the key. As in a session, everything is planned before anything is changed."""
        message, key_step = self.ratchet.plan_key(data)
        self.ratchet.commit_receive(key_step, self.ratchet.plan_braid(message))
        return key_step.key


@dataclass(slots=True)
class Exchange:
    """Both sides, and the messages so far."""

    sides: dict[str, Side]
    sent: list[tuple[bytes, bytes]] = field(default_factory=list)  # message, key

    @classmethod
    def of(cls, auth_key: bytes) -> Exchange:
        """Start both sides."""
        return cls(
            {
                name: Side(PostQuantumRatchet.start(auth_key, initiator=name == "a", forward_max=FORWARD_JUMP_MAX))
                for name in "ab"
            }
        )

    def fork(self) -> Exchange:
        """Return an independent copy, through the stored form."""
        sides = {name: Side(PostQuantumRatchet.from_packed(_listed(side))) for name, side in self.sides.items()}
        return Exchange(sides, list(self.sent))

    def run(self, steps: Sequence[Json]) -> None:
        """Take steps and compare everything that they state. Raises Mismatch."""
        for number, step in enumerate(steps):
            with place(f"step {number} ({step['by']} {step['do']})"):
                side = self.sides[step["by"]]
                if "error" in step:
                    expect_refusal(step, [side], partial(self._act, step, no_matter))
                    continue
                entropy = RecordedEntropy(step)
                with no_refusal():
                    self._act(step, entropy)
                entropy.finish()

    def _act(self, step: Json, entropy: Callable[[int], bytes]) -> None:
        side = self.sides[step["by"]]
        match step["do"]:
            case "send":
                message, key = side.send(entropy)
                expect("message", message, step["message"])
                expect("key", key, step["key"])
                self.sent.append((message, key))
            case "receive":
                stated = step["message"]
                if isinstance(stated, str):
                    message, key = bytes.fromhex(stated), bytes.fromhex(step.get("key", ""))
                else:
                    message, key = self.sent[stated]
                expect("key", side.receive(message), key.hex())
            case "skip":
                for _ in range(step["count"]):
                    side.send(entropy)


def _listed(side: Side) -> list[Any]:
    return side.ratchet.to_packed()
