"""What goes because of its age: one sweep removes a bounded number of rows of each table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from store.database import Statement

from . import limits
from .mailboxes import Removed
from .values import Device, Swept

if TYPE_CHECKING:
    from .accounts import Devices
    from .mailboxes import Mailboxes
    from .transaction import Transaction

__all__ = ["sweep"]

_MAIL: Final = Statement(
    "mail",
    "DELETE FROM mail WHERE (device_key, number) IN (SELECT device_key, number FROM mail WHERE stored_at <= ? "
    "ORDER BY stored_at LIMIT ?) RETURNING device_key, sender_user_key, size, body_key",
)
_ENVELOPE_IDS: Final = Statement(
    "envelope_ids",
    "DELETE FROM envelope_ids WHERE (device_key, sender_key, envelope_id) IN (SELECT device_key, sender_key, "
    "envelope_id FROM envelope_ids WHERE stored_at <= ? ORDER BY stored_at LIMIT ?)",
)
_PREKEYS: Final = Statement(
    "handed_prekeys",
    "DELETE FROM handed_prekeys WHERE (device_key, kind, key_id) IN (SELECT device_key, kind, key_id "
    "FROM handed_prekeys WHERE handed_at <= ? ORDER BY handed_at LIMIT ?)",
)
_ANSWERS: Final = Statement(
    "bundle_answers",
    "DELETE FROM bundle_answers WHERE (asker_key, request_id) IN (SELECT asker_key, request_id FROM bundle_answers "
    "WHERE answered_at <= ? ORDER BY answered_at LIMIT ?)",
)
_ADDRESSES: Final = Statement(
    "addresses",
    "DELETE FROM addresses WHERE device_key IN (SELECT device_key FROM addresses WHERE removed_at <= ? LIMIT ?)",
)
_IDLE: Final = Statement(
    "devices",
    "SELECT d.device_key, d.user_key, u.user_id, d.device_id, d.registration_id FROM devices d "
    "JOIN users u ON u.user_key = d.user_key WHERE d.seen_at <= ? ORDER BY d.seen_at LIMIT ?",
)
_IDLE_MAX: Final = 10  # devices a sweep: each may hold a full mailbox


def sweep(transaction: Transaction, mailboxes: Mailboxes, devices: Devices) -> Swept:
    """Remove up to `SWEEP_ROWS_MAX` rows of each table that are older than their limit."""
    transaction.exclusive()
    now, rows_max = transaction.now, limits.SWEEP_ROWS_MAX

    def old(statement: Statement, age_s: float) -> int:
        return transaction.change(statement, now - age_s, rows_max)

    mail: list[Any] = [Removed(*row) for row in transaction.rows(_MAIL, now - limits.MAIL_AGE_S, rows_max)]
    mailboxes.release(mail)
    idle = [Device(*row) for row in transaction.rows(_IDLE, now - limits.DEVICE_IDLE_S, _IDLE_MAX)]
    devices.remove(idle, last_used_at=now - limits.DEVICE_IDLE_S)
    envelope_ids = old(_ENVELOPE_IDS, limits.ENVELOPE_IDS_AGE_S)
    prekeys = old(_PREKEYS, limits.HANDED_PREKEYS_AGE_S)
    answers = old(_ANSWERS, limits.BUNDLE_ANSWER_AGE_S)
    addresses = old(_ADDRESSES, limits.ADDRESS_AGE_S)
    more = max(len(mail), envelope_ids, prekeys, answers, addresses) == rows_max or len(idle) == _IDLE_MAX
    return Swept(len(mail), envelope_ids, prekeys, answers, addresses, tuple(idle), more)
