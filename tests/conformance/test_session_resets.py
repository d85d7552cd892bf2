"""libsignal's proptest_session_resets: whatever happens to records and messages, both ends soon agree again."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from ratchet import CiphertextKind, RatchetError, Session
from ratchet.messages import PreKeyMessage, SignalMessage
from tests.support.conversation import ALICE, BOB, Device, active_ratchet

if TYPE_CHECKING:
    from random import Random

    from ratchet import Ciphertext

ROUNDS_MAX = 10


class Event(Enum):
    """What may happen to one end."""

    SEND = auto()
    RECEIVE = auto()  # the next message that is under way to it
    DROP = auto()  # that message is lost instead
    SHUFFLE = auto()  # messages under way to it change places
    ARCHIVE = auto()
    SNAPSHOT = auto()
    RESTORE = auto()  # the session of the last snapshot, or none if there was none; prekeys stay as they are


@dataclass
class End:
    """A device, what is under way to it, and its last snapshot."""

    device: Device
    arriving: list[Ciphertext] = field(default_factory=list)
    snapshot: bytes | None = None
    refusals: int = 0  # messages that could not be read

    def send(self, peer: End) -> None:
        """Send a message; where there is nothing to send with, start (afresh) first."""
        if self.device.session is None or not self.device.session.can_encrypt:
            self.device.start(peer.device)
        peer.arriving.append(self.device.send(b"text"))

    def receive(self, peer: End) -> None:
        """Read the next message under way. If that fails, the sender is asked to send again."""
        if not self.arriving:
            return
        ciphertext = self.arriving.pop(0)
        before = self.device.session and self.device.session.to_bytes()
        try:
            assert self.device.receive(peer.device, ciphertext) == b"text"
        except RatchetError:
            assert before == (self.device.session and self.device.session.to_bytes())
            self.refusals += 1
            peer.asked_to_retry(ciphertext)

    def asked_to_retry(self, failed: Ciphertext) -> None:
        """Archive the ratchet that made *failed* if it is still in use, so that the next message starts afresh."""
        session = self.device.session
        if session is None or not session.can_encrypt:
            return
        if failed.kind is CiphertextKind.PREKEY:
            message = PreKeyMessage.parse(failed.body).message
        else:
            message = SignalMessage.parse(failed.body)
        if active_ratchet(session).double.sending.pair.public == message.ratchet_key:
            session.archive()

    def meet(self, event: Event, peer: End, dice: Random) -> None:
        """Let *event* happen."""
        session = self.device.session
        match event:
            case Event.SEND:
                self.send(peer)
            case Event.RECEIVE:
                self.receive(peer)
            case Event.DROP:
                del self.arriving[:1]
            case Event.SHUFFLE:
                dice.shuffle(self.arriving)
            case Event.ARCHIVE if session is not None:
                session.archive()
            case Event.SNAPSHOT:
                self.snapshot = None if session is None else session.to_bytes()
            case Event.RESTORE:
                self.device.session = None if self.snapshot is None else Session.from_bytes(self.snapshot)


def exchange(alice: End, bob: End) -> bool:
    """Let both send, one after the other, and deliver all; say whether all of it was read in one ratchet."""
    refusals = alice.refusals + bob.refusals
    for sender, recipient in ((alice, bob), (bob, alice)):
        sender.send(recipient)
        while recipient.arriving:
            recipient.receive(sender)
    sessions = (alice.device.session, bob.device.session)
    return (
        refusals == alice.refusals + bob.refusals
        and all(session is not None and session.can_encrypt for session in sessions)
        and alice.device.agrees_with(bob.device)
    )


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(Event)), max_size=60),
    st.randoms(use_true_random=False),
)
def test_after_any_events_both_ends_share_one_ratchet_within_ten_rounds(
    events: list[tuple[bool, Event]], dice: Random
) -> None:
    alice, bob = End(Device("alice", ALICE)), End(Device("bob", BOB))
    for at_alice, event in events:
        one, other = (alice, bob) if at_alice else (bob, alice)
        one.meet(event, other, dice)

    assert any(exchange(alice, bob) for _ in range(ROUNDS_MAX))
