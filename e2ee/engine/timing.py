"""What is due by time alone, and when the next of it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import receipts
from .expiry import expire, expiry_due
from .groups import asking, old_chains
from .groups.operations import group_work_at
from .healing import next_heal_at
from .numbers import tell_missing
from .pumping import lanes_due

if TYPE_CHECKING:
    from .memory import Memory
    from .step import Step

__all__ = ["do_what_is_due", "next_due_at"]


def do_what_is_due(step: Step) -> None:
    """Do what the clock asks for, but for lanes, which every step brings forward."""
    at = receipts.flush_at(step.memory)
    if at is not None and at <= step.now:
        receipts.flush(step)
    if expiry_due(step):
        expire(step)
    chains_at = old_chains.count_at(step.memory)
    if chains_at is not None and chains_at <= step.now:
        old_chains.count_chains(step)
    wanted_at = asking.ask_for_chains_at(step.memory)
    if wanted_at is not None and wanted_at <= step.now:
        asking.ask_for_chains(step)
    if step.memory.caught_up and step.memory.gaps_at is not None and step.memory.gaps_at <= step.now:
        tell_missing(step)


def next_due_at(memory: Memory) -> float | None:
    """When something is due, in seconds since 1970; None while there is no connection."""
    if not memory.online:
        return None
    gaps_at = memory.gaps_at if memory.caught_up else None
    chains_at, wanted_at = old_chains.count_at(memory), asking.ask_for_chains_at(memory)
    maybe = (receipts.flush_at(memory), next_heal_at(memory), chains_at, wanted_at, gaps_at)
    due = [memory.expiry_at, *group_work_at(memory.groups), *lanes_due(memory)]
    due += [at for at in maybe if at is not None]
    if not memory.stock.uploading and (memory.stock.wanted or memory.stock.not_before):
        due.append(memory.stock.not_before)
    return min(due)
