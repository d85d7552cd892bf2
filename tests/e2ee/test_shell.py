"""The asyncio shell with a tiny engine and a scripted relay: connecting, what passes, and time."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from e2ee import frames
from e2ee.errors import (
    OpenElsewhere,
    RefusalCode,
)
from e2ee.events import Connected, Disconnected, LiveEvent
from e2ee.link import ACKNOWLEDGE_DELAY_S
from e2ee.shell.backoff import RECONNECT_MIN_S, REPLACED_MAX, REPLACED_PAUSE_S
from e2ee.shell.core import RELAY_STEPS_MAX
from tests.support.scripted_relay import CHALLENGE, CLOSING, LOGIN, SUBMITTED
from tests.support.shell_world import EPOCH, ShellWorld, error_of, opened
from tests.support.tiny_engine import TinyEngine, mail


def live(world: ShellWorld) -> list[LiveEvent]:
    found: list[LiveEvent] = []
    while (event := world.shell.take_live()) is not None:
        found.append(event)
    return found


# Connecting.


async def test_opening_returns_before_there_is_a_connection() -> None:
    async with opened() as world:
        assert world.engine.steps == []


async def test_the_login_is_the_engines_answer_to_this_challenge() -> None:
    async with opened() as world:
        relay = await world.carrier.connections.get()
        relay.says(CHALLENGE)
        assert await relay.hears() == replace(LOGIN, claim=CHALLENGE.nonce)


async def test_waiting_for_the_connection_ends_with_the_welcome() -> None:
    async with opened() as world:
        await world.accept()
        assert world.engine.online
        assert live(world) == [Connected()]


async def test_waiting_in_vain_names_the_last_reason() -> None:
    world = ShellWorld()
    world.carrier.reachable = False
    await world.shell.open(lambda: world.engine)
    await world.until(lambda: world.timers.next_at is not None)
    with pytest.raises(TimeoutError, match="not connected: unreachable"):
        await world.shell.wait_connected(0.01)
    await world.close()


async def test_every_step_runs_on_one_thread_that_is_not_the_loops() -> None:
    async with opened() as world:
        relay = await world.accept()
        relay.says(mail(1, 2))
        await world.shell.send("bob", "hello")
        await world.shell.ask(lambda engine: engine.unsent())
    assert len(world.engine.threads) == 1
    assert threading.get_ident() not in world.engine.threads


async def test_after_a_break_the_engine_is_told_and_the_client_connects_again() -> None:
    async with opened() as world:
        first = await world.accept()
        first.break_off()
        await world.after_disconnection(first)
        assert world.timers.next_at == world.timers.now + RECONNECT_MIN_S
        world.timers.advance(RECONNECT_MIN_S)
        await world.accept()
        assert world.engine.steps == ["login", "connected", "disconnected", "login", "connected"]
        assert live(world) == [Connected(), Disconnected(), Connected()]


async def test_an_engine_that_was_never_connected_is_not_told_of_an_end() -> None:
    async with opened() as world:
        relay = await world.carrier.connections.get()
        relay.break_off()
        await world.after_disconnection(relay)
        world.timers.advance(RECONNECT_MIN_S)
        await world.accept()
        assert world.engine.steps == ["login", "connected"]


async def test_a_relay_that_shuts_down_is_left_alone_for_as_long_as_it_asks() -> None:
    async with opened() as world:
        relay = await world.accept()
        relay.says(CLOSING)
        await world.after_disconnection(relay)
        world.timers.advance(1.9)
        await asyncio.sleep(0)
        assert world.carrier.attempts == 1
        world.timers.advance(0.2)
        await world.accept()


async def test_who_was_replaced_comes_back_after_a_minute_and_gives_up_in_the_end() -> None:
    async with opened() as world:
        replaced = frames.Closing(RefusalCode.REPLACED, "", None)
        first = await world.accept()
        first.says(replaced)
        await world.after_disconnection(first)
        world.timers.advance(REPLACED_PAUSE_S - 1)
        await asyncio.sleep(0)
        assert world.carrier.attempts == 1
        world.timers.advance(2)
        for _ in range(REPLACED_MAX - 1):
            relay = await world.accept()
            relay.says(replaced)
            await world.after_disconnection(relay)
            world.timers.advance(2 * REPLACED_PAUSE_S)
        (await world.accept()).says(replaced)
        await world.until(lambda: world.shell.ended is not None)
        assert isinstance(await error_of(world), OpenElsewhere)


# What passes.


async def test_what_is_sent_goes_to_the_relay_and_its_reply_to_the_engine() -> None:
    async with opened() as world:
        relay = await world.accept()
        message_id = await world.shell.send("bob", "hello")
        request = await relay.hears()
        assert isinstance(request, frames.Submit)
        assert request.submissions[0].envelopes[0].body == b"hello"
        assert request.submissions[0].number == int(message_id, 16)
        relay.says(replace(SUBMITTED, request=request.request))
        await world.until(lambda: not world.engine.outbox)


async def test_what_was_sent_without_a_reply_goes_again_over_the_next_connection() -> None:
    async with opened() as world:
        first = await world.accept()
        await world.shell.send("bob", "hello")
        lost = await first.hears()
        first.break_off()
        await world.after_disconnection(first)
        world.timers.advance(RECONNECT_MIN_S)
        assert await (await world.accept()).hears() == lost


async def test_what_is_sent_before_there_is_a_connection_goes_with_the_first() -> None:
    async with opened() as world:
        await world.shell.send("bob", "early")
        assert isinstance(await (await world.accept()).hears(), frames.Submit)


async def test_mail_is_acknowledged_after_the_engine_has_committed_it() -> None:
    may_commit = threading.Event()
    async with opened() as world:
        world.engine.before["push"] = may_commit.wait
        relay = await world.accept()
        relay.says(mail(7))
        for _ in range(20):
            await asyncio.sleep(0)
        world.timers.advance(ACKNOWLEDGE_DELAY_S)
        assert relay.from_client.empty()
        may_commit.set()
        await world.until(lambda: bool(world.engine.inbox))
        await world.shell.ask(lambda engine: engine.unsent())
        world.timers.advance(ACKNOWLEDGE_DELAY_S)
        assert await relay.hears() == frames.Acknowledge(7)


async def test_a_relay_that_floods_waits_until_the_engine_has_caught_up() -> None:
    may_go_on = threading.Event()
    async with opened() as world:
        world.engine.before["push"] = may_go_on.wait
        relay = await world.accept()
        relay.says(*[mail(number) for number in range(1, 41)])
        for _ in range(100):
            await asyncio.sleep(0)
        assert relay.to_client.qsize() == 40 - RELAY_STEPS_MAX
        may_go_on.set()
        await world.until(lambda: len(world.engine.inbox) == 40)


async def test_a_caller_who_is_cancelled_leaves_the_message_queued_and_sent() -> None:
    may_commit = threading.Event()
    async with opened() as world:
        world.engine.before["send"] = may_commit.wait
        relay = await world.accept()
        sending = asyncio.create_task(world.shell.send("bob", "hello"))
        for _ in range(5):
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        may_commit.set()
        assert isinstance(await relay.hears(), frames.Submit)


async def test_the_loop_goes_on_while_the_engine_works() -> None:
    may_commit = threading.Event()
    async with opened() as world:
        world.engine.before["send"] = may_commit.wait
        sending = asyncio.create_task(world.shell.send("bob", "hello"))
        turns = 0
        while turns < 1_000:
            await asyncio.sleep(0)
            turns += 1
        assert not sending.done()
        may_commit.set()
        await sending


# Time.


async def test_the_engine_is_called_when_it_wants_to_be() -> None:
    engine = TinyEngine()
    engine.wake_at = EPOCH + 30.0
    async with opened(engine) as world:
        await world.accept()
        world.timers.advance(29.5)
        await world.shell.ask(lambda engine: engine.unsent())
        assert engine.ticked_at == []
        world.timers.advance(0.5)
        await world.until(lambda: bool(engine.ticked_at))
        assert engine.ticked_at == [EPOCH + 30.0]


async def test_a_call_in_a_far_future_comes_at_its_time_too() -> None:
    engine = TinyEngine()
    engine.wake_at = EPOCH + 1_000.0
    async with opened(engine) as world:
        relay = await world.accept()
        for number in range(1, 51):
            world.timers.advance(20.0)
            relay.says(mail(number))
            await world.until(lambda number=number: number in engine.inbox)  # type: ignore[misc]
        await world.until(lambda: bool(engine.ticked_at))
        assert engine.ticked_at == [EPOCH + 1_000.0]
