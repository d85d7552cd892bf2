"""Who is in a group: what follows from its log, entry by entry, for clients and the relay alike (messaging 10).

A membership is a value; `apply` returns the next one, or raises and has changed nothing. Clients trust nothing
else: not the relay's roster, only entries that they have verified themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha512
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from e2ee.codec import decode_array, encode_array, flag, integer, items, octets, record, text, user
from e2ee.errors import E2eeError, MalformedFrame
from e2ee.ids import GroupId, UserId
from e2ee.limits import COUNTER_MAX, GROUP_ID_SIZE, GROUP_MEMBERS_MAX, GROUP_NAME_SIZE_MAX

from .entry import NONCE_SIZE, GroupEntry, GroupKind, Operation, Role, sign_entry, take_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ratchet import IdentityKeyPair

__all__ = ["EntryRefused", "GroupFull", "Member", "Membership"]

_FINGERPRINT_LABEL: Final = b"e2ee group fingerprint v1\x00"
_FORM: Final = 1  # of `to_bytes`


class EntryRefused(E2eeError):
    """An entry does not follow from the log: whoever made it may not do that, or not any more."""


class GroupFull(EntryRefused):
    """An entry follows, but for the number of members or invitations that a group may have."""


@dataclass(frozen=True, slots=True)
class Member:
    """A seat, or an invitation to one."""

    identity_key: bytes  # 33 bytes: the seat is this key's
    role: Role
    since: int  # number of the entry that gave it


@dataclass(frozen=True, slots=True)
class Membership:
    """A group after the entry *number*."""

    group_id: bytes  # 32 bytes
    name: str
    kind: GroupKind
    number: int
    hash: bytes  # of that entry, 32 bytes
    epoch: int
    members: Mapping[UserId, Member] = field(repr=False)
    invited: Mapping[UserId, Member] = field(repr=False)
    deleted: bool = False

    @property
    def id(self) -> GroupId:
        """The group's id as applications have it."""
        return GroupId(self.group_id.hex())

    @property
    def fingerprint(self) -> str:
        """60 digits over the newest entry, and so over the whole log: equal at two members who have seen the same."""
        digest = sha512(_FINGERPRINT_LABEL + self.hash).digest()
        return "".join(f"{int.from_bytes(digest[at : at + 5], 'big') % 100_000:05d}" for at in range(0, 60, 5))

    def is_member(self, user_id: str, identity_key: bytes) -> bool:
        """Whether the user has a seat, under this very key."""
        seat = self.members.get(UserId(user_id))
        return seat is not None and seat.identity_key == identity_key

    @classmethod
    def start(cls, entry: GroupEntry) -> Membership:
        """The group that a genesis entry makes. Raises EntryRefused."""
        if entry.operation is not Operation.CREATE or entry.name is None or entry.kind is None:
            raise EntryRefused("a log begins with a genesis entry")
        if entry.epoch != 0 or entry.role is not Role.ADMIN:
            raise EntryRefused("a group begins in epoch 0, with an admin")
        if (entry.actor, entry.actor_key) != (entry.subject, entry.subject_key):
            raise EntryRefused("who makes a group is its first member")
        creator = Member(entry.actor_key, Role.ADMIN, 0)
        members = MappingProxyType({entry.actor: creator})
        return cls(entry.group_id, entry.name, entry.kind, 0, entry.hash, 0, members, MappingProxyType({}))

    def apply(self, entry: GroupEntry) -> Membership:
        """The group after one more entry. Raises EntryRefused, which says what is wrong with it, or GroupFull."""
        if entry.group_id != self.group_id or entry.number != self.number + 1 or entry.previous_hash != self.hash:
            raise EntryRefused("the entry does not follow the last one")
        if self.deleted:
            raise EntryRefused("the group is deleted")
        members, invited = dict(self.members), dict(self.invited)
        after = replace(self, number=entry.number, hash=entry.hash)
        _RULES[entry.operation](entry, self, members, invited)
        gone = entry.actor if entry.operation is Operation.LEAVE else entry.subject
        epoch = self.epoch + self._changes_readers(entry.operation, gone)
        if entry.epoch != epoch:
            raise EntryRefused("the entry names another epoch")
        if len(members) > max(GROUP_MEMBERS_MAX, len(self.members)) or len(invited) > GROUP_MEMBERS_MAX:
            raise GroupFull(f"a group has at most {GROUP_MEMBERS_MAX} members, and as many invitations")
        return replace(
            after,
            epoch=epoch,
            kind=GroupKind.INVITATION if entry.operation is Operation.CLOSE else self.kind,
            members=MappingProxyType(members),
            invited=MappingProxyType(invited),
            deleted=entry.operation is Operation.DELETE or not members,
        )

    def _changes_readers(self, operation: Operation, gone: UserId) -> bool:
        """Whether another set of people can read afterwards: then the epoch is a new one."""
        match operation:
            case Operation.LEAVE | Operation.REMOVE:
                return gone in self.members  # else an invitation ends
            case Operation.JOIN | Operation.ACCEPT | Operation.REKEY | Operation.DELETE:
                return True
            case _:
                return False

    # Making entries.

    @staticmethod
    def genesis(
        identity: IdentityKeyPair,
        actor: UserId,
        *,
        name: str,
        kind: GroupKind,
        time_ms: int,
        entropy: Callable[[int], bytes],
    ) -> bytes:
        """Sign the first entry of a new group."""
        return sign_entry(
            identity,
            group_id=None,
            number=0,
            previous_hash=None,
            epoch=0,
            time_ms=time_ms,
            operation=Operation.CREATE,
            actor=actor,
            subject=actor,
            subject_key=identity.public_key,
            role=Role.ADMIN,
            name=name,
            kind=kind,
            nonce=entropy(NONCE_SIZE),
            entropy=entropy,
        )

    def next_entry(
        self,
        identity: IdentityKeyPair,
        actor: UserId,
        operation: Operation,
        *,
        subject: UserId | None = None,
        subject_key: bytes | None = None,
        role: Role = Role.MEMBER,
        time_ms: int,
        entropy: Callable[[int], bytes],
    ) -> bytes:
        """Sign the entry that follows. *subject* None: the actor itself. Raises EntryRefused if it may not follow."""
        whom = actor if subject is None else subject
        key = identity.public_key if subject_key is None else subject_key
        gone = actor if operation is Operation.LEAVE else whom
        data = sign_entry(
            identity,
            group_id=self.group_id,
            number=self.number + 1,
            previous_hash=self.hash,
            epoch=self.epoch + self._changes_readers(operation, gone),
            time_ms=time_ms,
            operation=operation,
            actor=actor,
            subject=whom,
            subject_key=key,
            role=role,
            entropy=entropy,
        )
        self.apply(take_entry(data))
        return data

    # As it is stored.

    def to_bytes(self) -> bytes:
        """The packed form: what the log says, so that it need not be read again."""
        seats = [
            [(name, one.identity_key, one.role, one.since) for name, one in some.items()]
            for some in (self.members, self.invited)
        ]
        fixed = (self.group_id, self.name, self.kind, self.number, self.hash, self.epoch)
        return encode_array([_FORM, *fixed, *seats, self.deleted])

    @classmethod
    def from_bytes(cls, data: bytes) -> Membership:
        """Undo `to_bytes`. Raises MalformedFrame."""
        form, *parts = decode_array(data) or [None]
        if form != _FORM or len(parts) < len(_PARTS):
            raise MalformedFrame("a membership in another form")
        group_id, name, kind, number, digest, epoch, members, invited, deleted = (
            read(part) for read, part in zip(_PARTS, parts, strict=False)
        )
        return cls(group_id, name, GroupKind(kind), number, digest, epoch, members, invited, deleted)


