"""Restored stores and clones over real sockets, real files and the real relay (messaging section 4).

The relay overhears every ciphertext; from the moment at which a rollback can be noticed, no message key may seal a
second thing.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest

from e2ee import (
    Client,
    ClientEnded,
    ClientOptions,
    DirectMessage,
    HistoryGap,
    OpenElsewhere,
    Relay,
    RelayHooks,
    StoreRolledBack,
    UserIdTaken,
)
from e2ee.frames import Login, Submit
from e2ee.relay.hooks import Verdict
from e2ee.shell import backoff
from tests.support.key_use import keys_used_twice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from e2ee.frames import ClientFrame, EnvelopeKind, UnknownFrame
    from e2ee.relay.hooks import Peer

LIMIT_S = 20.0  # a test that hangs fails
FEW_PREKEYS = ClientOptions(one_time_prekeys=3)


class World:
    """A relay that listens, and a folder of stores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.overheard: list[tuple[tuple[str, int], tuple[str, int], EnvelopeKind, bytes]] = []
        self.logins = 0
        self.heard = asyncio.Event()  # a frame, of anybody
        self.relay = Relay(store=f"sqlite:///{folder}/relay.db", hooks=RelayHooks(on_inbound=self.listen))

    def listen(self, peer: Peer, frame: ClientFrame | UnknownFrame) -> Verdict:
        self.logins += isinstance(frame, Login)
        self.heard.set()
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

    def client(self, user_id: str, *, store: str | None = None, accept_rollback: bool = False) -> Client:
        return Client(
            user_id,
            relay=self.relay.url,
            store=f"sqlite:///{self.path(store or user_id)}",
            options=FEW_PREKEYS,
            accept_rollback=accept_rollback,
        )

    @asynccontextmanager
    async def both(self) -> AsyncIterator[tuple[Client, Client]]:
        """Alice and Bob, connected."""
        async with self.client("alice") as alice, self.client("bob") as bob:
            await alice.connected(LIMIT_S)
            await bob.connected(LIMIT_S)
            yield alice, bob

    async def talk(self, texts: str) -> None:
        """Alice and Bob say something to each other, and close."""
        async with self.both() as (alice, bob):
            await exchange(alice, bob, texts)

    def copy(self, name: str, target: str) -> None:
        """Copy a store as it is, open or not: SQLite's own way, that of a hot backup."""
        with (
            closing(sqlite3.connect(self.path(name))) as source,
            closing(sqlite3.connect(self.path(target))) as copy,
        ):
            source.backup(copy)

    def put_back(self, backup: str, name: str) -> int:
        """Put a copy in the place of a store that is closed; return how much was overheard until then."""
        shutil.copy(self.path(backup), self.path(name))
        return len(self.overheard)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    async with asyncio.timeout(2 * LIMIT_S), made.relay:
        yield made


async def until_text(client: Client, text: str) -> list[object]:
    """Read events up to a message; return those before it."""
    before: list[object] = []
    while True:
        event = await client.receive(LIMIT_S)
        if isinstance(event, DirectMessage) and event.text == text:
            return before
        before.append(event)


async def exchange(first: Client, second: Client, text: str) -> list[object]:
    """One message each way; return what else the first was told."""
    await first.send(second.user_id, text)
    await until_text(second, text)
    await second.send(first.user_id, f"{text}, back")
    return await until_text(first, f"{text}, back")


@pytest.mark.parametrize("restored", ["alice", "bob"])
async def test_a_copy_of_a_closed_store_is_put_back_and_both_talk_on(world: World, restored: str) -> None:
    await world.talk("first")
    shutil.copy(world.path(restored), world.path("copy"))
    await world.talk("lost")
    noticed = world.put_back("copy", restored)
    async with world.both() as (alice, bob):
        one, other = (alice, bob) if restored == "alice" else (bob, alice)
        gaps = [event for event in await exchange(one, other, "after") if isinstance(event, HistoryGap)]
        await exchange(other, one, "again")
    assert len(gaps) == 1
    assert gaps[0].received > 0
    assert gaps[0].sent > 0
    assert keys_used_twice(world.overheard, noticed) == []


