"""Recovery over real sockets and real files: sessions lost or put back, both sides at once, and what is gone."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest

from e2ee import Client, DeliveryState, DirectMessage, MessageHealed, MessageLost, MessagesResent, MessageState, Reason
from e2ee import Relay as ARelay
from store import ClientStore
from tests.support.damage import copy_session, forget_session, put_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from e2ee import Event, MessageId
    from ratchet import Session

Kind = TypeVar("Kind", bound="Event")
LIMIT_S = 30.0  # a test that hangs fails


class Person(Client):
    """A client that keeps the events which it was not asked for yet."""

    passed: list[Event]

    async def until(self, kind: type[Kind], wanted: Callable[[Kind], bool] = lambda _event: True) -> Kind:
        """The next event of a kind that is wanted; those before it are kept for later."""
        passed = self.__dict__.setdefault("passed", [])
        for event in passed:
            if isinstance(event, kind) and wanted(event):
                passed.remove(event)
                return event
        async for event in self.events():
            await self.acknowledge(event)
            if isinstance(event, kind) and wanted(event):
                return event
            passed.append(event)
        raise AssertionError("the events ended")

    async def delivered(self, message_id: MessageId) -> None:
        """Wait until a device of the recipient has a message."""
        await self.until(
            MessageState, lambda event: event.message_id == message_id and event.state is DeliveryState.DELIVERED
        )

    async def text(self) -> str | None:
        """The text of the next message."""
        return (await self.until(DirectMessage)).text


class Talk:
    """A relay, and two people who come and go; between two visits their stores can be damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.relay = ARelay(store=f"sqlite:///{folder}/relay.db")
        self.inside = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.inside.enter_async_context(self.relay)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.inside.aclose()

    def url(self, user: str) -> str:
        return f"sqlite:///{self.folder}/{user}.db"

    def client(self, user: str, passphrase: str | None = None) -> Person:
        return Person(user, relay=self.relay.url, store=self.url(user), passphrase=passphrase)

    async def damage(self, user: str, how: Callable[[ClientStore], None]) -> None:
        await asyncio.to_thread(self._damage, user, how)

    def _damage(self, user: str, how: Callable[[ClientStore], None]) -> None:
        with ClientStore.open(self.url(user)) as store:
            how(store)

    async def start(self) -> None:
        """Both write to each other, and part."""
        async with self.client("alice") as alice, self.client("bob") as bob:
            await bob.connected(LIMIT_S)
            await alice.send("bob", "hello")
            await bob.until(DirectMessage)
            await bob.delivered(await bob.send("alice", "hello yourself"))
            await alice.until(DirectMessage)
            await alice.delivered(await alice.send("bob", "how are you?"))
            await bob.until(DirectMessage)


async def test_a_message_for_a_session_that_was_lost_arrives_and_is_confirmed(tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), Talk(tmp_path) as talk:
        await talk.start()
        await talk.damage("bob", lambda store: forget_session(store, "alice"))
        async with talk.client("alice") as alice, talk.client("bob") as bob:
            message_id = await alice.send("bob", "are you there?")
            assert await bob.text() == "are you there?"
            healed = await bob.until(MessageHealed)
            assert healed.message_id == message_id
            await alice.delivered(message_id)
            report = await bob.report()
            troubles = {trouble.correlation for trouble in report.troubles}
    assert set(healed.correlations) <= troubles
    assert report.heals == 1
    assert "alice" not in repr(report)
    assert "are you there" not in repr(report)


async def test_everything_that_an_old_copy_of_a_session_does_not_open_arrives_once(tmp_path: Path) -> None:
    copies: list[Session] = []
    async with asyncio.timeout(LIMIT_S), Talk(tmp_path) as talk:
        await talk.start()
        await talk.damage("bob", lambda store: copies.append(copy_session(store, "alice")))
        async with talk.client("alice") as alice, talk.client("bob") as bob:
            for number in range(3):
                await bob.delivered(await bob.send("alice", f"question {number}"))
                await alice.delivered(await alice.send("bob", f"answer {number}"))
            assert [await bob.text() for _ in range(3)] == ["answer 0", "answer 1", "answer 2"]
        await talk.damage("bob", lambda store: put_back(store, "alice", copies[0]))
        texts = [f"after {number}" for number in range(20)]
        async with talk.client("alice") as alice, talk.client("bob") as bob:
            for one in texts:
                await alice.send("bob", one)
            found = [await bob.until(DirectMessage) for _ in texts]
            assert sorted(texts) == sorted(str(one.text) for one in found)
            numbers = [one.conversation_number for one in found if not one.late]
            assert numbers == sorted(numbers)
            await bob.delivered(await bob.send("alice", "it works again"))


