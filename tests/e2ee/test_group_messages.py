"""Messages to a group through the real relay, from application to application."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

from e2ee import Client, GroupMessage, KeyState, Relay, UserId

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 30.0  # a test that hangs fails


async def next_message(client: Client) -> GroupMessage:
    async for event in client.events():
        if isinstance(event, GroupMessage):
            await client.acknowledge(event)
            return event
    raise AssertionError("the events ended")


async def test_three_people_talk_in_a_group_and_who_leaves_hears_no_more(tmp_path: Path) -> None:
    folder = f"sqlite:///{tmp_path}"
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=f"{folder}/relay.db") as relay,
        Client("alice", relay=relay.url, store=f"{folder}/alice.db") as alice,
        Client("bob", relay=relay.url, store=f"{folder}/bob.db") as bob,
        Client("carol", relay=relay.url, store=f"{folder}/carol.db") as carol,
    ):
        group = await alice.create_group("team")
        await bob.join_group("team")
        await carol.join_group("team")
        message_id = await alice.send_group("team", "hello all")
        for client in (bob, carol):
            event = await next_message(client)
            assert (event.sender, event.text, event.message_id, event.group) == (
                "alice",
                "hello all",
                message_id,
                group.id,
            )
        await bob.send_group(group, io.BytesIO(b"\x00bytes"))
        assert (await next_message(alice)).data == b"\x00bytes"
        assert (await next_message(carol)).data == b"\x00bytes"
        await carol.leave_group("team")
        await alice.send_group("team", "two of us")
        assert (await next_message(bob)).text == "two of us"
        states = {one.user: one.state for one in await alice.group_keys("team")}
        assert set(states) == {"bob"}
        assert states[UserId("bob")] in (KeyState.KEYED, KeyState.PENDING)
