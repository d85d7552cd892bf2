"""An owner whose lock is gone while its transaction is still being committed: what it leaves is what counts.

On PostgreSQL lock and transactions are on connections of their own. Of a killed process the server may end the one
before the other; here the first is ended by hand while the second is held just before its commit.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import psycopg
import pytest

from store import ClientStore, StoreLost
from tests.support.counting_driver import counting_driver

LIMIT_S: Final = 20.0  # for one step of either side


class Gate:
    """Lets one thread through to its next commit, and holds it there."""

    def __init__(self) -> None:
        self.armed = False
        self.reached, self.open = threading.Event(), threading.Event()

    def commit(self) -> None:
        if self.armed:
            self.armed = False
            self.reached.set()
            assert self.open.wait(LIMIT_S)


def ask(url: str, query: str) -> int:
    """Ask the server itself for a number."""
    with psycopg.connect(url.replace("+psycopg", "").partition("&schema")[0], autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


# The owner's lock is the one whose connection does nothing else.
END_LOCK: Final = (
    "SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'advisory' AND l.granted AND a.state = 'idle'"
)
WAITING: Final = "SELECT count(*) FROM pg_locks WHERE NOT granted"


def take_over(url: str, gate: Gate, threads: ThreadPoolExecutor) -> ClientStore:
    """End the lock of the owner that is held at *gate*, open the store, and let that one go on once we wait for it."""
    assert gate.reached.wait(LIMIT_S)
    assert ask(url, END_LOCK) == 1
    opening = threads.submit(ClientStore.open, url)
    while not opening.done() and not ask(url, WAITING):
        pass
    gate.open.set()
    return opening.result(LIMIT_S)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def gated(url: str, gate: Gate) -> ClientStore:
    return ClientStore.open(url, dbapi=counting_driver(url, lambda: None, before_commit=gate.commit))


def test_who_takes_over_starts_from_the_counters_of_the_commit_that_was_under_way(
    postgres_url: str, gate: Gate
) -> None:
    first = gated(postgres_url, gate)

    def unit() -> None:
        with first.begin() as unit:
            unit.counters.submission_number = 41
            gate.armed = True

    with ThreadPoolExecutor(2) as threads:
        committing = threads.submit(unit)
        second = take_over(postgres_url, gate, threads)
        committing.result(LIMIT_S)
    with second, second.begin() as taken:
        assert taken.counters.submission_number == 41
    with pytest.raises(StoreLost), first.begin():
        pass
    first.close()


def test_who_finds_a_store_that_is_still_being_made_waits_and_has_it_whole(postgres_url: str, gate: Gate) -> None:
    gate.armed = True
    with ThreadPoolExecutor(2) as threads:
        making = threads.submit(gated, postgres_url, gate)
        second = take_over(postgres_url, gate, threads)
        first = making.result(LIMIT_S)
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(StoreLost), first.begin():
        pass
    second.close()
    first.close()
