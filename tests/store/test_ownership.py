"""One owner, and units of work that happen as a whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from store import (
    TESTING,
    ClientStore,
    InvalidUse,
    StaleWriter,
    StoreForked,
    StoreInUse,
    StoreLost,
    StoreUnavailable,
)
from store.database import open_engine, parse_url

if TYPE_CHECKING:
    from .conftest import Clock

ROOT = Path(__file__).parent.parent.parent
KEY = bytes(range(32))


def test_a_unit_that_raises_leaves_nothing_behind(store: ClientStore) -> None:
    def fail() -> None:
        with store.begin() as unit:
            unit.inbox.add("direct", b"never")
            unit.counters.delivery_number = 9
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.begin() as unit:
        assert (unit.inbox.count(), unit.inbox.after(0, limit=1), unit.counters.delivery_number) == (0, [], 0)


def test_a_unit_inside_a_unit_is_refused(store: ClientStore) -> None:
    with store.begin(), pytest.raises(InvalidUse, match="already"), store.begin():
        pass


def test_a_unit_that_is_over_cannot_be_used(store: ClientStore) -> None:
    with store.begin() as unit:
        pass
    with pytest.raises(InvalidUse, match="over"):
        unit.inbox.after(0, limit=1)


def test_a_closed_store_refuses_and_closing_again_does_nothing(database_url: str) -> None:
    store = ClientStore.open(database_url)
    store.close()
    store.close()
    with pytest.raises(InvalidUse, match="closed"), store.begin():
        pass


def test_a_failure_that_is_swallowed_inside_the_unit_still_rolls_it_back(store: ClientStore) -> None:
    def swallow() -> None:
        with store.begin() as unit:
            unit.inbox.add("direct", b"first")
            with suppress(StaleWriter):
                unit.outgoing.set_state(bytes(16), "gone")

    with pytest.raises(InvalidUse, match="rolled back"):
        swallow()
    with store.begin() as unit:
        assert unit.inbox.count() == 0


def test_a_second_opening_is_refused_and_says_by_whom_and_since_when(database_url: str, clock: Clock) -> None:
    with ClientStore.open(database_url, clock=clock):
        with pytest.raises(StoreInUse) as refused:
            ClientStore.open(database_url)
        assert (refused.value.pid, refused.value.since) == (os.getpid(), clock.now)
        assert refused.value.host
        assert str(os.getpid()) in str(refused.value)
    ClientStore.open(database_url).close()


def open_elsewhere(url: str, results: multiprocessing.Queue[str]) -> None:
    try:
        ClientStore.open(url).close()
    except StoreInUse as error:
        results.put(f"in use by {error.pid}")
    else:
        results.put("opened")


def test_another_process_is_refused_and_let_in_afterwards(database_url: str) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str] = context.Queue()
    with ClientStore.open(database_url):
        process = context.Process(target=open_elsewhere, args=(database_url, results))
        process.start()
        assert results.get(timeout=30) == f"in use by {os.getpid()}"
        process.join()
    process = context.Process(target=open_elsewhere, args=(database_url, results))
    process.start()
    assert results.get(timeout=30) == "opened"
    process.join()


def in_a_fork(action: object) -> int:
    """Run *action* in a forked child; return its exit status, 3 if the action raised StoreForked."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()  # type: ignore[operator]
            status = 0
        except StoreForked:
            status = 3
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_cannot_use_the_store_and_does_not_take_it_from_its_parent(store: ClientStore) -> None:
    def use() -> None:
        with store.begin():
            pass

    assert in_a_fork(use) == 3
    assert in_a_fork(store.close) == 0
    with store.begin() as unit:
        unit.inbox.add("direct", b"still mine")


def test_an_owner_whose_lock_was_lost_writes_nothing_once_another_has_opened(database_url: str) -> None:
    first = ClientStore.open(database_url)
    first._opened.ownership.release()  # as a network file system does
    with ClientStore.open(database_url) as second:
        with pytest.raises(StoreLost), first.begin() as unit:
            unit.account.create("alice")
        with second.begin() as unit:
            assert unit.account.load() is None
        with pytest.raises(StoreLost), first.begin():
            pass
    first.close()


def test_a_unit_that_only_reads_is_fenced_too(database_url: str) -> None:
    first = ClientStore.open(database_url)
    first._opened.ownership.release()
    with ClientStore.open(database_url), pytest.raises(StoreLost), first.begin() as unit:
        unit.account.load()
    first.close()


KILLED = """
import os, signal, sys
from store import ClientStore
store = ClientStore.open(sys.argv[1])
with store.begin() as unit:
    unit.inbox.add("direct", b"committed")
os.kill(os.getpid(), signal.SIGKILL)
"""


