"""What the relay must not forget: users, devices, prekeys, mailboxes, group logs. It can read no message.

Imports nothing of `ratchet` and nothing of the client's store; `tests/store/test_relay_imports.py` shows it.
"""

from __future__ import annotations

from .store import RelayStore, RelayUnit
from .values import (
    Appended,
    Bundle,
    Conflict,
    Counters,
    Delivery,
    Device,
    DeviceKey,
    DeviceState,
    Entry,
    EntryRefused,
    Envelope,
    GroupHead,
    HandedKey,
    LongLivedPreKeys,
    MailboxState,
    OneTimePreKey,
    Outcome,
    PreKeyKind,
    Registration,
    Seat,
    Stock,
    Swept,
    UploadRefused,
    User,
    UserKey,
    Wanted,
)
from .wakeups import Listener

__all__ = [
    "Appended",
    "Bundle",
    "Conflict",
    "Counters",
    "Delivery",
    "Device",
    "DeviceKey",
    "DeviceState",
    "Entry",
    "EntryRefused",
    "Envelope",
    "GroupHead",
    "HandedKey",
    "Listener",
    "LongLivedPreKeys",
    "MailboxState",
    "OneTimePreKey",
    "Outcome",
    "PreKeyKind",
    "Registration",
    "RelayStore",
    "RelayUnit",
    "Seat",
    "Stock",
    "Swept",
    "UploadRefused",
    "User",
    "UserKey",
    "Wanted",
]
