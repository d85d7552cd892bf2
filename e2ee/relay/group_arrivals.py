"""What is decided of a group's frame before the store is asked: is it in form, does it verify."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, assert_never

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import (
    AppendEntry,
    GetGroupDevices,
    GetGroupLog,
    GroupLog,
    GroupSubmitted,
    RefusedRequest,
    SubmitGroup,
)
from e2ee.groups import take_entry

from . import group_mail, groups
from .plan import Step

if TYPE_CHECKING:
    from .connection import Connection, Session
    from .entry_rules import EntryRules

__all__ = ["GroupArrivals", "GroupRefusal", "GroupRequest"]

GroupRequest = AppendEntry | GetGroupLog | GetGroupDevices | SubmitGroup
GroupRefusal = RefusedRequest | GroupLog | GroupSubmitted


class GroupArrivals:
    """Turns frames of groups into steps of a transaction, or refuses them."""

    def __init__(self, rules: EntryRules) -> None:
        self._rules = rules

    def take(self, connection: Connection, session: Session, frame: GroupRequest, now: float) -> Step | GroupRefusal:
        """Take one frame. Raises MalformedFrame: its connection is to be closed, in turn."""
        if isinstance(frame, SubmitGroup):
            return self._submit(connection, session, frame, now)
        wait_ms = connection.requests.take(1, now)
        if wait_ms:
            return RefusedRequest(frame.request, RefusalCode.RATE_LIMITED, wait_ms)
        match frame:
            case AppendEntry():
                return self._append(connection, session, frame)
            case GetGroupLog():
                return Step(connection, partial(groups.read_log, connection, session, frame))
            case GetGroupDevices():
                return Step(connection, partial(group_mail.tell_devices, connection, session, frame))
            case _:
                assert_never(frame)

    def _append(self, connection: Connection, session: Session, frame: AppendEntry) -> Step | GroupRefusal:
        try:
            entry = take_entry(frame.entry)
        except MalformedFrame:
            return groups.refuse_log(frame.request, RefusalCode.NOT_AUTHENTIC)
        brought = groups.Brought(connection, session, frame.request, entry)
        return Step(connection, partial(groups.append, brought, self._rules))

    def _submit(self, connection: Connection, session: Session, frame: SubmitGroup, now: float) -> Step | GroupRefusal:
        group_mail.check_group_submit(frame)
        wait_ms = connection.envelopes.take(len(frame.messages), now)
        if wait_ms:
            return group_mail.refuse_group_submit(frame.request, RefusalCode.RATE_LIMITED, wait_ms=wait_ms)
        return Step(connection, partial(group_mail.submit_group, connection, session, frame))