def open_and_die(url: str) -> None:
    store = ClientStore.open(url)
    with store.begin() as unit:
        unit.inbox.add("direct", b"committed")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_fifty_killed_owners_are_each_followed_at_once(database_url: str) -> None:
    for _ in range(50):
        child = os.fork()
        if child == 0:
            open_and_die(database_url)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with ClientStore.open(database_url) as store, store.begin() as unit:
        assert (store.epoch, unit.inbox.count()) == (51, 50)


@pytest.mark.slow
def test_a_killed_interpreter_of_its_own_is_followed_at_once(database_url: str) -> None:
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", KILLED, database_url], cwd=ROOT, check=False, timeout=60)
        assert ran.returncode == -signal.SIGKILL
    with ClientStore.open(database_url) as store, store.begin() as unit:
        assert (store.epoch, unit.inbox.count()) == (4, 3)


def test_a_child_that_outlives_a_killed_owner_does_not_hold_its_lock(sqlite_url: str) -> None:
    reader, writer = os.pipe()
    owner = os.fork()
    if owner == 0:
        store = ClientStore.open(sqlite_url)
        if os.fork() == 0:
            os.close(writer)
            os.read(reader, 1)  # until the test closes its end
            os._exit(0)
        del store
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(owner, 0)
    ClientStore.open(sqlite_url).close()
    os.close(writer)
    os.close(reader)


def test_units_of_two_threads_follow_one_another(store: ClientStore) -> None:
    def count() -> None:
        for _ in range(50):
            with store.begin() as unit:
                unit.counters.upload_number += 1

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.begin() as unit:
        assert unit.counters.upload_number == 100


def terminate_all(url: str, *, but_the_lock: bool) -> None:
    """Let the server end the store's connections, as a restart or a network does."""
    engine = open_engine(parse_url(url))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND backend_type = 'client backend' "
            "AND (pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')) <> %s",
            (but_the_lock,),
        )
    engine.dispose()


def test_a_connection_that_breaks_is_unavailable_and_the_next_unit_has_another(postgres_url: str) -> None:
    with ClientStore.open(postgres_url) as store:
        with store.begin() as unit:
            unit.inbox.add("direct", b"before")
        terminate_all(postgres_url, but_the_lock=True)
        with pytest.raises(StoreUnavailable), store.begin() as unit:
            unit.inbox.add("direct", b"lost with the connection")
        with store.begin() as unit:
            assert [event.body for event in unit.inbox.after(0, limit=9)] == [b"before"]


def test_a_connection_that_breaks_within_a_unit_takes_the_unit_with_it(postgres_url: str) -> None:
    def broken() -> None:
        with store.begin() as unit:
            unit.blocked.add("eve")
            terminate_all(postgres_url, but_the_lock=True)

    with ClientStore.open(postgres_url) as store:
        with pytest.raises(StoreUnavailable):
            broken()
        with store.begin() as unit:
            assert unit.blocked.all() == frozenset()


def test_an_owner_whose_lock_connection_breaks_is_fenced_when_another_opens(postgres_url: str) -> None:
    first = ClientStore.open(postgres_url)
    terminate_all(postgres_url, but_the_lock=False)
    with ClientStore.open(postgres_url), pytest.raises(StoreLost), first.begin():
        pass
    first.close()


def half_deaf_driver(fail_after: list[int]) -> ModuleType:
    """SQLite's driver, whose commits succeed and then, as often as asked, do not get to say so."""

    class Connection(sqlite3.Connection):
        def commit(self) -> None:
            super().commit()
            if fail_after and fail_after.pop():
                error = sqlite3.OperationalError("no answer")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error

    module = ModuleType("half_deaf_driver")
    module.__dict__.update({name: value for name, value in vars(sqlite3).items() if not name.startswith("__")})
    module.__dict__["connect"] = partial(sqlite3.connect, factory=Connection)
    return module


@pytest.mark.parametrize("passphrase", [None, "right"])
def test_after_a_commit_whose_outcome_is_not_known_everything_is_read_again(
    sqlite_url: str, passphrase: str | None
) -> None:
    fail_after: list[int] = []
    driver = half_deaf_driver(fail_after)
    with ClientStore.open(sqlite_url, passphrase=passphrase, profile=TESTING, dbapi=driver) as store:

        def receive(number: int) -> None:
            with store.begin() as unit:
                unit.inbox.add("direct", b"%d" % number)
                unit.seen.add(number.to_bytes(16, "big"))
                unit.counters.delivery_number = number

        fail_after.append(1)
        with pytest.raises(StoreUnavailable):
            receive(1)
        with store.begin() as unit:
            assert unit.counters.delivery_number == 1
            assert unit.inbox.count() == 1
            assert unit.seen.known([(1).to_bytes(16, "big")])
        receive(2)
        with store.begin() as unit:
            assert [event.body for event in unit.inbox.after(0, limit=9)] == [b"1", b"2"]
        assert store.check() == ()
