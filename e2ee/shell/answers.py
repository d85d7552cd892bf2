"""Answers of the relay that somebody waits for, by the requests that they answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from e2ee.errors import ConnectionEnded, RefusalCode, Refused
from e2ee.frames import RefusedRequest

if TYPE_CHECKING:
    from e2ee.frames import ClientFrame, Reply

__all__ = ["Answers"]

_LOST = "the connection ended before the relay answered: what became of the request is not known"


class Answers:
    """One future for each request that is waited for; all of one connection, and so at most as many as are open."""

    def __init__(self) -> None:
        self._waiting: list[tuple[ClientFrame, asyncio.Future[Reply]]] = []

    def expect(self, request: ClientFrame) -> asyncio.Future[Reply]:
        """Return what becomes the reply to *request*; it raises Refused, or ConnectionEnded if none came."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        return future

    def give(self, request: ClientFrame, reply: Reply) -> None:
        """Hand over the reply to *request*, this very object, if somebody waits for it."""
        for place, (wanted, future) in enumerate(self._waiting):
            if wanted is request:
                del self._waiting[place]
                if future.done():
                    return
                if isinstance(reply, RefusedRequest):
                    future.set_exception(_refusal(reply))
                else:
                    future.set_result(reply)
                return

    def lose(self) -> None:
        """The connection is gone."""
        waiting, self._waiting = self._waiting, []
        for _request, future in waiting:
            if not future.done():
                future.set_exception(ConnectionEnded(_LOST))


def _refusal(reply: RefusedRequest) -> Refused:
    known = reply.code in RefusalCode.__members__.values()
    wait_s = None if reply.retry_after_ms is None else reply.retry_after_ms / 1000
    return Refused(RefusalCode(reply.code) if known else RefusalCode.UNAVAILABLE, retry_after_s=wait_s)
