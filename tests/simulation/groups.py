"""Groups as somebody sees them who watches the relay: every entry and message that it has accepted."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from e2ee.frames import AppendEntry, GroupLog, GroupSubmitted, SubmitGroup
from e2ee.groups import Membership, take_entry

if TYPE_CHECKING:
    from collections.abc import Callable
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
        self.readers: dict[str, set[str]] = {}  # users who may read a message, by its id

    def asked(self, device: tuple[str, int], frame: ClientFrame | UnknownFrame) -> None:
        """A device asks for something."""
        if isinstance(frame, AppendEntry | SubmitGroup):
            self._asked[device, frame.request] = frame

    def answered(self, device: tuple[str, int], frame: RelayFrame) -> None:
        """The relay has done it, or not."""
        if isinstance(frame, GroupLog | GroupSubmitted):
            match self._asked.pop((device, frame.request), None), frame:
                case AppendEntry(entry=entry), GroupLog(refusal=None):
                    self._append(entry)
                case SubmitGroup(group_id=group_id, messages=messages), GroupSubmitted(accepted=accepted):
                    envelope_ids = [one.envelope_id for one in messages[:accepted]]
                    for message_id in self._message_ids(device, envelope_ids):
                        self.readers.setdefault(message_id, set()).update(self.states[group_id].members)
                case _:
                    pass

    def _append(self, data: bytes) -> None:
        entry = take_entry(data)
        state = self.states.get(entry.group_id)
        if state is None:
            self.states[entry.group_id] = Membership.start(entry)
        elif entry.number > state.number:  # else it was there already
            self.states[entry.group_id] = state.apply(entry)

    def _message_ids(self, device: tuple[str, int], envelope_ids: list[bytes]) -> list[str]:
        with closing(sqlite3.connect(f"file:{self._path_of(device)}?mode=ro", uri=True)) as connection:
            rows = [
                connection.execute("SELECT message_id FROM envelopes WHERE envelope_id = ?", (one,)).fetchone()
                for one in envelope_ids
            ]
        return [row[0].hex() for row in rows if row is not None]