def _seat(user_id: str, identity_key: bytes, role: int, since: int) -> tuple[UserId, Member]:
    return UserId(user_id), Member(identity_key, Role(role), since)


_hash = octets(GROUP_ID_SIZE, GROUP_ID_SIZE)
_one_seat = record(_seat, user, octets(33, 33), integer(max(Role), min(Role)), integer(COUNTER_MAX))
_some_seats = items(_one_seat, GROUP_MEMBERS_MAX)


def _seats(value: object) -> Mapping[UserId, Member]:
    return MappingProxyType(dict(_some_seats(value)))


_PARTS: Final = (
    _hash,
    text(GROUP_NAME_SIZE_MAX),
    integer(max(GroupKind), min(GroupKind)),
    integer(COUNTER_MAX),
    _hash,
    integer(COUNTER_MAX),
    _seats,
    _seats,
    flag,
)


# The rules: each changes *members* and *invited*, or raises.

_Seats: TypeAlias = dict[UserId, Member]


def _require_member(entry: GroupEntry, before: Membership) -> Member:
    seat = before.members.get(entry.actor)
    if seat is None or seat.identity_key != entry.actor_key:
        raise EntryRefused("the actor is no member under this identity key")
    return seat


def _require_admin(entry: GroupEntry, before: Membership) -> None:
    if _require_member(entry, before).role is not Role.ADMIN:
        raise EntryRefused("only an admin may do that")


def _require_own(entry: GroupEntry) -> None:
    if (entry.actor, entry.actor_key) != (entry.subject, entry.subject_key):
        raise EntryRefused("the subject is the actor, under the same identity key")


