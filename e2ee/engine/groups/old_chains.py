"""Erasing chains of peers that have ended: what was sent on them has come, and a thief finds nothing.

A chain ends with the entry after which its owner makes a new one, or with the next chain of its owner. It is kept
until the mailbox is drained past that, and then for so many messages more, or so much time connected: a device
that was away for a week reads its mail before any clock runs. An erased chain leaves its id: what comes of it
later is a duplicate, and is not asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store import EndedChain

if TYPE_CHECKING:
    from e2ee.engine.memory import Memory
    from e2ee.engine.step import Step
    from store import LoadedPeerSenderKey

__all__ = ["all_ended", "chains_ended", "count_at", "count_chains", "mailbox_drained", "older_ended", "resume_chains"]

KEPT_MESSAGES: Final = 1_000  # deliveries after the mailbox was drained
KEPT_CONNECTED_S: Final = 600.0  # seconds connected after it
COUNT_INTERVAL_S: Final = 120.0  # seconds between two looks: as much is not counted if the connection ends
ERASED_AT_ONCE_MAX: Final = 64  # chains in one unit


def all_ended(step: Step, group_id: bytes) -> None:
    """Every chain that we hold of a group has ended: whoever learns of the entry makes a new one."""
    for loaded in step.unit.sender_keys.peers_of(group_id):
        chains_ended(step, loaded)


def chains_ended(step: Step, loaded: LoadedPeerSenderKey) -> None:
    """All chains of one device have ended."""
    for chain_id in loaded.key.chain_ids:
        _ended(step, loaded, chain_id)


def older_ended(step: Step, loaded: LoadedPeerSenderKey, newest: int) -> None:
    """A device has given us a new chain: those before it have ended."""
    for chain_id in loaded.key.chain_ids:
        if chain_id != newest:
            _ended(step, loaded, chain_id)


def _ended(step: Step, loaded: LoadedPeerSenderKey, chain_id: int) -> None:
    chain = EndedChain(loaded.user_id, loaded.device_id, loaded.key.distribution_id, chain_id)
    step.unit.ended_chains.add(chain, messages=KEPT_MESSAGES, connected_s=KEPT_CONNECTED_S)
    if step.memory.chains_counted_at is None:
        step.memory.chains_counted_at = step.now


def resume_chains(step: Step) -> None:
    """A connection begins: what is counted is counted from now on."""
    step.memory.chains_counted_at = step.now if step.unit.ended_chains.any() else None


def count_at(memory: Memory) -> float | None:
    """When to look next; None: nothing waits."""
    return None if memory.chains_counted_at is None else memory.chains_counted_at + COUNT_INTERVAL_S


def mailbox_drained(step: Step) -> None:
    """Everything that was sent before has been taken."""
    step.memory.groups.left_lately.clear()
    if step.memory.chains_counted_at is not None:
        count_chains(step)
        step.unit.ended_chains.drained()


def count_chains(step: Step) -> None:
    """Count messages and time, and erase what nothing is left to."""
    since = step.memory.chains_counted_at
    if since is None:
        return
    # A machine that slept was not connected, whatever its clock says.
    elapsed = min(max(step.now - since, 0.0), 2 * COUNT_INTERVAL_S)
    step.unit.ended_chains.count_down(messages=step.memory.deliveries_taken, connected_s=elapsed)
    step.memory.deliveries_taken, step.memory.chains_counted_at = 0, step.now
    over = step.unit.ended_chains.over(limit=ERASED_AT_ONCE_MAX)
    for chain in over:
        _erase(step, chain)
    if over and not step.unit.ended_chains.any():
        step.memory.chains_counted_at = None


def _erase(step: Step, chain: EndedChain) -> None:
    name = (chain.user_id, chain.device_id, chain.distribution_id)
    loaded = step.unit.sender_keys.load_peer(*name)
    if loaded is not None and loaded.key.forget(chain.chain_id):
        if loaded.key.chain_ids:
            step.unit.sender_keys.save_peer(loaded)
        else:
            step.unit.sender_keys.delete_peer(*name)
        step.unit.erased_chains.add(*name, chain.chain_id)
    step.unit.ended_chains.delete(chain)
