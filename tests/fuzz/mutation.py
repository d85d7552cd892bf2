"""Changed inputs: edits that hypothesis and the loop of our own draw alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["EDITS_MAX", "EDIT_KINDS", "Edit", "drawn_edits", "edited"]

Edit: TypeAlias = tuple[int, int, bytes]
"""A kind, a position (taken modulo what there is), and bytes."""

EDIT_KINDS: Final = 7
EDITS_MAX: Final = 6  # of one input: most findings take one or two
# Lengths, types and signs at which decoders decide something.
INTERESTING: Final = (
    b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\x90", b"\xc0", b"\xc1", b"\xc2", b"\xc3", b"\xa0", b"\xc4\x00",
    b"\xca\x7f\xc0\x00\x00", b"\xcc\xff", b"\xcf" + b"\xff" * 8, b"\xd9\x01\xff", b"\xdc\x00\x00",
    b"\xdd\xff\xff\xff\xff", b"\xc7\x00\x05", b"\xff" * 9 + b"\x01", b"\x05" + bytes(32), b"\xe2\x80\xae",
)  # fmt: skip


def edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Apply *edits*, one after the other."""
    for kind, where, value in edits:
        at = where % (len(data) + 1)
        match kind:
            case 0:
                data = data[:at] + value + data[at + len(value) :]
            case 1:
                data = data[:at] + value + data[at:]
            case 2:
                data = data[:at] + data[at + len(value) + 1 :]
            case 3:
                data = data[:at]
            case 4:
                data = data[:at] + data[max(0, at - 1 - len(value)) :]
            case 5 if data:
                at %= len(data)
                data = data[:at] + bytes((data[at] ^ 1 << (where & 7),)) + data[at + 1 :]
            case _:
                data += value
    return data


def drawn_edits(dice: Random) -> list[Edit]:
    """Draw some edits."""
    return [
        (
            dice.randrange(EDIT_KINDS),
            dice.randrange(1 << 14) if dice.random() < 0.5 else dice.randrange(1 << 7),
            dice.choice(INTERESTING) if dice.random() < 0.5 else dice.randbytes(dice.randrange(9)),
        )
        for _ in range(dice.randint(1, EDITS_MAX))
    ]
