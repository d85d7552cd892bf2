"""An engine without a store and without ratchets: it keeps to the steps that the shell asks for, and to nothing else.

What a client sends goes to the relay as it is, and what the relay delivers goes into an inbox in memory.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from e2ee.errors import InvalidArgument
from e2ee.events import CaughtUp, Connected, DirectMessage, Disconnected, DurableEvent, GroupMessage, LiveEvent
from e2ee.frames import (
    Challenge,
    ClientFrame,
    Deliver,
    Delivery,
    DeviceRef,
    Drained,
    EnvelopeFor,
    EnvelopeKind,
    Login,
    LowPreKeys,
    RelayFrame,
    Submission,
    Submit,
    Submitted,
    Welcome,
)
from e2ee.ids import MessageId, UserId

from .scripted_relay import LOGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from e2ee.engine.groups.outcome import GroupOutcome


@dataclass(frozen=True, slots=True)
class TinyOutput:
    """What `e2ee.shell.steps.Output` asks for."""

    requests: tuple[ClientFrame, ...] = ()
    acknowledge: int | None = None
    events: tuple[LiveEvent, ...] = ()
    durable: int = 0
    ready: bool = True
    wake_at: float | None = None
    outcomes: tuple[GroupOutcome, ...] = ()
    reconnect: bool = False


class TinyEngine:
    """Keeps what is to be sent until the relay has it, and what came until it is acknowledged."""

    def __init__(self) -> None:
        self.outbox: dict[int, Submit] = {}  # by submission number
        self.inbox: dict[int, DirectMessage] = {}  # by delivery number
        self.given: dict[int, int] = {}  # how often each was handed out
        self.steps: list[str] = []
        self.threads: set[int] = set()
        self.online = False
        self.closed = False
        self.ready = True  # what `connected` says of the prekeys
        self.wake_at: float | None = None
        self.ticked_at: list[float] = []
        self.before: dict[str, Callable[[], object]] = {}  # what a test wants done at the start of a step

    def _step(self, name: str) -> None:
        assert not self.closed
        self.steps.append(name)
        self.threads.add(threading.get_ident())
        if name in self.before:
            self.before[name]()

    def login(self, challenge: Challenge) -> Login:
        self._step("login")
        return replace(LOGIN, claim=challenge.nonce)

    def connected(self, welcome: Welcome) -> TinyOutput:
        self._step("connected")
        assert welcome.connection_number > 0
        assert not self.online
        self.online = True
        return TinyOutput(tuple(self.outbox.values()), events=(Connected(),), ready=self.ready, wake_at=self.wake_at)

    def accept_rollback(self) -> None:
        self.steps.append("accept_rollback")

    def disconnected(self) -> TinyOutput:
        self._step("disconnected")
        self.online = False
        return TinyOutput(events=(Disconnected(),))

    def push(self, frame: Deliver | Drained | LowPreKeys) -> TinyOutput:
        self._step("push")
        assert self.online
        if not isinstance(frame, Deliver):
            return TinyOutput(events=(CaughtUp(),))
        for one in frame.deliveries:
            self.inbox[one.number] = _message(one)
        return TinyOutput(acknowledge=frame.deliveries[-1].number, durable=len(frame.deliveries))

    def push_offline(self, frame: Deliver) -> None:
        """Put mail into the inbox, as an earlier run would have left it."""
        self.inbox.update({one.number: _message(one) for one in frame.deliveries})

    def reply(self, request: ClientFrame, reply: RelayFrame) -> TinyOutput:
        self._step("reply")
        if isinstance(request, Submit) and isinstance(reply, Submitted):
            del self.outbox[request.submissions[0].number]
        return TinyOutput()

    def send(self, to: str, content: str | bytes) -> tuple[MessageId, TinyOutput]:
        self._step("send")
        if not to:
            raise InvalidArgument("a message goes to somebody")
        body = content.encode() if isinstance(content, str) else content
        number = len(self.outbox) + 1
        envelope = EnvelopeFor(1, number.to_bytes(16), EnvelopeKind.SIGNAL, body)
        self.outbox[number] = submit = Submit(0, 0, to, (DeviceRef(1, 1),), (Submission(number, (envelope,)),))
        return MessageId(f"{number:032x}"), TinyOutput((submit,) if self.online else ())

    def mark_read(self, messages: Iterable[DirectMessage | GroupMessage | MessageId]) -> TinyOutput:
        self._step(f"mark_read {len(list(messages))}")
        return TinyOutput()

    def acknowledge_event(self, event: DurableEvent) -> TinyOutput:
        self._step("acknowledge_event")
        self.inbox.pop(event.number, None)
        return TinyOutput()

    def next_events(self, limit: int, after: int) -> tuple[DurableEvent, ...]:
        self._step("next_events")
        found = [self.inbox[number] for number in sorted(self.inbox) if number > after][:limit]
        events = tuple(replace(one, redelivered=self.given.get(one.number, 0)) for one in found)
        for one in found[:1]:
            self.given[one.number] = self.given.get(one.number, 0) + 1
        return events

    def hand_out(self, event: DurableEvent, before: DurableEvent | None) -> TinyOutput:
        self._step("hand_out")
        self.given[event.number] = self.given.get(event.number, 0) + 1
        if before is not None:
            self.inbox.pop(before.number, None)
        return TinyOutput()

    def tick(self, now: float) -> TinyOutput:
        self._step("tick")
        self.ticked_at.append(now)
        return TinyOutput()

    def finish(self) -> TinyOutput:
        self._step("finish")
        return TinyOutput()

    def unsent(self) -> bool:
        self._step("unsent")
        return bool(self.outbox)

    def close(self) -> None:
        self._step("close")
        self.closed = True


def _message(one: Delivery) -> DirectMessage:
    return DirectMessage(
        number=one.number,
        sender=UserId(one.sender_user_id),
        sender_device=one.sender_device_id,
        message_id=MessageId(one.envelope_id.hex()),
        conversation_number=one.number,
        sent_at_ms=one.stored_at_ms,
        text=one.body.decode(),
        data=one.body,
    )


def mail(*numbers: int) -> Deliver:
    """Return deliveries, each with its number as text."""
    return Deliver(
        tuple(Delivery(n, "alice", 1, n.to_bytes(16), EnvelopeKind.SIGNAL, str(n).encode(), 0) for n in numbers)
    )
