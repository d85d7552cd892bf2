"""Several workers on one PostgreSQL schema: mail, replacement and removal cross from one to the other."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Final

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import (
    Done,
    Drained,
    Ping,
    Pong,
    Publish,
    Published,
    Removed,
    RemoveDevice,
    Subscribe,
    UserNotice,
    UserNotices,
    WatchUsers,
)
from e2ee.relay.limits import RelayOptions
from e2ee.relay.server import Relay
from tests.support import postgres
from tests.support.relay_client import wire
from tests.support.relay_device import Device

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow  # starts a server

SCHEMA_NUMBERS: Final = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture
def store(server: str) -> str:
    """A schema that is not there yet."""
    return f"{server}&schema=relay_{next(SCHEMA_NUMBERS)}"


async def test_mail_taken_by_one_worker_is_pushed_by_another_in_the_order_of_its_numbers(store: str) -> None:
    alice, bob = Device("alice"), Device("bob")
    async with (
        Relay(store=store) as first,
        Relay(store=store) as second,
        wire(first.url) as a,
        wire(second.url) as b,
    ):
        await b.join(bob)
        await a.join(alice)
        for number in range(20):
            await a.submitted(alice, bob, bytes([number, 0]), bytes([number, 1]))
        mail = await b.mail(40)
        assert [one.body for one in mail] == [bytes([number, part]) for number in range(20) for part in (0, 1)]
        assert [one.number for one in mail] == list(range(1, 41))


async def test_senders_at_two_workers_lose_nothing_at_a_reader_of_a_third(store: str) -> None:
    bob = Device("bob")
    async with Relay(store=store) as one, Relay(store=store) as two, Relay(store=store) as three, wire(three.url) as b:
        await b.join(bob)

        async def send(relay: Relay, sender: Device) -> None:
            async with wire(relay.url) as line:
                await line.join(sender)
                for number in range(25):
                    assert (await line.submitted(sender, bob, bytes([number]))).refusal is None

        await asyncio.gather(*(send(relay, Device(f"s{n}")) for n, relay in enumerate((one, two, one, two))))
        mail = await b.mail(100)
        assert [one.number for one in mail] == list(range(1, 101))


async def test_a_device_that_connects_to_another_worker_is_closed_at_the_first(store: str) -> None:
    alice = Device("alice")
    async with (
        Relay(store=store) as first,
        Relay(store=store) as second,
        wire(first.url) as old,
        wire(second.url) as new,
    ):
        await old.log_in(alice)
        await new.log_in(alice)
        assert await old.code() is RefusalCode.REPLACED
        await new.send(Ping(0, 1))
        assert (await new.one(Pong)).request == 1


async def test_a_device_removed_at_one_worker_is_closed_at_another(store: str) -> None:
    alice = Device("alice")
    lost = Device("alice", 2, of=alice)
    async with Relay(store=store) as first, Relay(store=store) as second, wire(first.url) as a, wire(second.url) as b:
        await a.join(alice)
        await b.join(lost)
        await a.send(RemoveDevice(0, 50, 2))
        await a.one(Removed)
        assert await b.code() is RefusalCode.NOT_AUTHORIZED


async def test_what_wake_ups_missed_is_found_by_polling(store: str) -> None:
    alice, bob = Device("alice"), Device("bob")
    async with (
        Relay(store=store) as first,
        Relay(store=store, options=RelayOptions(poll_s=0.5)) as second,
        wire(first.url) as a,
        wire(second.url) as b,
    ):
        await b.join(bob)
        await b.one(Drained)
        await a.join(alice)
        assert second._wake_ups is not None
        await asyncio.to_thread(second._wake_ups.stop)
        await a.submitted(alice, bob, b"nobody told")
        assert [one.body for one in await b.mail(1)] == [b"nobody told"]


async def test_what_is_published_at_one_worker_is_heard_once_by_the_subscribers_of_all(store: str) -> None:
    alice, bob, carol = Device("alice"), Device("bob"), Device("carol")
    async with (
        Relay(store=store) as first,
        Relay(store=store) as second,
        wire(first.url) as a,
        wire(first.url) as b,
        wire(second.url) as c,
    ):
        await a.log_in(alice)
        for line, device in ((b, bob), (c, carol)):
            await line.log_in(device)
            await line.send(Subscribe(0, 1, "news"))
            await line.one(Done)
        for _ in range(3):
            await a.send(Publish(0, 1, "news", bytes(4096)))
        for line in (b, c):
            for _ in range(3):
                assert await line.one(Published) == Published("news", "alice", 1, bytes(4096))
            await line.send(Ping(0, 2))
            await line.one(Pong)
            assert not any(isinstance(one, Published) for one in line.kept)


async def test_who_watches_the_directory_hears_of_users_of_other_workers(store: str) -> None:
    options = RelayOptions(directory=True)
    async with (
        Relay(store=store, options=options) as first,
        Relay(store=store, options=options) as second,
        wire(first.url) as a,
        wire(second.url) as b,
    ):
        await a.log_in(Device("alice"))
        await a.send(WatchUsers(0, 1, on=True))
        assert await a.one(UserNotices) == UserNotices((UserNotice("alice", exists=True),))
        await b.log_in(Device("bob"))
        assert await a.one(UserNotices) == UserNotices((UserNotice("bob", exists=True),))
