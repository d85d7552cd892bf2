"""Two people, the real relay, real sockets, real files: direct messages from one application to the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from e2ee import Client, DeliveryState, DirectMessage, MessageState, Relay

if TYPE_CHECKING:
    from pathlib import Path

    from e2ee import MessageId

LIMIT_S = 30.0  # a test that hangs fails


async def next_message(client: Client) -> DirectMessage:
    async for event in client.events():
        match event:
            case DirectMessage():
                await client.acknowledge(event)
                return event
    raise AssertionError("the events ended")


async def state_of(client: Client, message_id: MessageId, state: DeliveryState) -> MessageState:
    async for event in client.events():
        match event:
            case MessageState(message_id=found) if found == message_id and event.state is state:
                return event
    raise AssertionError("the events ended")


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir() if path.name.startswith("relay.db")]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}"


async def test_the_example_of_the_design_works_as_it_stands(folder: str) -> None:
    read = []
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=f"{folder}/relay.db") as relay,
        Client("alice", relay=relay.url, store=f"{folder}/alice.db") as alice,
        Client("bob", relay=relay.url, store=f"{folder}/bob.db") as bob,
    ):
        message_id = await alice.send("bob", "hello bob")
        async for event in bob.events():
            match event:
                case DirectMessage(sender=sender, text=text):
                    read.append((sender, text))
                    break
    assert read == [("alice", "hello bob")]
    assert len(message_id) == 32


async def test_the_sender_learns_that_a_message_was_delivered_and_read(folder: str) -> None:
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=f"{folder}/relay.db") as relay,
        Client("alice", relay=relay.url, store=f"{folder}/alice.db") as alice,
        Client("bob", relay=relay.url, store=f"{folder}/bob.db") as bob,
    ):
        await bob.connected(LIMIT_S)
        message_id = await alice.send("bob", "hello bob")
        message = await next_message(bob)
        await state_of(alice, message_id, DeliveryState.DELIVERED)
        await bob.mark_read(message)
        assert (await state_of(alice, message_id, DeliveryState.READ)).recipient == "bob"


async def test_mail_waits_at_the_relay_for_a_client_that_is_away_and_survives_restarts_of_both(folder: str) -> None:
    texts = [f"message {number}" for number in range(20)]
    async with asyncio.timeout(LIMIT_S):
        async with (
            Relay(store=f"{folder}/relay.db") as relay,
            Client("alice", relay=relay.url, store=f"{folder}/alice.db") as alice,
        ):
            async with Client("bob", relay=relay.url, store=f"{folder}/bob.db") as bob:
                await alice.send("bob", "are you there?")
                assert (await next_message(bob)).text == "are you there?"
            ids = [await alice.send("bob", text) for text in texts]
            await state_of(alice, ids[-1], DeliveryState.SENT)
        async with (
            Relay(store=f"{folder}/relay.db") as relay,
            Client("bob", relay=relay.url, store=f"{folder}/bob.db") as bob,
        ):
            read = [await next_message(bob) for _ in texts]

    assert [message.text for message in read] == texts


async def test_the_relay_s_files_hold_no_plaintext(folder: str, tmp_path: Path) -> None:
    canary = "a canary that sings in the relay"
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=f"{folder}/relay.db") as relay,
        Client("alice", relay=relay.url, store=f"{folder}/alice.db") as alice,
        Client("bob", relay=relay.url, store=f"{folder}/bob.db") as bob,
    ):
        await bob.connected(LIMIT_S)
        await alice.send("bob", canary)
        assert (await next_message(bob)).text == canary
        files = await asyncio.to_thread(contents, tmp_path)

    assert files
    assert not any(canary.encode() in content for content in files)
