"""The relay: the real core on a real store, at the other end of simulated lines. It can be killed and restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.errors import MalformedFrame
from e2ee.frames import (
    PROTOCOL_VERSION,
    Challenge,
    Deliver,
    EnvelopeKind,
    Removed,
    RemoveDevice,
    SignedPreKey,
    Submit,
    SubmitGroup,
    Uploaded,
    UploadPreKeys,
    Welcome,
)
from e2ee.relay.connection import Arrived, Close, Connection, Ended, Malformed, Opened, Send, Tick
from e2ee.relay.core import RelayCore
from e2ee.relay.limits import IdentityChange, RelayOptions
from e2ee.wire import decode_client_frame, encode_frame
from store.relay import RelayStore

from .files import replace_database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from e2ee.frames import ClientFrame, RelayFrame, UnknownFrame
    from e2ee.relay.connection import Input

    from .judge import Judge
    from .line import Line
    from .schedule import Schedule

__all__ = ["NAME", "SimulatedRelay"]

NAME: Final = "relay.example:443"
TICK_S: Final = 5.0

DeviceName = tuple[str, int]


class SimulatedRelay:
    """One worker. *path* is its store's, which outlives a kill."""

    def __init__(self, schedule: Schedule, dice: Random, judge: Judge, path: Path) -> None:
        self._schedule = schedule
        self._judge = judge
        self._dice = dice
        self.path = path
        self._options = RelayOptions(
            identity_change=IdentityChange.REPLACE,
            one_time_keys_per_asker=10_000,  # what limits do is tested where they are
            one_time_keys_to_strangers=10_000,
        )
        self._connections: dict[Connection, Line] = {}
        self._removals: dict[tuple[Connection, int], DeviceName] = {}  # asked for; by the request's number
        self._count = 0
        self.meddle: Callable[[DeviceName, Deliver], list[Deliver]] | None = None  # a relay that lies
        self._open()
        schedule.after(TICK_S, self._tick)

    def _open(self) -> None:
        self.store = RelayStore.open(f"sqlite:///{self.path}", clock=self._schedule.wall)
        self._core = RelayCore(self.store, names=[NAME], options=self._options)

    def kill(self, restore: Path | None = None) -> None:
        """End the process and start another: every connection is cut, and memory is gone; or what is in a backup is."""
        self._schedule.note("the relay is killed")
        lines, self._connections = list(self._connections.values()), {}
        for line in lines:
            line.cut()
        self.store.close()
        if restore is not None:
            replace_database(self.path, restore)
        self._open()

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def accept(self, line: Line) -> Callable[[bytes], None]:
        """Take a new connection; return what takes its frames."""
        self._count += 1
        connection = Connection(self._count, self._dice.randbytes(32), self._schedule.now, self._options)
        self._connections[connection] = line
        self._handle(Opened(connection))
        line.send_to_client(encode_frame(Challenge((PROTOCOL_VERSION,), connection.nonce, ())))
        return lambda data: self._receive(connection, data)

    def ended(self, line: Line) -> None:
        """A line is gone."""
        for connection, one in list(self._connections.items()):
            if one is line:
                del self._connections[connection]
                self._handle(Ended(connection))

    def _receive(self, connection: Connection, data: bytes) -> None:
        if connection not in self._connections:
            return
        try:
            frame = decode_client_frame(data)
        except MalformedFrame as error:
            self._handle(Malformed(connection, str(error)))
            return
        session = connection.session
        if session is not None:
            sender = (session.device.user_id, session.device.device_id)
            self._schedule.note(f"{_name(sender)} > {type(frame).__name__}")
            self._overhear(sender, frame)
            self._judge.groups.asked(sender, frame)
            if isinstance(frame, RemoveDevice):
                self._removals[connection, frame.request] = (sender[0], frame.device_id)
        self._handle(Arrived(connection, frame))

    def _overhear(self, sender: DeviceName, frame: ClientFrame | UnknownFrame) -> None:
        match frame:
            case Submit():
                for envelope in (one for submission in frame.submissions for one in submission.envelopes):
                    recipient = (frame.user_id, envelope.device_id)
                    self._judge.overhear(sender, recipient, envelope.kind, envelope.body)
                    self._judge.wrote(sender, recipient, envelope.envelope_id)
            case UploadPreKeys(purge=True, signed_prekey=SignedPreKey()):
                self._judge.is_being_listed(sender)
            case SubmitGroup():
                for message in frame.messages:
                    self._judge.overhear(sender, (frame.group_id.hex(), 0), EnvelopeKind.SENDER_KEY, message.body)
            case _:
                pass

    def _handle(self, one: Input) -> None:
        for output in self._core.handle([one], self._schedule.now):
            if isinstance(output, Send):
                self._send(output.connection, output.frame)
            elif isinstance(output, Close):
                line = self._connections.pop(output.connection, None)
                if line is not None:
                    line.send_to_client(encode_frame(output.frame))
                    line.end_after_what_was_sent()

    def _send(self, connection: Connection, frame: RelayFrame) -> None:
        session = connection.session
        to = None if session is None else (session.device.user_id, session.device.device_id)
        if to is not None and session is not None:
            self._judge.groups.answered(to, session.identity_key, frame)
            if isinstance(frame, Welcome):
                self._judge.entered(to, session.device.registration_id)
            elif isinstance(frame, Uploaded):
                self._judge.listed(to)
            elif isinstance(frame, Removed):
                self._judge.was_removed(self._removals.pop((connection, frame.request)))
        line = self._connections.get(connection)
        if line is None:
            return
        told: list[RelayFrame] = [frame]
        if self.meddle is not None and to is not None and isinstance(frame, Deliver):
            told = list(self.meddle(to, frame))
        for one in told:
            if to is not None:
                self._schedule.note(f"{_name(to)} < {type(one).__name__}")
            line.send_to_client(encode_frame(one))

    def _tick(self) -> None:
        self._handle(Tick())
        self._schedule.after(TICK_S, self._tick)


def _name(device: DeviceName) -> str:
    return f"{device[0]}.{device[1]}"
