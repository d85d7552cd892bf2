"""What the first release says is understood for ever: its frames are frozen in `vectors/protocol/frames_1.json`.

A later release may append elements to an array. So every frame is read as it was then, and with an element more;
today's relay holds the recorded conversation with two clients of then; and today's clients talk with a relay that
cuts everything to what the first release knew, and with one that appends what they do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgpack
import pytest

from e2ee.content import (
    decode_content,
    decode_gone,
    decode_new_device,
    decode_read_copy,
    decode_receipt,
    decode_retry_request,
    encode_content,
)
from e2ee.engine.contents import unpadded_content
from e2ee.errors import RefusalCode
from e2ee.events import DirectMessage
from e2ee.group_content import decode_key_ack, decode_key_request, decode_sender_key
from e2ee.relay.connection import Connection, Opened
from e2ee.relay.limits import RelayOptions
from e2ee.wire import decode_client_frame, decode_relay_frame, encode_frame
from store.relay import RelayStore
from tests.support.core_office import CoreOffice
from tests.support.engines import World
from tests.support.relay_device import Device
from tests.support.relay_talk import Desk, Line
from vectors.files import FOLDER, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2ee.frames import (
        Challenge,
        ClientFrame,
        Deliver,
        Drained,
        Login,
        LowPreKeys,
        RelayFrame,
        UnknownFrame,
        Welcome,
    )
    from tests.support.engines import Clock
    from tests.support.post_office import DeviceName

Json = dict[str, Any]
Frame = TypeVar("Frame")
FILE: Final = load(FOLDER / "protocol" / "frames_1.json")
CONVERSATION, OTHERS, CONTENTS = (group["tests"] for group in FILE.content["groups"])
EVERY_FRAME: Final[list[Json]] = [*CONVERSATION, *OTHERS]
LENGTHS: Final[dict[int, int]] = {one["value"][0]: len(one["value"]) for one in EVERY_FRAME}  # by kind
MADE_AT: Final = 1_700_000_000.0  # seconds since 1970 by every clock in the file
BODIES: Final[dict[str, Callable[[bytes], object]]] = {
    "RECEIPT": decode_receipt,
    "SENT_COPY": unpadded_content,
    "READ_COPY": decode_read_copy,
    "RETRY_REQUEST": decode_retry_request,
    "GONE": decode_gone,
    "SENDER_KEY": decode_sender_key,
    "KEY_REQUEST": decode_key_request,
    "KEY_ACK": decode_key_ack,
    "NEW_DEVICE": decode_new_device,
}


def raw(test: Json) -> bytes:
    return bytes.fromhex(test["bytes"])


def decode(test: Json, data: bytes) -> ClientFrame | RelayFrame | UnknownFrame:
    return decode_client_frame(data) if test["sender"] == "client" else decode_relay_frame(data)


def grown(value: object) -> object:
    """What a later release may send: every array that is a structure has an element more."""
    if not isinstance(value, list):
        return value
    inner = [grown(one) for one in value]
    # A list of things of one kind (or of nothing) is no structure: what it holds may grow, it does not.
    is_list = not value or all(type(one) is type(value[0]) for one in value)
    return inner if is_list else [*inner, ["later", 1, b"\x00"]]


def is_kept(then: object, now: object) -> bool:
    """Whether everything that the first release said stands where it stood."""
    if isinstance(then, list) and isinstance(now, list):
        return len(now) >= len(then) and all(is_kept(*pair) for pair in zip(then, now, strict=False))
    return type(then) is type(now) and then == now


@pytest.mark.parametrize("test", EVERY_FRAME, ids=lambda test: f"{test['id']}-{test['name']}")
def test_a_frame_of_the_first_release_is_read_also_with_elements_appended(test: Json) -> None:
    frame = decode(test, raw(test))
    assert type(frame).__name__ == test["name"]
    assert is_kept(msgpack.unpackb(raw(test)), msgpack.unpackb(encode_frame(frame)))  # type: ignore[arg-type]
    assert decode(test, msgpack.packb([*msgpack.unpackb(raw(test)), "later", [1, 2], None])) == frame
    assert decode(test, msgpack.packb(grown(msgpack.unpackb(raw(test))))) == frame


@pytest.mark.parametrize("test", CONTENTS, ids=lambda test: f"{test['id']}-{test['name']}")
def test_a_content_of_the_first_release_is_read_also_with_elements_appended(test: Json) -> None:
    content = decode_content(raw(test))
    value = msgpack.unpackb(raw(test).rstrip(b"\x00")[:-1])
    assert is_kept(value, msgpack.unpackb(encode_content(content).rstrip(b"\x00")[:-1]))
    more = msgpack.packb([*value, *([[]] if len(value) == 9 else []), "later"]) + b"\x80"
    assert decode_content(more + bytes(-len(more) % 160)) == content
    if "body" in test:
        read = BODIES[test["name"]]
        body = msgpack.unpackb(content.body)
        appended = [*body, [], "later"] if test["name"] == "SENT_COPY" else [*body, "later"]
        assert read(msgpack.packb(appended)) == read(content.body)
    else:
        assert test["name"] in ("TEXT", "DATA")


def test_the_file_has_every_frame_and_every_kind_of_content() -> None:
    from e2ee import wire  # noqa: PLC0415 - its tables, which are nobody else's affair
    from e2ee.content import ContentKind  # noqa: PLC0415

    assert set(LENGTHS) == set(wire._CLIENT) | set(wire._RELAY)
    assert {test["name"] for test in CONTENTS} == {kind.name for kind in ContentKind}


# The relay of today, clients of then.


class _Recorded:
    """A desk, and lines on which recorded clients talk."""

    def __init__(self) -> None:
        store = RelayStore.open("sqlite://", clock=lambda: MADE_AT)
        self.desk = Desk(store=store, options=RelayOptions(directory=True))
        self.lines: dict[str, Line] = {}

    def play(self, test: Json) -> None:
        user, value = test["client"], msgpack.unpackb(raw(test))
        if test["sender"] == "client":
            self.lines[user].send_bytes(raw(test))
        elif test["name"] == "Challenge":
            connection = Connection(len(self.lines) + 1, value[2], self.desk.now, self.desk.options)
            self.lines[user] = self.desk.lines[connection] = Line(self.desk, Device(user), connection)
            self.desk.handle(Opened(connection))
        else:
            line = self.lines[user]
            assert line.received, (test["comment"], line.closed)
            assert is_kept(value, msgpack.unpackb(encode_frame(line.received.pop(0)))), test["comment"]


def test_the_relay_holds_the_conversation_that_two_clients_of_the_first_release_had() -> None:
    recorded = _Recorded()
    for test in CONVERSATION:
        recorded.play(test)
    assert [line.received for line in recorded.lines.values()] == [[], []]
    assert recorded.lines["alice"].code is RefusalCode.NOT_AUTHORIZED  # its account is gone
    assert recorded.lines["bob"].closed is None


# Clients of today, with a relay of then, and with one that is ahead of them.


def cut(data: bytes) -> bytes:
    """A frame as the first release would have sent it."""
    values = msgpack.unpackb(data)
    return bytes(msgpack.packb(values[: LENGTHS[values[0]]]))


def appended(data: bytes) -> bytes:
    """A frame as a later release may send it."""
    return bytes(msgpack.packb(grown(msgpack.unpackb(data))))


class _OtherRelease(CoreOffice):
    """The relay's core behind a wire on which every frame has another release's shape."""

    def __init__(self, path: Path, clock: Clock, shape: Callable[[bytes], bytes]) -> None:
        super().__init__(path, clock)
        self.shape = shape

    def login(self, login: Login, challenge: Challenge) -> tuple[DeviceName, Welcome]:
        name, welcome = super().login(self.shaped(login, decode_client_frame), challenge)
        return name, self.shaped(welcome, decode_relay_frame)

    def handle(self, sender: DeviceName, frame: ClientFrame) -> RelayFrame | None:
        reply = super().handle(sender, self.shaped(frame, decode_client_frame))
        return None if reply is None else self.shaped(reply, decode_relay_frame)

    def push(self, name: DeviceName) -> Deliver | Drained | LowPreKeys | None:
        frame = super().push(name)
        return None if frame is None else self.shaped(frame, decode_relay_frame)

    def shaped(self, frame: Frame, decode: Callable[[bytes], object]) -> Frame:
        found = decode(self.shape(encode_frame(frame)))  # type: ignore[arg-type]
        assert type(found) is type(frame)
        return found


@pytest.mark.parametrize("shape", [cut, appended])
def test_clients_and_relay_of_different_releases_talk(tmp_path: Path, shape: Callable[[bytes], bytes]) -> None:
    world = World(tmp_path, seed=1, make_relay=lambda clock: _OtherRelease(tmp_path / "relay.db", clock, shape))
    alice, bob = world.device("alice"), world.device("bob")
    alice.send("bob", "hello")
    bob.send("alice", b"bytes")
    world.settle()
    bob.restart()
    bob.connect()
    alice.send("bob", "again")
    world.settle()
    assert bob.texts() == ["hello", "again"]
    assert [event.data for event in alice.of(DirectMessage)] == [b"bytes"]
    assert alice.engine.report().troubles == bob.engine.report().troubles == ()
    world.close()
