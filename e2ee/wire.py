"""Frames to bytes and back: one table of kinds for each direction, one reader for each field.

Whatever bytes come, decoding returns a frame or raises MalformedFrame (`docs/protocol.md` section 3).
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from .codec import Reader, decode_array, encode_array, flag, integer, items, octets, optional, record, text, user
from .errors import MalformedFrame
from .frames import (
    DEVICE_ID_MAX,
    Acknowledge,
    Bundles,
    Challenge,
    ClientFrame,
    Closing,
    Deliver,
    Delivery,
    DeviceBundle,
    DeviceChange,
    DeviceRef,
    Drained,
    EnvelopeFor,
    EnvelopeKind,
    GetBundles,
    KemPreKey,
    Login,
    LowPreKeys,
    OneTimePreKey,
    Outcome,
    Ping,
    Pong,
    RefusedRequest,
    RelayFrame,
    Removed,
    RemoveDevice,
    SignedPreKey,
    Submission,
    Submit,
    Submitted,
    UnknownFrame,
    Uploaded,
    UploadPreKeys,
    UserBundles,
    WantedDevices,
    Welcome,
)
from .ids import ENVELOPE_ID_SIZE
from .limits import (
    CAPABILITIES_MAX,
    CAPABILITY_SIZE_MAX,
    COUNTER_MAX,
    DEVICES_PER_REQUEST_MAX,
    DEVICES_PER_USER_MAX,
    ENVELOPE_SIZE_MAX,
    ENVELOPES_PER_FRAME_MAX,
    FRAME_SIZE_MAX,
    PREKEYS_PER_UPLOAD_MAX,
    REQUEST_NUMBER_MAX,
    TEXT_SIZE_MAX,
    TOKEN_SIZE_MAX,
)

__all__ = ["decode_client_frame", "decode_relay_frame", "encode_frame"]

NONCE_SIZE: Final = 32  # bytes of a challenge
REQUEST_ID_SIZE: Final = 16  # bytes that make an answer repeatable
PUBLIC_KEY_SIZE: Final = 33  # bytes, as Signal serialises them
KEM_PUBLIC_KEY_SIZE: Final = 1569
SIGNATURE_SIZE: Final = 64
PREKEY_ID_MAX: Final = 0xFFFFFF
REGISTRATION_ID_MAX: Final = 0x3FFF
_KIND_MAX: Final = 127  # kinds are one byte of msgpack

# How each is read: one reader for each field, in the order of the fields.

_counter = integer(COUNTER_MAX)
_request = integer(REQUEST_NUMBER_MAX)
_device_id = integer(DEVICE_ID_MAX, 1)
_registration_id = integer(REGISTRATION_ID_MAX, 1)
_prekey_id = integer(PREKEY_ID_MAX)
_signature = octets(SIGNATURE_SIZE, SIGNATURE_SIZE)
_public_key = octets(PUBLIC_KEY_SIZE, PUBLIC_KEY_SIZE)
_kem_key = octets(KEM_PUBLIC_KEY_SIZE, KEM_PUBLIC_KEY_SIZE)
_envelope_id = octets(ENVELOPE_ID_SIZE, ENVELOPE_ID_SIZE)
_capabilities = items(text(CAPABILITY_SIZE_MAX), CAPABILITIES_MAX)
_wait = optional(integer(COUNTER_MAX))
_code = integer(255, 1)


def _envelope_kind(value: object) -> EnvelopeKind:
    try:
        return EnvelopeKind(integer(255)(value))
    except ValueError as cause:
        raise MalformedFrame("not a kind of envelope") from cause


def _outcome(value: object) -> Outcome:
    try:
        return Outcome(integer(255)(value))
    except ValueError as cause:
        raise MalformedFrame("not an outcome") from cause


_device_ref = record(DeviceRef, _device_id, _registration_id)
_signed_prekey = record(SignedPreKey, _prekey_id, _public_key, _signature)
_kem_prekey = record(KemPreKey, _prekey_id, _kem_key, _signature)
_one_time_prekey = record(OneTimePreKey, _prekey_id, _public_key)
_bundle = record(DeviceBundle, _device_id, _registration_id, _signed_prekey, _kem_prekey, optional(_one_time_prekey))
_envelope = record(EnvelopeFor, _device_id, _envelope_id, _envelope_kind, octets(ENVELOPE_SIZE_MAX, 1))
_submission = record(Submission, _counter, items(_envelope, DEVICES_PER_USER_MAX, 1))
_change = record(DeviceChange, items(_device_ref, DEVICES_PER_USER_MAX), items(_device_id, DEVICES_PER_USER_MAX))
_delivery = record(
    Delivery, _counter, user, _device_id, _envelope_id, _envelope_kind, octets(ENVELOPE_SIZE_MAX, 1), _counter
)

_CLIENT: Final[dict[int, tuple[type[ClientFrame], Reader]]] = {
    kind: (frame, record(frame, *readers))
    for kind, frame, readers in (
        (
            1,
            Login,
            (octets(1024, 1), _public_key, _signature, optional(octets(TOKEN_SIZE_MAX)), _capabilities),
        ),
        (2, Acknowledge, (_counter,)),
        (3, Ping, (_counter, _request)),
        (
            4,
            UploadPreKeys,
            (
                _counter,
                _request,
                _counter,
                flag,
                optional(_signed_prekey),
                optional(_kem_prekey),
                items(_one_time_prekey, PREKEYS_PER_UPLOAD_MAX),
                items(_kem_prekey, PREKEYS_PER_UPLOAD_MAX),
            ),
        ),
        (
            5,
            GetBundles,
            (
                _counter,
                _request,
                octets(REQUEST_ID_SIZE, REQUEST_ID_SIZE),
                items(
                    record(WantedDevices, user, optional(items(_device_id, DEVICES_PER_USER_MAX, 1))),
                    DEVICES_PER_REQUEST_MAX,
                    1,
                ),
            ),
        ),
        (
            6,
            Submit,
            (
                _counter,
                _request,
                user,
                items(_device_ref, DEVICES_PER_USER_MAX),
                items(_submission, ENVELOPES_PER_FRAME_MAX, 1),
            ),
        ),
        (7, RemoveDevice, (_counter, _request, _device_id)),
    )
}

_RELAY: Final[dict[int, tuple[type[RelayFrame], Reader]]] = {
    kind: (frame, record(frame, *readers))
    for kind, frame, readers in (
        (
            64,
            Challenge,
            (items(integer(255, 1), 16, 1), octets(NONCE_SIZE, NONCE_SIZE), _capabilities),
        ),
        (65, Welcome, (_counter, _counter, _counter, _counter, _counter, _counter, _counter)),
        (66, Pong, (_request,)),
        (67, Uploaded, (_request, _counter, _counter)),
        (
            68,
            Bundles,
            (
                _request,
                items(
                    record(UserBundles, user, optional(_public_key), items(_bundle, DEVICES_PER_USER_MAX)),
                    DEVICES_PER_REQUEST_MAX,
                ),
            ),
        ),
        (
            69,
            Submitted,
            (
                _request,
                items(items(_outcome, DEVICES_PER_USER_MAX), ENVELOPES_PER_FRAME_MAX),
                optional(_code),
                optional(_change),
                _wait,
            ),
        ),
        (70, Removed, (_request,)),
        (71, Deliver, (items(_delivery, ENVELOPES_PER_FRAME_MAX, 1),)),
        (72, Drained, (_counter,)),
        (73, LowPreKeys, (_counter, _counter)),
        (74, RefusedRequest, (_request, _code, _wait)),
        (75, Closing, (_code, text(TEXT_SIZE_MAX), _wait)),
    )
}

_KINDS: Final[dict[type[ClientFrame | RelayFrame], int]] = {
    frame: kind for table in (_CLIENT, _RELAY) for kind, (frame, _read) in table.items()
}


def encode_frame(frame: ClientFrame | RelayFrame) -> bytes:
    """Encode one frame. It is not checked: the types are the caller's promise."""
    return encode_array([_KINDS[type(frame)], *[getattr(frame, part.name) for part in fields(frame)]])


def decode_client_frame(data: bytes, *, size_max: int = FRAME_SIZE_MAX) -> ClientFrame | UnknownFrame:
    """Decode a frame that a client sent. Raises MalformedFrame."""
    frame: ClientFrame | UnknownFrame = _decode(data, _CLIENT, size_max)
    return frame


def decode_relay_frame(data: bytes, *, size_max: int = FRAME_SIZE_MAX) -> RelayFrame | UnknownFrame:
    """Decode a frame that a relay sent. Raises MalformedFrame."""
    frame: RelayFrame | UnknownFrame = _decode(data, _RELAY, size_max)
    return frame


def _decode(data: bytes, table: dict[int, tuple[Any, Reader]], size_max: int) -> Any:  # noqa: ANN401 - of the table
    values = decode_array(data, size_max=size_max)
    if not values:
        raise MalformedFrame("an empty frame")
    kind = integer(_KIND_MAX)(values[0])
    known = table.get(kind)
    if known is not None:
        return known[1](values[1:])
    request = values[2] if len(values) > 2 and type(values[2]) is int and 0 <= values[2] <= REQUEST_NUMBER_MAX else None
    return UnknownFrame(kind, request)
