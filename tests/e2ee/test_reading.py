"""What an application gets when it reads its events, and when each is acknowledged (messaging section 12)."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from e2ee import frames
from e2ee.calls.reading import EVENTS_BATCH, EventReader
from e2ee.engine import Engine
from e2ee.errors import InvalidArgument, RefusalCode, UserIdTaken
from e2ee.events import CaughtUp, Connected, DirectMessage, Disconnected
from e2ee.shell.steps import EngineSteps
from tests.support.shell_world import ShellWorld, opened
from tests.support.tiny_engine import mail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from e2ee.events import Event
    from tests.support.memory_carrier import RelayEnd


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ShellWorld, RelayEnd]]:
    """A world that is connected, with that event taken."""
    async with opened() as world:
        relay = await world.accept()
        assert world.shell.take_live() == Connected()
        yield world, relay


def number_of(event: Event) -> int:
    assert isinstance(event, DirectMessage)
    return event.number


async def read_all(world: ShellWorld) -> list[Event]:
    return [event async for event in EventReader(world.shell, on_next=True)]


async def test_messages_come_in_order() -> None:
    async with connected() as (world, relay):
        relay.says(mail(1, 2), mail(3))
        reader = EventReader(world.shell, on_next=True)
        assert [number_of(await anext(reader)) for _ in range(3)] == [1, 2, 3]


async def test_a_reader_waits_for_what_comes_later() -> None:
    async with connected() as (world, relay):
        reader = EventReader(world.shell, on_next=True)
        waiting = asyncio.ensure_future(anext(reader))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        relay.says(mail(1))
        assert number_of(await waiting) == 1


async def test_what_an_earlier_run_has_left_comes_without_a_connection() -> None:
    world = ShellWorld()
    world.engine.push_offline(mail(4))
    await world.shell.open(lambda: world.engine)
    assert number_of(await anext(EventReader(world.shell, on_next=True))) == 4
    await world.close()


async def test_more_than_is_read_at_once_comes_in_order_too() -> None:
    async with connected() as (world, relay):
        count = 2 * EVENTS_BATCH + 3
        relay.says(*[mail(number) for number in range(1, count + 1)])
        reader = EventReader(world.shell, on_next=False)
        assert [number_of(await anext(reader)) for _ in range(count)] == list(range(1, count + 1))


async def test_asking_for_the_next_event_acknowledges_the_one_before() -> None:
    async with connected() as (world, relay):
        relay.says(mail(1, 2))
        reader = EventReader(world.shell, on_next=True)
        await anext(reader)
        assert sorted(world.engine.inbox) == [1, 2]
        await anext(reader)
        assert sorted(world.engine.inbox) == [2]


async def test_what_a_reader_left_with_was_not_acknowledged_and_comes_again_counted() -> None:
    async with connected() as (world, relay):
        relay.says(mail(1, 2))
        first = EventReader(world.shell, on_next=True)
        await anext(first)
        await anext(first)
        first.supersede()
        again = await anext(EventReader(world.shell, on_next=True))
        assert number_of(again) == 2
        assert isinstance(again, DirectMessage)
        assert again.redelivered == 1


async def test_in_manual_mode_nothing_is_acknowledged_by_going_on_and_nothing_comes_twice() -> None:
    async with connected() as (world, relay):
        relay.says(mail(1, 2, 3))
        reader = EventReader(world.shell, on_next=False)
        assert [number_of(await anext(reader)) for _ in range(3)] == [1, 2, 3]
        relay.says(mail(4))
        assert number_of(await anext(reader)) == 4
        assert sorted(world.engine.inbox) == [1, 2, 3, 4]


async def test_live_events_come_after_the_mail_that_they_speak_of() -> None:
    async with connected() as (world, relay):
        relay.says(mail(1), frames.Drained(1))
        await world.until(lambda: CaughtUp() in world.shell._live)
        reader = EventReader(world.shell, on_next=True)
        assert number_of(await anext(reader)) == 1
        assert await anext(reader) == CaughtUp()


async def test_a_reader_who_is_cancelled_loses_nothing() -> None:
    async with connected() as (world, relay):
        reader = EventReader(world.shell, on_next=True)
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        relay.says(mail(1))
        assert number_of(await anext(reader)) == 1


async def test_two_cannot_wait_at_once() -> None:
    async with connected() as (world, _relay):
        reader = EventReader(world.shell, on_next=True)
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        with pytest.raises(InvalidArgument, match="one consumer"):
            await anext(reader)
        with pytest.raises(InvalidArgument, match="one consumer"):
            reader.supersede()
        waiting.cancel()


async def test_a_reader_who_was_superseded_gets_nothing_more() -> None:
    async with connected() as (world, relay):
        relay.says(mail(1))
        reader = EventReader(world.shell, on_next=True)
        reader.supersede()
        with pytest.raises(InvalidArgument, match="taken over"):
            await anext(reader)


async def test_a_reader_ends_when_the_client_is_closed() -> None:
    async with connected() as (world, _relay):
        reading = asyncio.create_task(read_all(world))
        await asyncio.sleep(0)
        await world.close()
        assert await reading in ([], [Disconnected()])


async def test_a_reader_is_told_what_has_ended_the_client() -> None:
    async with connected() as (world, relay):
        reading = asyncio.create_task(read_all(world))
        await asyncio.sleep(0)
        relay.says(frames.Closing(RefusalCode.IDENTITY_TAKEN, "", None))
        with pytest.raises(UserIdTaken):
            await reading


STEPS = [name for name in vars(EngineSteps) if not name.startswith("_")]


@pytest.mark.parametrize("name", STEPS)
def test_the_engine_takes_what_the_shell_gives(name: str) -> None:
    wanted = inspect.signature(getattr(EngineSteps, name)).parameters
    assert list(inspect.signature(getattr(Engine, name)).parameters) == list(wanted)
