"""What the application wants of a group: as it was called, before and while an entry is signed for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from e2ee.codec import decode_array, encode_array, integer, octets, optional, text, user
from e2ee.errors import MalformedFrame
from e2ee.groups import GroupKind, Operation, Role, reread_entry
from e2ee.ids import UserId
from e2ee.limits import GROUP_ID_SIZE, GROUP_NAME_SIZE_MAX
from store import StoreCorrupt

if TYPE_CHECKING:
    from store import GroupOperation

__all__ = ["SIGNED", "WANTED", "GroupWish", "wish_of"]

# States of a stored operation.
WANTED: Final = "wanted"  # nothing is signed: the log, or somebody's identity key, is asked for first
SIGNED: Final = "signed"  # an entry, which may be in the log already

_FORM: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWish:
    """One operation on one group."""

    operation: Operation  # JOIN also stands for accepting an invitation, where there is one
    group_id: bytes | None = None  # 32 bytes; None: by name, or the group is to be made
    name: str | None = None
    kind: GroupKind | None = None  # of a group to be made
    subject: UserId | None = None  # whom it is about; of LEAVE the successor; None: ourselves
    role: Role = Role.MEMBER  # of whom is invited

    def to_bytes(self) -> bytes:
        """The packed form."""
        what = (self.operation, self.group_id, self.name, self.kind, self.subject, self.role)
        return encode_array([_FORM, *what])


_PARTS: Final = (
    integer(_FORM, _FORM),
    integer(max(Operation), min(Operation)),
    optional(octets(GROUP_ID_SIZE, GROUP_ID_SIZE)),
    optional(text(GROUP_NAME_SIZE_MAX)),
    optional(integer(max(GroupKind), min(GroupKind))),
    optional(user),
    integer(max(Role), min(Role)),
)


def wish_of(operation: GroupOperation) -> GroupWish:
    """The wish behind a stored operation; a signed entry says itself what it is for. Raises StoreCorrupt."""
    try:
        if operation.state == SIGNED:
            entry = reread_entry(operation.entry)
            return GroupWish(
                operation=entry.operation,
                group_id=entry.group_id,
                name=entry.name,
                kind=entry.kind,
                subject=None if entry.subject == entry.actor else entry.subject,
                role=entry.role,
            )
        parts = decode_array(operation.entry)
        _, what, group_id, name, kind, subject, role = (read(part) for read, part in zip(_PARTS, parts, strict=True))
    except (MalformedFrame, ValueError) as cause:
        raise StoreCorrupt("a stored operation on a group is damaged") from cause
    return GroupWish(
        operation=Operation(what),
        group_id=group_id,
        name=name,
        kind=None if kind is None else GroupKind(kind),
        subject=None if subject is None else UserId(subject),
        role=Role(role),
    )
