"""Groups as somebody sees them who watches the relay: every entry and message that it has accepted."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from e2ee.frames import AppendEntry, GroupLog, GroupSubmitted, SubmitGroup, Welcome
from e2ee.groups import Membership, take_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2ee.frames import ClientFrame, RelayFrame, UnknownFrame

__all__ = ["GroupRecord"]


class GroupRecord:
    """What each group is, and who was a member in the epochs in which a message was stored.

    *path_of* gives the file of a device's store: it alone says which message an envelope holds.
    """

    def __init__(self, path_of: Callable[[tuple[str, int]], Path]) -> None:
        self._path_of = path_of
        self._asked: dict[tuple[tuple[str, int], int], AppendEntry | SubmitGroup] = {}
        self.states: dict[bytes, Membership] = {}
        self.identities: dict[str, bytes] = {}  # each user's key, as last let in
        self._taken: set[str] = set()  # names that other groups have since the relay has lost the ones that had them
        self._lost: dict[str, bytes] = {}  # of groups that the relay has lost: name and id
        self._stored: set[tuple[tuple[str, int], bytes]] = set()  # senders and envelope ids
        self._readers: dict[str, set[tuple[str, bytes]]] = {}  # who may read a message, by its id: user and key

    def was_stored(self, message_id: str) -> bool:
        """Whether the relay has taken a message."""
        return message_id in self._readers

    def may_read(self, user_id: str, message_id: str) -> bool:
        """Whether the user, under the identity that it has now, was a member when the message was stored."""
        return (user_id, self.identities.get(user_id)) in self._readers.get(message_id, ())

    def asked(self, device: tuple[str, int], frame: ClientFrame | UnknownFrame) -> None:
        """A device asks for something."""
        if isinstance(frame, AppendEntry | SubmitGroup):
            self._asked[device, frame.request] = frame

    def answered(self, device: tuple[str, int], identity_key: bytes, frame: RelayFrame) -> None:
        """The relay has done it, or not."""
        if isinstance(frame, Welcome):
            self.identities[device[0]] = identity_key
        elif isinstance(frame, GroupLog | GroupSubmitted):
            match self._asked.pop((device, frame.request), None), frame:
                case AppendEntry(entry=entry), GroupLog(refusal=None):
                    self._append(entry)
                case SubmitGroup(group_id=group_id, messages=messages), GroupSubmitted(accepted=accepted):
                    # One that comes again is accepted again, and goes to nobody who has come in between.
                    stored = [one.envelope_id for one in messages[:accepted]]
                    new = [one for one in stored if (device, one) not in self._stored]
                    self._stored.update((device, one) for one in new)
                    for message_id in self._message_ids(device, new):
                        self._readers.setdefault(message_id, set()).update(self._members(group_id))
                case _:
                    pass

    def _members(self, group_id: bytes) -> Iterator[tuple[str, bytes]]:
        """Whose devices the relay puts a message of the group to: a seat is its key's."""
        for user_id, seat in self.states[group_id].members.items():
            if self.identities.get(user_id) == seat.identity_key:
                yield user_id, seat.identity_key

    def relay_rolled_back(self, states: dict[bytes, Membership]) -> None:
        """The relay's groups are what they were once."""
        self._lost |= {one.name: group_id for group_id, one in self.states.items() if group_id not in states}
        self.states = dict(states)

    def is_taken(self, name: str) -> bool:
        """Whether a group with this name cannot come back to a relay that has lost it: another has the name."""
        return name in self._taken

    def _append(self, data: bytes) -> None:
        entry = take_entry(data)
        state = self.states.get(entry.group_id)
        if state is None:
            self.states[entry.group_id] = started = Membership.start(entry)
            if self._lost.get(started.name, entry.group_id) != entry.group_id:
                self._taken.add(started.name)
        elif entry.number > state.number:  # else it was there already
            self.states[entry.group_id] = state.apply(entry)

    def _message_ids(self, device: tuple[str, int], envelope_ids: list[bytes]) -> list[str]:
        with closing(sqlite3.connect(f"file:{self._path_of(device)}?mode=ro", uri=True)) as connection:
            rows = [
                connection.execute("SELECT message_id FROM envelopes WHERE envelope_id = ?", (one,)).fetchone()
                for one in envelope_ids
            ]
        return [row[0].hex() for row in rows if row is not None]
