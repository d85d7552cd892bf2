"""What the asyncio shell asks of the engine: synchronous steps, each one unit of work, all on one thread.

A step returns when its transaction is committed; only then is anything of its `Output` sent or shown. So a crash
repeats a message, never a key. The steps come in the order in which their causes came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2ee.engine.groups.outcome import GroupOutcome
    from e2ee.events import DirectMessage, DurableEvent, GroupMessage, LiveEvent
    from e2ee.frames import Challenge, ClientFrame, Deliver, Drained, Login, LowPreKeys, RelayFrame, Welcome
    from e2ee.ids import MessageId

__all__ = ["EngineSteps", "Output"]


class Output(Protocol):
    """What follows from one step, now that it is committed."""

    @property
    def requests(self) -> tuple[ClientFrame, ...]:
        """To be sent, in order, their numbers not yet set; forgotten if the link is down."""

    @property
    def acknowledge(self) -> int | None:
        """The delivery number up to which everything is committed; None: as before."""

    @property
    def events(self) -> tuple[LiveEvent, ...]:
        """For whoever listens now. Durable events are in the inbox, see `EngineSteps.next_events`."""

    @property
    def durable(self) -> int:
        """How many durable events were added to the inbox."""

    @property
    def ready(self) -> bool:
        """Whether the relay has prekeys of this device, so that others can write to it."""

    @property
    def wake_at(self) -> float | None:
        """When `EngineSteps.tick` is due, in seconds since 1970; None: no sooner than said before."""

    @property
    def outcomes(self) -> tuple[GroupOutcome, ...]:
        """Of group calls that somebody waits for."""

    @property
    def reconnect(self) -> bool:
        """Whether this connection is to end, and another one to be made: the device has registered anew."""


class EngineSteps(Protocol):
    """One account, opened. Every step may raise ClientEnded, which ends the client; then only `close` follows.

    `send`, `mark_read` and `acknowledge_event` raise other E2eeErrors for what their caller did wrong, and nothing
    has changed. Anything else that a step raises is a fault of ours: it leaves the engine as if there were no
    connection, and the shell makes a new one.
    """

    def login(self, challenge: Challenge) -> Login:
        """Answer the relay's challenge."""

    def connected(self, welcome: Welcome) -> Output:
        """The relay has accepted the login: everything that waits for a connection may go."""

    def accept_rollback(self) -> None:
        """The application accepts that its store is older than the relay's memory, for once."""

    def disconnected(self) -> Output:
        """The connection of the last `connected` is gone; what became of its open requests is unknown."""

    def push(self, frame: Deliver | Drained | LowPreKeys) -> Output:
        """Take what the relay says unasked."""

    def reply(self, request: ClientFrame, reply: RelayFrame) -> Output:
        """Take the answer to *request*, which is the one that an Output had."""

    def send(self, to: str, content: str | bytes) -> tuple[MessageId, Output]:
        """Queue a message for the user *to*, durably."""

    def mark_read(self, messages: Iterable[DirectMessage | GroupMessage | MessageId]) -> Output:
        """The application's user has read these messages."""

    def acknowledge_event(self, event: DurableEvent) -> Output:
        """Take the event out of the inbox; nothing happens if it is gone."""

    def next_events(self, limit: int, after: int) -> tuple[DurableEvent, ...]:
        """Return the first *limit* events of the inbox behind number *after*. Only the first counts as handed out."""

    def hand_out(self, event: DurableEvent, before: DurableEvent | None) -> Output:
        """Count that *event* is handed out, and take the one *before* out of the inbox, if there is one."""

    def tick(self, now: float) -> Output:
        """Do what is due at *now*, seconds since 1970."""

    def finish(self) -> Output:
        """The client is about to close: what waits for company goes without."""

    def unsent(self) -> bool:
        """Whether something that could be sent now still waits for the relay to store it."""

    def close(self) -> None:
        """Release the store; the last step, whatever was raised before."""
