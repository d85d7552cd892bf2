"""Comparing what was derived with what a vector says."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from vectors.reference.faults import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Json: TypeAlias = dict[str, Any]


class Mismatch(Exception):
    """A vector says one thing, the reference derives another."""


def expect(what: str, derived: object, stated: object) -> None:
    """Raise Mismatch unless both are equal; bytes are compared with their hexadecimal form."""
    if isinstance(derived, bytes):
        derived = derived.hex()
    if derived != stated:
        raise Mismatch(f"{what}: derived {_short(derived)}, the vector says {_short(stated)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:120]}... ({len(text)} characters)"


@contextmanager
def expected_outcome(stated: Mapping[str, Any]) -> Iterator[None]:
    """Check that the block is refused as *stated* says, with its fault and class of error, or not if it names none."""
    fault = stated.get("fault")
    try:
        yield
    except Refused as refusal:
        expect("fault", refusal.fault.label, fault)
        expect("error", refusal.fault.error, stated.get("error"))
    else:
        expect("fault", None, fault)


@contextmanager
def place(name: str) -> Iterator[None]:
    """Say in a Mismatch or Refused that leaves the block where it happened."""
    try:
        yield
    except (Mismatch, Refused) as error:
        raise Mismatch(f"{name}: {error}") from error


class RecordedEntropy:
    """The random bytes of one step, given out as they were."""

    def __init__(self, step: Json) -> None:
        self._left = [bytes.fromhex(drawn) for drawn in step.get("entropy", [])]

    def __call__(self, size: int) -> bytes:
        """Return the next recorded draw. Raises Mismatch if it has another size or there is none."""
        if not self._left:
            raise Mismatch(f"{size} bytes of entropy are needed and none are left in the step")
        drawn = self._left.pop(0)
        expect("size of an entropy draw", len(drawn), size)
        return drawn

    def finish(self) -> None:
        """Raise Mismatch if something was recorded and not needed."""
        expect("entropy left over", len(self._left), 0)
