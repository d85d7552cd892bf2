"""A relay that says what a test tells it to, at the other end of a link, on a clock that a test moves."""

from __future__ import annotations

from typing import Final

from e2ee.frames import (
    Challenge,
    ClientFrame,
    Closing,
    Deliver,
    Delivery,
    DeviceRef,
    EnvelopeFor,
    EnvelopeKind,
    Login,
    Outcome,
    RelayFrame,
    Submission,
    Submit,
    Submitted,
    UnknownFrame,
    Welcome,
)
from e2ee.link import Challenged, Link, LinkDown, LinkEvent
from e2ee.wire import decode_client_frame, encode_frame

KEY: Final = b"\x05" + bytes(32)
CHALLENGE: Final = Challenge((1,), bytes(range(32)), ())
LOGIN: Final = Login(b"claim", KEY, bytes(64), None, ())
WELCOME: Final = Welcome(1, 0, 0, 0, 100, 100, 1_700_000_000_000)
DELIVER: Final = Deliver((Delivery(8, "alice", 1, bytes(16), EnvelopeKind.SIGNAL, b"x", 1),))
SUBMITTED: Final = Submitted(1, ((Outcome.STORED,),), None, None, None)
CLOSING: Final = Closing(17, "the relay restarts", 2_000)


def submit(number: int, *, size: int = 16, user_id: str = "bob") -> Submit:
    """Return a request with one envelope of *size* bytes, as an engine makes it: its two numbers not set."""
    envelope = EnvelopeFor(1, number.to_bytes(16), EnvelopeKind.SIGNAL, bytes(size))
    return Submit(0, 0, user_id, (DeviceRef(1, 5),), (Submission(number, (envelope,)),))


class ScriptedRelay:
    """Talks to one link. *now* is the only clock; nothing happens but what a test calls."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.link = Link(now=self.now)
        self.events: list[LinkEvent] = []

    def says(self, *frames: RelayFrame) -> list[LinkEvent]:
        """Let the relay send *frames*; return the link's events."""
        return self.sends(*[encode_frame(frame) for frame in frames])

    def sends(self, *messages: bytes) -> list[LinkEvent]:
        """Let the relay send bytes, whatever they are; return the link's events."""
        for data in messages:
            self.link.receive(data, self.now)
        return self.link.take_events()

    def heard(self) -> list[ClientFrame | UnknownFrame]:
        """Return what the link has sent since it was last asked, decoded as a relay decodes it."""
        return [decode_client_frame(data) for data in self.link.take_data()]

    def waits(self, seconds: float) -> list[LinkEvent]:
        """Let time pass, calling the link at each of its deadlines as an owner does; return its events."""
        end = self.now + seconds
        while (deadline := self.link.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.link.tick(self.now)
        self.now = end
        self.link.tick(self.now)
        return self.link.take_events()

    def up(self) -> ScriptedRelay:
        """Let the client log in; nothing of it is left to take."""
        assert self.says(CHALLENGE) == [Challenged(CHALLENGE)]
        self.link.login(LOGIN, self.now)
        self.says(WELCOME)
        assert self.heard() == [LOGIN]
        return self


def only_end(events: list[LinkEvent]) -> LinkDown:
    """Return the one event there is, the end of the link."""
    assert len(events) == 1
    assert isinstance(events[0], LinkDown)
    return events[0]
