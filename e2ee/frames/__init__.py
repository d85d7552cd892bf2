"""What client and relay say to each other: each frame a frozen type, encoded as ``[kind, field, …]``.

`docs/protocol.md` section 3 has every byte and the numbered rules, `wire` the codec. Requests carry a
number that the reply repeats; every frame of the client also acknowledges, cumulatively, the deliveries
that it has committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from .account import (
    AccountDeleted,
    DeleteAccount,
    DeviceList,
    IdentityReplaced,
    ListDevices,
    ReplaceIdentity,
)
from .channels import (
    Done,
    Publish,
    Published,
    Subscribe,
    Unsubscribe,
    UserNotice,
    UserNotices,
    WatchUsers,
)
from .client import (
    Acknowledge,
    GetBundles,
    Login,
    Ping,
    RemoveDevice,
    Submit,
    UploadPreKeys,
)
from .groups import (
    AppendEntry,
    GetGroupDevices,
    GetGroupLog,
    GroupDevices,
    GroupLog,
    GroupMiss,
    GroupSubmission,
    GroupSubmitted,
    MemberDevices,
    SubmitGroup,
)
from .parts import (
    DEVICE_ID_MAX,
    Delivery,
    DeviceBundle,
    DeviceChange,
    DeviceRef,
    EnvelopeFor,
    EnvelopeKind,
    KemPreKey,
    OneTimePreKey,
    Outcome,
    SignedPreKey,
    Submission,
    UserBundles,
    WantedDevices,
)
from .relay import (
    Bundles,
    Challenge,
    Closing,
    Deliver,
    Drained,
    LowPreKeys,
    Pong,
    RefusedRequest,
    Removed,
    Submitted,
    Uploaded,
    Welcome,
)

__all__ = [
    "DEVICE_ID_MAX",
    "PROTOCOL_VERSION",
    "AccountDeleted",
    "Acknowledge",
    "AppendEntry",
    "Bundles",
    "Challenge",
    "ClientFrame",
    "Closing",
    "DeleteAccount",
    "Deliver",
    "Delivery",
    "DeviceBundle",
    "DeviceChange",
    "DeviceList",
    "DeviceRef",
    "Done",
    "Drained",
    "EnvelopeFor",
    "EnvelopeKind",
    "GetBundles",
    "GetGroupDevices",
    "GetGroupLog",
    "GroupDevices",
    "GroupLog",
    "GroupMiss",
    "GroupSubmission",
    "GroupSubmitted",
    "IdentityReplaced",
    "KemPreKey",
    "ListDevices",
    "Login",
    "LowPreKeys",
    "MemberDevices",
    "OneTimePreKey",
    "Outcome",
    "Ping",
    "Pong",
    "Publish",
    "Published",
    "Push",
    "RefusedRequest",
    "RelayFrame",
    "RemoveDevice",
    "Removed",
    "ReplaceIdentity",
    "Reply",
    "Request",
    "SignedPreKey",
    "Submission",
    "Submit",
    "SubmitGroup",
    "Submitted",
    "Subscribe",
    "UnknownFrame",
    "Unsubscribe",
    "UploadPreKeys",
    "Uploaded",
    "UserBundles",
    "UserNotice",
    "UserNotices",
    "WantedDevices",
    "WatchUsers",
    "Welcome",
]

PROTOCOL_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class UnknownFrame:
    """A frame of a kind that this release does not have: a relay refuses it, a client passes over it."""

    kind: int
    request: int | None  # where a request's number stands, if the frame has one


Request: TypeAlias = (
    Ping
    | UploadPreKeys
    | GetBundles
    | Submit
    | RemoveDevice
    | AppendEntry
    | GetGroupLog
    | GetGroupDevices
    | SubmitGroup
    | Subscribe
    | Unsubscribe
    | Publish
    | WatchUsers
    | DeleteAccount
    | ReplaceIdentity
    | ListDevices
)
Reply: TypeAlias = (
    Pong
    | Uploaded
    | Bundles
    | Submitted
    | Removed
    | GroupLog
    | GroupDevices
    | GroupSubmitted
    | Done
    | AccountDeleted
    | IdentityReplaced
    | DeviceList
    | RefusedRequest
)
ClientFrame: TypeAlias = Login | Acknowledge | Request
Push: TypeAlias = Deliver | Drained | LowPreKeys | Published | UserNotices
RelayFrame: TypeAlias = Challenge | Welcome | Push | Closing | Reply
