"""The end of an account, and its beginning under another identity key (R4.21, R4.22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.errors import RefusalCode
from e2ee.frames import AccountDeleted, IdentityReplaced, Login, UserNotice

from .connection import Close
from .limits import IdentityChange
from .login import LoginRefused, check_login
from .refusal import closing

if TYPE_CHECKING:
    from collections.abc import Collection

    from e2ee.frames import DeleteAccount, ReplaceIdentity
    from store.relay import Device, RelayUnit

    from .connection import Connection, Session
    from .plan import Plan

__all__ = ["check_replacement", "delete", "replace"]


def delete(connection: Connection, session: Session, frame: DeleteAccount, plan: Plan, unit: RelayUnit) -> None:
    """Delete the user with everything that is here of it. Every connection of the user ends."""
    if not _is_still(session, plan, unit):
        return
    removed = unit.users.remove(session.device.user_id)
    plan.notices.append(UserNotice(session.device.user_id, exists=False))
    plan.reply(connection, AccountDeleted(frame.request))
    _end(RefusalCode.NOT_AUTHORIZED, removed, plan)


def check_replacement(
    frame: ReplaceIdentity,
    session: Session,
    nonce: bytes,
    names: Collection[str],
    *,
    identity_change: IdentityChange,
) -> None:
    """Check that the new key proves itself, and that this relay replaces identities. Raises LoginRefused."""
    if identity_change is not IdentityChange.REPLACE:
        raise LoginRefused(RefusalCode.IDENTITY_TAKEN, "this relay keeps every user id at its first identity key")
    claim = check_login(Login(frame.claim, frame.identity_key, frame.signature, None, ()), nonce, names)
    if (claim.user_id, claim.device_id) != (session.device.user_id, session.device.device_id):
        raise LoginRefused(RefusalCode.NOT_AUTHENTIC, "the claim is another device's")


def replace(connection: Connection, session: Session, frame: ReplaceIdentity, plan: Plan, unit: RelayUnit) -> None:
    """Bind the user id to the new key. Every connection of the user ends; this device logs in anew, under it."""
    if not _is_still(session, plan, unit):
        return
    removed = unit.users.replace_identity(session.device.user_id, frame.identity_key)
    plan.reply(connection, IdentityReplaced(frame.request))
    # This one is closed first, and may come again at once: it knows what it has asked for.
    plan.outputs.append(Close(connection, closing(RefusalCode.SHUTTING_DOWN, "log in again")))
    _end(RefusalCode.IDENTITY_TAKEN, removed, plan)


def _is_still(session: Session, plan: Plan, unit: RelayUnit) -> bool:
    """Whether the user is still the one who logged in here; otherwise the connection ends."""
    unit.exclusive()
    user = unit.users.find(session.device.user_id)
    if user is not None and user.key == session.device.user_key:
        return True
    plan.gone[session.device.key] = RefusalCode.NOT_AUTHORIZED
    return False


def _end(code: RefusalCode, removed: list[Device], plan: Plan) -> None:
    plan.lists_changed()
    for device in removed:
        plan.gone[device.key] = code
        entered = plan.entered.pop(device.key, None)
        if entered is not None:  # let in by a step before this one, in the same transaction
            plan.outputs.append(Close(entered.connection, closing(code)))
