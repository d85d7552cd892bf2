"""The one thread on which all of an account's ratchet work and database writes happen (messaging section 3)."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Signal", "Writer"]

_T = TypeVar("_T")


class Signal:
    """Tells everybody who waits that something has changed.

    Take `next` before looking at what may have changed, then wait for it: no change is missed in between.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next change."""
        return self._event

    def give(self) -> None:
        """Wake everybody who waits."""
        self._event.set()
        self._event = asyncio.Event()


class Writer:
    """Runs steps one after the other in the order of the calls, and hands their results to the event loop likewise.

    Whoever waits for a step may be cancelled; the step is not, and what follows from it is not lost.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="e2ee-writer")
        self._under_way = 0
        self._finished = Signal()

    def run(self, step: Callable[[], _T], apply: Callable[[_T], None]) -> asyncio.Future[_T]:
        """Run *step* on the thread and then, on the loop, *apply* with its result; return a future of that result."""
        waiter: asyncio.Future[_T] = self._loop.create_future()
        self._under_way += 1

        def finish(done: Future[_T]) -> None:
            self._under_way -= 1
            try:
                result = done.result()
                apply(result)
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who waits for it
                if not waiter.cancelled():
                    waiter.set_exception(error)
            else:
                if not waiter.cancelled():
                    waiter.set_result(result)
            self._finished.give()

        self._executor.submit(step).add_done_callback(lambda done: self._loop.call_soon_threadsafe(finish, done))
        return waiter

    async def fewer_than(self, steps: int) -> None:
        """Wait until fewer than *steps* are under way, counted until their results were handed over."""
        while self._under_way >= steps:
            await self._finished.next.wait()

    async def close(self) -> None:
        """Wait for every step that was asked for, then end the thread."""
        await self.fewer_than(1)
        self._executor.shutdown()  # the thread has nothing left to do: this does not block