@pytest.mark.parametrize("restored", ["alice", "bob"])
async def test_a_hot_backup_made_while_messages_are_under_way_is_put_back_and_both_talk_on(
    world: World, restored: str
) -> None:
    async with world.both() as (alice, bob):
        await exchange(alice, bob, "first")
        for number in range(10):
            await alice.send("bob", f"{number} of alice")
            await bob.send("alice", f"{number} of bob")
        await asyncio.to_thread(world.copy, restored, "copy")
        await until_text(bob, "9 of alice")
        await until_text(alice, "9 of bob")
        await exchange(alice, bob, "lost")
    noticed = world.put_back("copy", restored)
    async with world.both() as (alice, bob):
        await exchange(alice, bob, "after")
        await exchange(bob, alice, "again")
    assert keys_used_twice(world.overheard, noticed) == []


async def test_the_second_rollback_within_a_day_is_the_applications_to_accept(world: World) -> None:
    await world.talk("first")
    shutil.copy(world.path("alice"), world.path("copy"))
    await world.talk("lost")
    world.put_back("copy", "alice")
    await world.talk("after")  # by itself
    shutil.copy(world.path("alice"), world.path("copy"))
    await world.talk("lost again")
    noticed = world.put_back("copy", "alice")
    async with world.client("bob") as bob, world.client("alice") as alice:
        await alice.send("bob", "queued")
        with pytest.raises(StoreRolledBack, match="accept_rollback"):
            await alice.connected(LIMIT_S)
        with pytest.raises(StoreRolledBack):
            await alice.send("bob", "refused")
        assert [sender for sender, *_ in world.overheard[noticed:] if sender == ("alice", 1)] == []
        await alice.accept_rollback()
        await alice.connected(LIMIT_S)
        await until_text(bob, "queued")
        await exchange(alice, bob, "accepted")
    noticed = world.put_back("copy", "alice")
    async with world.client("alice", accept_rollback=True) as alice, world.client("bob") as bob:
        await exchange(alice, bob, "accepted beforehand")
    assert keys_used_twice(world.overheard, noticed) == []


async def test_accepting_with_nothing_to_accept_changes_nothing(world: World) -> None:
    async with world.both() as (alice, bob):
        await asyncio.gather(alice.accept_rollback(), alice.accept_rollback())
        await exchange(alice, bob, "first")


async def test_an_end_for_another_reason_is_not_undone_by_accepting_a_rollback(world: World) -> None:
    await world.talk("first")
    world.path("alice").unlink()
    async with world.client("alice") as alice:
        for call in (alice.connected(LIMIT_S), alice.accept_rollback()):
            with pytest.raises(UserIdTaken):
                await call


async def test_two_clones_do_not_fight_for_ever_and_one_of_them_talks_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A minute, in which each lets the other be, would be long for a test; `test_backoff.py` has it as it is.
    monkeypatch.setattr(backoff, "REPLACED_PAUSE_S", 0.2)
    async with world.client("bob") as bob, world.client("alice") as first:
        await exchange(first, bob, "first")
        await asyncio.to_thread(world.copy, "alice", "clone")
        async with world.client("alice", store="clone") as second:
            clones = [first, second]
            ended: list[ClientEnded] = []
            number = 0
            while not ended:
                world.heard.clear()
                for clone in list(clones):
                    try:
                        await clone.send("bob", f"message {number}")
                    except ClientEnded as error:
                        ended.append(error)
                        clones.remove(clone)
                    number += 1
                await world.heard.wait()  # of whoever is connected, or connects
            (left,) = clones
            assert isinstance(ended[0], OpenElsewhere | StoreRolledBack)
            await left.connected(LIMIT_S)
            await exchange(left, bob, "last")  # behind whatever was left of the fight
            noticed = len(world.overheard)
            for number in range(3):
                await exchange(left, bob, f"very last {number}")
    assert world.logins < 20
    assert keys_used_twice(world.overheard, noticed) == []


async def test_a_clone_that_comes_later_meets_the_counters_and_starts_afresh(world: World) -> None:
    await world.talk("first")
    shutil.copy(world.path("alice"), world.path("clone"))
    await world.talk("second")
    noticed = len(world.overheard)
    async with world.client("alice", store="clone") as clone, world.client("bob") as bob:
        told = await exchange(clone, bob, "third")
        assert any(isinstance(event, HistoryGap) for event in told)
    async with world.both() as (alice, bob):  # the other one is behind now
        told = await exchange(alice, bob, "fourth")
        assert any(isinstance(event, HistoryGap) for event in told)
        await exchange(alice, bob, "fifth")
    assert keys_used_twice(world.overheard, noticed) == []
