"""The client of an application: one device of one user, its messages in and out (design section 5).

async with Client("alice", relay="wss://relay.example", store="sqlite:///alice.db") as alice:
await alice.send("bob", "hello bob")
async for event in alice.events():
...
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, Self

from store import ClientStore, open_identity

from .calls.channels import ChannelCalls
from .calls.contents import Content, read_content
from .calls.groups import GroupCalls
from .calls.reading import EventReader
from .carrier import WebSocketCarrier, relay_name
from .engine import Engine
from .errors import InvalidArgument
from .events import DurableEvent
from .frames import DEVICE_ID_MAX
from .ids import parse_user_id
from .limits import TOKEN_SIZE_MAX
from .options import ClientOptions
from .shell import Shell, Surroundings

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import AsyncIterator
    from types import TracebackType

    from store import KeyProvider

    from .carrier import Carrier
    from .events import DirectMessage, Event, GroupMessage
    from .ids import MessageId, UserId
    from .shell.writer import Worker
    from .trust import Policies, Policy

__all__ = ["Client", "Content"]

DRAIN_S: Final = 5.0  # seconds that closing waits for the outbox by default


class Client(GroupCalls, ChannelCalls):
    """One device of the user *user_id*, made on first use.

    *relay* is the relay's address (``wss://…``), *store* a SQLAlchemy URL of SQLite or PostgreSQL, sealed under
    *passphrase* or the key of *key_provider*. Another device of the user has a *device_id* of its own and an
    *identity*, the export of the first, with its *identity_passphrase*. *token* goes to the relay's own rules, over TLS
    only; *ssl* is the TLS context. ``ws://`` to another machine needs *allow_cleartext*. An application that has a
    connection of its own gives a *carrier*; *relay* is then what logins are signed for. *policy* says what happens
    with identity keys of others: an `IdentityPolicy`, a function of your own, or `Policies` for each direction. Many
    clients of one process may share the threads of a *worker*. *accept_rollback* is `accept_rollback`, said beforehand.
    Closing waits up to *drain_s* for what was sent. Raises InvalidArgument and InvalidUserId.

    All calls belong to the event loop of the ``async with``. What ends a client (ClientEnded) is raised by
    `connected`, by the next event, and by every later call.
    """

    def __init__(  # noqa: PLR0913 - each is an application's own choice, and all but two have a default
        self,
        user_id: str,
        *,
        relay: str,
        store: str,
        device_id: int = 1,
        passphrase: str | None = None,
        key_provider: KeyProvider | None = None,
        token: bytes | None = None,
        ssl: tls.SSLContext | None = None,
        allow_cleartext: bool = False,
        identity: bytes | None = None,
        identity_passphrase: str | None = None,
        carrier: Carrier | None = None,
        policy: Policy | Policies | None = None,
        options: ClientOptions | None = None,
        worker: Worker | None = None,
        accept_rollback: bool = False,
        drain_s: float = DRAIN_S,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.user_id: UserId = parse_user_id(user_id)
        if type(device_id) is not int or not 1 <= device_id <= DEVICE_ID_MAX:
            raise InvalidArgument(f"a device id is 1 to {DEVICE_ID_MAX}")
        self.device_id = device_id
        self._relay = relay_name(relay)
        self._carrier: Carrier = carrier or WebSocketCarrier(relay, ssl=ssl, allow_cleartext=allow_cleartext)
        if token is not None and len(token) > TOKEN_SIZE_MAX:
            raise InvalidArgument(f"a token has at most {TOKEN_SIZE_MAX} bytes")
        if token is not None and carrier is None and not relay.lower().startswith("wss:"):
            raise InvalidArgument("a token goes over TLS only: use wss://")
        if (identity is None) != (identity_passphrase is None):
            raise InvalidArgument("an identity export and its passphrase go together")
        self._store = store
        self._passphrase = passphrase
        self._key_provider = key_provider
        self._token = token
        self._identity = identity
        self._identity_passphrase = identity_passphrase
        self._options = options if policy is None else replace(options or ClientOptions(), identities=policy)
        self._worker = worker
        self._accept_rollback = accept_rollback
        self._drain_s = drain_s
        self._surroundings = Surroundings() if surroundings is None else surroundings
        self._shell: Shell | None = None  # None: not opened yet
        self._engine: Engine | None = None
        self._reader: EventReader | None = None
        self._receiving: EventReader | None = None  # the reader of `receive`

    async def __aenter__(self) -> Self:
        """Open the store and begin to connect. Raises the store's errors, InvalidArgument for another's store."""
        if self._shell is not None:
            raise InvalidArgument("a client is opened once: make another")
        self._shell = Shell(self._carrier, self._surroundings, self._worker)
        await self._shell.open(self._open_engine)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait a while for what was sent, part from the relay, release the store."""
        await self._open().close(self._drain_s)

    async def connected(self, timeout_s: float | None = None) -> None:
        """Wait until the relay has accepted the login and has prekeys of this device: others can write to it now.

        Raises TimeoutError with the last reason, and ClientEnded.
        """
        await self._open().wait_connected(timeout_s)

    async def send(self, to: str, content: Content) -> MessageId:
        """Queue a message for the user *to*; return when it is durably stored. `MessageState` events tell the rest.

        A caller who is cancelled does not know whether it was queued. Raises InvalidUserId; InvalidArgument for what
        is no content or larger than 256 KiB; `store.Full`.
        """
        return await self._open().send(to, await read_content(content))

    def events(self, *, acknowledge: Literal["on_next", "manual"] = "on_next") -> AsyncIterator[Event]:
        """Return an iterator over this client's events, from the first that is not acknowledged.

        With ``"on_next"``, asking for an event acknowledges the one before; leaving the loop does not, so that one
        comes again. With ``"manual"``, only `acknowledge` does. One consumer at a time: a new one takes over from
        one that has stopped. Raises InvalidArgument while another waits for its next event.
        """
        if acknowledge not in ("on_next", "manual"):
            raise InvalidArgument("events are acknowledged 'on_next' or 'manual'")
        return self._read_anew(on_next=acknowledge == "on_next")

    async def receive(self, timeout_s: float | None = None) -> Event:
        """Wait for one event; it is acknowledged when the next is asked for. Raises TimeoutError, ClientEnded."""
        reader = self._receiving
        if reader is None or reader is not self._reader:
            reader = self._receiving = self._read_anew(on_next=True)
        async with asyncio.timeout(timeout_s):
            with suppress(StopAsyncIteration):
                return await anext(reader)
        raise InvalidArgument("the client was closed")

    async def acknowledge(self, event: Event) -> None:
        """Let an event not come again, and what it tells be deleted here."""
        shell = self._open()
        if isinstance(event, DurableEvent):
            await shell.perform(lambda engine: engine.acknowledge_event(event))

    async def mark_read(self, *messages: DirectMessage | GroupMessage | MessageId) -> None:
        """Tell the senders that messages were read. Raises InvalidArgument for an id that is not in the inbox."""
        await self._open().perform(lambda engine: engine.mark_read(messages))

    async def accept_rollback(self) -> None:
        """Go on after StoreRolledBack, with a store that is older than what the relay has seen of it.

        The first rollback within a day is accepted by itself, since any relay could force more. What came and went in
        the meantime is not here (event `HistoryGap`). Close every other copy of the store before. Called earlier, it
        accepts the next rollback. Raises ClientEnded if the client has ended for another reason.
        """
        await self._open().accept_rollback()

    def _open(self) -> Shell:
        if self._shell is None:
            raise InvalidArgument("the client is not open: use it inside its `async with`")
        return self._shell

    def _read_anew(self, *, on_next: bool) -> EventReader:
        shell = self._open()
        if self._reader is not None:
            self._reader.supersede()
        self._reader = EventReader(shell, on_next=on_next)
        return self._reader

    def _open_engine(self) -> Engine:
        """Open store and account; on the writer thread, since it derives keys and reads the disk."""
        identity = None
        if self._identity is not None and self._identity_passphrase is not None:
            exported = open_identity(self._identity, self._identity_passphrase)
            if exported.user_id != self.user_id:
                raise InvalidArgument("the identity export is another user's")
            identity = exported.identity
        store = ClientStore.open(
            self._store,
            passphrase=self._passphrase,
            key_provider=self._key_provider,
            clock=self._surroundings.wall_clock,
        )
        try:
            self._engine = Engine.open(
                store,
                self.user_id,
                self.device_id,
                relay=self._relay,
                identity=identity,
                token=self._token,
                options=self._options,
            )
        except BaseException:
            store.close()
            raise
        if self._accept_rollback:
            self._engine.accept_rollback()
        return self._engine
