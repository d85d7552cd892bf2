"""Groups of the relay in memory: `docs/protocol.md` section 7 in its simplest form, from the log alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import (
    AppendEntry,
    DeviceRef,
    EnvelopeFor,
    EnvelopeKind,
    GetGroupDevices,
    GetGroupLog,
    GroupDevices,
    GroupLog,
    GroupMiss,
    GroupSubmitted,
    MemberDevices,
    Outcome,
    SubmitGroup,
)
from e2ee.groups import EntryRefused, GroupEntry, GroupKind, Membership, Operation, device_digest, take_entry
from e2ee.ids import UserId
from e2ee.limits import GROUP_ENTRIES_PER_FRAME_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2ee.groups import Member

    from .post_office import DeviceName, Mailbox

__all__ = ["PostGroups", "StoredGroup"]


class Office(Protocol):
    """What groups need of the relay around them."""

    identities: dict[str, bytes]
    boxes: dict[DeviceName, Mailbox]
    refusing: dict[str, RefusalCode]
    overheard: list[tuple[DeviceName, DeviceName, EnvelopeFor]]

    def devices(self, user_id: str) -> dict[int, Mailbox]: ...

    def put(
        self, sender: DeviceName, recipient: DeviceName, envelope_id: bytes, kind: EnvelopeKind, body: bytes
    ) -> Outcome: ...

    def is_first_use(self, sender: DeviceName, number: int, envelope_ids: frozenset[bytes]) -> bool: ...


@dataclass
class StoredGroup:
    """A group's log, and what follows from it."""

    log: list[bytes]
    state: Membership
    ended: dict[tuple[str, bytes], int] = field(default_factory=dict)  # (user, key) whose seat an entry has ended

    def readable(self, user_id: str, key: bytes) -> int | None:
        """The last entry that the user may read; None: there is no such group."""
        seats = (self.state.members, self.state.invited)
        seated = any(_key_of(some, user_id) == key for some in seats)
        if not self.state.deleted and (seated or self.state.kind is GroupKind.OPEN):
            return self.state.number
        return self.ended.get((user_id, key))


