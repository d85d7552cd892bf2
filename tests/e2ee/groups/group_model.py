"""What R7.2 and R7.3 of `docs/protocol.md` come to, written a second time and otherwise: as conditions on sets.

One seat is (key, role); a user has a seat, an invitation, or neither.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from e2ee.groups import GroupKind, Operation, Role

Seats = frozenset[tuple[str, bytes, Role]]


class Move(NamedTuple):
    """An entry, as far as the rules look at it."""

    operation: Operation
    actor: str
    actor_key: bytes
    subject: str
    subject_key: bytes
    role: Role = Role.MEMBER


@dataclass(frozen=True)
class Model:
    """A group."""

    kind: GroupKind
    members: Seats
    invited: Seats = frozenset()
    epoch: int = 0
    over: bool = False

    def after(self, move: Move) -> Model | None:
        """The group after *move*; None: it may not follow."""
        if self.over or not self._allowed(move):
            return None
        members, invited = self._moved(move)
        over = move.operation is Operation.DELETE or not members
        # The last admin of an open group may lose its seat to another key of its own; no other way leads there.
        if members and has_admin(self.members) and not has_admin(members) and move.operation is not Operation.JOIN:
            return None
        kind = GroupKind.INVITATION if move.operation is Operation.CLOSE else self.kind
        new_epoch = readers(members) != readers(self.members) or move.operation is Operation.DELETE
        return replace(self, kind=kind, members=members, invited=invited, epoch=self.epoch + new_epoch, over=over)

    def _allowed(self, move: Move) -> bool:
        operation, actor, subject = move.operation, (move.actor, move.actor_key), (move.subject, move.subject_key)
        member, admin = actor in readers(self.members), (*actor, Role.ADMIN) in self.members
        own, seated = actor == subject, subject in readers(self.members)
        named = {user for user, _, _ in self.members}
        return {
            Operation.CREATE: False,
            Operation.JOIN: own and self.kind is GroupKind.OPEN and not member,
            Operation.INVITE: admin and move.subject not in named,
            Operation.ACCEPT: own and actor in readers(self.invited),
            Operation.LEAVE: (member and (own or (admin and seated and move.subject != move.actor)))
            or (own and move.actor not in named and actor in readers(self.invited)),
            Operation.REMOVE: admin
            and move.subject != move.actor
            and (seated or (move.subject not in named and subject in readers(self.invited))),
            Operation.PROMOTE: admin and seated,
            Operation.DEMOTE: admin and seated,
            Operation.REKEY: admin and move.subject in named and move.subject != move.actor and not seated,
            Operation.CLOSE: admin and own and self.kind is GroupKind.OPEN,
            Operation.DELETE: admin and own,
        }[operation]

    def _moved(self, move: Move) -> tuple[Seats, Seats]:  # noqa: C901, PLR0911 - a case for each operation
        subject = (move.subject, move.subject_key)
        roles = {user: role for user, _, role in self.members}
        offered = {user: role for user, _, role in self.invited}
        match move.operation:
            case Operation.JOIN:
                return without(self.members, move.actor) | {(*subject, Role.MEMBER)}, without(self.invited, move.actor)
            case Operation.INVITE:
                return self.members, without(self.invited, move.subject) | {(*subject, move.role)}
            case Operation.ACCEPT:
                return self.members | {(*subject, offered[move.subject])}, without(self.invited, move.subject)
            case Operation.LEAVE if move.actor in roles:
                left = without(self.members, move.actor)
                if move.subject != move.actor:
                    left = without(left, move.subject) | {(*subject, Role.ADMIN)}
                return left, self.invited
            case Operation.LEAVE:
                return self.members, without(self.invited, move.actor)
            case Operation.REMOVE if move.subject in roles:
                return without(self.members, move.subject), self.invited
            case Operation.REMOVE:
                return self.members, without(self.invited, move.subject)
            case Operation.PROMOTE | Operation.DEMOTE:
                role = Role.ADMIN if move.operation is Operation.PROMOTE else Role.MEMBER
                return without(self.members, move.subject) | {(*subject, role)}, self.invited
            case Operation.REKEY:
                return without(self.members, move.subject) | {(*subject, roles[move.subject])}, self.invited
            case _:
                return self.members, self.invited


def readers(seats: Seats) -> frozenset[tuple[str, bytes]]:
    return frozenset((user, key) for user, key, _ in seats)


def has_admin(seats: Seats) -> bool:
    return any(role is Role.ADMIN for _, _, role in seats)


def without(seats: Seats, user_id: str) -> Seats:
    return frozenset(seat for seat in seats if seat[0] != user_id)
