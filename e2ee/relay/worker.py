"""The one thread in which the core runs, and the queue before it: batches in the order and with the fairness needed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from e2ee.errors import RefusalCode

from .connection import Close
from .refusal import closing

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection, Input, Output
    from .core import RelayCore
    from .limits import RelayOptions

__all__ = ["Inbox", "Worker", "in_store_thread"]

_log: Final = logging.getLogger("e2ee.relay")

FRAMES_IN_TURN: Final = 16  # of one connection before the next one's: a flood waits for itself


class Inbox:
    """What came from one connection and waits for the core."""

    __slots__ = ("connection", "inputs", "room")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.inputs: deque[Input] = deque()
        self.room: asyncio.Event | None = None  # made for who waits for room


def in_store_thread() -> ThreadPoolExecutor:
    """The executor in which everything is done that touches the store: the event loop never waits for a disk."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="e2ee-relay-store")


class Worker:
    """Takes inputs in the event loop, runs the core in its thread, and passes on what comes out in the event loop.

    While one batch is committed the next one gathers: the busier the relay, the more frames share a commit.
    """

    def __init__(
        self,
        core: RelayCore,
        options: RelayOptions,
        executor: ThreadPoolExecutor,
        emit: Callable[[list[Output]], None],
    ) -> None:
        self._core = core
        self._options = options
        self._executor = executor
        self._emit = emit
        self._urgent: deque[Input] = deque()  # of no connection
        self._ready: deque[Inbox] = deque()  # those with something in them, each once
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, one: Input, inbox: Inbox | None = None) -> None:
        """Queue an input; those of one connection are handled in their order."""
        if inbox is None:
            self._urgent.append(one)
        else:
            if not inbox.inputs:
                self._ready.append(inbox)
            inbox.inputs.append(one)
        self._idle.clear()
        self._work.set()

    def is_full(self, inbox: Inbox) -> bool:
        """Whether a connection has as much waiting as it may."""
        return len(inbox.inputs) >= self._options.frames_waiting_max

    async def room(self, inbox: Inbox) -> None:
        """Wait until there is room again: meanwhile the socket is not read, and TCP tells the other end."""
        while self.is_full(inbox):
            inbox.room = asyncio.Event()
            await inbox.room.wait()

    async def run(self) -> None:
        """Handle batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = self._take()
            if not batch:
                self._idle.set()
                self._work.clear()
                await self._work.wait()
                continue
            self._emit(await loop.run_in_executor(self._executor, self._handle, batch))

    async def idle(self) -> None:
        """Wait until nothing is queued and nothing is being handled."""
        await self._idle.wait()

    def _take(self) -> list[Input]:
        batch = list(self._urgent)
        self._urgent.clear()
        while self._ready and len(batch) < self._options.batch_frames_max:
            inbox = self._ready.popleft()
            batch.extend(inbox.inputs.popleft() for _ in range(min(FRAMES_IN_TURN, len(inbox.inputs))))
            if inbox.inputs:
                self._ready.append(inbox)
            if inbox.room is not None and not self.is_full(inbox):
                inbox.room.set()
                inbox.room = None
        return batch

    def _handle(self, batch: list[Input]) -> list[Output]:
        started = time.perf_counter()
        try:
            outputs = self._core.handle(batch, time.monotonic())
        except Exception:  # noqa: BLE001 - a bug of ours must not end the relay
            # Nothing is known of what became of it: those concerned connect again and send the same bytes.
            _log.exception("a batch failed", extra={"inputs": len(batch)})
            connections = {one.connection: None for one in batch if hasattr(one, "connection")}
            return [Close(connection, closing(RefusalCode.UNAVAILABLE)) for connection in connections]
        self._core.statistics.batch(time.perf_counter() - started)
        return outputs
