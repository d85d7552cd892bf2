"""What is decided of a group's frame before the store is asked: is it in form, is it the sender's, is it allowed."""

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
from e2ee.groups import Operation, take_entry
from e2ee.ids import UserId

from . import group_mail, groups
from .plan import Step

if TYPE_CHECKING:
    from e2ee.groups import GroupEntry

    from .connection import Connection, Session
    from .hooks import MayCreateGroup, MaySend
    from .limits import RelayOptions

__all__ = ["GroupArrivals", "GroupRefusal", "GroupRequest"]

GroupRequest = AppendEntry | GetGroupLog | GetGroupDevices | SubmitGroup
GroupRefusal = RefusedRequest | GroupLog | GroupSubmitted


class GroupArrivals:
    """Turns frames of groups into steps of a transaction, or refuses them."""

    def __init__(
        self, options: RelayOptions, may_send: MaySend | None, may_create_group: MayCreateGroup | None
    ) -> None:
        self._options = options
        self._may_send = may_send
        self._may_create_group = may_create_group

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
        code = self._forbidden(session, entry)
        if code is not None:
            return groups.refuse_log(frame.request, code)
        return Step(connection, partial(groups.append, connection, session, self._options, frame.request, entry))

    def _forbidden(self, session: Session, entry: GroupEntry) -> RefusalCode | None:
        """Why an entry is refused without a look at its group: it is not its sender's, or the application's rules."""
        actor = UserId(session.device.user_id)
        if (entry.actor, entry.actor_key) != (actor, session.identity_key):
            return RefusalCode.NOT_AUTHENTIC
        match entry.operation:
            case Operation.CREATE if self._may_create_group is not None:
                allowed = self._may_create_group(actor)
            case Operation.INVITE if self._may_send is not None:
                allowed = self._may_send(actor, entry.subject)
            case _:
                allowed = True
        return None if allowed else RefusalCode.NOT_AUTHORIZED

    def _submit(self, connection: Connection, session: Session, frame: SubmitGroup, now: float) -> Step | GroupRefusal:
        group_mail.check_group_submit(frame)
        wait_ms = connection.envelopes.take(len(frame.messages), now)
        if wait_ms:
            return group_mail.refuse_group_submit(frame.request, RefusalCode.RATE_LIMITED, wait_ms=wait_ms)
        return Step(connection, partial(group_mail.submit_group, connection, session, frame))
