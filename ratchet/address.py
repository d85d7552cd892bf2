"""Where a session ends, and how that is bound into messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .errors import CorruptSnapshot, InvalidArgument
from .limits import DEVICE_ID_MAX, USER_ID_SIZE_MAX
from .packing import take_int, take_list, take_text

__all__ = ["Address", "address_binding", "pack_address", "take_address"]

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a session ends: a name and a device id (1 to 127).

    If the name is a service id (a UUID, or ``PNI:`` and a UUID), first messages are bound to it.
    """

    name: str
    device_id: int

    def __post_init__(self) -> None:
        try:
            size = len(self.name.encode())
        except (AttributeError, UnicodeEncodeError) as cause:
            raise InvalidArgument("an address name is text that has a UTF-8 form") from cause
        if type(self.name) is not str or not 1 <= size <= USER_ID_SIZE_MAX:
            raise InvalidArgument(f"an address name is text of 1 to {USER_ID_SIZE_MAX} bytes")
        if type(self.device_id) is not int or not 1 <= self.device_id <= DEVICE_ID_MAX:
            raise InvalidArgument(f"a device id is 1 to {DEVICE_ID_MAX}")

    @property
    def service_id(self) -> bytes | None:
        """The fixed-width binary form, 17 bytes: kind (0 account, 1 phone number), UUID; None for other names."""
        kind, text = (b"\x01", self.name[4:]) if self.name.startswith("PNI:") else (b"\x00", self.name)
        return kind + bytes.fromhex(text.replace("-", "")) if _UUID.fullmatch(text) else None


def address_binding(sender: Address | None, recipient: Address | None) -> bytes | None:
    """Return the 36 bytes that bind a message to its two ends; None unless both names are service ids."""
    if sender is None or recipient is None:
        return None
    sender_id, recipient_id = sender.service_id, recipient.service_id
    if sender_id is None or recipient_id is None:
        return None
    return sender_id + bytes([sender.device_id]) + recipient_id + bytes([recipient.device_id])


def pack_address(address: Address | None) -> list[Any] | None:
    """Return an address as plain values for `packing`."""
    return None if address is None else [address.name, address.device_id]


def take_address(value: object) -> Address | None:
    """Undo `pack_address`. Raises CorruptSnapshot."""
    if value is None:
        return None
    name, device_id = take_list(value, "address", length=2)
    try:
        return Address(
            take_text(name, USER_ID_SIZE_MAX, "address name"),
            take_int(device_id, DEVICE_ID_MAX, "device id", minimum=1),
        )
    except InvalidArgument as cause:
        raise CorruptSnapshot(f"address: {cause}") from cause