def keep_copy(copies: dict[str, Session], user: str, peer: str, store: ClientStore) -> None:
    copies[user] = copy_session(store, peer)


def use_copy(copies: dict[str, Session], user: str, peer: str, store: ClientStore) -> None:
    put_back(store, peer, copies[user])


async def test_both_sides_may_heal_at_once(tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), Talk(tmp_path) as talk:
        await talk.start()
        copies: dict[str, Session] = {}
        for user, peer in (("alice", "bob"), ("bob", "alice")):
            await talk.damage(user, partial(keep_copy, copies, user, peer))
        async with talk.client("alice") as alice, talk.client("bob") as bob:
            for number in range(2):
                await bob.delivered(await bob.send("alice", f"{number}"))
                await alice.delivered(await alice.send("bob", f"{number}"))
            assert [await alice.text(), await alice.text()] == ["0", "1"]
            assert [await bob.text(), await bob.text()] == ["0", "1"]
        for user, peer in (("alice", "bob"), ("bob", "alice")):
            await talk.damage(user, partial(use_copy, copies, user, peer))
        async with talk.client("alice") as alice, talk.client("bob") as bob:
            await asyncio.gather(alice.send("bob", "from alice"), bob.send("alice", "from bob"))
            assert [*await asyncio.gather(alice.text(), bob.text())] == ["from bob", "from alice"]
            await alice.delivered(await alice.send("bob", "and again"))
            await bob.delivered(await bob.send("alice", "and again"))
            assert [*await asyncio.gather(alice.text(), bob.text())] == ["and again", "and again"]


async def test_what_the_sender_has_not_kept_is_lost_and_said_so_at_both_ends(tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), Talk(tmp_path) as talk:
        await talk.start()
        async with talk.client("alice") as alice:
            message_id = await alice.send("bob", "soon forgotten")
            await alice.until(MessageState)
        await talk.damage("alice", lambda store: forget_message(store, message_id))
        await talk.damage("bob", lambda store: forget_session(store, "alice"))
        async with talk.client("alice") as alice, talk.client("bob") as bob:
            lost = await bob.until(MessageLost)
            resent = await alice.until(MessagesResent)
            await alice.delivered(await alice.send("bob", "this one is kept"))
            assert await bob.text() == "this one is kept"
            shown = {trouble.correlation for trouble in (await alice.report()).troubles}
    assert (lost.why, lost.count, resent.gone, resent.messages) == (Reason.NOT_KEPT, 1, 1, ())
    assert set(lost.correlations) <= shown


def forget_message(store: ClientStore, message_id: MessageId) -> None:
    with store.begin() as unit:
        assert unit.outgoing.take_out(bytes.fromhex(message_id)) is not None


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
async def test_healing_needs_no_open_application(tmp_path: Path, passphrase: str | None) -> None:
    async with asyncio.timeout(LIMIT_S), Talk(tmp_path) as talk:
        async with (
            talk.client("alice") as alice,
            talk.client("bob", passphrase) as bob,
        ):
            await bob.connected(LIMIT_S)
            await alice.delivered(await alice.send("bob", "hello"))
            await bob.delivered(await bob.send("alice", "hello"))
            await alice.delivered(await alice.send("bob", "hello"))
        await talk.damage("alice", lambda store: forget_session(store, "bob"))
        async with (
            talk.client("alice") as alice,
            talk.client("bob", passphrase) as bob,
        ):
            message_id = await bob.send("alice", "nobody reads at alice's")
            await bob.delivered(message_id)
            assert (await alice.report()).heals == 1
