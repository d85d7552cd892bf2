"""A relay that is killed at its n-th storage call, for every n: nothing that it confirmed is lost, nothing is doubled.

A forked child serves the script and dies by SIGKILL; what its clients had been told is read from a pipe. The parent
opens the store at once, and those who do not know what became of their request ask again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from store.relay import RelayStore
from store.relay.schema import RELAY
from tests.store.relay.world import World
from tests.support.counting_driver import counting_driver
from tests.support.killed import Life, killed_at
from tests.support.relay_crash import RelayScript, Told
from tests.support.store_copies import Copies, FileCopies, SchemaCopies

if TYPE_CHECKING:
    from pathlib import Path

CALLS_MIN: Final = 150
CALLS_MAX: Final = 1_000  # of one run of the script: a bound for the search, above the 400 or so that there are


def now() -> float:
    return 1_000_000.0


def kill_and_judge(url: str, script: RelayScript, number: int) -> bool:
    """Kill at the *number*-th call, go on, and judge; False if there are not that many calls."""

    def live(life: Life) -> None:
        with World(url, now, counting_driver(url, life.call)) as world:
            script.run(world, [], lambda outcome: life.tell(*outcome))

    ended = killed_at(number, live)
    told: list[Told] = ended.told
    with World(url, now) as world:
        script.run(world, told, lambda _outcome: None)
        script.judge(world, told)
    return ended.killed


def kill_at_every(copies: Copies, seed: int, *, first: int = 1, step: int = 1) -> None:
    script = RelayScript(seed)
    with World(copies.template, now) as world:
        script.prepare(world)
    number = first
    while kill_and_judge(copies.take(), script, number):
        number += step
        assert number < CALLS_MAX
    assert number > CALLS_MIN, "the calls are no longer counted"


def schema_copies(server: str) -> SchemaCopies:
    return SchemaCopies(server, RELAY.metadata, lambda url: RelayStore.open(url).close())


def test_a_relay_killed_at_some_storage_calls_loses_doubles_and_hands_out_nothing_twice(
    tmp_path: Path, postgres_server: str
) -> None:
    kill_at_every(FileCopies(tmp_path), 0, first=7, step=37)
    kill_at_every(schema_copies(postgres_server), 0, first=20, step=61)


def test_a_relay_that_forgets_what_it_has_confirmed_is_found_out_by_the_same_judgement(tmp_path: Path) -> None:
    copies, script, told = FileCopies(tmp_path), RelayScript(0), list[Told]()
    with World(copies.template, now) as world:
        script.prepare(world)
    with World(copies.take(), now) as world:
        script.run(world, told, lambda _outcome: None)
        script.judge(world, told)
    forgotten = 0
    for known in range(1, len(told)):
        if script.steps[known - 1].what in ("append", "fan out", "upload"):
            with World(copies.take(), now) as world:
                resumed = told[:known]
                script.run(world, resumed, lambda _outcome: None)
                with pytest.raises(AssertionError):
                    script.judge(world, resumed)
            forgotten += 1
    assert forgotten > 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_a_relay_killed_at_any_storage_call_loses_doubles_and_hands_out_nothing_twice(
    seed: int, tmp_path: Path
) -> None:
    kill_at_every(FileCopies(tmp_path), seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 3))
def test_on_postgresql_it_is_the_same(seed: int, postgres_server: str) -> None:
    kill_at_every(schema_copies(postgres_server), seed)
