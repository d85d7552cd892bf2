"""A relay that is killed and comes back from a backup, over real sockets and real files (messaging section 4).

Nothing that was sent and not yet delivered is missing in the end, nothing is told twice, no message key seals twice.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest

from e2ee import (
    Client,
    ClientOptions,
    DeliveryState,
    DirectMessage,
    GroupMessage,
    MessageState,
    Relay,
    RelayHooks,
    RelayRolledBack,
)
from e2ee.frames import Submit
from e2ee.relay.hooks import Verdict
from tests.support.key_use import keys_used_twice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from e2ee.frames import ClientFrame, EnvelopeKind, UnknownFrame
    from e2ee.ids import MessageId
    from e2ee.relay.hooks import Peer

LIMIT_S: Final = 30.0  # a test that hangs fails
FEW_PREKEYS: Final = ClientOptions(one_time_prekeys=3)

pytestmark = pytest.mark.slow


class World:
    """A relay whose process may end at any time and whose file may be replaced; always under one address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.overheard: list[tuple[tuple[str, int], tuple[str, int], EnvelopeKind, bytes]] = []
        self.port = 0
        self.relay = self.make()

    def make(self) -> Relay:
        hooks = RelayHooks(on_inbound=self.listen)
        return Relay(store=f"sqlite:///{self.path('relay')}", port=self.port, hooks=hooks)

    def listen(self, peer: Peer, frame: ClientFrame | UnknownFrame) -> Verdict:
        if isinstance(frame, Submit) and peer.user_id is not None and peer.device_id is not None:
            sender = (str(peer.user_id), peer.device_id)
            self.overheard += [
                (sender, (frame.user_id, envelope.device_id), envelope.kind, envelope.body)
                for submission in frame.submissions
                for envelope in submission.envelopes
            ]
        return Verdict.PASS

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.db"

    def client(self, user_id: str) -> Client:
        store = f"sqlite:///{self.path(user_id)}"
        return Client(user_id, relay=self.relay.url, store=store, options=FEW_PREKEYS)

    def back_up(self) -> None:
        """Copy the relay's store while it is open (SQLite's backup of a file in use)."""
        with closing(sqlite3.connect(self.path("relay"))) as source, closing(sqlite3.connect(self.path("b"))) as copy:
            source.backup(copy)

    async def restore(self) -> None:
        """Stop the relay, put the backup in the place of all its files, and start it where it was."""
        self.port = int(self.relay.url.rpartition(":")[2])
        await self.relay.__aexit__(None, None, None)
        for left in self.folder.glob("relay.db*"):
            left.unlink()
        shutil.copy(self.path("b"), self.path("relay"))
        self.relay = self.make()
        await self.relay.__aenter__()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    async with asyncio.timeout(2 * LIMIT_S):
        await made.relay.__aenter__()
        try:
            yield made
        finally:
            await made.relay.__aexit__(None, None, None)


async def until_texts(client: Client, wanted: Collection[str]) -> list[str]:
    """Read events until all *wanted* texts have come; return every text, as it came."""
    found: list[str] = []
    while not set(wanted) <= set(found):
        event = await client.receive(LIMIT_S)
        if isinstance(event, DirectMessage | GroupMessage) and event.text is not None:
            found.append(event.text)
            await client.acknowledge(event)  # or it would come again after the client was closed
    return found


async def until_state(client: Client, message_ids: Collection[MessageId], state: DeliveryState) -> None:
    missing = set(message_ids)
    while missing:
        event = await client.receive(LIMIT_S)
        if isinstance(event, MessageState) and event.state is state:
            missing.discard(event.message_id)


async def exchange(first: Client, second: Client, text: str) -> None:
    """One message each way."""
    await first.send(second.user_id, text)
    await until_texts(second, [text])
    await second.send(first.user_id, f"{text}, back")
    await until_texts(first, [f"{text}, back"])


async def test_what_was_sent_and_not_delivered_when_the_relay_lost_it_arrives_once(world: World) -> None:
    lost = [f"lost {number}" for number in range(20)]
    async with world.client("alice") as alice:
        async with world.client("bob") as bob:
            await exchange(alice, bob, "before")
        await asyncio.to_thread(world.back_up)
        sent = [await alice.send("bob", text) for text in lost]
        await until_state(alice, sent, DeliveryState.SENT)
        await world.restore()
        async with world.client("bob") as bob:
            assert await until_texts(bob, lost) == lost
            await until_state(alice, sent, DeliveryState.DELIVERED)
            await exchange(bob, alice, "after")
            await alice.send("bob", "the last")
            assert await until_texts(bob, ["the last"]) == ["the last"]
    assert keys_used_twice(world.overheard) == []


async def test_a_restored_relay_while_both_talk_costs_neither_a_message(world: World) -> None:
    """Some are delivered before the loss, some are not, some are under way; both clients stay open throughout."""
    async with world.client("alice") as alice, world.client("bob") as bob:
        await exchange(alice, bob, "before")
        await asyncio.to_thread(world.back_up)
        for number in range(30):
            await alice.send("bob", f"{number} of alice")
            await bob.send("alice", f"{number} of bob")
            if number == 15:
                await world.restore()
        await alice.send("bob", "the last")
        await bob.send("alice", "the last")
        read = await asyncio.gather(
            until_texts(bob, ["the last", *(f"{number} of alice" for number in range(30))]),
            until_texts(alice, ["the last", *(f"{number} of bob" for number in range(30))]),
        )
        assert [len(texts) for texts in read] == [31, 31]
        await exchange(alice, bob, "after")
    assert keys_used_twice(world.overheard) == []


async def test_a_groups_message_that_the_relay_lost_arrives_once(world: World) -> None:
    async with world.client("alice") as alice:
        async with world.client("bob") as bob:
            await alice.create_group("team")
            await bob.join_group("team")
            await alice.send_group("team", "before")
            await until_texts(bob, ["before"])
        await asyncio.to_thread(world.back_up)
        message_id = await alice.send_group("team", "lost")
        await until_state(alice, [message_id], DeliveryState.SENT)
        await world.restore()
        async with world.client("bob") as bob:
            assert await until_texts(bob, ["lost"]) == ["lost"]
            await until_state(alice, [message_id], DeliveryState.DELIVERED)
            await alice.send_group("team", "after")
            assert await until_texts(bob, ["after"]) == ["after"]


async def test_the_application_is_told_how_much_goes_again(world: World) -> None:
    async with world.client("alice") as alice:
        async with world.client("bob") as bob:
            await exchange(alice, bob, "before")
        await asyncio.to_thread(world.back_up)
        await until_state(alice, [await alice.send("bob", "lost")], DeliveryState.SENT)
        await world.restore()
        while not isinstance(event := await alice.receive(LIMIT_S), RelayRolledBack):
            pass
        assert event == RelayRolledBack(sent_again=1, left=0)
