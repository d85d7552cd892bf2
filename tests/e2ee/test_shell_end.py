"""How the asyncio shell takes faults, and how a client ends or is closed."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from e2ee import frames
from e2ee.errors import (
    ClientEnded,
    ConnectionEnded,
    InvalidArgument,
    NotAuthorized,
    RefusalCode,
    StoreGone,
    StoreRolledBack,
    UserIdTaken,
)
from e2ee.events import CaughtUp
from e2ee.shell import Shell, Surroundings
from e2ee.shell.backoff import RECONNECT_MIN_S
from store import StoreLost
from tests.support.memory_carrier import MemoryCarrier
from tests.support.scripted_relay import CHALLENGE, SUBMITTED
from tests.support.shell_world import EPOCH, ShellWorld, error_of, opened
from tests.support.tiny_engine import TinyEngine, mail

# Faults and ends.


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (RefusalCode.IDENTITY_TAKEN, UserIdTaken),
        (RefusalCode.NOT_AUTHORIZED, NotAuthorized),
        (RefusalCode.ROLLED_BACK, StoreRolledBack),
    ],
)
async def test_a_final_refusal_ends_the_client_for_every_caller(code: RefusalCode, error: type[ClientEnded]) -> None:
    async with opened() as world:
        relay = await world.carrier.connections.get()
        relay.says(CHALLENGE, frames.Closing(code, "", None))
        assert type(await error_of(world)) is error
        with pytest.raises(error):
            await world.shell.send("bob", "hello")
        with pytest.raises(error):
            world.shell.take_live()


async def test_an_engine_that_ends_the_client_ends_the_connection() -> None:
    def rolled_back() -> None:
        raise StoreRolledBack("older than the relay remembers")

    async with opened() as world:
        world.engine.before["connected"] = rolled_back
        relay = await world.carrier.connections.get()
        relay.says(CHALLENGE)
        await relay.hears()
        relay.says(frames.Welcome(1, 9, 9, 9, 0, 0, 0))
        assert str(await error_of(world)) == "older than the relay remembers"
        await relay.closed.wait()
        assert world.carrier.attempts == 1


async def test_a_store_that_is_lost_ends_the_client_and_nothing_more_is_acknowledged() -> None:
    def lost() -> None:
        raise StoreLost("somebody else has it")

    async with opened() as world:
        relay = await world.accept()
        world.engine.before["push"] = lost
        relay.says(mail(1))
        error = await error_of_end(world)
        assert isinstance(error, StoreGone)
        assert isinstance(error.__cause__, StoreLost)
        await relay.closed.wait()
        with pytest.raises(ConnectionEnded):
            await relay.hears()


async def error_of_end(world: ShellWorld) -> ClientEnded:
    await world.until(lambda: world.shell.ended is not None)
    return await error_of(world)


async def test_an_error_of_the_caller_changes_nothing_else() -> None:
    async with opened() as world:
        relay = await world.accept()
        with pytest.raises(InvalidArgument):
            await world.shell.send("", "hello")
        await world.shell.send("bob", "hello")
        assert isinstance(await relay.hears(), frames.Submit)


async def test_a_fault_in_a_step_costs_the_connection_and_not_the_client(caplog: pytest.LogCaptureFixture) -> None:
    def fault() -> None:
        raise LookupError("canary")

    async with opened() as world:
        first = await world.accept()
        world.engine.before["push"] = fault
        first.says(mail(1))
        await world.after_disconnection(first)
        del world.engine.before["push"]
        world.timers.advance(RECONNECT_MIN_S)
        second = await world.accept()
        second.says(mail(1))
        await world.until(lambda: bool(world.engine.inbox))
    assert "LookupError" in caplog.text
    assert "canary" not in caplog.text


class FaultyCarrier(MemoryCarrier):
    async def receive(self) -> bytes:
        raise LookupError("a fault of the carrier")


async def test_a_carrier_with_a_fault_ends_the_client_and_is_named_as_the_cause() -> None:
    engine = TinyEngine()
    shell = Shell(FaultyCarrier(), Surroundings())
    await shell.open(lambda: engine)
    with pytest.raises(ClientEnded) as raised:
        await shell.wait_connected(10)
    assert isinstance(raised.value.__cause__, LookupError)
    await shell.close(0)


# Opening and closing.


async def test_an_engine_that_does_not_open_says_so_and_leaves_no_thread() -> None:
    threads: list[threading.Thread] = []

    def fail() -> TinyEngine:
        threads.append(threading.current_thread())
        raise LookupError("no store")

    shell = Shell(MemoryCarrier(), Surroundings())
    with pytest.raises(LookupError):
        await shell.open(fail)
    threads[0].join(10)
    assert not threads[0].is_alive()
    assert not shell.is_open


async def test_closing_waits_until_what_was_sent_is_stored() -> None:
    async with opened() as world:
        await world.shell.send("bob", "hello")
        closing = asyncio.create_task(world.close(drain_s=10.0))
        relay = await world.accept()
        request = await relay.hears()
        assert isinstance(request, frames.Submit)
        assert not closing.done()
        relay.says(replace(SUBMITTED, request=request.request))
        await closing
        assert world.engine.outbox == {}
        assert world.engine.steps[-2:] == ["disconnected", "close"]


async def test_closing_waits_no_longer_than_it_was_told() -> None:
    async with opened() as world:
        await world.accept()
        await world.shell.send("bob", "hello")
        await world.close(drain_s=0.01)
        assert world.engine.closed
        assert len(world.engine.outbox) == 1


async def test_closing_lets_the_engine_finish_what_waits_for_company() -> None:
    async with opened() as world:
        await world.accept()
        await world.close(drain_s=1.0)
        assert "finish" in world.engine.steps


async def test_a_fault_while_closing_stops_neither_the_parting_nor_the_release() -> None:
    def fault() -> None:
        raise LookupError("a fault of the engine")

    async with opened() as world:
        relay = await world.accept()
        world.engine.before["finish"] = fault
        await world.close(drain_s=10.0)
        assert relay.closed.is_set()
        assert world.engine.closed


async def test_a_closing_that_is_cancelled_releases_the_store_all_the_same() -> None:
    async with opened() as world:
        relay = await world.accept()
        await world.shell.send("bob", "hello")
        closing = asyncio.create_task(world.close(drain_s=10.0))
        await world.until(lambda: "finish" in world.engine.steps)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert relay.closed.is_set()
        assert world.engine.closed


async def test_closing_acknowledges_what_was_committed() -> None:
    async with opened() as world:
        relay = await world.accept()
        relay.says(mail(3), frames.Drained(3))
        await world.until(lambda: CaughtUp() in world.shell._live)
        await world.close()
        assert await relay.hears() == frames.Acknowledge(3)


async def test_a_client_that_has_ended_closes_its_engine_too() -> None:
    async with opened() as world:
        relay = await world.carrier.connections.get()
        relay.says(frames.Closing(RefusalCode.IDENTITY_TAKEN, "", None))
        await error_of(world)
        await world.close(drain_s=10.0)
        assert world.engine.steps == ["close"]


async def test_a_closed_client_takes_no_calls() -> None:
    async with opened() as world:
        await world.close()
        with pytest.raises(InvalidArgument, match="not open"):
            await world.shell.send("bob", "hello")


async def test_after_closing_no_timer_is_left() -> None:
    engine = TinyEngine()
    engine.wake_at = EPOCH + 500.0
    async with opened(engine) as world:
        await world.accept()
        await world.close()
        assert world.timers.next_at is None
