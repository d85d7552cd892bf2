"""docs/protocol.md suffices: a client that was made from it alone talks with ours, with one user and in a group."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from docs.own_client.device import Content, Device, Received
from e2ee import Client, DeliveryState, DirectMessage, GroupMessage, MessageState, Relay
from tests.support.readme import ROOT

if TYPE_CHECKING:
    from e2ee import Event

PATIENCE_S = 30.0  # on a machine that has much else to do


async def _until(client: Client, wanted: type[Event], *, state: DeliveryState | None = None) -> Event:
    while True:
        event = await client.receive(PATIENCE_S)
        if isinstance(event, wanted) and (not isinstance(event, MessageState) or event.state is state):
            return event


@pytest.mark.slow
async def test_a_client_made_from_the_page_alone_talks_with_ours_with_receipts_and_in_a_group() -> None:
    async with (
        Relay(store="sqlite://") as relay,
        Client("ours", relay=relay.url, store="sqlite://") as ours,
        connect(relay.url) as socket,
    ):
        await ours.create_group("team")
        await ours.connected(PATIENCE_S)
        theirs = await Device(socket, "theirs").log_in(urlsplit(relay.url).netloc)

        assert await theirs.send("ours", Content.TEXT, b"hello") == [0]  # stored
        heard = await _until(ours, DirectMessage)
        assert isinstance(heard, DirectMessage)
        assert (heard.sender, heard.text) == ("theirs", "hello")
        assert await theirs.receive() == Received(Content.RECEIPT, "ours", None, "", [[1, 1]])

        sent = await ours.send("theirs", "hello back")
        assert await theirs.receive() == Received(Content.TEXT, "ours", None, "hello back", [])
        told = await _until(ours, MessageState, state=DeliveryState.DELIVERED)
        assert isinstance(told, MessageState)
        assert (told.message_id, told.recipient) == (sent, "theirs")

        await theirs.join("team")
        group = theirs.log.id
        assert await theirs.send_group("hello all") == 1
        spoken = await _until(ours, GroupMessage)
        assert isinstance(spoken, GroupMessage)
        assert (spoken.group, spoken.sender, spoken.text) == (group.hex(), "theirs", "hello all")
        assert await theirs.receive() == Received(Content.RECEIPT, "ours", group, "", [[1, 1]])

        sent = await ours.send_group("team", "hello newcomer")
        assert await theirs.receive() == Received(Content.TEXT, "ours", group, "hello newcomer", [])
        told = await _until(ours, MessageState, state=DeliveryState.DELIVERED)
        assert isinstance(told, MessageState)
        assert (told.message_id, told.recipient, told.group) == (sent, "theirs", group.hex())
        assert (await ours.group("team")).fingerprint == theirs.log.fingerprint


def test_that_client_shares_no_code_with_ours_but_the_ratchet() -> None:
    nodes = [
        node
        for path in sorted((ROOT / "docs/own_client").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ]
    names = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert "ratchet" in names
    assert not {name for name in names if name.partition(".")[0] in ("e2ee", "store")}
