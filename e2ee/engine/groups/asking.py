"""Chains that messages still wait for are asked for again by the clock: a request, or what answered it, may be lost."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from .chains import REQUEST_INTERVAL_S, ask_again, chains_awaited

if TYPE_CHECKING:
    from e2ee.engine.memory import Memory
    from e2ee.engine.step import Step

__all__ = ["ask_for_chains", "ask_for_chains_at", "resume_asking"]

FIRST_S: Final = 120.0  # seconds connected, until what waits from earlier is asked for: its key may be in the mailbox
INTERVAL_MAX_S: Final = 24 * 3600.0  # seconds: from `REQUEST_INTERVAL_S` on they double
CHAINS_AT_ONCE_MAX: Final = 256  # in one unit; the others when it is their turn


def resume_asking(step: Step) -> None:
    """A connection begins: what waits from earlier is asked for after a while."""
    if chains_awaited(step):
        step.memory.chains_wanted.at = step.now + FIRST_S


def ask_for_chains_at(memory: Memory) -> float | None:
    """When to ask next; None: nothing waits."""
    return memory.chains_wanted.at


def ask_for_chains(step: Step) -> None:
    """Ask for the chains that are still missing, in turn, and plan the next time, if any is."""
    wanted = step.memory.chains_wanted
    waited = wanted.delay_s
    wanted.at = None
    names = chains_awaited(step)
    # Behind the last one that was asked for: who makes up many chains delays the others, and stops none.
    start = bisect_right(names, wanted.last)
    for name in (names[start:] + names[:start])[:CHAINS_AT_ONCE_MAX]:
        if ask_again(step, name):
            wanted.last = name
    if names:
        wanted.delay_s = min(INTERVAL_MAX_S, max(REQUEST_INTERVAL_S, 2 * waited))
        wanted.at = step.now + wanted.delay_s
