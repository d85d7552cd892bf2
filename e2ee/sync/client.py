"""The client without ``await``, for programs that have no event loop (messaging section 12).

    with Client("alice", relay="wss://relay.example", store="sqlite:///alice.db") as alice:
        alice.send("bob", "hello bob")
        for event in alice.events(timeout_s=10):
            ...

All clients of a process share one private event loop in a daemon thread. Every call is safe from any thread; one
thread at a time reads events. A program that ends without closing its clients loses nothing that `send` has returned
for: it is stored, and goes at the next opening.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, Self

from e2ee import client as asynchronous
from e2ee.calls.account import ANSWER_S
from e2ee.client import DRAIN_S

from .groups import GroupCalls
from .loop import LOOP

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from e2ee.carrier import Carrier
    from e2ee.client import Content
    from e2ee.diagnostics import Report
    from e2ee.events import DirectMessage, Event, GroupMessage
    from e2ee.identities import Identity, OwnDevice, SafetyNumber
    from e2ee.ids import MessageId
    from e2ee.options import ClientOptions
    from e2ee.shell.writer import Worker
    from e2ee.trust import Policies, Policy
    from store import KeyProvider, PassphraseProfile

__all__ = ["Client"]


class Client(GroupCalls):
    """`e2ee.Client` without ``await``: the same arguments, names, events and errors."""

    def __init__(  # noqa: PLR0913 - as many as the asynchronous client has
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
    ) -> None:
        self._client = asynchronous.Client(
            user_id,
            relay=relay,
            store=store,
            device_id=device_id,
            passphrase=passphrase,
            key_provider=key_provider,
            token=token,
            ssl=ssl,
            allow_cleartext=allow_cleartext,
            identity=identity,
            identity_passphrase=identity_passphrase,
            carrier=carrier,
            policy=policy,
            options=options,
            worker=worker,
            accept_rollback=accept_rollback,
            drain_s=drain_s,
        )
        self.user_id = self._client.user_id
        self.device_id = self._client.device_id

    def __enter__(self) -> Self:
        """Open the store and begin to connect."""
        LOOP.run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait a while for what was sent, part from the relay, release the store."""
        LOOP.run(self._client.__aexit__(kind, error, traceback))

    def connected(self, timeout_s: float | None = None) -> None:
        """Wait until the relay has accepted the login and has prekeys of this device.

        Raises TimeoutError with the last reason, and ClientEnded.
        """
        LOOP.run(self._client.connected(timeout_s))

    def send(self, to: str, content: Content) -> MessageId:
        """Queue a message for the user *to*; return when it is durably stored."""
        return LOOP.run(self._client.send(to, content))

    def events(
        self, *, acknowledge: Literal["on_next", "manual"] = "on_next", timeout_s: float | None = None
    ) -> Iterator[Event]:
        """Return an iterator over the events; it ends when none came for *timeout_s*, or the client is closed."""
        reader = LOOP.run(_reader(self._client, acknowledge))
        return _events(reader, timeout_s)

    def receive(self, timeout_s: float | None = None) -> Event:
        """Wait for one event; it is acknowledged when the next is asked for. Raises TimeoutError, ClientEnded."""
        return LOOP.run(self._client.receive(timeout_s))

    def acknowledge(self, event: Event) -> None:
        """Let an event not come again, and what it tells be deleted here."""
        LOOP.run(self._client.acknowledge(event))

    def mark_read(self, *messages: DirectMessage | GroupMessage | MessageId) -> None:
        """Tell the senders that messages were read. Raises InvalidArgument for an id that is not in the inbox."""
        LOOP.run(self._client.mark_read(*messages))

    def subscribe(self, channel: str, *, timeout: float = 10.0) -> None:
        """Hear what is published to *channel*, not encrypted. Raises TimeoutError, Refused."""
        LOOP.run(self._client.subscribe(channel, timeout=timeout))

    def unsubscribe(self, channel: str, *, timeout: float = 10.0) -> None:
        """Hear *channel* no more. Raises TimeoutError, Refused."""
        LOOP.run(self._client.unsubscribe(channel, timeout=timeout))

    def publish(self, channel: str, data: str | bytes, *, timeout: float = 10.0) -> None:
        """Give *data*, not encrypted, to whoever is subscribed to *channel* now. Raises TimeoutError, Refused."""
        LOOP.run(self._client.publish(channel, data, timeout=timeout))

    def watch_users(self, *, on: bool = True, timeout: float = 10.0) -> None:
        """Hear of the relay's users. Raises TimeoutError, Refused."""
        LOOP.run(self._client.watch_users(on=on, timeout=timeout))

    def write_raw(self, data: str | bytes) -> None:
        """Send raw text or bytes, not encrypted, to the relay's application. Raises ConnectionEnded."""
        LOOP.run(self._client.write_raw(data))

    # People and devices: as of `e2ee.calls.account`, without `await`.

    def safety_number(self, user: str, identity_key: bytes | None = None) -> SafetyNumber:
        """Return the safety number with *user*, to be compared over another channel. Raises UnknownIdentity."""
        return LOOP.run(self._client.safety_number(user, identity_key))

    def verify(self, user: str, *, digits: str | None = None, scanned: bytes | None = None) -> bytes:
        """Verify *user* by 60 digits or what was scanned; trust and return that key. Raises VerificationFailed."""
        return LOOP.run(self._client.verify(user, digits=digits, scanned=scanned))

    def trust(self, user: str, identity_key: bytes | None = None) -> None:
        """Use an identity key that *user* has shown; what was held goes on."""
        LOOP.run(self._client.trust(user, identity_key))

    def distrust(self, user: str, identity_key: bytes | None = None) -> None:
        """Stay with the key on record; what came under the other key stays held."""
        LOOP.run(self._client.distrust(user, identity_key))

    def identities(self, user: str) -> tuple[Identity, ...]:
        """Return every identity key that *user* has shown, oldest first."""
        return LOOP.run(self._client.identities(user))

    def block(self, user: str) -> None:
        """Take no more messages from *user*; the sender is told nothing of it."""
        LOOP.run(self._client.block(user))

    def unblock(self, user: str) -> None:
        """Take messages from *user* again."""
        LOOP.run(self._client.unblock(user))

    def blocked(self) -> frozenset[str]:
        """Return who is blocked."""
        return LOOP.run(self._client.blocked())

    def report(self) -> Report:
        """Return counters and recent troubles of this client, without names, contents or keys: to be handed on."""
        return LOOP.run(self._client.report())

    def devices(self, *, timeout: float = ANSWER_S) -> tuple[OwnDevice, ...]:
        """Return the devices of our own user, as the relay lists them."""
        return LOOP.run(self._client.devices(timeout=timeout))

    def remove_device(self, device_id: int, *, timeout: float = ANSWER_S) -> None:
        """Remove another device of our own user."""
        LOOP.run(self._client.remove_device(device_id, timeout=timeout))

    def export_identity(self, passphrase: str, *, profile: PassphraseProfile | None = None) -> bytes:
        """Seal the user's identity under a *passphrase* of its own."""
        return LOOP.run(self._client.export_identity(passphrase, profile=profile))

    def republish_prekeys(self, *, timeout: float = ANSWER_S) -> None:
        """Let the relay forget every one-time prekey, and make new ones of all kinds."""
        LOOP.run(self._client.republish_prekeys(timeout=timeout))

    def reset_identity(self, *, timeout: float = ANSWER_S) -> None:
        """Begin anew under another identity key; peers see a changed identity."""
        LOOP.run(self._client.reset_identity(timeout=timeout))

    def delete_account(self, *, timeout: float = ANSWER_S) -> None:
        """Delete the account at the relay, then the store here."""
        LOOP.run(self._client.delete_account(timeout=timeout))

    def accept_rollback(self) -> None:
        """Go on with a store that is older than what the relay has seen of it; see `e2ee.Client.accept_rollback`."""
        LOOP.run(self._client.accept_rollback())


async def _reader(client: asynchronous.Client, acknowledge: Literal["on_next", "manual"]) -> AsyncIterator[Event]:
    return client.events(acknowledge=acknowledge)


def _events(reader: AsyncIterator[Event], timeout_s: float | None) -> Iterator[Event]:
    while True:
        event = LOOP.run(_next(reader, timeout_s))
        if event is None:
            return
        yield event


async def _next(reader: AsyncIterator[Event], timeout_s: float | None) -> Event | None:
    """Return the next event; None: there was none in time, or there will be none."""
    try:
        async with asyncio.timeout(timeout_s):
            return await anext(reader, None)
    except TimeoutError:
        return None
