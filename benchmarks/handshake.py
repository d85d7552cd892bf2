"""Suite ``handshake``: accounts, bundles, first messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .contests import Discipline, contests
from .peer import Bench, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .harness import Outcome

DISCIPLINES: Final = (
    Discipline(Operation.ACCOUNT, "create account, no one-time prekeys"),
    Discipline(Operation.ACCOUNT_WITH_PREKEYS, "create account, 100 one-time prekeys of each kind"),
    Discipline(Operation.VERIFY_BUNDLE, "verify a bundle"),
    Discipline(Operation.INITIATE, "initiate from a bundle"),
    Discipline(Operation.FIRST_ENCRYPT, "encrypt the first message"),
    Discipline(Operation.INITIATE_AND_ENCRYPT, "initiate and encrypt the first message"),
    Discipline(Operation.ACCEPT, "accept and decrypt the first message"),
)


def run(bench: Bench) -> Iterator[Outcome]:
    """Measure every discipline."""
    yield from contests("handshake", bench, DISCIPLINES)
