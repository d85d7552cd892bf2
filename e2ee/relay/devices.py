"""A user's own devices: telling and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.errors import RefusalCode
from e2ee.frames import DeviceList, DeviceRef, RefusedRequest, Removed

if TYPE_CHECKING:
    from e2ee.frames import ListDevices, RemoveDevice
    from store.relay import RelayUnit

    from .connection import Connection, Session
    from .plan import Plan

__all__ = ["remove", "tell"]


def tell(connection: Connection, session: Session, frame: ListDevices, plan: Plan, unit: RelayUnit) -> None:
    """List all devices of the user, in order."""
    user = unit.users.find(session.device.user_id)
    found = [] if user is None or user.key != session.device.user_key else unit.users.devices(user)
    refs = sorted((DeviceRef(one.device_id, one.registration_id) for one in found), key=lambda ref: ref.device_id)
    plan.reply(connection, DeviceList(frame.request, tuple(refs)))


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
