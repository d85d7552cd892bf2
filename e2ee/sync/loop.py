"""The private event loop of `e2ee.sync`, in a daemon thread."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["LOOP"]

_T = TypeVar("_T")


class _Loop:
    """The private event loop of this process, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0  # of the process whose thread runs the loop

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run *work* on the loop and return its result. An interrupt of the caller (Ctrl-C) cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():  # a forked child has no thread of its parent's
                self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                threading.Thread(target=self._loop.run_forever, name="e2ee-sync", daemon=True).start()
            return self._loop


LOOP = _Loop()
