"""Groups as pure values: signed entries, the membership that follows from them, digests of devices (messaging 10)."""

from __future__ import annotations

from .devices import device_digest
from .entry import GroupEntry, GroupKind, Operation, Role, reread_entry, sign_entry, take_entry
from .group import Group
from .member_key import KeyState, MemberKey
from .membership import EntryRefused, GroupFull, Member, Membership

__all__ = [
    "EntryRefused",
    "Group",
    "GroupEntry",
    "GroupFull",
    "GroupKind",
    "KeyState",
    "Member",
    "MemberKey",
    "Membership",
    "Operation",
    "Role",
    "device_digest",
    "reread_entry",
    "sign_entry",
    "take_entry",
]
