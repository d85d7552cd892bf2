"""The frames of groups, read as those of `conversation`."""

from __future__ import annotations

from typing import Final

from e2ee.codec import Reader, integer, items, octets, optional, record, text, user
from e2ee.frames import (
    AppendEntry,
    ClientFrame,
    GetGroupDevices,
    GetGroupLog,
    GroupDevices,
    GroupLog,
    GroupMiss,
    GroupSubmission,
    GroupSubmitted,
    MemberDevices,
    RelayFrame,
    SubmitGroup,
)
from e2ee.limits import (
    DEVICES_PER_USER_MAX,
    ENVELOPES_PER_FRAME_MAX,
    GROUP_DEVICES_MAX,
    GROUP_ENTRIES_PER_FRAME_MAX,
    GROUP_ENTRY_SIZE_MAX,
    GROUP_MEMBERS_MAX,
    GROUP_MESSAGE_SIZE_MAX,
    GROUP_NAME_SIZE_MAX,
)

from .readers import code, counter, device_id, device_ref, envelope_id, group_id, outcome, request, wait

__all__ = ["CLIENT", "RELAY"]

DIGEST_SIZE: Final = 32

_entry = octets(GROUP_ENTRY_SIZE_MAX, 1)
_entries = items(_entry, GROUP_ENTRIES_PER_FRAME_MAX)
_members = items(record(MemberDevices, user, items(device_ref, DEVICES_PER_USER_MAX, 1)), GROUP_MEMBERS_MAX)
_message = record(GroupSubmission, counter, envelope_id, octets(GROUP_MESSAGE_SIZE_MAX, 1))
_miss = record(GroupMiss, integer(ENVELOPES_PER_FRAME_MAX - 1), user, device_id, outcome)

CLIENT: Final[dict[int, tuple[type[ClientFrame], Reader]]] = {
    kind: (frame, record(frame, *readers))
    for kind, frame, readers in (
        (8, AppendEntry, (counter, request, _entry)),
        (9, GetGroupLog, (counter, request, optional(group_id), optional(text(GROUP_NAME_SIZE_MAX)), counter)),
        (10, GetGroupDevices, (counter, request, group_id)),
        (
            11,
            SubmitGroup,
            (
                counter,
                request,
                group_id,
                counter,
                counter,
                optional(octets(DIGEST_SIZE, DIGEST_SIZE)),
                items(_message, ENVELOPES_PER_FRAME_MAX, 1),
            ),
        ),
    )
}

RELAY: Final[dict[int, tuple[type[RelayFrame], Reader]]] = {
    kind: (frame, record(frame, *readers))
    for kind, frame, readers in (
        (76, GroupLog, (request, optional(group_id), counter, optional(code), _entries, wait)),
        (77, GroupDevices, (request, optional(code), counter, counter, _members)),
        (
            78,
            GroupSubmitted,
            (
                request,
                integer(ENVELOPES_PER_FRAME_MAX),
                items(_miss, GROUP_DEVICES_MAX),
                optional(code),
                _entries,
                _members,
                wait,
            ),
        ),
    )
}
