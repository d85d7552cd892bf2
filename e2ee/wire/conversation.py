"""The frames of one device's conversation: for each kind its number, and one reader for each field, in order."""

from __future__ import annotations

from typing import Final

from e2ee.codec import Reader, flag, integer, items, octets, optional, record, text, user
from e2ee.frames import (
    Acknowledge,
    Bundles,
    Challenge,
    ClientFrame,
    Closing,
    Deliver,
    Drained,
    GetBundles,
    Login,
    LowPreKeys,
    Ping,
    Pong,
    RefusedRequest,
    RelayFrame,
    Removed,
    RemoveDevice,
    Submit,
    Submitted,
    Uploaded,
    UploadPreKeys,
    UserBundles,
    WantedDevices,
    Welcome,
)
from e2ee.limits import (
    DEVICES_PER_REQUEST_MAX,
    DEVICES_PER_USER_MAX,
    ENVELOPES_PER_FRAME_MAX,
    PREKEYS_PER_UPLOAD_MAX,
    TEXT_SIZE_MAX,
    TOKEN_SIZE_MAX,
)

from .readers import (
    NONCE_SIZE,
    REQUEST_ID_SIZE,
    bundle,
    capabilities,
    change,
    code,
    counter,
    delivery,
    device_id,
    device_ref,
    kem_prekey,
    one_time_prekey,
    outcome,
    public_key,
    request,
    signature,
    signed_prekey,
    submission,
    wait,
)

__all__ = ["CLIENT", "RELAY"]

CLIENT: Final[dict[int, tuple[type[ClientFrame], Reader]]] = {
    kind: (frame, record(frame, *readers))
    for kind, frame, readers in (
        (
            1,
            Login,
            (octets(1024, 1), public_key, signature, optional(octets(TOKEN_SIZE_MAX)), capabilities),
        ),
        (2, Acknowledge, (counter,)),
        (3, Ping, (counter, request)),
        (
            4,
            UploadPreKeys,
            (
                counter,
                request,
                counter,
                flag,
                optional(signed_prekey),
                optional(kem_prekey),
                items(one_time_prekey, PREKEYS_PER_UPLOAD_MAX),
                items(kem_prekey, PREKEYS_PER_UPLOAD_MAX),
            ),
        ),
        (
            5,
            GetBundles,
            (
                counter,
                request,
                octets(REQUEST_ID_SIZE, REQUEST_ID_SIZE),
                items(
                    record(WantedDevices, user, optional(items(device_id, DEVICES_PER_USER_MAX, 1))),
                    DEVICES_PER_REQUEST_MAX,
                    1,
                ),
            ),
        ),
        (
            6,
            Submit,
            (
                counter,
                request,
                user,
                items(device_ref, DEVICES_PER_USER_MAX),
                items(submission, ENVELOPES_PER_FRAME_MAX, 1),
            ),
        ),
        (7, RemoveDevice, (counter, request, device_id)),
    )
}

RELAY: Final[dict[int, tuple[type[RelayFrame], Reader]]] = {
    kind: (frame, record(frame, *readers))
    for kind, frame, readers in (
        (
            64,
            Challenge,
            (items(integer(255, 1), 16, 1), octets(NONCE_SIZE, NONCE_SIZE), capabilities),
        ),
        (65, Welcome, (counter, counter, counter, counter, counter, counter, counter)),
        (66, Pong, (request,)),
        (67, Uploaded, (request, counter, counter)),
        (
            68,
            Bundles,
            (
                request,
                items(
                    record(UserBundles, user, optional(public_key), items(bundle, DEVICES_PER_USER_MAX)),
                    DEVICES_PER_REQUEST_MAX,
                ),
            ),
        ),
        (
            69,
            Submitted,
            (
                request,
                items(items(outcome, DEVICES_PER_USER_MAX), ENVELOPES_PER_FRAME_MAX),
                optional(code),
                optional(change),
                wait,
            ),
        ),
        (70, Removed, (request,)),
        (71, Deliver, (items(delivery, ENVELOPES_PER_FRAME_MAX, 1),)),
        (72, Drained, (counter,)),
        (73, LowPreKeys, (counter, counter)),
        (74, RefusedRequest, (request, code, wait)),
        (75, Closing, (code, text(TEXT_SIZE_MAX), wait)),
    )
}
