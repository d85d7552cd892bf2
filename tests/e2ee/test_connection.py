"""A carrier and a link joined into one connection: what passes, what ends it, and that nothing is left behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from e2ee import frames
from e2ee.errors import ConnectionEnded, RefusalCode
from e2ee.limits import CHALLENGE_AGE_MAX_S, HEARTBEAT_S, REPLY_AGE_MAX_S
from e2ee.link import ACKNOWLEDGE_DELAY_S, Challenged, LinkDown, LinkUp, Pushed, Replied
from e2ee.shell.connection import Connection
from tests.support.memory_carrier import MemoryCarrier, RelayEnd
from tests.support.scripted_relay import CHALLENGE, CLOSING, DELIVER, LOGIN, SUBMITTED, WELCOME, submit
from tests.support.timers import FakeTimers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from e2ee.link import LinkEvent


async def at_once() -> None:
    pass


@dataclass
class World:
    carrier: MemoryCarrier
    timers: FakeTimers
    connection: Connection
    running: asyncio.Task[LinkDown]
    events: asyncio.Queue[LinkEvent]
    gate: asyncio.Event
    relay: RelayEnd = field(init=False)

    async def up(self) -> World:
        self.relay = await self.carrier.connections.get()
        self.relay.says(CHALLENGE)
        assert await self.events.get() == Challenged(CHALLENGE)
        self.connection.login(LOGIN)
        assert await self.relay.hears() == LOGIN
        self.relay.says(WELCOME)
        assert await self.events.get() == LinkUp(WELCOME)
        return self


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    carrier, timers, gate = MemoryCarrier(), FakeTimers(), asyncio.Event()
    gate.set()
    events: asyncio.Queue[LinkEvent] = asyncio.Queue()

    async def ready() -> None:
        await gate.wait()

    connection = Connection(carrier, timers, on_event=events.put_nowait, ready=ready)
    running = asyncio.create_task(connection.run())
    try:
        yield World(carrier, timers, connection, running, events, gate)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_login_passes_both_ways() -> None:
    async with world() as here:
        await here.up()
        assert here.connection.is_up


async def test_a_request_and_its_reply_pass() -> None:
    async with world() as here:
        await here.up()
        here.connection.request(submit(1))
        assert await here.relay.hears() == replace(submit(1), request=1)
        assert here.connection.is_idle is False
        here.relay.says(SUBMITTED)
        assert await here.events.get() == Replied(submit(1), SUBMITTED)


async def test_an_acknowledgement_goes_when_the_clock_says_so() -> None:
    async with world() as here:
        await here.up()
        here.connection.acknowledge(8)
        here.timers.advance(ACKNOWLEDGE_DELAY_S)
        assert await here.relay.hears() == frames.Acknowledge(8)


async def test_a_relay_that_cannot_be_reached_is_the_end() -> None:
    carrier = MemoryCarrier()
    carrier.reachable = False
    connection = Connection(carrier, FakeTimers(), on_event=lambda _event: None, ready=at_once)
    assert await connection.run() == LinkDown(None, None, "unreachable")


async def test_a_connection_that_breaks_is_the_end() -> None:
    async with world() as here:
        await here.up()
        here.relay.break_off()
        assert await here.running == LinkDown(None, None, "broken off")
        assert here.connection.is_up is False


async def test_the_relays_last_word_is_the_end_and_the_carrier_is_closed() -> None:
    async with world() as here:
        await here.up()
        here.relay.says(CLOSING)
        assert (await here.running).code is RefusalCode.SHUTTING_DOWN
        assert here.relay.closed.is_set()


async def test_closing_sends_what_was_asked_before_and_the_last_acknowledgement() -> None:
    async with world() as here:
        await here.up()
        here.connection.request(submit(1))
        here.connection.acknowledge(8)
        here.connection.close()
        await here.running
        assert await here.relay.hears() == replace(submit(1), request=1)
        assert await here.relay.hears() == frames.Acknowledge(8)
        with pytest.raises(ConnectionEnded):
            await here.relay.hears()


async def test_a_silent_relay_is_asked_and_then_left() -> None:
    async with world() as here:
        await here.up()
        here.timers.advance(HEARTBEAT_S)
        assert await here.relay.hears() == frames.Ping(0, 1)
        here.timers.advance(REPLY_AGE_MAX_S)
        assert (await here.running).reason == "no reply to a Ping in time"


async def test_a_relay_that_talks_is_not_asked() -> None:
    async with world() as here:
        await here.up()
        for _ in range(10):
            here.timers.advance(HEARTBEAT_S * 0.9)
            here.relay.says(DELIVER)
            assert await here.events.get() == Pushed(DELIVER)
        assert here.relay.from_client.empty()


async def test_a_relay_without_a_challenge_is_left() -> None:
    async with world() as here:
        relay = await here.carrier.connections.get()
        here.timers.advance(CHALLENGE_AGE_MAX_S)
        await here.running
        assert relay.closed.is_set()


async def test_while_nobody_is_ready_nothing_more_is_read() -> None:
    async with world() as here:
        await here.up()
        here.gate.clear()
        here.relay.says(*[DELIVER] * 5)
        await here.events.get()
        for _ in range(20):
            await asyncio.sleep(0)
        assert here.events.empty()
        assert here.relay.to_client.qsize() == 4
        here.gate.set()
        for _ in range(4):
            await here.events.get()


async def test_a_connection_that_is_cancelled_closes_its_carrier_and_leaves_no_timer() -> None:
    async with world() as here:
        await here.up()
        here.running.cancel()
        await asyncio.gather(here.running, return_exceptions=True)
        assert here.relay.closed.is_set()
        assert here.timers.next_at is None


async def test_before_it_is_connected_nothing_is_sent_and_nothing_fails() -> None:
    connection = Connection(MemoryCarrier(), FakeTimers(), on_event=lambda _event: None, ready=at_once)
    connection.login(LOGIN)
    connection.request(submit(1))
    connection.acknowledge(1)
    connection.close()
    assert (connection.is_up, connection.is_idle) == (False, True)


class FaultyCarrier(MemoryCarrier):
    """Of an application that does not keep to the protocol."""

    async def receive(self) -> bytes:
        raise LookupError("a fault of the carrier")


async def test_what_a_faulty_carrier_raises_is_not_swallowed() -> None:
    connection = Connection(FaultyCarrier(), FakeTimers(), on_event=lambda _event: None, ready=at_once)
    with pytest.raises(LookupError, match="a fault of the carrier"):
        await connection.run()


class HalfDeafCarrier(MemoryCarrier):
    """Whose line breaks for sending only."""

    async def send(self, data: bytes) -> None:
        raise ConnectionEnded(f"could not send {len(data)} bytes")


async def test_a_line_that_takes_nothing_is_the_end() -> None:
    carrier = HalfDeafCarrier()
    events: asyncio.Queue[LinkEvent] = asyncio.Queue()
    connection = Connection(carrier, FakeTimers(), on_event=events.put_nowait, ready=at_once)
    running = asyncio.create_task(connection.run())
    (await carrier.connections.get()).says(CHALLENGE)
    await events.get()
    connection.login(LOGIN)
    assert (await running).reason.startswith("could not send")


class StuckCarrier(MemoryCarrier):
    """Whose other end takes nothing more after the login."""

    async def send(self, data: bytes) -> None:
        await super().send(data)
        if self._connected().from_client.qsize() > 1:
            await asyncio.Event().wait()


@pytest.mark.slow
async def test_a_carrier_that_is_stuck_is_given_up_after_a_moment() -> None:
    carrier = StuckCarrier()
    events: asyncio.Queue[LinkEvent] = asyncio.Queue()
    connection = Connection(carrier, FakeTimers(), on_event=events.put_nowait, ready=at_once)
    running = asyncio.create_task(connection.run())
    relay = await carrier.connections.get()
    relay.says(CHALLENGE)
    await events.get()
    connection.login(LOGIN)
    relay.says(WELCOME)
    await events.get()
    connection.request(submit(1))
    await asyncio.sleep(0)
    connection.close()
    assert (await running).reason == "closed by this client"
    assert relay.closed.is_set()
