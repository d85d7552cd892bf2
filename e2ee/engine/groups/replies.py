"""Answers of the relay about groups, to the functions that wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from e2ee.frames import AppendEntry, GetGroupDevices, GetGroupLog, GroupDevices, GroupLog, GroupSubmitted, SubmitGroup

from . import fetching, operations
from .answers import take_devices, take_group_submitted, take_refusal

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.frames import ClientFrame, RefusedRequest

__all__ = ["GroupRequest", "take_group_refused", "take_group_reply"]

GroupRequest: TypeAlias = AppendEntry | GetGroupLog | GetGroupDevices | SubmitGroup
_MS = 1000.0


def take_group_reply(step: Step, request: ClientFrame, reply: GroupLog | GroupDevices | GroupSubmitted) -> None:
    """Take the answer to a request; of another kind, it is passed over."""
    match request, reply:
        case AppendEntry(), GroupLog():
            operations.take_appended(step, request, reply)
        case GetGroupLog(), GroupLog():
            fetching.take_log(step, request, reply)
        case GetGroupDevices(), GroupDevices():
            take_devices(step, request.group_id, reply)
        case SubmitGroup(), GroupSubmitted():
            take_group_submitted(step, request, reply)
        case _:
            pass


def take_group_refused(step: Step, request: GroupRequest, reply: RefusedRequest) -> None:
    """A request was refused as a whole."""
    wait_s = None if reply.retry_after_ms is None else reply.retry_after_ms / _MS
    match request:
        case AppendEntry():
            operations.take_appended(step, request, GroupLog(0, None, 0, reply.code, (), reply.retry_after_ms))
        case GetGroupLog():
            fetching.take_log(step, request, GroupLog(0, None, 0, reply.code, (), reply.retry_after_ms))
        case GetGroupDevices():
            take_refusal(step, request.group_id, (), reply.code, wait_s)
        case SubmitGroup():
            ids = [one.envelope_id for one in request.messages]
            take_refusal(step, request.group_id, ids, reply.code, wait_s)
