"""Removing a device of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.errors import RefusalCode
from e2ee.frames import RefusedRequest, Removed, RemoveDevice

if TYPE_CHECKING:
    from store.relay import RelayUnit

    from .connection import Connection, Session
    from .plan import Plan

__all__ = ["remove"]


def remove(connection: Connection, session: Session, frame: RemoveDevice, plan: Plan, unit: RelayUnit) -> None:
    """Remove another device of the same user, with its mailbox and prekeys; its connection is closed."""
    own = session.device
    if frame.device_id == own.device_id:
        plan.reply(connection, RefusedRequest(frame.request, RefusalCode.NOT_AUTHORIZED, None))
        return
    state = unit.devices.find(own.user_id, frame.device_id)
    if state is not None and state.device.user_key == own.user_key:
        unit.devices.remove([state.device])
        plan.gone[state.device.key] = RefusalCode.NOT_AUTHORIZED
        plan.lists_changed()
    plan.reply(connection, Removed(frame.request))
