"""What goes in and out of the relay's store: frozen values. What the relay cannot read is opaque bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple, NewType

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
    "LongLivedPreKeys",
    "MailboxState",
    "OneTimePreKey",
    "Outcome",
    "PreKeyKind",
    "Registration",
    "Seat",
    "Stock",
    "Swept",
    "UploadRefused",
    "User",
    "UserKey",
    "Wanted",
]

UserKey = NewType("UserKey", int)
"""One life of one user at this relay; never used again after the account is deleted or its identity replaced."""
DeviceKey = NewType("DeviceKey", int)
"""One life of one device at this relay; never used again after the device is removed."""


@dataclass(frozen=True, slots=True)
class User:
    """A user and the identity key that the id is bound to."""

    key: UserKey
    user_id: str
    identity_key: bytes  # 33 bytes, as Signal serialises it
    created_at: float  # seconds since 1970


class Registration(Enum):
    """What registering a user came to."""

    CREATED = "created"
    KNOWN = "known"  # with this identity key: nothing changed
    OTHER_IDENTITY = "other identity"  # nothing changed: the caller's policy decides about `replace_identity`


@dataclass(frozen=True, slots=True)
class Device:
    """A device as everything else names it. Stays a value: it may have been removed since it was read."""

    key: DeviceKey
    user_key: UserKey
    user_id: str
    device_id: int  # 1 to 127
    registration_id: int


@dataclass(frozen=True, slots=True)
class Counters:
    """The highest numbers seen of a device: how a rolled back or cloned store is noticed (messaging.md section 4)."""

    submission_number: int = 0
    delivery_number: int = 0  # acknowledged
    upload_number: int = 0


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What is known about a device beside its name."""

    device: Device
    counters: Counters
    connection_number: int  # of its newest connection; an older one is to be closed
    seen_at: float  # seconds since 1970
    upload_digest: bytes | None  # of the last upload, 16 bytes; None: not known


class PreKeyKind(IntEnum):
    """The two kinds of one-time prekeys."""

    EC = 0
    KEM = 1


@dataclass(frozen=True, slots=True)
class OneTimePreKey:
    """One prekey that is handed out once."""

    kind: PreKeyKind
    key_id: int
    public_key: bytes
    signature: bytes | None = None  # of KEM keys


@dataclass(frozen=True, slots=True)
class LongLivedPreKeys:
    """A device's signed prekey and its last-resort KEM prekey."""

    signed_id: int
    signed_key: bytes
    signed_signature: bytes
    kem_id: int
    kem_key: bytes
    kem_signature: bytes


@dataclass(frozen=True, slots=True)
class Stock:
    """How many one-time prekeys of a device are left."""

    ec: int
    kem: int


class UploadRefused(Enum):
    """Why an upload of prekeys was not stored, none of it."""

    OTHER_KEY = "other key"  # under an id that is taken: choose new ids
    TOO_MANY = "too many"  # more one-time keys than are kept: upload fewer
    GONE = "gone"  # the device was removed: it has to register again


@dataclass(frozen=True, slots=True)
class Wanted:
    """One device of a `bundles` request."""

    device: Device
    one_time: bool = True  # False withholds the one-time keys: an allowance is used up
    stranger: bool = True  # the asker shares no group with the device's user: counts for `taken_from`


@dataclass(frozen=True, slots=True)
class HandedKey:
    """A one-time key in a bundle."""

    key_id: int
    public_key: bytes
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """What another device starts a session with. `one_time_kem` None: use the last-resort key."""

    device: Device
    identity_key: bytes
    prekeys: LongLivedPreKeys
    one_time_ec: HandedKey | None
    one_time_kem: HandedKey | None


class Outcome(Enum):
    """What became of one envelope for one device."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # stored before: counts as stored, nothing was stored now
    FULL = "full"  # the mailbox, or the sender's share of it, is full: nothing was stored
    GONE = "gone"  # the device was removed: nothing was stored


class Envelope(NamedTuple):  # made for each envelope: a third of the time of a frozen dataclass
    """One envelope for one device."""

    sender: Device
    recipient: DeviceKey
    envelope_id: bytes  # 16 bytes, the sender's
    kind: int  # the caller's, 0 to 255
    content: bytes


class Delivery(NamedTuple):  # made for each envelope: a third of the time of a frozen dataclass
    """One envelope that waits in a mailbox."""

    number: int  # rising by one for each envelope of this device, never used again
    sender_user_id: str
    sender_device_id: int
    envelope_id: bytes
    kind: int
    content: bytes
    stored_at: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class MailboxState:
    """How full a mailbox is."""

    last_number: int  # of the newest envelope ever put in; 0: none
    count: int
    size: int  # bytes of content


@dataclass(frozen=True, slots=True)
class Seat:
    """A user in a group's roster, under the identity key that the log names."""

    user_id: str
    identity_key: bytes
    role: int  # the caller's, 0 to 127; from 128 on (`limits.INVITED`) an invitation, to that role less 128


@dataclass(frozen=True, slots=True)
class GroupHead:
    """A group and the newest entry of its log."""

    group_id: bytes  # 32 bytes
    name: str
    kind: int  # the caller's, 0 to 255
    number: int  # of the newest entry; the genesis entry's is 0
    hash: bytes  # of the newest entry, 32 bytes, as the caller gave it
    epoch: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a group's log: signed bytes, never encoded again."""

    number: int
    entry: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else's entry has that number: nothing was stored; sign again on top of *entries*."""

    head: GroupHead
    entries: tuple[Entry, ...]  # after the one that the caller knew, at most `GROUP_ENTRIES_READ_MAX`


class EntryRefused(Enum):
    """Why an entry was not stored, other than a conflict."""

    NO_GROUP = "no group"
    NAME_TAKEN = "name taken"  # or the group is there already
    LOG_FULL = "log full"
    TOO_MANY_MEMBERS = "too many members"


@dataclass(frozen=True, slots=True)
class Appended:
    """The entry is stored and in the mailboxes of all devices of old and new members."""

    head: GroupHead
    outcomes: tuple[tuple[Device, Outcome], ...]


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep removed because of its age."""

    mail: int
    envelope_ids: int
    prekeys: int  # ids of keys handed out
    answers: int
    addresses: int
    devices: tuple[Device, ...]
    more: bool  # something is left: sweep again
