"""Repeatable dice, the same in every release of Python."""

from __future__ import annotations

import hashlib
from typing import TypeVar

Item = TypeVar("Item")


class Dice:
    """A stream of SHAKE-256 over a name."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._drawn = 0

    def bytes(self, size: int) -> bytes:
        """Return the next *size* bytes. Serves as entropy."""
        self._drawn += 1
        return hashlib.shake_256(self._name + b"/" + str(self._drawn).encode()).digest(size)

    def below(self, end: int) -> int:
        """Return a number from 0 to *end* - 1, as evenly as 64 bits allow."""
        return int.from_bytes(self.bytes(8), "big") % end

    def chance(self, percent: int) -> bool:
        """Return True in *percent* of a hundred cases."""
        return self.below(100) < percent

    def pick(self, items: list[Item]) -> Item:
        """Return one of *items*."""
        return items[self.below(len(items))]

    def shuffled(self, items: list[Item]) -> list[Item]:
        """Return the items in another order."""
        rest, order = list(items), []
        while rest:
            order.append(rest.pop(self.below(len(rest))))
        return order


class RecordingEntropy:
    """Draws from dice and writes down what was drawn."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.drawn: list[str] = []

    def __call__(self, size: int) -> bytes:
        """Return *size* bytes."""
        drawn = self._dice.bytes(size)
        self.drawn.append(drawn.hex())
        return drawn
