"""A symmetric chain as its receiver sees it: derive forward, keep what was skipped, forget what was used.

The double ratchet has up to five of them, a sender key one per state.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from .chains import chain_step
from .errors import MessageKeyGone, TooFarAhead
from .limits import COUNTER_MAX, SKIPPED_KEYS_MAX
from .packing import pack_positions, take_bytes, take_int, take_list, take_positions

__all__ = ["ChainStep", "ReceivingChain"]


class ChainStep:
    """The seed of one message, and what taking it will change."""

    __slots__ = ("key", "late", "number", "seed", "skipped")

    def __init__(
        self,
        seed: bytes,
        key: bytes,
        number: int,
        skipped: list[bytes],
        *,
        late: bool,
    ) -> None:
        self.seed = seed  # 32 bytes, secret
        self.key = key  # the chain key afterwards
        self.number = number  # the chain's number afterwards; of a late message, its own
        self.skipped = skipped  # seeds of the messages before it, those that fit the limit
        self.late = late  # the seed was kept when a later message came first


class ReceivingChain:
    """Position in one chain (CKr, Nr) and its skipped message seeds (MKSKIPPED)."""

    __slots__ = ("key", "number", "skipped")

    def __init__(self, key: bytes, number: int, skipped: dict[int, bytes]) -> None:
        self.key = key  # 32 bytes, secret
        self.number = number  # of the next message in order
        self.skipped = skipped  # number to seed, ascending; secret

    def plan(self, number: int, forward_max: int) -> ChainStep:
        """Find or derive the seed of message *number*; change nothing.

        Raises MessageKeyGone, or TooFarAhead if more than *forward_max* messages are missing before it.
        """
        expected = self.number
        if number == expected:
            seed, key = chain_step(self.key)
            return ChainStep(seed, key, number + 1, [], late=False)
        if number < expected:
            kept = self.skipped.get(number)
            if kept is None:
                raise MessageKeyGone(f"message {number} was received before, or its key is no longer kept")
            return ChainStep(kept, self.key, number, [], late=True)
        if number - expected > forward_max:
            raise TooFarAhead(f"message {number} when {expected} comes next; at most {forward_max} may be missing")
        skipped: list[bytes] = []
        key = self.key
        first_kept = number - SKIPPED_KEYS_MAX
        for position in range(expected, number):
            seed, key = chain_step(key)
            if position >= first_kept:
                skipped.append(seed)
        seed, key = chain_step(key)
        return ChainStep(seed, key, number + 1, skipped, late=False)

    def commit(self, step: ChainStep) -> None:
        """Make *step* the state; the oldest skipped seeds beyond 2,000 go."""
        if step.late:
            del self.skipped[step.number]
            return
        if step.skipped:
            excess = len(self.skipped) + len(step.skipped) - SKIPPED_KEYS_MAX
            if excess > 0:
                for position in list(islice(self.skipped, excess)):
                    del self.skipped[position]
            last = step.number - 1
            self.skipped.update(zip(range(last - len(step.skipped), last), step.skipped, strict=True))
        self.key = step.key
        self.number = step.number

    def to_packed(self) -> list[Any]:
        """Return the state as plain values for `packing`."""
        return [self.key, self.number, pack_positions(self.skipped), b"".join(self.skipped.values())]

    @classmethod
    def from_packed(cls, value: object) -> ReceivingChain:
        """Undo `to_packed`. Raises CorruptSnapshot."""
        key, number, positions, seeds = take_list(value, "receiving chain", length=4)
        following = take_int(number, COUNTER_MAX + 1, "receiving number")
        return cls(
            take_bytes(key, 32, "receiving chain key"),
            following,
            take_positions(positions, seeds, following, SKIPPED_KEYS_MAX),
        )
