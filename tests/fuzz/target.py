"""What is fuzzed: a name, a function that raises if something holds no longer, and inputs to begin with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["CORPUS", "Choices", "Target", "decoder", "kept"]

CORPUS: Final = Path(__file__).parent / "corpus"
INPUT_SIZE_MAX: Final = 8 * 1024  # bytes of one input: an account's snapshot and a bundle fit

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that meets bytes from outside.

    *run* returns for whatever bytes there are; what it raises is a finding. *seeds* makes well-formed inputs, which
    are kept as the corpus; some differ from run to run, so the tests take the files.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    examples: int = field(default=30, kw_only=True)  # tried by the fast tests; fewer where one takes long


def decoder(
    name: str,
    decode: Callable[[bytes], _Value],
    refusals: tuple[type[Exception], ...],
    *,
    encode: Callable[[_Value], bytes | None] | None = None,
    canonical: bool = False,
    seeds: Callable[[], Sequence[bytes]],
    examples: int = 30,
) -> Target:
    """A decoder: it returns a value, or raises one of *refusals* and no subclass of them.

    With *encode* (None: this value has no form of ours) what it returned is read back from its encoding as the same;
    *canonical*: that encoding is the input.
    """

    def run(data: bytes) -> None:
        try:
            value = decode(data)
        except refusals as error:
            if type(error) not in refusals:
                raise
            return
        encoded = None if encode is None else encode(value)
        if encode is None or encoded is None:
            return
        assert not canonical or encoded == data, "another encoding than the one that is written was taken"
        again = decode(encoded)
        assert encode(again) == encoded, "what was written is not read back as the same"
        assert type(value).__eq__ is object.__eq__ or again == value, "what was read back is not equal"

    return Target(name, run, seeds, examples=examples)


def kept(name: str) -> list[bytes]:
    """The kept corpus of a target, in the order of the names of its files."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


class Choices:
    """Bytes, read as decisions: how a handler's target makes its story of an input. At the end every answer is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether decisions are left."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """The next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, limit: int) -> int:
        """A number below *limit*, which is at most 256."""
        return self.byte() % limit

    def of(self, some: Sequence[_Value]) -> _Value:
        """One of at most 256 values."""
        return some[self.below(len(some))]

    def octets(self) -> bytes:
        """Some bytes: their number is the next byte."""
        size = self.byte()
        found = self._data[self._at : self._at + size]
        self._at += size
        return found
