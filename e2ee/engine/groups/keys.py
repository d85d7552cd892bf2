"""Our own sender key of a group: made for the first message, replaced before anybody could read too much.

A chain hashes forward only, so a newcomer who is given it where it stands reads nothing earlier. Whoever had it
and may no longer read makes a new one necessary: it is made in the very unit that learns of it, so that
nothing can be encrypted with the old one afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from ratchet import OwnSenderKey

from .old_chains import all_ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.engine.step import Step
    from e2ee.groups import GroupEntry, Membership
    from store import LoadedOwnSenderKey

__all__ = ["current_key", "drop_key", "membership_changed", "own_key", "rotate"]

CHAIN_AGE_MAX_S: Final = 14 * 24 * 3600.0  # seconds: whoever steals a chain reads a fortnight of it at most
CHAIN_MESSAGES_MAX: Final = 1_000  # as much of it, in a group that talks more
_NO_CHAIN: Final = -1  # chain ids are not negative
_ID_SIZE: Final = 16  # bytes of a UUID


def own_key(step: Step, group_id: bytes) -> LoadedOwnSenderKey:
    """The key that the next message is encrypted with: the present one unless it is worn out, or a first one."""
    loaded = current_key(step, group_id)
    if loaded is None:
        key = OwnSenderKey.create(_random_uuid(step.entropy), entropy=step.entropy)
        step.unit.distributions.forget_others(group_id, key.chain_id)  # of chains that were erased with everything else
        return step.unit.sender_keys.put_own(group_id, key)
    if loaded.messages >= CHAIN_MESSAGES_MAX or step.now >= loaded.created_at + CHAIN_AGE_MAX_S:
        return rotate(step, loaded)
    return loaded


def current_key(step: Step, group_id: bytes) -> LoadedOwnSenderKey | None:
    """The key as it stands; None: nothing has been sent to the group yet."""
    return step.unit.sender_keys.load_own(group_id)


def rotate(step: Step, loaded: LoadedOwnSenderKey) -> LoadedOwnSenderKey:
    """Put a new chain in place of one, which is erased. Nobody has been given the new one yet."""
    key = OwnSenderKey.create(loaded.key.distribution_id, entropy=step.entropy)
    made = step.unit.sender_keys.put_own(loaded.group_id, key)
    step.unit.distributions.forget_others(loaded.group_id, key.chain_id)
    return made


def drop_key(step: Step, group_id: bytes) -> None:
    """Erase our key of a group that we no longer write to."""
    step.unit.sender_keys.delete_own(group_id)
    step.unit.distributions.forget_others(group_id, _NO_CHAIN)


def membership_changed(step: Step, before: Membership | None, after: Membership, entry: GroupEntry) -> None:
    """Take note of an entry, in the unit that puts it into the log: *before* it (None: the genesis) and *after* it.

    Somebody who could read and may no longer: a new chain. Our own seat gone, or the group: none at all. With
    `rotate_on_join`, somebody new: a new chain too.
    """
    step.memory.active_groups[entry.group_id] = None
    step.moved_logs[entry.group_id] = None
    seats = {} if before is None else before.members
    gone = [(name, one.identity_key) for name, one in seats.items() if not after.is_member(name, one.identity_key)]
    if gone:
        all_ended(step, entry.group_id)
    own_key = step.account.identity.public_key
    if before is not None and before.is_member(step.user_id, own_key):
        for name, identity_key in gone:
            step.memory.groups.leaves(entry.group_id, name, identity_key, step.now)
    if after.deleted or not after.is_member(step.user_id, own_key):
        drop_key(step, entry.group_id)
        return
    if before is None:
        return
    came = step.options.rotate_on_join and any(
        not before.is_member(name, seat.identity_key) for name, seat in after.members.items()
    )
    loaded = current_key(step, entry.group_id) if gone or came else None
    if loaded is not None and _in_use(step, loaded):
        rotate(step, loaded)


def _in_use(step: Step, loaded: LoadedOwnSenderKey) -> bool:
    """Whether anybody may have the chain: else a thousand entries in a row cost one chain, not a thousand."""
    return bool(loaded.messages or step.unit.distributions.of(loaded.group_id, loaded.key.chain_id))


def _random_uuid(entropy: Callable[[int], bytes]) -> UUID:
    return UUID(bytes=entropy(_ID_SIZE), version=4)
