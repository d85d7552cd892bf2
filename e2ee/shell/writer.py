"""The one thread on which all of an account's ratchet work and database writes happen (messaging section 3)."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self, TypeVar

from e2ee.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Signal", "Worker", "Writer"]

THREADS_MAX: Final = 64  # of one worker: more only wait for each other, since Python runs one at a time

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


class Worker:
    """Threads that many clients of one process share; each client stays with one of them.

    with Worker(threads=4) as worker:
        ... Client("alice", worker=worker, …), Client("bob", worker=worker, …)

    A step of one client waits for those of the others on its thread. Close it after its clients. Raises
    InvalidArgument for a number of threads that makes no sense. Any thread and any event loop may use it.
    """

    def __init__(self, threads: int = 4) -> None:
        if type(threads) is not int or not 1 <= threads <= THREADS_MAX:
            raise InvalidArgument(f"a worker has 1 to {THREADS_MAX} threads")
        self._lock = threading.Lock()
        self._executors = [
            ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"e2ee-worker-{number}") for number in range(threads)
        ]
        self._clients = [0] * threads  # that are with each thread
        self._closed = False

    def take(self) -> tuple[ThreadPoolExecutor, Callable[[], None]]:
        """Return the thread with the fewest clients, and what gives it back. Raises InvalidArgument if it is closed."""
        with self._lock:
            if self._closed:
                raise InvalidArgument("the worker is closed: its clients are to be closed before it")
            place = self._clients.index(min(self._clients))
            self._clients[place] += 1
        return self._executors[place], lambda: self._give_back(place)

    def _give_back(self, place: int) -> None:
        with self._lock:
            self._clients[place] -= 1

    def close(self) -> None:
        """End the threads. Raises InvalidArgument while a client uses one; again is the same."""
        with self._lock:
            if any(self._clients):
                raise InvalidArgument("clients still use the worker: close them first")
            self._closed = True
        for executor in self._executors:
            executor.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()


class Writer:
    """Runs steps one after the other in the order of the calls, and hands their results to the event loop likewise.

    Whoever waits for a step may be cancelled; the step is not, and what follows from it is not lost.
    """

    def __init__(self, worker: Worker | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._executor: ThreadPoolExecutor
        self._release: Callable[[], None]
        if worker is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="e2ee-writer")
            self._release = self._executor.shutdown  # the thread has nothing left to do then: this does not block
        else:
            self._executor, self._release = worker.take()
        self._closed = False
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
        """Wait for every step that was asked for, then end the thread, or give it back."""
        await self.fewer_than(1)
        if not self._closed:
            self._closed = True
            self._release()
