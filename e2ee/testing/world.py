"""A relay and the clients around it, for one test."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from e2ee.client import Client
from e2ee.errors import InvalidArgument
from e2ee.options import ClientOptions
from e2ee.relay import Relay
from e2ee.shell import Surroundings

from .clock import Clock
from .network import Network

if TYPE_CHECKING:
    from types import TracebackType

    from e2ee.relay import RelayHooks, RelayOptions

__all__ = ["World"]

_MEMORY: Final = "sqlite://"
_FEW_PREKEYS: Final = ClientOptions(one_time_prekeys=3)  # made in 2 ms, as many as a test needs
_CONNECT_S: Final = 10.0
_NOT_ENTERED: Final = "the world is not entered: use it inside its `async with`"
_RECONNECT_S: Final = 0.0  # of the pauses between connections, as a share of what they would be


class World:
    """A relay in memory, `alice` and `bob` connected to it, and whoever a test adds. An async context manager."""

    def __init__(self, *, options: RelayOptions | None = None, hooks: RelayHooks | None = None) -> None:
        self.network = Network()
        self.clock = Clock()
        self._options = options
        self._hooks = hooks
        self._stack = AsyncExitStack()
        self._relay: Relay | None = None  # None: not entered
        self._clients: dict[tuple[str, int], Client] = {}

    @property
    def relay(self) -> Relay:
        """The relay."""
        if self._relay is None:
            raise InvalidArgument(_NOT_ENTERED)
        return self._relay

    @property
    def alice(self) -> Client:
        """Alice's client."""
        return self._client("alice")

    @property
    def bob(self) -> Client:
        """Bob's client."""
        return self._client("bob")

    def _client(self, user: str) -> Client:
        if self._relay is None:
            raise InvalidArgument(_NOT_ENTERED)
        return self._clients[user, 1]

    async def __aenter__(self) -> Self:
        self._relay = await self._stack.enter_async_context(
            Relay(store=_MEMORY, options=self._options, hooks=self._hooks, clock=self.clock.wall)
        )
        self._stack.push_async_callback(self._close_all)
        try:
            for user_id in ("alice", "bob"):
                await self.client(user_id)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def close(self, client: Client) -> None:
        """Close one client, as an application does; it can be opened again if its store is a file."""
        await self._clients.pop((client.user_id, client.device_id)).__aexit__(None, None, None)

    async def _close_all(self) -> None:
        for client in list(self._clients.values()):
            await self.close(client)

    async def client(self, user_id: str, device_id: int = 1, *, store: str = _MEMORY, **arguments: Any) -> Client:  # noqa: ANN401 - those of `Client`
        """Open another client and wait until it is connected; it is closed with the world.

        *arguments* are those of `Client`. A *store* in memory is gone when the client is closed: to test a restart,
        give a file.
        """
        client = Client(
            user_id,
            device_id=device_id,
            relay=self.relay.url,
            store=store,
            carrier=self.network.carrier(user_id, self.relay.url),
            surroundings=Surroundings(timers=self.clock, wall_clock=self.clock.wall, dice=lambda: _RECONNECT_S),
            **{"options": _FEW_PREKEYS, **arguments},
        )
        await client.__aenter__()
        self._clients[user_id, device_id] = client
        await client.connected(_CONNECT_S)
        return client
