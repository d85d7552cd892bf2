"""The relay's core, as several users talk to it at once, some of them against the rules, and one who only listens.

An input is a story: each of its bytes decides what happens next (`Choices`).
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Final

from e2ee.errors import MalformedFrame
from e2ee.frames import (
    Acknowledge,
    AppendEntry,
    DeleteAccount,
    GetGroupDevices,
    GetGroupLog,
    GroupSubmission,
    ListDevices,
    Ping,
    Pong,
    Publish,
    RemoveDevice,
    ReplaceIdentity,
    Submit,
    SubmitGroup,
    Subscribe,
    Unsubscribe,
    WatchUsers,
)
from e2ee.groups import EntryRefused, GroupKind, Membership, Operation, Role, device_digest, take_entry
from e2ee.ids import UserId
from e2ee.relay.connection import Announced, Arrived, Authorized, Ended, Malformed, Sweep, Tick, TooSlow, Woken
from e2ee.relay.limits import IdentityChange, RelayOptions
from e2ee.wire import decode_client_frame, encode_frame
from ratchet.labels import SIGN_LOGIN
from tests.support.relay_device import Device
from tests.support.relay_group import genesis
from tests.support.relay_talk import Desk, Line

from .frame_seeds import FROM_CLIENT
from .mutation import EDIT_KINDS, edited
from .target import Choices, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2ee.frames import ClientFrame
    from e2ee.relay.connection import Input

__all__ = ["TARGET"]

ACTIONS_MAX: Final = 64  # of one story
LINES_MAX: Final = 12  # connections of one story
TIME_MAX_S: Final = 60.0  # that pass in one story: the bystander's silence is not yet too long
CHANNELS: Final = ("news", "news.*", "[", "*", "new?")


@cache
def _people() -> tuple[Device, ...]:
    alice = Device("alice")
    return alice, Device("alice", 2, of=alice), Device("bob"), Device("carol"), Device("dave"), Device("erin")


@contextmanager
def _no_faults() -> Iterator[None]:
    """The core logs its own faults and goes on: here they are findings."""
    faults: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            faults.append(self.format(record))

    handler, log = Collect(logging.ERROR), logging.getLogger("e2ee.relay")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
    assert faults == []


class _Story:
    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        change = choices.of((IdentityChange.REFUSE, IdentityChange.REPLACE))
        options = RelayOptions(
            channel_masks=True, directory=True, strangers_max=3, subscriptions_max=3, identity_change=change
        )
        self.desk = Desk(options=options)
        self.devices = [copy(device) for device in _people()]
        self.bystander = self.desk.join(self.devices[4])
        self.heard: list[int] = []  # numbers of the bystander's mail
        self.lines = [self.desk.join(device) for device in self.devices[:4]]
        self.ended: set[Line] = set()
        self.batch: list[Input] = []
        data = genesis(self.devices[0], kind=GroupKind.OPEN)
        self.log = [data]
        self.state = Membership.start(take_entry(data))
        self.lines[0].send(AppendEntry(0, 1, data))
        for device, line in ((self.devices[2], self.lines[2]), (self.devices[4], self.bystander)):
            line.send(AppendEntry(0, 1, self.entry(device, Operation.JOIN, None)))
        self.actions: tuple[Callable[[Line], None], ...] = (
            self.opens, self.logs_in, self.logs_in_wrongly, self.uploads, self.submits, self.asks_bundles,
            self.about_the_account, self.appends, self.asks_of_group, self.submits_to_group, self.about_channels,
            self.says_an_edited_frame, self.says_bytes, self.ends, self.time_passes, self.inner_inputs,
            self.acknowledges, self.repeats,
        )  # fmt: skip

    def run(self) -> None:
        for _ in range(ACTIONS_MAX):
            if not self.choices.more:
                break
            self.actions[self.choices.below(len(self.actions))](self.lines[self.choices.below(len(self.lines))])
            if self.choices.below(3):
                self.flush()
        self.flush()
        self.everything_still_works()

    # What must hold.

    def flush(self) -> None:
        inputs, self.batch = self.batch, []
        if not inputs:
            return
        open_before = [line for line in self.desk.lines.values() if line.closed is None and line not in self.ended]
        self.desk.handle(*inputs)
        named = {
            one.connection for one in inputs if isinstance(one, Arrived | Malformed | TooSlow | Authorized | Ended)
        }
        users = {self.desk.lines[connection].device.user_id for connection in named}
        waited = any(isinstance(one, Tick) for one in inputs)
        for line in open_before:
            if line.closed is not None and line.connection.session is not None:
                assert waited or line.device.user_id in users, "a connection was closed by what somebody else did"
        assert self.bystander.closed is None, "the bystander was closed"
        self.heard += [one.number for one in self.bystander.mail()]
        assert self.heard == sorted(set(self.heard)), "mail is out of order"
        going = [line for line in self.desk.lines.values() if line.closed is None and line not in self.ended]
        assert self.desk.core.statistics.connections == len(going)
        for line in self.lines:
            del line.received[:-8]

    def everything_still_works(self) -> None:
        self.bystander.send(Ping(0, 7))
        assert Pong(7) in self.bystander.received
        erin = self.desk.join(self.devices[5])
        erin.submitted(self.bystander.device, b"are you there?")
        assert self.bystander.bodies()[-1] == b"are you there?"

    # What happens.

    def says(self, line: Line, frame: ClientFrame) -> None:
        if line.closed is None and line not in self.ended:
            self.batch.append(line.arrival(frame))

    def says_raw(self, line: Line, data: bytes) -> None:
        if line.closed is not None or line in self.ended:
            return
        try:
            self.batch.append(Arrived(line.connection, decode_client_frame(data)))
        except MalformedFrame as error:
            self.batch.append(Malformed(line.connection, str(error)))

    def opens(self, line: Line) -> None:
        self.flush()
        if len(self.lines) < LINES_MAX:
            self.lines.append(self.desk.open(line.device))

    def logs_in(self, line: Line) -> None:
        self.says(line, line.device.login(line.connection.nonce))

    def logs_in_wrongly(self, line: Line) -> None:
        self.says_raw(line, self.edited(encode_frame(line.device.login(line.connection.nonce))))

    def uploads(self, line: Line) -> None:
        self.says(line, line.device.upload(purge=bool(self.choices.below(2))))

    def submits(self, line: Line) -> None:
        to = self.devices[self.choices.below(5)]
        frame = line.device.submit(to, *[self.choices.octets() or b"x" for _ in range(1 + self.choices.below(3))])
        if self.choices.below(4) == 0:
            frame = Submit(frame.acknowledged, frame.request, frame.user_id, (), frame.submissions)
        self.says(line, frame)

    def asks_bundles(self, line: Line) -> None:
        users = [self.devices[self.choices.below(5)].user_id for _ in range(1 + self.choices.below(3))]
        self.says(line, line.device.bundles(*users, request_id=bytes([self.choices.below(3)]) * 16))

    def about_the_account(self, line: Line) -> None:
        request = line.device.next_request()
        match self.choices.below(8):
            case 0:
                self.says(line, DeleteAccount(0, request))
            case 1:
                other = self.devices[5]
                claim = line.device.claim(line.connection.nonce)
                signature = other.account.sign(SIGN_LOGIN, claim)
                self.says(line, ReplaceIdentity(0, request, claim, other.account.identity_key, signature))
            case 2 | 3:
                self.says(line, RemoveDevice(0, request, 1 + self.choices.below(3)))
            case _:
                self.says(line, ListDevices(0, request))

    def entry(self, device: Device, operation: Operation, subject: Device | None) -> bytes:
        data = self.state.next_entry(
            device.account.identity,
            UserId(device.user_id),
            operation,
            subject=None if subject is None else UserId(subject.user_id),
            subject_key=None if subject is None else subject.account.identity_key,
            role=Role.MEMBER,
            time_ms=1,
            entropy=bytes,
        )
        self.state = self.state.apply(take_entry(data))
        self.log.append(data)
        return data

    def appends(self, line: Line) -> None:
        """An entry that follows what was made so far, whether the relay took that or not; or an old or edited one."""
        match self.choices.below(4):
            case 0:
                data = self.edited(self.choices.of(self.log[-256:]))
            case 1:
                data = self.choices.of(self.log[-256:])
            case _:
                operation = Operation(2 + self.choices.below(10))
                subject = self.devices[self.choices.below(5)]
                try:
                    data = self.entry(line.device, operation, subject)
                except (EntryRefused, ValueError):
                    return
        self.says(line, AppendEntry(0, line.device.next_request(), data))

    def asks_of_group(self, line: Line) -> None:
        request, group = line.device.next_request(), self.choices.of((self.state.group_id, bytes(32)))
        match self.choices.below(3):
            case 0:
                self.says(line, GetGroupLog(0, request, None, self.choices.of(("team", "")), self.choices.byte()))
            case 1:
                self.says(line, GetGroupLog(0, request, group, None, self.choices.byte()))
            case _:
                self.says(line, GetGroupDevices(0, request, group))

    def submits_to_group(self, line: Line) -> None:
        device = line.device
        device.submission_number += self.choices.below(2)
        message = GroupSubmission(device.submission_number, bytes([self.choices.byte()]) * 16, b"group body")
        digest = self.choices.of((None, device_digest(()), bytes(32)))
        epoch = self.state.epoch - self.choices.below(2)
        frame = SubmitGroup(
            0, device.next_request(), self.state.group_id, max(0, epoch), self.state.number, digest, (message,)
        )
        self.says(line, frame)

    def about_channels(self, line: Line) -> None:
        request, channel = line.device.next_request(), self.choices.of(CHANNELS)
        match self.choices.below(4):
            case 0:
                self.says(line, Subscribe(0, request, channel))
            case 1:
                self.says(line, Unsubscribe(0, request, channel))
            case 2:
                self.says(line, Publish(0, request, channel, self.choices.octets()))
            case _:
                self.says(line, WatchUsers(0, request, bool(self.choices.below(2))))

    def says_an_edited_frame(self, line: Line) -> None:
        self.says_raw(line, self.edited(encode_frame(self.choices.of(FROM_CLIENT))))

    def says_bytes(self, line: Line) -> None:
        self.says_raw(line, self.choices.octets())

    def ends(self, line: Line) -> None:
        self.flush()
        self.batch.append(Ended(line.connection))
        self.ended.add(line)

    def time_passes(self, _line: Line) -> None:
        self.flush()
        self.desk.now = min(self.desk.now + self.choices.below(8), 1_000.0 + TIME_MAX_S)
        self.batch.append(Tick(poll=bool(self.choices.below(2))))
        if self.choices.below(4) == 0:
            self.batch.append(Sweep())

    def inner_inputs(self, line: Line) -> None:
        if line in self.ended:
            return
        match self.choices.below(4):
            case 0:
                self.batch.append(TooSlow(line.connection))
            case 1:
                self.batch.append(Authorized(line.connection, self.choices.of((True, False, None))))
            case 2:
                session = line.connection.session
                self.batch.append(Woken(() if session is None else (session.device.key,)))
            case _:
                self.batch.append(Announced((bytes(16) + self.choices.octets(), self.choices.octets())))

    def acknowledges(self, line: Line) -> None:
        self.says(line, Acknowledge(self.choices.byte()))

    def repeats(self, _line: Line) -> None:
        self.batch += self.batch[-2:]

    def edited(self, data: bytes) -> bytes:
        where = self.choices.byte() << 8 | self.choices.byte()
        return edited(data, [(self.choices.below(EDIT_KINDS), where, self.choices.octets())])


def _run(data: bytes) -> None:
    with _no_faults():
        story = _Story(Choices(data))
        try:
            story.run()
        finally:
            story.desk.store.close()


def _seeds() -> list[bytes]:
    """A story around every action, by users one after the other."""
    return [
        bytes(
            [number & 1, *(value for who in range(6) for value in (action, who, number * 7 & 255, who, number, 1, 2))]
        )
        for number, action in enumerate(range(18))
    ]


TARGET: Final = Target("relay-core", _run, _seeds, examples=15)
