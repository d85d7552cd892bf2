"""How an application reads its events: one at a time, each acknowledged when it has moved past it (messaging 12)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from e2ee.errors import InvalidArgument

if TYPE_CHECKING:
    from e2ee.events import DurableEvent, Event
    from e2ee.shell import Shell

__all__ = ["EventReader"]

EVENTS_BATCH: Final = 32  # read from the inbox at once: amortises the commit that counts them as handed out


class EventReader:
    """An asynchronous iterator over a client's events.

    Durable events come first, in order, then what is only told live: so `CaughtUp` comes after the mail that it speaks
    of. It ends when the client is closed. Raises ClientEnded, and InvalidArgument if another reader has taken over.
    """

    def __init__(self, shell: Shell, *, on_next: bool) -> None:
        self._shell = shell
        self._on_next = on_next  # asking for an event acknowledges the one before
        self._unacknowledged: DurableEvent | None = None
        self._batch: deque[DurableEvent] = deque()
        self._after = 0  # the number of the last event read from the inbox
        self._version = -1  # of the inbox when it was last found empty; -1: not looked yet
        self._waiting = False
        self._superseded = False

    def supersede(self) -> None:
        """Give way to another reader. Raises InvalidArgument while somebody waits for this one's next event."""
        if self._waiting:
            raise InvalidArgument("one consumer at a time: another waits for the next event")
        self._superseded = True

    def __aiter__(self) -> EventReader:
        return self

    async def __anext__(self) -> Event:
        if self._superseded:
            raise InvalidArgument("one consumer at a time: a later one has taken over")
        if self._waiting:
            raise InvalidArgument("one consumer at a time: another waits for the next event")
        self._waiting = True
        try:
            return await self._next()
        finally:
            self._waiting = False

    async def _next(self) -> Event:
        shell = self._shell
        if self._batch and shell.is_open:
            return await self._take_prefetched()
        if self._unacknowledged is not None and shell.is_open:
            event = self._unacknowledged
            await shell.perform(lambda engine: engine.acknowledge_event(event))
            self._unacknowledged = None
        while shell.is_open:
            changed = shell.changed.next
            if await self._read():
                return self._taken()  # counted by the step that found it
            live = shell.take_live()
            if live is not None:
                return live
            await changed.wait()
        raise StopAsyncIteration

    async def _take_prefetched(self) -> DurableEvent:
        """Take an event that was read with one before it: it counts as handed out only now."""
        event, before = self._batch[0], self._unacknowledged
        await self._shell.perform(lambda engine: engine.hand_out(event, before))
        return self._taken()

    def _taken(self) -> DurableEvent:
        event = self._batch.popleft()
        self._unacknowledged = event if self._on_next else None
        return event

    async def _read(self) -> bool:
        """Fetch what has come into the inbox since it was last found empty; return whether there was something."""
        version = self._shell.inbox_version
        if version == self._version:
            return False
        after = self._after
        found = await self._shell.ask(lambda engine: engine.next_events(EVENTS_BATCH, after))
        if found:
            self._batch.extend(found)
            self._after = found[-1].number
        else:
            self._version = version
        return bool(found)
