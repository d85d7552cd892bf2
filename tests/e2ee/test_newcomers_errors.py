"""What goes wrong on a first day is one line that says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2ee import Client, E2eeError, Relay, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOBODY = "ws://127.0.0.1:9"  # the discard port: nothing listens


@pytest.mark.parametrize(
    ("arguments", "step"),
    [
        ({"user_id": "al ice"}, "no control characters, white space"),
        ({"device_id": 0}, "1 to 127"),
        ({"relay": "relay.example"}, "ws or wss"),
        ({"relay": "ws://relay.example"}, "use wss://"),
        ({"token": b"secret"}, "use wss://"),
        ({"store": "alice.db"}, "sqlite:///file.db is one"),
        ({"store": "mysql://localhost"}, "sqlite and postgresql"),
        ({"passphrase": "two words"}, "open it without passphrase"),
        ({"user_id": "bob"}, "open it as that one"),
    ],
)
async def test_a_wrong_argument_is_answered_with_the_right_one(
    arguments: Mapping[str, Any], step: str, tmp_path: Path
) -> None:
    usual: dict[str, Any] = {"relay": NOBODY, "store": f"sqlite:///{tmp_path}/alice.db", "drain_s": 0.0}
    async with Client("alice", **usual):
        pass
    with pytest.raises((E2eeError, StoreError)) as raised:
        async with Client(**{"user_id": "alice", **usual, **arguments}):
            pass
    assert step in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_a_sealed_store_asks_for_its_own_passphrase(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/alice.db"
    async with Client("alice", relay=NOBODY, store=store, passphrase="one word", drain_s=0.0):
        pass
    with pytest.raises(StoreError, match="give its passphrase"):
        await Client("alice", relay=NOBODY, store=store).__aenter__()
    with pytest.raises(StoreError, match="give the one it was sealed with"):
        await Client("alice", relay=NOBODY, store=store, passphrase="two words").__aenter__()


async def test_a_store_in_use_says_who_has_it_and_what_to_do(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/alice.db"
    async with Client("alice", relay=NOBODY, store=store, drain_s=0.0):
        with pytest.raises(StoreError, match=r"by process .*: close it there, or use a store of its own"):
            async with Client("alice", relay=NOBODY, store=store, drain_s=0.0):
                pass


async def test_a_relay_that_is_not_running_is_asked_about() -> None:
    async with Client("alice", relay=NOBODY, store="sqlite://", drain_s=0.0) as alice:
        with pytest.raises(TimeoutError, match="is it running, and its address right"):
            await alice.connected(0.5)


async def test_a_group_that_is_not_known_is_to_be_joined_first() -> None:
    async with Client("alice", relay=NOBODY, store="sqlite://", drain_s=0.0) as alice:
        with pytest.raises(E2eeError, match="join it first"):
            await alice.send_group("team", "hello")


async def test_a_user_id_that_somebody_has_is_told_so(tmp_path: Path) -> None:
    async with Relay(store="sqlite://") as relay, Client("alice", relay=relay.url, store="sqlite://") as alice:
        await alice.connected(30)
        async with Client("alice", relay=relay.url, store=f"sqlite:///{tmp_path}/other.db", drain_s=0.0) as other:
            with pytest.raises(E2eeError, match="choose another, or open the store that has it"):
                await other.connected(30)