class PostGroups:
    """All groups of one `PostOffice`. Replies have the request number 0."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self.stored: dict[bytes, StoredGroup] = {}

    def handle(
        self, sender: DeviceName, frame: AppendEntry | GetGroupLog | GetGroupDevices | SubmitGroup
    ) -> GroupLog | GroupDevices | GroupSubmitted:
        match frame:
            case AppendEntry():
                return self._append(sender, frame.entry)
            case GetGroupLog():
                return self._read(sender, frame)
            case GetGroupDevices():
                group = self._of_member(sender, frame.group_id)
                if group is None:
                    return GroupDevices(0, RefusalCode.UNKNOWN_GROUP, 0, 0, ())
                return GroupDevices(0, None, group.state.epoch, group.state.number, self.members(sender, group))
            case SubmitGroup():
                return self._submit(sender, frame)

    def named(self, name: str) -> StoredGroup | None:
        found = [one for one in self.stored.values() if one.state.name == name and not one.state.deleted]
        return found[0] if found else None

    def members(self, asking: DeviceName, group: StoredGroup) -> tuple[MemberDevices, ...]:
        """The devices that a message of *asking* goes to."""
        found = []
        for user_id, seat in sorted(group.state.members.items()):
            devices = [
                DeviceRef(device_id, box.registration_id)
                for device_id, box in sorted(self._office.devices(user_id).items())
                if (user_id, device_id) != asking and self._office.identities.get(user_id) == seat.identity_key
            ]
            if devices:
                found.append(MemberDevices(user_id, tuple(devices)))
        return tuple(found)

    def unlisted(self, group: StoredGroup) -> list[DeviceName]:
        """Members' devices that have not uploaded prekeys: a message goes to them too."""
        seats = group.state.members
        return [
            name
            for name, box in sorted(self._office.boxes.items())
            if not box.listed
            and name[0] in seats
            and self._office.identities.get(name[0]) == seats[UserId(name[0])].identity_key
        ]

    # Below.

    def _key(self, name: DeviceName) -> bytes:
        return self._office.identities[name[0]]

    def _append(self, sender: DeviceName, data: bytes) -> GroupLog:
        try:
            entry = take_entry(data)
        except MalformedFrame:
            return _refused(RefusalCode.NOT_AUTHENTIC)
        return self._judge(sender, data, entry)

    def _judge(self, sender: DeviceName, data: bytes, entry: GroupEntry) -> GroupLog:
        """Whoever has brought it: what its actor could not have brought is not taken."""
        group = self.stored.get(entry.group_id)
        last = None if group is None else group.readable(sender[0], self._key(sender))
        if group is not None and group.log[entry.number : entry.number + 1] == [data]:
            return GroupLog(0, entry.group_id, max(entry.number, last or 0), None, (), None)
        known = self._office.identities.get(entry.actor)
        if known != entry.actor_key and entry.actor != sender[0]:
            return _refused(RefusalCode.NOT_AUTHENTIC)
        if entry.operation is Operation.CREATE:
            return self._create(sender, entry)
        if group is None:
            return _refused(RefusalCode.UNKNOWN_GROUP)
        return self._follow(sender, group, entry, last)

    def _follow(self, sender: DeviceName, group: StoredGroup, entry: GroupEntry, last: int | None) -> GroupLog:
        try:
            after = group.state.apply(entry)
        except EntryRefused:
            if last is None:
                return _refused(RefusalCode.UNKNOWN_GROUP)
            if last < group.state.number or entry.number != group.state.number + 1:
                since = tuple(group.log[entry.number : last + 1])
                return GroupLog(0, entry.group_id, last, RefusalCode.GROUP_CHANGED, since, None)
            return _refused(RefusalCode.ENTRY_REFUSED)
        self._store(sender, group, entry, after)
        return GroupLog(0, entry.group_id, entry.number, None, (), None)

    def _create(self, sender: DeviceName, entry: GroupEntry) -> GroupLog:
        if self.named(str(entry.name)) is not None:
            return _refused(RefusalCode.GROUP_NAME_TAKEN)
        self.stored[entry.group_id] = StoredGroup([entry.data], Membership.start(entry))
        self._tell(sender, {entry.actor: {entry.actor_key}}, entry)
        return GroupLog(0, entry.group_id, 0, None, (), None)

    def _store(self, sender: DeviceName, group: StoredGroup, entry: GroupEntry, after: Membership) -> None:
        before = group.state
        group.log.append(entry.data)
        group.state = after
        for seats in (before.members, before.invited):
            for user_id, seat in seats.items():
                kept = after.members.get(user_id) or after.invited.get(user_id)
                if after.deleted or kept is None or kept.identity_key != seat.identity_key:
                    group.ended[user_id, seat.identity_key] = entry.number
        about = after.invited.keys() | {entry.subject} if after.deleted else {entry.subject}
        told: dict[UserId, set[bytes]] = {}
        for state in (before, after):
            invited = [(user_id, seat) for user_id, seat in state.invited.items() if user_id in about]
            for user_id, seat in (*state.members.items(), *invited):
                told.setdefault(user_id, set()).add(seat.identity_key)
        self._tell(sender, told, entry)

    def _tell(self, sender: DeviceName, told: Mapping[UserId, set[bytes]], entry: GroupEntry) -> None:
        for name in sorted(self._office.boxes):
            if self._office.identities.get(name[0]) in told.get(UserId(name[0]), set()):
                self._office.put(sender, name, entry.hash[:16], EnvelopeKind.GROUP_ENTRY, entry.data)

    def _read(self, sender: DeviceName, frame: GetGroupLog) -> GroupLog:
        group = self.named(frame.name or "") if frame.group_id is None else self.stored.get(frame.group_id)
        last = None if group is None else group.readable(sender[0], self._key(sender))
        if group is None or last is None:
            return _refused(RefusalCode.UNKNOWN_GROUP)
        entries = group.log[frame.start : last + 1][:GROUP_ENTRIES_PER_FRAME_MAX]
        return GroupLog(0, group.state.group_id, last, None, tuple(entries), None)

    def _of_member(self, sender: DeviceName, group_id: bytes) -> StoredGroup | None:
        group = self.stored.get(group_id)
        if group is None or group.state.deleted or not group.state.is_member(sender[0], self._key(sender)):
            return None
        return group

    def _submit(self, sender: DeviceName, frame: SubmitGroup) -> GroupSubmitted:
        self._office.overheard += [
            (sender, (frame.group_id.hex(), 0), EnvelopeFor(0, one.envelope_id, EnvelopeKind.SENDER_KEY, one.body))
            for one in frame.messages
        ]
        answer = self._judged(sender, frame)
        if answer.accepted or answer.refusal in (None, RefusalCode.ROLLED_BACK):
            return answer
        # Only what was not stored before is refused (R4.14).
        numbers = self._office.boxes[sender].numbers
        repeated = 0
        for one in frame.messages:
            if numbers.get(one.number) != frozenset([one.envelope_id]):
                return replace(answer, accepted=repeated)
            repeated += 1
        return GroupSubmitted(0, repeated, (), None, (), (), None)

    def _judged(self, sender: DeviceName, frame: SubmitGroup) -> GroupSubmitted:
        if frame.group_id.hex() in self._office.refusing:
            return GroupSubmitted(0, 0, (), self._office.refusing[frame.group_id.hex()], (), (), None)
        group = self._of_member(sender, frame.group_id)
        if group is None:
            return self._refuse_outsider(sender, frame)
        if frame.epoch != group.state.epoch or frame.log_number > group.state.number:
            since = tuple(group.log[frame.log_number + 1 :][:GROUP_ENTRIES_PER_FRAME_MAX])
            return GroupSubmitted(0, 0, (), RefusalCode.GROUP_CHANGED, since, (), None)
        members = self.members(sender, group)
        if frame.digest is not None and frame.digest != device_digest(members):
            return GroupSubmitted(0, 0, (), RefusalCode.DEVICES_CHANGED, (), members, None)
        return self._fan_out(sender, frame, group, members)

    def _fan_out(
        self, sender: DeviceName, frame: SubmitGroup, group: StoredGroup, members: tuple[MemberDevices, ...]
    ) -> GroupSubmitted:
        missed: list[GroupMiss] = []
        for position, message in enumerate(frame.messages):
            if not self._office.is_first_use(sender, message.number, frozenset([message.envelope_id])):
                return GroupSubmitted(0, position, tuple(missed), RefusalCode.ROLLED_BACK, (), (), None)
            body = frame.group_id + message.body
            for member in members:
                for device in member.devices:
                    recipient = (member.user_id, device.device_id)
                    outcome = self._office.put(sender, recipient, message.envelope_id, EnvelopeKind.SENDER_KEY, body)
                    if outcome is Outcome.FULL:
                        missed.append(GroupMiss(position, *recipient, outcome))
            for recipient in self.unlisted(group):
                self._office.put(sender, recipient, message.envelope_id, EnvelopeKind.SENDER_KEY, body)
        return GroupSubmitted(0, len(frame.messages), tuple(missed), None, (), (), None)

    def _refuse_outsider(self, sender: DeviceName, frame: SubmitGroup) -> GroupSubmitted:
        """Who had a seat gets the entries up to the one that ended it; nobody else learns anything."""
        group = self.stored.get(frame.group_id)
        last = None if group is None else group.ended.get((sender[0], self._key(sender)))
        if group is None or last is None:
            return GroupSubmitted(0, 0, (), RefusalCode.UNKNOWN_GROUP, (), (), None)
        since = tuple(group.log[frame.log_number + 1 : last + 1][:GROUP_ENTRIES_PER_FRAME_MAX])
        return GroupSubmitted(0, 0, (), RefusalCode.GROUP_CHANGED, since, (), None)


def _key_of(seats: Mapping[UserId, Member], user_id: str) -> bytes | None:
    seat = seats.get(UserId(user_id))
    return None if seat is None else seat.identity_key


def _refused(code: RefusalCode) -> GroupLog:
    return GroupLog(0, None, 0, code, (), None)
