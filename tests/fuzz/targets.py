"""The table of everything that is fuzzed, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import client_target, messaging_targets, ratchet_targets, relay_target

if TYPE_CHECKING:
    from .target import Target

__all__ = ["TARGETS"]

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for target in (*ratchet_targets.TARGETS, *messaging_targets.TARGETS, relay_target.TARGET, client_target.TARGET)
}
