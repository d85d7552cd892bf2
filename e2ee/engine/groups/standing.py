"""What an application asks about our sender key of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.groups.member_key import KeyState, MemberKey
from e2ee.ids import UserId

from .distribution import ACKNOWLEDGED, FAILED
from .keys import current_key
from .state import require_group

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.groups import Group

__all__ = ["group_keys"]

_STATES: Final = {ACKNOWLEDGED: KeyState.KEYED, FAILED: KeyState.FAILED}


def group_keys(step: Step, group: str | Group) -> tuple[MemberKey, ...]:
    """How far our key has got, for every device of the members that we know of, in order. Raises UnknownGroup."""
    now = require_group(step, group)
    loaded = current_key(step, now.group_id)
    rows = [] if loaded is None else step.unit.distributions.of(now.group_id, loaded.key.chain_id)
    found: dict[tuple[str, int], MemberKey] = {}
    for name in now.members:
        for device in step.unit.devices.of(name):
            found[name, device.device_id] = MemberKey(name, device.device_id, KeyState.PENDING)
    for row in rows:
        seat = now.members.get(UserId(row.user_id))
        if seat is not None and seat.identity_key == row.identity_key:
            state = _STATES.get(row.state, KeyState.PENDING)
            key = MemberKey(UserId(row.user_id), row.device_id, state, row.reason)
            found[row.user_id, row.device_id] = key
    return tuple(found[device] for device in sorted(found))
