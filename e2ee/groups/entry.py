"""One entry of a group's log: opaque signed bytes, and what they say (`docs/protocol.md` section 7).

    entry = [version, group id, number, hash before, epoch, time, operation, actor, actor's key,
             subject, subject's key, role, name, kind, nonce] || signature (64 bytes)

Hash and signature cover the bytes as they came. The signature is the actor's identity key's, label
`e2ee group entry v1`. The group id is the hash of the genesis entry, which therefore names neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from e2ee.codec import decode_array, encode_array, integer, octets, optional, text, user
from e2ee.errors import MalformedFrame
from e2ee.ids import UserId
from e2ee.limits import COUNTER_MAX, GROUP_ENTRY_SIZE_MAX, GROUP_ID_SIZE, GROUP_NAME_SIZE_MAX
from ratchet import MalformedMessage, NotAuthentic, verify_signature
from ratchet.labels import SIGN_GROUP_ENTRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratchet import IdentityKeyPair

__all__ = ["GroupEntry", "GroupKind", "Operation", "Role", "reread_entry", "sign_entry", "take_entry"]

VERSION: Final = 1
SIGNATURE_SIZE: Final = 64  # bytes, at the end
NONCE_SIZE: Final = 16  # bytes: two groups of one name are two groups
_KEY_SIZE: Final = 33
# Written out, since what Unicode says of a character may change, and all members must judge an entry alike: control
# characters, separators of lines, and marks that turn the direction of what is shown beside the name.
_NOT_IN_NAMES: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Operation(IntEnum):
    """What an entry does; the numbers are signed and never change their meaning."""

    CREATE = 1  # the genesis entry
    JOIN = 2  # into an open group; also again, under a new identity key
    INVITE = 3
    ACCEPT = 4  # of an invitation: nobody is keyed without it
    LEAVE = 5  # also: declines an invitation
    REMOVE = 6  # a member, or an invitation
    PROMOTE = 7
    DEMOTE = 8
    REKEY = 9  # a member goes on under a new identity key
    CLOSE = 10  # an open group becomes one by invitation
    DELETE = 11


class Role(IntEnum):
    """What a member may do."""

    MEMBER = 1
    ADMIN = 2


class GroupKind(IntEnum):
    """Who may come in."""

    OPEN = 1  # everybody who knows the name or the id
    INVITATION = 2  # whom an admin invites


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """An entry whose signature has verified. Whether it may follow is for `Membership.apply` to say."""

    data: bytes = field(repr=False)  # as it was signed
    group_id: bytes  # 32 bytes
    number: int  # 0: the genesis entry
    previous_hash: bytes  # of the entry before, 32 bytes; of the genesis entry empty
    epoch: int  # after this entry
    time_ms: int  # since 1970, by the actor's clock
    operation: Operation
    actor: UserId
    actor_key: bytes  # 33 bytes
    subject: UserId  # whom it is about; of LEAVE the actor, or the member who becomes an admin in its place
    subject_key: bytes  # 33 bytes
    role: Role  # of the subject afterwards, where the operation gives one; else MEMBER
    name: str | None  # of the genesis entry
    kind: GroupKind | None  # of the genesis entry
    nonce: bytes | None  # of the genesis entry, 16 bytes

    @property
    def hash(self) -> bytes:
        """What the next entry names; of the genesis entry the group id. 32 bytes."""
        return sha256(self.data).digest()


_hash = octets(GROUP_ID_SIZE, GROUP_ID_SIZE)
_key = octets(_KEY_SIZE, _KEY_SIZE)
_counter = integer(COUNTER_MAX)
_READERS: Final = (
    integer(VERSION, VERSION),
    optional(_hash),
    _counter,
    optional(_hash),
    _counter,
    _counter,
    integer(max(Operation), min(Operation)),
    user,
    _key,
    user,
    _key,
    integer(max(Role), min(Role)),
    optional(text(GROUP_NAME_SIZE_MAX)),
    optional(integer(max(GroupKind), min(GroupKind))),
    optional(octets(NONCE_SIZE, NONCE_SIZE)),
)


def take_entry(data: bytes) -> GroupEntry:
    """Read an entry and verify its signature. Raises MalformedFrame, also for a signature that does not verify."""
    entry = reread_entry(data)
    body, signature = data[:-SIGNATURE_SIZE], data[-SIGNATURE_SIZE:]
    try:
        verify_signature(entry.actor_key, SIGN_GROUP_ENTRY, body, signature)
    except (NotAuthentic, MalformedMessage) as cause:
        raise MalformedFrame("the signature of an entry does not verify") from cause
    return entry


def reread_entry(data: bytes) -> GroupEntry:
    """Read an entry out of a log of our own, where none stands unverified. Raises MalformedFrame."""
    if len(data) > GROUP_ENTRY_SIZE_MAX:
        raise MalformedFrame(f"an entry of more than {GROUP_ENTRY_SIZE_MAX} bytes")
    values: list[Any] = decode_array(data[:-SIGNATURE_SIZE])
    if len(values) < len(_READERS):
        raise MalformedFrame(f"an entry has at least {len(_READERS)} elements")
    parts = [read(value) for read, value in zip(_READERS, values, strict=False)]
    _, group_id, number, before, epoch, time_ms, operation, actor, actor_key, *rest = parts
    subject, subject_key, role, name, kind, nonce = rest
    genesis = number == 0
    if genesis != (operation == Operation.CREATE) or any((part is None) == genesis for part in (name, kind, nonce)):
        raise MalformedFrame("a genesis entry, and no other, makes a group and names it")
    if any((part is None) != genesis for part in (group_id, before)):
        raise MalformedFrame("every entry but the genesis entry names its group and the entry before")
    if name is not None and (name == "" or _NOT_IN_NAMES.search(name)):
        raise MalformedFrame("a group has a name, without control, line or bidirectional characters")
    return GroupEntry(
        data,
        sha256(data).digest() if genesis else group_id,
        number,
        b"" if genesis else before,
        epoch,
        time_ms,
        Operation(operation),
        UserId(actor),
        actor_key,
        UserId(subject),
        subject_key,
        Role(role),
        name,
        None if kind is None else GroupKind(kind),
        nonce,
    )


def sign_entry(  # noqa: PLR0913 - as many as an entry has parts; all but the first by name
    identity: IdentityKeyPair,
    *,
    group_id: bytes | None,
    number: int,
    previous_hash: bytes | None,
    epoch: int,
    time_ms: int,
    operation: Operation,
    actor: UserId,
    subject: UserId,
    subject_key: bytes,
    role: Role = Role.MEMBER,
    name: str | None = None,
    kind: GroupKind | None = None,
    nonce: bytes | None = None,
    entropy: Callable[[int], bytes],
) -> bytes:
    """Make and sign an entry. Nothing is checked: `Membership.next_entry` makes only such as may follow."""
    who = (actor, identity.public_key, subject, subject_key)
    body = encode_array(
        [VERSION, group_id, number, previous_hash, epoch, time_ms, operation, *who, role, name, kind, nonce]
    )
    return body + identity.sign(SIGN_GROUP_ENTRY, body, entropy=entropy)
