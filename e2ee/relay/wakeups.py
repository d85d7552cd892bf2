"""Hearing of what other workers have changed, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from store.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.relay import DeviceKey, RelayStore

__all__ = ["WakeUps"]

_log: Final = logging.getLogger("e2ee.relay")

WAIT_S: Final = 1.0  # of one look at the listener, so that the thread ends soon after it is told to


class WakeUps:
    """Calls *tell*, in its own thread, with the devices and announcements of what any worker has committed."""

    def __init__(self, store: RelayStore, tell: Callable[[tuple[DeviceKey, ...], tuple[bytes, ...]], object]) -> None:
        self._store = store
        self._tell = tell
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="e2ee-relay-wake-ups", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for it: at most WAIT_S."""
        self._stopped.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._store.listen() as listener:
                    while not self._stopped.is_set():
                        devices = listener.wait(WAIT_S)
                        announcements = listener.take_announcements()
                        if devices or announcements:
                            self._tell(tuple(devices), tuple(announcements))
            except StoreUnavailable:
                _log.warning("wake-ups of other workers are lost: polling until the database answers again")
                self._stopped.wait(WAIT_S)
