"""What a unit stored, kept in memory for the next unit that asks: a store has one owner, so nobody else changes it.

A value is put in by the unit that stores it and counts once that unit is committed. It is handed out once: whoever
takes it may change it, and what is not stored again is read from the database the next time. A unit that fails empties
everything, since nobody knows then what it has changed.
"""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Kept"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Kept(Generic[_Key, _Value]):
    """The values stored last, up to *size_max* in all; those not used for longest go first."""

    __slots__ = ("_left", "_size_max", "_stored", "_values")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._left = size_max
        self._values: dict[_Key, tuple[_Value, int]] = {}  # as committed, with its size; used last at the end
        self._stored: dict[_Key, tuple[_Value, int]] = {}  # by this unit

    def take(self, key: _Key) -> _Value | None:
        """Hand out what was kept under *key*, and keep it no longer; None: ask the database."""
        found = self._values.pop(key, None)
        if found is None:
            return None
        self._left += found[1]
        return found[0]

    def put(self, key: _Key, value: _Value, size: int) -> None:
        """Note that this unit stores *value* under *key*."""
        self.drop(key)
        self._stored[key] = (value, size)

    def drop(self, key: _Key) -> None:
        """Note that this unit deletes what is under *key*, or writes it without telling its value."""
        self.take(key)
        self._stored.pop(key, None)

    def clear(self) -> None:
        """Keep nothing."""
        self._values.clear()
        self._stored.clear()
        self._left = self._size_max

    def settle(self, *, committed: bool) -> None:
        """Take note of the unit's end."""
        if not committed:
            self.clear()
        elif self._stored:
            for key, entry in self._stored.items():
                self._values[key] = entry
                self._left -= entry[1]
            self._stored.clear()
            while self._left < 0:
                self.take(next(iter(self._values)))
