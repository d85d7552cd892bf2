"""The example of docs/identities.md, as it stands, against a user who really has started afresh."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from e2ee import Client, ClientOptions, IdentityChanged, Relay, RelayOptions
from e2ee.relay.limits import IdentityChange

PAGE = Path(__file__).parent.parent.parent / "docs/identities.md"
FEW = ClientOptions(one_time_prekeys=3)


def example() -> Any:  # noqa: ANN401 - the function in the page
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own page
    return names["ask_the_people"]


async def changed(client: Client) -> IdentityChanged:
    async for event in client.events():
        if isinstance(event, IdentityChanged):
            return event
    raise AssertionError("the events ended")


@pytest.mark.parametrize(("right", "answer"), [(True, "bob has a new key"), (False, "somebody poses as bob")])
async def test_the_example_decides_by_what_the_people_compare(tmp_path: Path, *, right: bool, answer: str) -> None:
    options = RelayOptions(identity_change=IdentityChange.REPLACE)

    def client(user_id: str, name: str) -> Client:
        return Client(user_id, relay=relay.url, store=f"sqlite:///{tmp_path}/{name}.db", options=FEW, drain_s=0.5)

    async with (
        asyncio.timeout(30),
        Relay(store=f"sqlite:///{tmp_path}/relay.db", options=options) as relay,
        client("alice", "alice") as alice,
    ):
        async with client("bob", "old") as bob:
            await bob.connected(10)
            await alice.send("bob", "hello")
            while not await bob.identities("alice"):
                await bob.receive(10)
        async with client("bob", "new") as bob:
            await bob.connected(10)
            await alice.send("bob", "are you there?")
            event = await changed(alice)
            digits = event.shown_number if right else event.on_record_number[::-1]
            assert (await example()(alice, event, digits)).startswith(answer)
