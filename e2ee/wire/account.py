"""Frames about the account itself (`docs/protocol.md` section 3)."""

from __future__ import annotations

from typing import Final

from e2ee.codec import Reader, items, octets, record
from e2ee.frames import (
    AccountDeleted,
    ClientFrame,
    DeleteAccount,
    DeviceList,
    IdentityReplaced,
    ListDevices,
    RelayFrame,
    ReplaceIdentity,
)
from e2ee.limits import DEVICES_PER_USER_MAX

from .readers import counter, device_ref, public_key, request, signature

__all__ = ["CLIENT", "RELAY"]

CLIENT: Final[dict[int, tuple[type[ClientFrame], Reader]]] = {
    30: (DeleteAccount, record(DeleteAccount, counter, request)),
    31: (
        ReplaceIdentity,
        record(ReplaceIdentity, counter, request, octets(1024, 1), public_key, signature),
    ),
    32: (ListDevices, record(ListDevices, counter, request)),
}

RELAY: Final[dict[int, tuple[type[RelayFrame], Reader]]] = {
    94: (AccountDeleted, record(AccountDeleted, request)),
    95: (IdentityReplaced, record(IdentityReplaced, request)),
    96: (DeviceList, record(DeviceList, request, items(device_ref, DEVICES_PER_USER_MAX))),
}
