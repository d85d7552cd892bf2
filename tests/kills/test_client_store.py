"""A client that is killed at its n-th storage call, for every n: nothing is lost, doubled or encrypted twice.

A forked child opens the store, runs the script and dies by SIGKILL; what it had handed to the relay is read from a
pipe. The parent then opens the store at once, goes on, and looks at everything from the peers' side.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from store import TESTING, ClientStore
from store.schema import CLIENT
from tests.support.counting_driver import counting_driver
from tests.support.crash import Relay, Script
from tests.support.killed import Life, killed_at
from tests.support.store_copies import Copies, FileCopies, SchemaCopies

if TYPE_CHECKING:
    from pathlib import Path

CALLS_MIN: Final = 80
CALLS_MAX: Final = 400  # of one run of the script: a bound for the search, above the 260 or so that there are


class RecordingRelay(Relay):
    """A relay that outlives the process that reaches it."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    def submit(self, envelope_id: bytes, user_id: str, kind: int, ciphertext: bytes) -> None:
        self._life.tell("submit", envelope_id, user_id, kind, ciphertext)

    def acknowledge(self, number: int) -> None:
        super().acknowledge(number)
        self._life.tell("acknowledge", number)


def schema_copies(server: str) -> SchemaCopies:
    return SchemaCopies(
        server, CLIENT.metadata, lambda url: ClientStore.open(url, passphrase="right", profile=TESTING).close()
    )


def prepared(url: str, seed: int) -> Script:
    """Make the store that a script begins with."""
    script = Script(seed)
    with ClientStore.open(url, passphrase="right", profile=TESTING) as store:
        script.prepare(store)
    return script


def kill_and_judge(url: str, script: Script, number: int) -> bool:
    """Kill at the *number*-th call, go on, and judge; False if there are not that many calls."""

    def live(life: Life) -> None:
        driver = counting_driver(url, life.call)
        entropy = random.Random(f"child {number}").randbytes
        with ClientStore.open(url, passphrase="right", profile=TESTING, dbapi=driver) as store:
            script.run(store, RecordingRelay(life), entropy=entropy, boundary=life.call)

    ended = killed_at(number, live)
    relay = Relay()
    for what, *values in ended.told:
        getattr(relay, str(what))(*values)
    with ClientStore.open(url, passphrase="right", profile=TESTING) as store:
        script.run(store, relay, entropy=random.Random(f"after {number}").randbytes)
        script.judge(store, relay)
    return ended.killed


def kill_at_every(copies: Copies, seed: int, *, first: int = 1, step: int = 1) -> int:
    """Kill at every *step*-th call; return how many there are."""
    script = prepared(copies.template, seed)
    number = first
    while kill_and_judge(copies.take(), script.copy(), number):
        number += step
        assert number < CALLS_MAX
    assert number > CALLS_MIN, "the calls are no longer counted"
    return number


def test_a_client_that_is_not_killed_passes_the_same_judgement(sqlite_url: str, postgres_url: str) -> None:
    for url in (sqlite_url, postgres_url):
        assert not kill_and_judge(url, prepared(url, 1), CALLS_MAX)


def test_a_client_killed_at_some_storage_calls_loses_doubles_and_reuses_nothing(
    tmp_path: Path, postgres_server: str
) -> None:
    kill_at_every(FileCopies(tmp_path), 0, first=5, step=29)
    kill_at_every(schema_copies(postgres_server), 0, first=11, step=47)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_client_killed_at_any_storage_call_loses_doubles_and_reuses_nothing(seed: int, tmp_path: Path) -> None:
    kill_at_every(FileCopies(tmp_path), seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_on_postgresql_it_is_the_same(seed: int, postgres_server: str) -> None:
    kill_at_every(schema_copies(postgres_server), seed)
