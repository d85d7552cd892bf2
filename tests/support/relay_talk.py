"""Conversations with the relay's core: no socket, no thread, a clock that the test turns."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from e2ee.errors import MalformedFrame, RefusalCode
from e2ee.frames import Closing, Deliver, Delivery, RelayFrame, Submitted, Welcome
from e2ee.relay.connection import Arrived, Ask, Close, Connection, Ended, Input, Malformed, Opened, Send
from e2ee.relay.core import RelayCore
from e2ee.relay.limits import RelayOptions
from e2ee.wire import decode_client_frame, decode_relay_frame, encode_frame
from store.relay import RelayStore

from .relay_device import NAME, Device

if TYPE_CHECKING:
    from e2ee.frames import ClientFrame

_Frame = TypeVar("_Frame")


class Line:
    """One connection of one device."""

    def __init__(self, desk: Desk, device: Device, connection: Connection) -> None:
        self.desk = desk
        self.device = device
        self.connection = connection
        self.received: list[RelayFrame] = []  # since the last look
        self.closed: Closing | None = None
        self.asked: list[Ask] = []

    def send(self, *frames: ClientFrame) -> Line:
        """Send frames in one batch."""
        self.desk.handle(*(self.arrival(frame) for frame in frames))
        return self

    def arrival(self, frame: ClientFrame) -> Arrived:
        """What the core gets of a frame that went over the wire."""
        return Arrived(self.connection, decode_client_frame(encode_frame(frame)))

    def send_bytes(self, data: bytes) -> Line:
        try:
            one: Input = Arrived(self.connection, decode_client_frame(data))
        except MalformedFrame as error:
            one = Malformed(self.connection, str(error))
        self.desk.handle(one)
        return self

    def end(self) -> None:
        self.desk.handle(Ended(self.connection))

    def take(self, kind: type[_Frame]) -> list[_Frame]:
        """All frames of a kind that came since the last look; the others stay."""
        every: list[object] = list(self.received)
        found = [frame for frame in every if isinstance(frame, kind)]
        self.received = [frame for frame in self.received if not isinstance(frame, kind)]
        return found

    def one(self, kind: type[_Frame]) -> _Frame:
        """The only frame of a kind that came since the last look."""
        (frame,) = self.take(kind)
        return frame

    def mail(self) -> list[Delivery]:
        """What was delivered since the last look."""
        return [one for frame in self.take(Deliver) for one in frame.deliveries]

    def bodies(self) -> list[bytes]:
        return [one.body for one in self.mail()]

    def submitted(self, to: Device | list[Device], *bodies: bytes) -> Submitted:
        """Send messages and return the relay's answer."""
        return self.send(self.device.submit(to, *bodies)).one(Submitted)

    @property
    def code(self) -> RefusalCode | None:
        """Why the relay closed; None: it has not."""
        return None if self.closed is None else RefusalCode(self.closed.code)


class Desk:
    """A relay's core on a store in memory, or on the one given."""

    def __init__(self, *, store: RelayStore | None = None, options: RelayOptions | None = None, **core: Any) -> None:  # noqa: ANN401
        self.now = 1_000.0
        self.options = options or RelayOptions()
        self.store = store or RelayStore.open("sqlite://", clock=lambda: 1_700_000_000.0 + self.now)
        self.core = RelayCore(self.store, names=[NAME], options=self.options, **core)
        self.lines: dict[Connection, Line] = {}
        self._dice = Random("nonces")

    def handle(self, *inputs: Input) -> None:
        """Give the core one batch, and each line what comes out for it."""
        for output in self.core.handle(inputs, self.now):
            match output:
                case Send(connection=connection, frame=frame):
                    line = self.lines[connection]
                    assert line.closed is None, "a frame after the last one"
                    # Over the wire and back: what the core makes is within the limits of the protocol.
                    decoded = decode_relay_frame(encode_frame(frame))
                    assert decoded == frame
                    line.received.append(frame)
                case Close(connection=connection, frame=frame):
                    line = self.lines[connection]
                    assert line.closed is None, "two last frames"
                    line.closed = frame
                case Ask(connection=connection):
                    self.lines[connection].asked.append(output)

    def open(self, device: Device) -> Line:
        """Connect without logging in."""
        connection = Connection(len(self.lines) + 1, self._dice.randbytes(32), self.now, self.options)
        line = self.lines[connection] = Line(self, device, connection)
        self.handle(Opened(connection))
        return line

    def log_in(self, device: Device) -> Line:
        line = self.open(device)
        return line.send(device.login(line.connection.nonce))

    def join(self, device: Device) -> Line:
        """Log in and upload: from then on others can write to it."""
        line = self.log_in(device)
        device.count_on(line.one(Welcome))
        line.send(device.upload())
        assert line.closed is None
        line.received.clear()
        return line
