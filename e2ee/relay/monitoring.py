"""What the relay says of itself to whoever watches it: /health and /metrics."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from store.errors import StoreError

from . import metrics

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from store.relay import RelayStore

    from .statistics import Statistics

__all__ = ["Answer", "Monitor", "is_loopback"]

PROBE_AGE_S: Final = 1.0  # for which an answer of the store is believed: health checks cost it nothing
PLAIN: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """An HTTP response."""

    status: HTTPStatus
    text: str
    content_type: str = PLAIN


class Monitor:
    """Answers for one relay. *executor* is the store's thread."""

    def __init__(
        self,
        store: RelayStore,
        executor: Executor,
        statistics: Statistics,
        *,
        public_metrics: bool,
    ) -> None:
        self._store = store
        self._executor = executor
        self._statistics = statistics
        self._public_metrics = public_metrics
        self._probed_at = float("-inf")
        self._healthy = False

    async def health(self) -> Answer:
        """Tell whether the store answers: then mail is taken and handed over."""
        if time.monotonic() - self._probed_at >= PROBE_AGE_S:
            self._probed_at = time.monotonic()  # before the wait: those who ask meanwhile do not ask the store too
            self._healthy = await asyncio.get_running_loop().run_in_executor(self._executor, self._ask)
        return Answer(HTTPStatus.OK, "ok\n") if self._healthy else Answer(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")

    def metrics(self, address: str | None) -> Answer:
        """Give the statistics to this machine, or to everybody if the options say so."""
        if not self._public_metrics and (address is None or not is_loopback(address)):
            return Answer(HTTPStatus.FORBIDDEN, "not from here\n")
        if not metrics.AVAILABLE:
            return Answer(HTTPStatus.NOT_IMPLEMENTED, "install the extra 'relay'\n")
        return Answer(HTTPStatus.OK, *metrics.exposition(self._statistics))

    def _ask(self) -> bool:
        try:
            with self._store.begin() as unit:
                unit.users.find("health")
        except StoreError:
            return False
        return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach *host*."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
