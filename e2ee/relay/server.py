"""The relay behind WebSockets: sockets in the event loop, the core in its thread (`worker`), nothing decided here."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from websockets.asyncio.server import Server, ServerConnection, serve

from e2ee.errors import InvalidArgument
from e2ee.limits import LOGIN_SIZE_MAX
from store.relay import RelayStore

from .connection import (
    Announced,
    Stopping,
    Sweep,
    Tick,
    Woken,
)
from .conversations import Conversations
from .core import RelayCore
from .hooks import RelayHooks
from .limits import IdentityChange, RelayOptions
from .monitoring import Answer, Monitor, is_loopback
from .sockets import Gate
from .wakeups import WakeUps
from .worker import Worker, in_store_thread

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import Callable
    from types import TracebackType

    from websockets.http11 import Request, Response

    from e2ee.ids import UserId
    from store.relay import DeviceKey

    from .hooks import Peer
    from .statistics import Statistics

__all__ = ["Relay"]

_log: Final = logging.getLogger("e2ee.relay")
# What a stranger's bad handshake looks like is no news, least of all with a traceback for each.
_websockets_log: Final = logging.getLogger("e2ee.relay.websockets")
_websockets_log.setLevel(logging.CRITICAL)

TICK_S: Final = 1.0  # between looks at who was silent too long
CLOSE_TIMEOUT_S: Final = 2.0  # for the other end's goodbye
MESSAGES_UNREAD_MAX: Final = 4  # of one connection between socket and decoder; then TCP is stopped


class Relay:
    """A relay, as an async context manager.

        async with Relay(store="sqlite:///relay.db") as relay:
            print(relay.url)

    *port* 0 lets the system pick one. *store* is a SQLAlchemy URL: SQLite for one relay, PostgreSQL for any number on
    one schema. *ssl* makes it ``wss://``; without it, on an address that is not loopback, something in front of the
    relay has to bring TLS. Who may register on such an address has to be said: by `RelayHooks.authorize` or by
    `RelayOptions.open_registration`; and `RelayOptions.names` has the names by which clients dial. There it replaces
    identity keys (`RelayOptions.identity_change`) only with an `authorize`. *clock* gives the seconds since 1970 by
    which mail and keys age; tests bring their own. Raises InvalidArgument if any of this is missing; entering raises
    InvalidArgument, OSError (the address), or an error of the store, which names the database and what to do.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        store: str,
        options: RelayOptions | None = None,
        hooks: RelayHooks | None = None,
        ssl: tls.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._port = port
        self._store_url = store
        self._options = options or RelayOptions()
        self._hooks = hooks or RelayHooks()
        self._ssl = ssl
        self._clock = clock
        self._conversations = Conversations(self._options, self._hooks)
        # Room for handshakes and health checks when all places are taken.
        self._gate = Gate(self._options.connections_max + self._options.strangers_max)
        self._stopping = False
        loopback = is_loopback(host)
        if not loopback and self._options.open_registration is None and self._hooks.authorize is None:
            raise InvalidArgument("say who may register on this address: hooks.authorize or options.open_registration")
        if not loopback and self._options.identity_change is IdentityChange.REPLACE and self._hooks.authorize is None:
            raise InvalidArgument(
                "without hooks.authorize, REPLACE lets anybody take anybody's name: say who may come in"
            )
        if not loopback and not self._options.names:
            raise InvalidArgument("say by which names clients dial this relay: options.names")

    @property
    def url(self) -> str:
        """Where clients dial, with the port that was taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'ws' if self._ssl is None else 'wss'}://{host}:{self._port}"

    @property
    def statistics(self) -> Statistics:
        """What was counted so far."""
        return self._core.statistics

    async def __aenter__(self) -> Self:
        self._executor = in_store_thread()
        loop = asyncio.get_running_loop()
        try:
            open_store = partial(RelayStore.open, self._store_url, clock=self._clock)
            self._store = await loop.run_in_executor(self._executor, open_store)
        except BaseException:
            self._executor.shutdown(wait=False)
            raise
        try:
            self._server = await self._bind()
        except BaseException:
            await loop.run_in_executor(self._executor, self._store.close)
            self._executor.shutdown(wait=False)
            raise
        self._port = self._server.sockets[0].getsockname()[1]
        options = self._options
        names = options.names or tuple(f"{host}:{self._port}" for host in ("127.0.0.1", "localhost", "[::1]"))
        self._core = RelayCore(
            self._store,
            names=names,
            options=options,
            open_registration=options.open_registration is not False,
            asks=self._hooks.authorize is not None,
            may_send=self._hooks.may_send,
            may_create_group=self._hooks.may_create_group,
            before_subscription=self._hooks.before_subscription,
        )
        self._monitor = Monitor(
            self._store, self._executor, self._core.statistics, public_metrics=options.public_metrics
        )
        self._worker = Worker(self._core, options, self._executor, self._conversations.emit)
        self._conversations.start(self._worker)
        self._tasks = [asyncio.create_task(self._worker.run()), asyncio.create_task(self._tick())]
        self._wake_ups: WakeUps | None = None
        if not self._store_url.startswith("sqlite"):  # there one worker is alone
            self._wake_ups = WakeUps(self._store, lambda *told: loop.call_soon_threadsafe(self._woken, *told))
        await self._server.start_serving()
        _log.info("relay open", extra={"port": self._port, "tls": self._ssl is not None})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close: nothing new is taken, what came is stored and answered, everybody is told, sockets are closed."""
        self._stopping = True
        self._conversations.stop()
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.drain_s):
                await self._worker.idle()
                self._worker.put(Stopping())
                await self._worker.idle()
                await self._conversations.written()
        self._gate.end_all()  # those that were told have closed by now; no others are waited for
        self._server.close()
        await self._server.wait_closed()
        tasks = (*self._tasks, *self._conversations.asking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._wake_ups is not None:
            await loop.run_in_executor(self._executor, self._wake_ups.stop)
        await loop.run_in_executor(self._executor, self._store.close)
        self._executor.shutdown(wait=False)
        _log.info("relay closed", extra={"port": self._port})

    def connected(self) -> list[Peer]:
        """Who is logged in at this worker just now."""
        return self._conversations.peers()

    def disconnect(self, peer: Peer) -> None:
        """Cut a connection. A client connects again by itself; its mail stays."""
        self._conversations.disconnect(peer)

    def write_raw(self, user_id: UserId, data: str | bytes, *, device_id: int | None = None) -> int:
        """Send raw text or bytes, not encrypted, to a user's devices that are connected here, or to one of them.

        Returns how many connections it goes to. Nothing is kept for those that are away. Raises InvalidArgument for
        more than a frame may have.
        """
        return self._conversations.write_raw(user_id, data, device_id)

    async def _bind(self) -> Server:
        return await serve(
            self._conversations.converse,
            self._host,
            self._port,
            ssl=self._ssl,
            process_request=self._request,
            create_connection=_counted(self._gate),
            compression=None,  # ciphertext does not compress, and a compressor for each connection costs 64 kB
            max_size=LOGIN_SIZE_MAX,  # raised by the welcome (R1.1)
            max_queue=MESSAGES_UNREAD_MAX,
            ping_interval=None,  # the protocol has its own heartbeat (R4.18)
            open_timeout=self._options.challenge_age_max_s,
            close_timeout=CLOSE_TIMEOUT_S,
            logger=_websockets_log,
            server_header=None,
            start_serving=False,
        )

    def _woken(self, devices: tuple[DeviceKey, ...], announcements: tuple[bytes, ...]) -> None:
        if devices:
            self._worker.put(Woken(devices))
        if announcements:
            self._worker.put(Announced(announcements))

    # Time, other workers, watchers.

    async def _tick(self) -> None:
        polled = swept = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            poll = self._wake_ups is not None and now - polled >= self._options.poll_s
            polled = now if poll else polled
            self._worker.put(Tick(poll))
            if now - swept >= self._options.sweep_s:
                swept = now
                self._worker.put(Sweep())

    async def _request(self, websocket: ServerConnection, request: Request) -> Response | None:
        """Answer /health and /metrics; let everything at / become a WebSocket, if there is room."""
        path = request.path.partition("?")[0]
        if path == "/" and not self._stopping and self._conversations.count < self._options.connections_max:
            return None
        answer = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "no more connections\n")
        if path == "/metrics":
            address = websocket.remote_address
            answer = self._monitor.metrics(address[0] if address else None)
        elif path == "/health" and not self._stopping:
            answer = await self._monitor.health()
        elif path not in ("/", "/health"):
            answer = Answer(HTTPStatus.NOT_FOUND, "not found\n")
        response = websocket.respond(answer.status, answer.text)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = answer.content_type
        return response


def _counted(gate: Gate) -> type[ServerConnection]:
    """Connections that pass the gate in their first moment: a handshake that never ends is one too."""

    class Counted(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            gate.enter(self.transport)

        def connection_lost(self, exc: Exception | None) -> None:
            gate.leave(self.transport)
            super().connection_lost(exc)

    return Counted
