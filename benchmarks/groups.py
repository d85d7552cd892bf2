"""Suite ``groups``: sender keys, and groups from application to application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import group_clients
from .contests import Discipline, contests
from .peer import Bench, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .harness import Outcome

DISCIPLINES: Final = (
    Discipline(Operation.SENDER_KEY_CREATE, "create a sender key"),
    Discipline(Operation.DISTRIBUTE, "make a distribution message"),
    Discipline(Operation.ADOPT, "process a distribution message"),
    Discipline(Operation.GROUP_ENCRYPT, "encrypt"),
    Discipline(Operation.GROUP_DECRYPT, "decrypt, in order"),
    Discipline(Operation.FAN_OUT_10, "message to 10 members: encrypt once, decrypt at each"),
    Discipline(Operation.SHARE_10, "sender key to 10 members, encrypted pairwise"),
)
LARGE: Final = (
    Discipline(Operation.FAN_OUT_100, "message to 100 members: encrypt once, decrypt at each"),
    Discipline(Operation.FAN_OUT_1000, "message to 1,000 members: encrypt once, decrypt at each"),
    Discipline(Operation.SHARE_100, "sender key to 100 members, encrypted pairwise"),
    Discipline(Operation.SHARE_1000, "sender key to 1,000 members, encrypted pairwise"),
)


def run(bench: Bench) -> Iterator[Outcome]:
    """Measure every discipline; a smoke run leaves out the large groups, which differ by a number only."""
    yield from contests("groups", bench, DISCIPLINES if bench.settings.smoke else DISCIPLINES + LARGE)
    yield from group_clients.run(bench)
