"""Groups of 2, 3, 20 and 300 over real sockets, with members away and restarts: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from e2ee.shell.writer import Worker
from tests.support.group_people import GROUP, Crowd, Person, judge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 60.0  # a test that hangs fails
LARGE_LIMIT_S = 3_600.0  # two minutes of two processors, on a machine that does nothing else


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker(threads=2) as worker:
        yield worker


@pytest.mark.parametrize("members", [2, 3])
async def test_a_few_members_talk_while_each_is_away_once_and_the_relay_is_restarted(
    members: int, tmp_path: Path, worker: Worker
) -> None:
    async with asyncio.timeout(LIMIT_S), Crowd(tmp_path, worker=worker) as crowd:
        people = await crowd.add(members)
        await crowd.gather(*people)
        for away in people:
            await crowd.go_offline(away)
            for person in people:
                if person is not away:
                    await crowd.say(person, f"{person.user_id} while {away.user_id} is away")
            await crowd.go_online(away)
            await crowd.say(away, f"{away.user_id} is back")
        await crowd.stop_relay()
        for person in people:
            await crowd.say(person, f"{person.user_id} without a relay")
        await crowd.go_offline(people[0])
        await crowd.go_online(people[0])
        await crowd.start_relay()
        await crowd.until_all_is_read(*people)


@pytest.mark.parametrize(
    ("seed", "rounds"),
    [(1, 5), pytest.param(2, 30, marks=pytest.mark.slow), pytest.param(3, 30, marks=pytest.mark.slow)],
)
async def test_twenty_members_talk_while_some_are_away(seed: int, rounds: int, tmp_path: Path, worker: Worker) -> None:
    dice = random.Random(f"twenty members {seed}")
    async with asyncio.timeout(LIMIT_S * rounds), Crowd(tmp_path, worker=worker) as crowd:
        people = await crowd.add(20)
        await crowd.gather(*people)
        await chatter(crowd, dice, people, rounds=rounds)
        await crowd.until_all_is_read(*people)


@pytest.mark.slow
# Python 3.11 leaves a connection to the collector that it accepts in the very moment in which its server is closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_three_hundred_members_talk_while_some_are_away(tmp_path: Path, worker: Worker) -> None:
    dice = random.Random("three hundred members")
    async with asyncio.timeout(LARGE_LIMIT_S), Crowd(tmp_path, worker=worker) as crowd:
        people = await crowd.add(20)
        others = await crowd.add(280, in_memory=True)
        await crowd.gather(*people, *others)
        await chatter(crowd, dice, people, rounds=30, senders=5)
        await crowd.say(others[-1], "from the last of them")
        await crowd.until_all_is_read(*people, *others)


async def chatter(
    crowd: Crowd, dice: random.Random, people: list[Person], *, rounds: int, senders: int | None = None
) -> None:
    """Let some speak, some go and come back, the relay restart once; in the end everybody is there."""
    for number in range(rounds):
        for person in dice.sample(people, min(len(people), 10)):
            if person.client is None:
                await crowd.go_online(person)
            elif dice.random() < 0.2:
                await crowd.go_offline(person)
        present = [person for person in people[:senders] if person.client is not None]
        for person in dice.sample(present, min(len(present), 2)):
            await crowd.say(person, f"{person.user_id}, round {number}")
        if number == rounds // 2:
            await crowd.stop_relay()
            await crowd.start_relay()
    for person in people:
        if person.client is None:
            await crowd.go_online(person)


async def test_who_leaves_reads_nothing_more_and_who_comes_nothing_of_before(worker: Worker) -> None:
    async with asyncio.timeout(LIMIT_S), Crowd(worker=worker) as crowd:
        alice, bob, carol = await crowd.add(3)
        await crowd.gather(alice, bob)
        for number in range(3):
            await crowd.say(alice, f"before Carol {number}")
        await crowd.until(lambda: len(bob.texts(alice)) == 3)
        await carol.here.join_group(GROUP)
        await crowd.say(alice, "for all")
        await crowd.until(lambda: bool(carol.texts(alice)) and len(bob.texts(alice)) == 4)
        await bob.here.leave_group(GROUP)
        while len((await alice.here.group(GROUP)).members) == 3:
            await crowd.next_change()
        await crowd.say(alice, "without Bob")
        await crowd.until(lambda: len(carol.texts(alice)) == 2)
        await crowd.say(carol, "indeed")
        await crowd.until(lambda: bool(alice.texts(carol)))
        assert carol.texts(alice) == ["for all", "without Bob"]
        assert bob.texts(alice) == ["before Carol 0", "before Carol 1", "before Carol 2", "for all"]
        assert bob.texts(carol) == []
        judge(alice)
