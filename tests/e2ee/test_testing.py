"""What applications test with: a world of a relay and clients whose network breaks and whose clock moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from e2ee import Client, Connected, DeliveryState, DirectMessage, Disconnected, InvalidArgument, MessageState
from e2ee.testing import World

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["pytester"]

LIMIT_S = 30.0  # a test that hangs fails


async def message(client: Client) -> DirectMessage:
    async for event in client.events():
        if isinstance(event, DirectMessage):
            await client.acknowledge(event)
            return event
    raise AssertionError("the events ended")


def test_a_world_that_is_not_entered_says_so() -> None:
    world = World()
    for name in ("alice", "bob", "relay"):
        with pytest.raises(InvalidArgument, match="async with"):
            getattr(world, name)


async def test_two_clients_are_connected_and_talk() -> None:
    async with asyncio.timeout(LIMIT_S), World() as world:
        await world.alice.send("bob", "hello")
        assert (await message(world.bob)).text == "hello"


async def test_mail_waits_while_a_user_is_cut_off_and_comes_when_the_partition_ends() -> None:
    async with asyncio.timeout(LIMIT_S), World() as world:
        with world.network.partition("bob"):
            async for event in world.bob.events():
                if isinstance(event, Disconnected):
                    break
            sent = await world.alice.send("bob", "are you there?")
            async for event in world.alice.events():
                if isinstance(event, MessageState) and event.message_id == sent:
                    assert event.state is DeliveryState.SENT
                    break
            assert [peer.user_id for peer in world.relay.connected()] == ["alice"]
        await world.clock.advance(600)
        assert (await message(world.bob)).text == "are you there?"


async def test_a_dropped_connection_is_made_again() -> None:
    async with asyncio.timeout(LIMIT_S), World() as world:
        world.network.drop("alice")
        seen: list[type[object]] = []
        async for event in world.alice.events():
            seen.append(type(event))
            if isinstance(event, Disconnected):
                await world.clock.advance(60)
            if isinstance(event, Connected) and Disconnected in seen:
                break
        await world.alice.send("bob", "back again")
        assert (await message(world.bob)).text == "back again"


async def test_everybody_is_cut_off_by_a_partition_without_names() -> None:
    async with asyncio.timeout(LIMIT_S), World() as world:
        with world.network.partition():
            assert world.network.is_cut_off("alice")
            assert world.network.is_cut_off("somebody new")
        assert not world.network.is_cut_off("alice")


async def test_a_clock_put_forward_ages_what_nobody_confirms() -> None:
    async with asyncio.timeout(LIMIT_S), World() as world:
        with world.network.partition("bob"):
            sent = await world.alice.send("bob", "never read")
            async for event in world.alice.events():
                if isinstance(event, MessageState) and event.state is DeliveryState.SENT:
                    await world.clock.advance(31 * 24 * 3600)
                if isinstance(event, MessageState) and event.state is DeliveryState.EXPIRED:
                    assert event.message_id == sent
                    break


async def test_time_does_not_go_back() -> None:
    with pytest.raises(InvalidArgument):
        await World().clock.advance(-1)


async def test_a_client_with_a_file_can_be_restarted(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'carol.db'}"
    async with asyncio.timeout(LIMIT_S), World() as world:
        carol = await world.client("carol", store=store)
        await world.close(carol)
        await world.alice.send("carol", "while you were away")
        again = await world.client("carol", store=store)
        assert (await message(again)).text == "while you were away"


def test_the_plugin_gives_a_world_to_an_application_s_tests(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest('pytest_plugins = ["e2ee.testing.plugin"]')
    pytester.makepyfile(
        """
        async def test_mine(e2ee_world):
            async with e2ee_world as world:
                await world.alice.send("bob", "hello")
                message = await world.bob.receive(timeout_s=20)
                while not hasattr(message, "text"):
                    message = await world.bob.receive(timeout_s=20)
                assert message.text == "hello"
        """
    )
    pytester.runpytest_subprocess("-q", "-p", "no:randomly").assert_outcomes(passed=1)
