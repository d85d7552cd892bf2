"""What ends a client is raised by `connected`, by the next event and by every later call (messaging section 12)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from e2ee import frames
from e2ee.calls.reading import EventReader
from e2ee.errors import (
    ClientEnded,
    ConnectionEnded,
    NotAuthorized,
    OpenElsewhere,
    RefusalCode,
    Refused,
    StoreGone,
    StoreRolledBack,
    UserIdTaken,
)
from e2ee.shell.backoff import REPLACED_MAX, REPLACED_PAUSE_S
from store import StoreLost
from tests.support.scripted_relay import CHALLENGE
from tests.support.shell_world import ShellWorld, opened
from tests.support.tiny_engine import TinyOutput, mail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from e2ee.shell.steps import EngineSteps, Output


async def taken(world: ShellWorld) -> None:
    await refused(world, RefusalCode.IDENTITY_TAKEN)


async def not_authorized(world: ShellWorld) -> None:
    await refused(world, RefusalCode.NOT_AUTHORIZED)


async def refused(world: ShellWorld, code: RefusalCode) -> None:
    relay = await world.carrier.connections.get()
    relay.says(CHALLENGE, frames.Closing(code, "", None))


async def rolled_back(world: ShellWorld) -> None:
    def older() -> None:
        raise StoreRolledBack("older than the relay remembers")

    world.engine.before["connected"] = older
    relay = await world.carrier.connections.get()
    relay.says(CHALLENGE)
    await relay.hears()
    relay.says(frames.Welcome(1, 9, 9, 9, 0, 0, 0))


async def elsewhere(world: ShellWorld) -> None:
    for _ in range(REPLACED_MAX + 1):
        relay = await world.accept()
        relay.says(frames.Closing(RefusalCode.REPLACED, "", None))
        await relay.closed.wait()
        await world.until(
            lambda: world.shell.ended is not None or (world.timers.next_at is not None and not world.engine.online)
        )
        world.timers.advance(2 * REPLACED_PAUSE_S)


async def lost(world: ShellWorld) -> None:
    def gone() -> None:
        raise StoreLost("somebody else has it")

    relay = await world.accept()
    world.engine.before["push"] = gone
    relay.says(mail(1))


def nothing(_engine: EngineSteps) -> tuple[int, Output]:
    return 0, TinyOutput()


def ping(_engine: EngineSteps) -> tuple[frames.ClientFrame, Output]:
    request = frames.ListDevices(0, 0)
    return request, TinyOutput((request,))


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (taken, UserIdTaken),
        (not_authorized, NotAuthorized),
        (rolled_back, StoreRolledBack),
        (elsewhere, OpenElsewhere),
        (lost, StoreGone),
    ],
)
async def test_every_call_says_what_has_ended_the_client(
    end: Callable[[ShellWorld], Awaitable[None]], error: type[ClientEnded]
) -> None:
    async with opened() as world:
        await end(world)
        await world.until(lambda: world.shell.ended is not None)
        shell = world.shell
        calls: list[Awaitable[object]] = [
            shell.wait_connected(10),
            anext(EventReader(shell, on_next=True)),
            shell.send("bob", "hello"),
            shell.do(nothing),
            shell.request(ping, 10),
            shell.ask(lambda engine: engine.unsent()),
        ]
        for call in calls:
            with pytest.raises(error):
                await call


# Calls that wait for the relay's answer.


async def test_an_answer_comes_after_what_follows_from_it_is_committed() -> None:
    async with opened() as world:
        relay = await world.accept()

        async def ask() -> list[str]:
            assert isinstance(await world.shell.request(ping, 10), frames.DeviceList)
            return list(world.engine.steps)

        waiting = asyncio.create_task(ask())
        request = await relay.hears()
        assert isinstance(request, frames.ListDevices)
        relay.says(frames.DeviceList(request.request, ()))
        assert (await waiting)[-1] == "reply"


async def test_a_refusal_is_raised_with_the_time_to_wait() -> None:
    async with opened() as world:
        relay = await world.accept()
        waiting = asyncio.create_task(world.shell.request(ping, 10))
        request = await relay.hears()
        assert isinstance(request, frames.ListDevices)
        relay.says(frames.RefusedRequest(request.request, RefusalCode.RATE_LIMITED, 1_500))
        with pytest.raises(Refused) as refusal:
            await waiting
        assert (refusal.value.code, refusal.value.retry_after_s) == (RefusalCode.RATE_LIMITED, 1.5)


async def test_a_connection_that_ends_before_the_answer_leaves_the_outcome_open() -> None:
    async with opened() as world:
        relay = await world.accept()
        waiting = asyncio.create_task(world.shell.request(ping, 10))
        await relay.hears()
        relay.break_off()
        with pytest.raises(ConnectionEnded, match="not known"):
            await waiting


async def test_a_call_that_waits_for_the_relay_waits_no_longer_than_asked() -> None:
    async with opened() as world:
        with pytest.raises(TimeoutError, match="not connected"):
            await world.shell.request(ping, 0.01)
        await world.accept()
        with pytest.raises(TimeoutError):
            await world.shell.request(ping, 0.01)


async def test_who_waits_for_a_connection_waits_for_the_prekeys_too() -> None:
    async with opened() as world:
        world.engine.ready = False
        relay = await world.carrier.connections.get()
        relay.says(CHALLENGE)
        await relay.hears()
        relay.says(frames.Welcome(1, 0, 0, 0, 0, 0, 0))
        await world.until(lambda: world.engine.online and world.shell._online)
        with pytest.raises(TimeoutError, match="prekeys"):
            await world.shell.wait_connected(0.01)
