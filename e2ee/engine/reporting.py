"""What is going on in one account, without telling whose."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from e2ee.diagnostics import Report

if TYPE_CHECKING:
    from e2ee.diagnostics import Diagnostics
    from store import Unit

__all__ = ["report"]


def report(unit: Unit, diagnostics: Diagnostics) -> Report:
    """Put together what the store holds now and what this engine has counted."""
    return Report(
        deliveries=MappingProxyType(dict(diagnostics.deliveries)),
        reasons=MappingProxyType(dict(diagnostics.reasons)),
        heals=diagnostics.heals,
        resent=diagnostics.resent,
        waiting_to_be_sent=unit.outgoing.count(),
        waiting_to_be_opened=unit.pending.count(),
        in_quarantine=unit.quarantine.count(),
        unread=unit.inbox.count(),
        heals_in_last_hour=unit.heals.in_last_hour(),
        troubles=tuple(diagnostics.troubles),
    )
