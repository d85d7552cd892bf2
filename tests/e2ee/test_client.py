"""Whole clients over real sockets and real SQLite files, through a relay in memory (messaging section 12)."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from e2ee.client import Client
from e2ee.errors import InvalidArgument, InvalidUserId, RefusalCode, UserIdTaken
from e2ee.events import Connected, DeliveryState, DirectMessage, DurableEvent, MessageState
from e2ee.limits import CONTENT_SIZE_MAX
from e2ee.options import ClientOptions
from store import TESTING, ClientStore, StoreInUse, WrongPassphrase, seal_identity
from tests.support.post_server import PostServer, post_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from e2ee.ids import MessageId

FEW_PREKEYS = ClientOptions(one_time_prekeys=3)


class World:
    """A server and a folder for stores."""

    def __init__(self, server: PostServer, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def client(self, user_id: str, *, passphrase: str | None = None, drain_s: float = 5.0) -> Client:
        return Client(
            user_id,
            relay=self.server.url,
            store=f"sqlite:///{self.folder / user_id}.db",
            passphrase=passphrase,
            options=FEW_PREKEYS,
            drain_s=drain_s,
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with post_server() as server:
        yield World(server, tmp_path)


@asynccontextmanager
async def both(world: World) -> AsyncIterator[tuple[Client, Client]]:
    """Alice and Bob, connected."""
    async with world.client("alice") as alice, world.client("bob") as bob:
        await alice.connected(10)
        await bob.connected(10)
        yield alice, bob


async def message(client: Client) -> DirectMessage:
    """Return the next message, passing over what else there is to tell."""
    while not isinstance(event := await client.receive(10), DirectMessage):
        pass
    return event


async def state(client: Client, message_id: MessageId, wanted: DeliveryState) -> None:
    """Wait until a message has come so far."""
    while True:
        event = await client.receive(10)
        if isinstance(event, MessageState) and (event.message_id, event.state) == (message_id, wanted):
            return


async def test_a_message_is_read_by_the_one_it_was_sent_to(world: World) -> None:
    async with both(world) as (alice, bob):
        message_id = await alice.send("bob", "hello bob")
        received = await message(bob)
        assert (received.sender, received.text, received.message_id) == ("alice", "hello bob", message_id)


async def test_an_answer_comes_back(world: World) -> None:
    async with both(world) as (alice, bob):
        await alice.send("bob", "ping")
        await message(bob)
        await bob.send("alice", "pong")
        assert (await message(alice)).text == "pong"


async def test_the_loop_over_events_is_left_after_the_first_message(world: World) -> None:
    async with both(world) as (alice, bob):
        await alice.send("bob", "hello bob")
        texts = []
        async for event in bob.events():
            match event:
                case DirectMessage(text=text):
                    texts.append(text)
                    break
        assert texts == ["hello bob"]


@pytest.mark.slow
async def test_the_sender_hears_of_storing_delivery_and_reading(world: World) -> None:
    async with both(world) as (alice, bob):
        message_id = await alice.send("bob", "hello bob")
        await state(alice, message_id, DeliveryState.SENT)
        received = await message(bob)
        await state(alice, message_id, DeliveryState.DELIVERED)
        await bob.mark_read(received)
        await state(alice, message_id, DeliveryState.READ)


async def test_bytes_and_files_arrive_as_data(world: World) -> None:
    async with both(world) as (alice, bob):
        file = io.BytesIO(b"skipped, sent")
        file.seek(len(b"skipped, "))
        for content in (b"\x00\xff", bytearray(b"array"), memoryview(b"view"), file):
            await alice.send("bob", content)
        received = [await message(bob) for _ in range(4)]
        assert [one.data for one in received] == [b"\x00\xff", b"array", b"view", b"sent"]
        assert [one.text for one in received] == [None] * 4
        assert not file.closed


@pytest.mark.parametrize(
    "content", [7, None, io.StringIO("text"), io.BytesIO(bytes(CONTENT_SIZE_MAX + 1)), "x" * (CONTENT_SIZE_MAX + 1)]
)
async def test_what_cannot_be_sent_is_refused_and_the_next_message_goes(world: World, content: object) -> None:
    async with both(world) as (alice, bob):
        with pytest.raises(InvalidArgument):
            await alice.send("bob", content)  # type: ignore[arg-type]
        await alice.send("bob", "next")
        assert (await message(bob)).text == "next"


async def test_an_event_that_was_not_moved_past_comes_again_after_a_restart(world: World) -> None:
    async with both(world) as (alice, bob):
        await alice.send("bob", "once")
        assert (await message(bob)).redelivered == 0
    async with world.client("bob") as bob:
        again = await message(bob)
        assert (again.text, again.redelivered) == ("once", 1)
        await bob.acknowledge(again)
    async with world.client("bob") as bob:
        assert await bob.receive(10) == Connected()


async def test_in_manual_mode_only_what_is_acknowledged_is_gone(world: World) -> None:
    async with both(world) as (alice, bob):
        for text in ("one", "two"):
            await alice.send("bob", text)
        seen: list[DirectMessage] = []
        async for event in bob.events(acknowledge="manual"):
            if isinstance(event, DirectMessage):
                seen.append(event)
            elif isinstance(event, DurableEvent):
                await bob.acknowledge(event)
            if len(seen) == 2:
                break
        await bob.acknowledge(seen[0])
        assert (await message(bob)).text == "two"


async def test_another_way_of_acknowledging_is_refused(world: World) -> None:
    async with world.client("alice") as alice:
        with pytest.raises(InvalidArgument):
            alice.events(acknowledge="never")  # type: ignore[arg-type]


async def test_a_message_that_was_queued_offline_goes_when_the_client_closes(world: World) -> None:
    async with world.client("bob") as bob:
        await bob.connected(10)
        async with world.client("alice") as alice:
            await alice.send("bob", "in passing")
        assert (await message(bob)).text == "in passing"


async def test_what_could_not_be_sent_goes_at_the_next_opening(world: World) -> None:
    async with world.client("bob") as bob:
        await bob.connected(10)
        world.server.silent_to.add("alice")
        async with world.client("alice", drain_s=0.05) as alice:
            await alice.send("bob", "later")
        world.server.silent_to.clear()
        async with world.client("alice") as alice:
            assert (await message(bob)).text == "later"


@pytest.mark.slow
async def test_connections_that_are_cut_again_and_again_cost_no_message_and_no_order(world: World) -> None:
    async with both(world) as (alice, bob):
        texts = [str(number) for number in range(30)]
        received: list[str | None] = []
        for start in range(0, 30, 10):
            for text in texts[start : start + 10]:
                await alice.send("bob", text)
            received.append((await message(bob)).text)
            world.server.cut()
        while len(received) < 30:
            received.append((await message(bob)).text)
        assert received == texts
        assert world.server.logins > 2


async def test_one_event_is_waited_for_no_longer_than_asked(world: World) -> None:
    async with world.client("alice") as alice:
        await alice.connected(10)

        async def receive_all() -> None:
            while True:
                await alice.receive(0.05)

        with pytest.raises(TimeoutError):
            await receive_all()


async def test_a_user_id_that_is_taken_ends_the_client_with_every_call(world: World) -> None:
    world.server.refusal = RefusalCode.IDENTITY_TAKEN
    async with world.client("alice") as alice:
        with pytest.raises(UserIdTaken):
            await alice.connected(10)
        with pytest.raises(UserIdTaken):
            await alice.send("bob", "hello")
        with pytest.raises(UserIdTaken):
            await alice.receive(10)


async def test_a_store_is_open_once_and_free_again_after_closing(world: World) -> None:
    async with world.client("alice"):
        with pytest.raises(StoreInUse):
            await world.client("alice").__aenter__()
    async with world.client("alice") as alice:
        await alice.connected(10)


@pytest.mark.slow
async def test_a_wrong_passphrase_is_said_at_opening_and_the_store_stays_free(world: World) -> None:
    async with world.client("alice", passphrase="right"):
        pass
    with pytest.raises(WrongPassphrase):
        await world.client("alice", passphrase="wrong").__aenter__()
    async with world.client("alice", passphrase="right") as alice:
        await alice.connected(10)


async def test_calls_outside_of_the_context_are_refused(world: World) -> None:
    alice = world.client("alice")
    with pytest.raises(InvalidArgument, match="not open"):
        await alice.send("bob", "hello")
    async with alice:
        pass
    with pytest.raises(InvalidArgument, match="not open"):
        await alice.send("bob", "hello")
    with pytest.raises(InvalidArgument, match="once"):
        await alice.__aenter__()


def test_a_token_goes_over_tls_only() -> None:
    with pytest.raises(InvalidArgument, match="TLS"):
        Client("alice", relay="ws://127.0.0.1:1", store="sqlite:///a.db", token=b"token")
    Client("alice", relay="wss://relay.example", store="sqlite:///a.db", token=b"token")


def test_a_token_that_is_too_large_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="4096"):
        Client("alice", relay="wss://relay.example", store="sqlite:///a.db", token=bytes(4097))


def test_an_identity_export_without_its_passphrase_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="passphrase"):
        Client("alice", relay="wss://relay.example", store="sqlite:///a.db", identity=b"sealed")


async def test_a_store_of_another_user_is_refused_and_left_free(world: World) -> None:
    async with world.client("alice"):
        pass
    (world.folder / "alice.db").rename(world.folder / "bob.db")
    with pytest.raises(InvalidArgument, match="another"):
        await world.client("bob").__aenter__()
    (world.folder / "bob.db").rename(world.folder / "alice.db")
    async with world.client("alice"):
        pass


async def test_what_is_only_told_live_needs_no_acknowledgement(world: World) -> None:
    async with world.client("alice") as alice:
        event = await alice.receive(10)
        assert event == Connected()
        await alice.acknowledge(event)


async def test_who_waits_for_an_event_while_the_client_closes_is_told(world: World) -> None:
    async with world.client("alice") as alice:
        assert await alice.receive(10) == Connected()

        async def receive_all() -> None:
            while True:
                await alice.receive(10)

        waiting = asyncio.create_task(receive_all())
        await asyncio.sleep(0)
    with pytest.raises(InvalidArgument, match="closed"):
        await waiting


def test_what_is_no_user_id_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidUserId):
        Client("al ice", relay="wss://relay.example", store=f"sqlite:///{tmp_path / 'a.db'}")
    assert list(tmp_path.iterdir()) == []


async def test_an_identity_export_opens_another_device_of_the_same_user(world: World, tmp_path: Path) -> None:
    async with world.client("alice") as alice:
        await alice.connected(10)
    async with _second_device(world, tmp_path, "alice") as second, world.client("bob") as bob:
        await second.connected(10)
        await bob.connected(10)
        await second.send("bob", "from the second device")
        assert (await message(bob)).sender_device == 2


async def test_an_identity_export_of_somebody_else_is_refused(world: World, tmp_path: Path) -> None:
    async with world.client("alice") as alice:
        await alice.connected(10)
    with pytest.raises(InvalidArgument, match="another user's"):
        await _second_device(world, tmp_path, "bob").__aenter__()


def _second_device(world: World, folder: Path, user_id: str) -> Client:

    with ClientStore.open(f"sqlite:///{world.folder / 'alice.db'}") as store, store.begin() as unit:
        account = unit.account.require()
        sealed = seal_identity("alice", account.identity, "words", profile=TESTING)
    return Client(
        user_id,
        device_id=2,
        relay=world.server.url,
        store=f"sqlite:///{folder / 'second.db'}",
        identity=sealed,
        identity_passphrase="words",
        options=FEW_PREKEYS,
    )
