"""The names of the elements of each array that `docs/protocol.md` defines, as the first release has them."""

from __future__ import annotations

from typing import Final

_SENT: Final = ("kind", "acknowledged", "request")
_GIVEN: Final = ("kind", "request")


def _more(start: tuple[str, ...], names: str) -> list[str]:
    return [*start, *names.split()]


# By kind; 0 is the claim of a login, which is no frame.
FRAMES: Final[dict[int, tuple[str, list[str]]]] = {
    0: (
        "claim",
        _more((), "version name nonce user_id device registration submission_number delivery_number upload_number"),
    ),
    1: ("Login", _more(("kind",), "claim identity_key signature token capabilities")),
    2: ("Acknowledge", ["kind", "acknowledged"]),
    3: ("Ping", [*_SENT]),
    4: (
        "UploadPreKeys",
        _more(_SENT, "number purge signed_prekey last_resort_kem_prekey one_time_prekeys one_time_kem_prekeys"),
    ),
    5: ("GetBundles", _more(_SENT, "request_id wanted")),
    6: ("Submit", _more(_SENT, "user_id devices submissions")),
    7: ("RemoveDevice", _more(_SENT, "device")),
    8: ("AppendEntry", _more(_SENT, "entry")),
    9: ("GetGroupLog", _more(_SENT, "group_id name start")),
    10: ("GetGroupDevices", _more(_SENT, "group_id")),
    11: ("SubmitGroup", _more(_SENT, "group_id epoch log_number digest messages")),
    12: ("Subscribe", _more(_SENT, "channel")),
    13: ("Unsubscribe", _more(_SENT, "channel")),
    14: ("Publish", _more(_SENT, "channel data")),
    15: ("WatchUsers", _more(_SENT, "on")),
    30: ("DeleteAccount", [*_SENT]),
    31: ("ReplaceIdentity", _more(_SENT, "claim identity_key signature")),
    32: ("ListDevices", [*_SENT]),
    64: ("Challenge", _more(("kind",), "versions nonce capabilities")),
    65: (
        "Welcome",
        _more(
            ("kind",),
            "connection_number submission_number delivery_number upload_number one_time_prekeys one_time_kem_prekeys"
            " time_ms",
        ),
    ),
    66: ("Pong", [*_GIVEN]),
    67: ("Uploaded", _more(_GIVEN, "one_time_prekeys one_time_kem_prekeys")),
    68: ("Bundles", _more(_GIVEN, "users")),
    69: ("Submitted", _more(_GIVEN, "outcomes refusal change wait_ms")),
    70: ("Removed", [*_GIVEN]),
    71: ("Deliver", ["kind", "deliveries"]),
    72: ("Drained", ["kind", "delivery_number"]),
    73: ("LowPreKeys", ["kind", "one_time_prekeys", "one_time_kem_prekeys"]),
    74: ("RefusedRequest", _more(_GIVEN, "code wait_ms")),
    75: ("Closing", ["kind", "code", "explanation", "wait_ms"]),
    76: ("GroupLog", _more(_GIVEN, "group_id head refusal entries wait_ms")),
    77: ("GroupDevices", _more(_GIVEN, "refusal epoch log_number members")),
    78: ("GroupSubmitted", _more(_GIVEN, "accepted missed refusal entries members wait_ms")),
    79: ("Done", [*_GIVEN]),
    80: ("Published", _more(("kind",), "channel user_id device data")),
    81: ("UserNotices", ["kind", "users"]),
    94: ("AccountDeleted", [*_GIVEN]),
    95: ("IdentityReplaced", [*_GIVEN]),
    96: ("DeviceList", _more(_GIVEN, "devices")),
}
CONTENT: Final = _more((), "version kind message_id conversation_number time_ms sender device destination body answers")
ENTRY: Final = _more(
    (),
    "version group_id number previous_hash epoch time_ms operation actor actor_key subject subject_key role name kind"
    " nonce",
)
# By kind of content. A body without names is the bytes themselves.
BODIES: Final[dict[int, tuple[str, list[str]]]] = {
    1: ("TEXT", []),
    2: ("DATA", []),
    3: ("RECEIPT", ["state", "device", "group_id", "ranges"]),
    4: ("SENT_COPY", CONTENT[:9]),
    5: ("READ_COPY", ["user_id", "message_ids"]),
    6: ("RETRY_REQUEST", ["envelope_ids"]),
    7: ("GONE", ["entries"]),
    8: ("SENDER_KEY", ["group_id", "distribution_message"]),
    9: ("KEY_REQUEST", ["device", "group_id", "chain_id"]),
    10: ("KEY_ACK", ["device", "group_id", "chain_ids"]),
    11: ("NEW_DEVICE", []),
}
