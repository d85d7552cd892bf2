"""The log of a group, and the encoding of everything (`docs/protocol.md` sections 1 and 7)."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgpack

from ratchet import verify_signature

CREATE, JOIN, INVITE, ACCEPT, LEAVE, REMOVE, PROMOTE, DEMOTE, REKEY, CLOSE, DELETE = range(1, 12)  # section 7
MEMBER, ADMIN = 1, 2
OPEN: Final = 1


def pack(value: object) -> bytes:
    """Encode, text and binary told apart (R1.2)."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def unpack(data: bytes) -> Any:  # noqa: ANN401 - a frame is what the tables of section 3 say
    """Decode one value."""
    return msgpack.unpackb(data, raw=False, use_list=True)


class Log:
    """The log of an open group, checked entry by entry (R7.1 to R7.3; invitations are left out)."""

    def __init__(self) -> None:
        self.id = self.head = b""
        self.number, self.epoch = -1, 0
        self.seats: dict[str, tuple[bytes, int]] = {}  # user: (identity key, role)
        self.states: list[tuple[int, bytes, dict[str, tuple[bytes, int]]]] = []  # epoch, hash, seats after each entry

    def take(self, entry: bytes) -> None:
        """Verify an entry and follow it. Raises ValueError for one that does not follow."""
        body, signature = entry[:-64], entry[-64:]
        fields = unpack(body)
        version, group, number, before, epoch, _, operation, actor, actor_key, subject, subject_key = fields[:11]
        verify_signature(actor_key, "e2ee group entry v1", body, signature)
        if number <= self.number:
            return  # one that is held already (R7.20)
        starts = operation == CREATE
        if version != 1 or number != self.number + 1 or starts != (number == 0):
            raise ValueError("not the next entry")
        if not starts and (group != self.id or before != self.head or epoch != self.epoch + self._follow(fields)):
            raise ValueError("does not follow")
        self.number, self.epoch, self.head = number, epoch, hashlib.sha256(entry).digest()
        if starts:
            self.id = self.head
            if fields[13] != OPEN or (subject, subject_key) != (actor, actor_key):
                raise ValueError("not an open group's")
            self.seats[actor] = (actor_key, ADMIN)
        self.states.append((self.epoch, self.head, dict(self.seats)))

    @property
    def fingerprint(self) -> str:
        """Sixty digits that members compare (R7.5)."""
        digest = hashlib.sha512(b"e2ee group fingerprint v1\x00" + self.head).digest()
        return "".join(f"{int.from_bytes(digest[5 * i : 5 * i + 5]) % 100_000:05}" for i in range(12))

    def allows(self, epoch: int, number: int, digest: bytes, sender: str, identity_key: bytes) -> bool:
        """Whether *sender* could write to the group after the entry that its message names (R5.6)."""
        if not 0 <= number < len(self.states):
            return False  # a later one would be fetched first
        known_epoch, known_digest, seats = self.states[number]
        return (known_epoch, known_digest) == (epoch, digest) and seats.get(sender, (b"", 0))[0] == identity_key

    def _follow(self, fields: list[Any]) -> int:
        """Change the seats; return by how much the epoch rises (table of R7.2)."""
        operation, actor, actor_key, subject, subject_key = fields[6:11]
        if operation == JOIN and (actor, actor_key) == (subject, subject_key):
            if self.seats.get(actor, (b"", 0))[0] == actor_key:
                raise ValueError("is a member already")
            self.seats[actor] = (actor_key, MEMBER)
            return 1
        key, role = self.seats.get(actor, (b"", 0))
        if key != actor_key:
            raise ValueError("the actor has no seat")
        if operation == LEAVE:
            del self.seats[actor]
            if subject != actor:
                self.seats[subject] = (self.seats[subject][0], ADMIN)
            return 1
        if role != ADMIN or subject not in self.seats:
            raise ValueError("not allowed, or with invitations")
        if operation == REMOVE:
            del self.seats[subject]
        elif operation == REKEY:
            self.seats[subject] = (subject_key, self.seats[subject][1])
        elif operation in (PROMOTE, DEMOTE):
            self.seats[subject] = (subject_key, ADMIN if operation == PROMOTE else MEMBER)
            return 0
        else:
            raise ValueError("not shown here")
        return 1