def _require_subject(entry: GroupEntry, seats: Mapping[UserId, Member]) -> Member:
    seat = seats.get(entry.subject)
    if seat is None or seat.identity_key != entry.subject_key:
        raise EntryRefused("the subject is not there under this identity key")
    return seat


def _require_some_admin(members: _Seats) -> None:
    if members and all(seat.role is not Role.ADMIN for seat in members.values()):
        raise EntryRefused("the last admin stays, or makes somebody an admin in the same entry")


def _create(_entry: GroupEntry, _before: Membership, _members: _Seats, _invited: _Seats) -> None:
    raise EntryRefused("a log has one genesis entry")


def _join(entry: GroupEntry, before: Membership, members: _Seats, invited: _Seats) -> None:
    _require_own(entry)
    if before.kind is not GroupKind.OPEN:
        raise EntryRefused("nobody joins a group by invitation uninvited")
    if before.is_member(entry.actor, entry.actor_key):
        raise EntryRefused("the actor is a member already")
    # Whoever comes back under a new key is a member like any newcomer: the relay can give a user id another key.
    members[entry.actor] = Member(entry.actor_key, Role.MEMBER, entry.number)
    invited.pop(entry.actor, None)


def _invite(entry: GroupEntry, before: Membership, _members: _Seats, invited: _Seats) -> None:
    _require_admin(entry, before)
    if entry.subject in before.members:
        raise EntryRefused("the subject is a member already: rekey it if its identity key is new")
    invited[entry.subject] = Member(entry.subject_key, entry.role, entry.number)


def _accept(entry: GroupEntry, _before: Membership, members: _Seats, invited: _Seats) -> None:
    _require_own(entry)
    seat = _require_subject(entry, invited)
    del invited[entry.subject]
    members[entry.subject] = replace(seat, since=entry.number)


def _leave(entry: GroupEntry, before: Membership, members: _Seats, invited: _Seats) -> None:
    if entry.actor not in before.members:
        _require_own(entry)
        _require_subject(entry, invited)
        del invited[entry.actor]
        return
    own = _require_member(entry, before)
    del members[entry.actor]
    if entry.subject == entry.actor:
        _require_own(entry)
    else:
        _require_admin(entry, before)  # else any member could make an admin by leaving
        seat = _require_subject(entry, members)
        members[entry.subject] = replace(seat, role=Role.ADMIN)
    if own.role is Role.ADMIN:  # whoever is none may go, also where no admin is left
        _require_some_admin(members)


def _remove(entry: GroupEntry, before: Membership, members: _Seats, invited: _Seats) -> None:
    _require_admin(entry, before)
    if entry.subject == entry.actor:
        raise EntryRefused("who goes, leaves")
    seats = members if entry.subject in members else invited
    _require_subject(entry, seats)
    del seats[entry.subject]


def _promote(entry: GroupEntry, before: Membership, members: _Seats, _invited: _Seats) -> None:
    _require_admin(entry, before)
    seat = _require_subject(entry, members)
    members[entry.subject] = replace(seat, role=Role.ADMIN)


def _demote(entry: GroupEntry, before: Membership, members: _Seats, _invited: _Seats) -> None:
    _require_admin(entry, before)
    seat = _require_subject(entry, members)
    members[entry.subject] = replace(seat, role=Role.MEMBER)
    _require_some_admin(members)


def _rekey(entry: GroupEntry, before: Membership, members: _Seats, _invited: _Seats) -> None:
    _require_admin(entry, before)
    seat = members.get(entry.subject)
    if seat is None or entry.subject == entry.actor or seat.identity_key == entry.subject_key:
        raise EntryRefused("an admin gives another member a new key")
    members[entry.subject] = Member(entry.subject_key, seat.role, entry.number)


def _close(entry: GroupEntry, before: Membership, _members: _Seats, _invited: _Seats) -> None:
    _require_admin(entry, before)
    _require_own(entry)
    if before.kind is not GroupKind.OPEN:
        raise EntryRefused("the group is by invitation already")


def _delete(entry: GroupEntry, before: Membership, _members: _Seats, _invited: _Seats) -> None:
    _require_admin(entry, before)
    _require_own(entry)


_RULES: Final[Mapping[Operation, Callable[[GroupEntry, Membership, _Seats, _Seats], None]]] = {
    Operation.CREATE: _create,
    Operation.JOIN: _join,
    Operation.INVITE: _invite,
    Operation.ACCEPT: _accept,
    Operation.LEAVE: _leave,
    Operation.REMOVE: _remove,
    Operation.PROMOTE: _promote,
    Operation.DEMOTE: _demote,
    Operation.REKEY: _rekey,
    Operation.CLOSE: _close,
    Operation.DELETE: _delete,
}
