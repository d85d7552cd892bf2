"""Two ends of the post-quantum ratchet alone, without the double ratchet around it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

from ratchet.limits import FORWARD_JUMP_MAX
from ratchet.spqr.ratchet import PostQuantumRatchet

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratchet.keys import Entropy


class Part(NamedTuple):
    """What one message carries of the post-quantum ratchet, and the key that it was sealed with."""

    encoded: bytes
    key: bytes


class End:
    """One end. A is the initiator, who holds the keys of the first epoch."""

    def __init__(self, authentication_key: bytes, entropy: Entropy, *, initiator: bool) -> None:
        self.ratchet = PostQuantumRatchet.start(authentication_key, initiator=initiator, forward_max=FORWARD_JUMP_MAX)
        self.entropy = entropy

    def send(self) -> Part:
        """Make the next message's part."""
        step = self.ratchet.plan_send(self.entropy)
        self.ratchet.commit_send(step)
        return Part(step.encoded, step.key)

    def receive(self, encoded: bytes) -> bytes:
        """Take a part as a message with the right tag would bring it; return its key."""
        message, key_step = self.ratchet.plan_key(encoded)
        self.ratchet.commit_receive(key_step, self.ratchet.plan_braid(message))
        return key_step.key

    def reload(self) -> None:
        """Store and load."""
        self.ratchet = PostQuantumRatchet.from_packed(self.ratchet.to_packed())

    @property
    def state(self) -> str:
        """The name of the braid's state."""
        return type(self.ratchet.state).__name__

    @property
    def epoch(self) -> int:
        """Epochs whose secret this end has."""
        return self.ratchet.chains.current_epoch

    @property
    def sending_epoch(self) -> int:
        """The chain epoch whose keys this end sends with."""
        return self.ratchet.chains.sending_epoch


def braid(seed: int) -> tuple[End, End]:
    """Both ends, A and B, with the key of one handshake."""
    dice = Random(seed)
    authentication_key = dice.randbytes(32)
    return (
        End(authentication_key, dice.randbytes, initiator=True),
        End(authentication_key, dice.randbytes, initiator=False),
    )


def exchange(sender: End, recipient: End) -> None:
    """Deliver one message, and show that both have the same key."""
    part = sender.send()
    assert recipient.receive(part.encoded) == part.key


def exchange_until(one: End, other: End, reached: Callable[[], bool], *, rounds_max: int = 400) -> int:
    """Send back and forth until *reached*; return the messages that it took."""
    for messages in range(rounds_max):
        if reached():
            return messages
        exchange(*((one, other) if messages % 2 == 0 else (other, one)))
    raise AssertionError(f"not reached in {rounds_max} messages")
