"""The client's calls beside its encrypted messages, a part of `Client`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from e2ee.errors import ConnectionEnded
from e2ee.shell.beside import check_channel, check_publication

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from e2ee.shell import Shell
    from e2ee.shell.beside import Beside

__all__ = ["ChannelCalls"]


class _HasShell(Protocol):
    def _open(self) -> Shell: ...


class ChannelCalls:
    """Channels, the directory and raw data: **not encrypted**, not stored, heard by whoever is connected just now.

    Each call waits up to *timeout* seconds for a connection and for the relay's answer. Raises TimeoutError, Refused,
    InvalidArgument, ClientEnded.
    """

    async def subscribe(self: _HasShell, channel: str, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - design 5
        """Hear what is published to *channel*, as `ChannelMessage` events, also after reconnections."""
        check_channel(channel)
        await _ask(self._open(), lambda beside: beside.subscribe(channel), timeout)

    async def unsubscribe(self: _HasShell, channel: str, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Hear *channel* no more."""
        check_channel(channel)
        await _ask(self._open(), lambda beside: beside.unsubscribe(channel), timeout)

    async def publish(self: _HasShell, channel: str, data: str | bytes, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Give text or bytes, at most 4 KiB, to whoever is subscribed to *channel* now. The relay reads it."""
        check_channel(channel)
        packed = check_publication(data)
        await _ask(self._open(), lambda beside: beside.publish(channel, packed), timeout)

    async def watch_users(self: _HasShell, *, on: bool = True, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """Hear of the relay's users, as `UserCreated` and `UserDeleted` events; the relay's options must allow it."""
        await _ask(self._open(), lambda beside: beside.watch(on=on), timeout)

    async def write_raw(self: _HasShell, data: str | bytes) -> None:
        """Send raw text or bytes, less than 1 MiB, to the relay's application, past everything else here.

        What the relay's application sends comes as `RawMessage` events. Raises ConnectionEnded while there is no
        connection: nothing is kept.
        """
        shell = self._open()
        shell.require_going()
        shell.beside.write_raw(data)


async def _ask(shell: Shell, call: Callable[[Beside], Awaitable[None]], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            await shell.wait_connected(None)
            try:
                await call(shell.beside)
            except ConnectionEnded:
                continue  # the connection went in between: again on the next
            return
