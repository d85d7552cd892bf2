"""Refusals by `ratchet`, compared with what vectors say."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import ratchet
from vectors.reference.expectations import Json, Mismatch, expect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Packed(Protocol):
    """What has a stored form."""

    def to_bytes(self) -> bytes:
        """Return the stored form."""


def expect_refusal(stated: Json, objects: Sequence[Packed], action: Callable[[], object]) -> None:
    """Run *action*; check that it raises the error that *stated* names, and leaves the objects as they were."""
    before = [each.to_bytes() for each in objects]
    try:
        action()
    except ratchet.RatchetError as error:
        if type(error).__name__ != stated["error"]:
            raise Mismatch(f"the error is {error!r}, the vector says {stated['error']}") from error
    else:
        raise Mismatch(f"nothing was refused, the vector says {stated['error']}")
    expect(
        "stored form after the refusal", [each.to_bytes().hex() for each in objects], [each.hex() for each in before]
    )


@contextmanager
def no_refusal() -> Iterator[None]:
    """Turn an error of `ratchet` into a Mismatch."""
    try:
        yield
    except ratchet.RatchetError as error:
        raise Mismatch(f"refused: {error!r}") from error


def expect_outcome(test: Json, action: Callable[[], object]) -> None:
    """Run *action* on objects that nothing else sees; check that it is refused, or not, as *test* says."""
    if test["result"] == "invalid":
        expect_refusal(test, (), action)
        return
    with no_refusal():
        action()


def no_matter(size: int) -> bytes:
    """Serve as entropy where the outcome must not depend on it."""
    return bytes(size)
