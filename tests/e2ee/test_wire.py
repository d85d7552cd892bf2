"""Frames to bytes and back, and every way in which bytes are no frame (docs/protocol.md sections 1 and 3)."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import fields

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import frames
from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import UnknownFrame
from e2ee.limits import FRAME_SIZE_MAX
from e2ee.wire import decode_client_frame, decode_relay_frame, encode_frame

KEY, KEM, SIGNATURE, ID = b"\x05" + bytes(32), b"\x08" + bytes(1568), bytes(64), bytes(range(16))
SIGNED = frames.SignedPreKey(1, KEY, SIGNATURE)
KEM_PREKEY = frames.KemPreKey(2, KEM, SIGNATURE)
ONE_TIME = frames.OneTimePreKey(3, KEY)
DEVICE = frames.DeviceRef(1, 16383)
ENVELOPE = frames.EnvelopeFor(1, ID, frames.EnvelopeKind.PREKEY, b"ciphertext")

FROM_CLIENT: list[frames.ClientFrame] = [
    frames.Login(b"claim", KEY, SIGNATURE, None, ("one", "two")),
    frames.Login(b"claim", KEY, SIGNATURE, b"token", ()),
    frames.Acknowledge(2**63 - 1),
    frames.Ping(0, 2**32 - 1),
    frames.UploadPreKeys(0, 1, 7, True, SIGNED, KEM_PREKEY, (ONE_TIME, ONE_TIME), (KEM_PREKEY,)),  # noqa: FBT003
    frames.UploadPreKeys(0, 1, 7, False, None, None, (), ()),  # noqa: FBT003
    frames.GetBundles(5, 1, ID, (frames.WantedDevices("bob", None), frames.WantedDevices("carol", (1, 127)))),
    frames.Submit(5, 1, "bob", (DEVICE,), (frames.Submission(9, (ENVELOPE,)), frames.Submission(10, (ENVELOPE,)))),
    frames.RemoveDevice(5, 1, 3),
    frames.DeleteAccount(5, 1),
    frames.ReplaceIdentity(5, 1, b"claim", KEY, SIGNATURE),
    frames.ListDevices(5, 1),
]
FROM_RELAY: list[frames.RelayFrame] = [
    frames.Challenge((1,), bytes(32), ("groups",)),
    frames.Welcome(1, 2, 3, 4, 5, 6, 7),
    frames.Pong(1),
    frames.Uploaded(1, 100, 99),
    frames.Bundles(
        1,
        (
            frames.UserBundles("bob", KEY, (frames.DeviceBundle(1, 2, SIGNED, KEM_PREKEY, ONE_TIME),)),
            frames.UserBundles("nobody", None, ()),
        ),
    ),
    frames.Submitted(1, ((frames.Outcome.STORED, frames.Outcome.FULL), ()), None, None, None),
    frames.Submitted(1, (), RefusalCode.DEVICES_CHANGED, frames.DeviceChange((DEVICE,), (2, 3)), None),
    frames.Submitted(1, (), RefusalCode.RATE_LIMITED, None, 1500),
    frames.Removed(1),
    frames.AccountDeleted(1),
    frames.IdentityReplaced(1),
    frames.DeviceList(1, (DEVICE, DEVICE)),
    frames.Deliver((frames.Delivery(8, "alice", 1, ID, frames.EnvelopeKind.SIGNAL, b"x", 1_700_000_000_000),)),
    frames.Drained(8),
    frames.LowPreKeys(19, 3),
    frames.RefusedRequest(1, RefusalCode.UNAVAILABLE, None),
    frames.Closing(RefusalCode.SHUTTING_DOWN, "the relay restarts", 2_000),
]
EVERY_FRAME = [*FROM_CLIENT, *FROM_RELAY]


@pytest.mark.parametrize("frame", FROM_CLIENT, ids=lambda frame: type(frame).__name__)
def test_a_client_frame_comes_back_as_it_went(frame: frames.ClientFrame) -> None:
    assert decode_client_frame(encode_frame(frame)) == frame


@pytest.mark.parametrize("frame", FROM_RELAY, ids=lambda frame: type(frame).__name__)
def test_a_relay_frame_comes_back_as_it_went(frame: frames.RelayFrame) -> None:
    assert decode_relay_frame(encode_frame(frame)) == frame


@pytest.mark.parametrize("frame", EVERY_FRAME, ids=lambda frame: type(frame).__name__)
def test_elements_of_a_later_release_are_passed_over(frame: frames.ClientFrame | frames.RelayFrame) -> None:
    grown = msgpack.packb([*msgpack.unpackb(encode_frame(frame)), "later", [1, 2], None])

    decode = decode_relay_frame if frame in FROM_RELAY else decode_client_frame
    assert decode(grown) == frame


@pytest.mark.parametrize("frame", EVERY_FRAME, ids=lambda frame: type(frame).__name__)
def test_a_frame_that_lacks_its_last_field_is_refused(frame: frames.ClientFrame | frames.RelayFrame) -> None:
    short = msgpack.packb(msgpack.unpackb(encode_frame(frame))[:-1])

    decode = decode_relay_frame if frame in FROM_RELAY else decode_client_frame
    with pytest.raises(MalformedFrame):
        decode(short)


def test_a_frame_of_the_other_direction_is_unknown() -> None:
    assert decode_client_frame(encode_frame(frames.Pong(3))) == UnknownFrame(66, None)
    assert decode_relay_frame(encode_frame(frames.Ping(4, 9))) == UnknownFrame(3, 9)


def test_a_kind_of_a_later_release_is_unknown_and_tells_its_request() -> None:
    assert decode_client_frame(msgpack.packb([100, 0, 17, "later"])) == UnknownFrame(100, 17)
    assert decode_client_frame(msgpack.packb([100, 0, True])) == UnknownFrame(100, None)
    assert decode_client_frame(msgpack.packb([100])) == UnknownFrame(100, None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x91",
        msgpack.packb([True, 1]),
        msgpack.packb([2.0, 1]),
        msgpack.packb([2, 1.0]),
        msgpack.packb([2, float("nan")]),
        msgpack.packb([2, True]),
        msgpack.packb([2, -1]),
        msgpack.packb([2, 2**63]),
        msgpack.packb([2, "1"]),
        msgpack.packb([2, b"1"]),
        msgpack.packb([2, [1]]),
        msgpack.packb([2, {}]),
        msgpack.packb({2: 1}),
        msgpack.packb([2, 1]) + b"\x00",
        msgpack.packb([2, msgpack.ExtType(5, b"")]),
        msgpack.packb([2, msgpack.Timestamp(0)]),
        b"\x92\x02\xc1",
        b"\x92\x07\xa2\xff\xfe",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 2000,
        b"\xdb\xff\xff\xff\xff",
        bytes(FRAME_SIZE_MAX + 1),
    ],
    ids=lambda data: data[:12].hex(),
)
def test_what_is_no_frame_is_malformed_and_nothing_else(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode_client_frame(data)


@pytest.mark.parametrize("value", [{1: 2}, {"a": "b"}, msgpack.ExtType(5, b""), msgpack.Timestamp(0)], ids=repr)
def test_maps_and_extension_types_are_refused_wherever_they_stand(value: object) -> None:
    """Also in elements of a later release, which are passed over, and in frames of an unknown kind (R1.2)."""
    for frame in ([2, 1, value], [2, 1, [[value]]], [value, 1], [100, 0, 1, value], [3, 1, value]):
        with pytest.raises(MalformedFrame):
            decode_client_frame(msgpack.packb(frame))
    assert decode_client_frame(msgpack.packb([2, 1, "later"])) == frames.Acknowledge(1)


def test_a_text_message_is_no_frame() -> None:
    with pytest.raises(MalformedFrame):
        decode_client_frame("text")  # type: ignore[arg-type]


def test_a_stranger_s_frame_has_a_smaller_limit() -> None:
    login = encode_frame(frames.Login(b"claim", KEY, SIGNATURE, bytes(4096), ()))

    assert isinstance(decode_client_frame(login, size_max=len(login)), frames.Login)
    with pytest.raises(MalformedFrame):
        decode_client_frame(login, size_max=len(login) - 1)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_malformed(data: bytes) -> None:
    for decode in (decode_client_frame, decode_relay_frame):
        with suppress(MalformedFrame):
            decode(data)


def test_changed_frames_are_refused_or_are_other_frames() -> None:
    dice = random.Random(5)
    for frame in EVERY_FRAME:
        encoded = encode_frame(frame)
        for _ in range(200):
            changed = bytearray(encoded)
            changed[dice.randrange(min(len(changed), 60))] = dice.randrange(256)
            for decode in (decode_client_frame, decode_relay_frame):
                try:
                    decoded = decode(bytes(changed))
                except MalformedFrame:
                    continue
                if not isinstance(decoded, UnknownFrame):
                    assert decode(encode_frame(decoded)) == decoded


def test_no_two_frames_share_a_kind_and_every_refusal_has_a_next_step() -> None:
    kinds = [encode_frame(frame)[1] for frame in EVERY_FRAME]
    types = [type(frame) for frame in EVERY_FRAME]

    assert len(set(zip(kinds, types, strict=True))) == len(set(kinds)) == len(set(types))
    assert all(code.next_step for code in RefusalCode)
    assert all(fields(kind) for kind in set(types))
