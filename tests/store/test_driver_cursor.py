"""What a unit of work tells of a failing database, whose driver it calls itself."""

from __future__ import annotations

import sqlite3
from types import ModuleType
from typing import Any

import pytest

from store import ClientStore, StaleWriter, StoreCorrupt, StoreUnavailable
from store.database import Statement, open_engine, parse_url
from tests.support.counting_driver import counting_driver

from .test_ownership import terminate_all

CALLS_MAX = 20  # of one unit: more than there are
IMPATIENT = Statement("blocked", "SET LOCAL lock_timeout TO 100")


def test_a_full_disk_is_unavailable_and_the_unit_is_undone(sqlite_url: str) -> None:
    with ClientStore.open(sqlite_url) as store:

        def fill() -> None:
            with store.begin() as unit:
                unit.blocked.add("eve")
                for _ in range(100):
                    unit.inbox.add("direct", bytes(20_000))

        connection = store._connected()
        connection.connection.cursor().execute("PRAGMA max_page_count = 1")  # SQLite takes the present size instead
        with pytest.raises(StoreUnavailable, match="full"):
            fill()
        connection.connection.cursor().execute("PRAGMA max_page_count = 1000000")
        with store.begin() as unit:
            assert (unit.blocked.all(), unit.inbox.count()) == (frozenset(), 0)
        fill()


def test_a_missing_table_is_corrupt_and_not_an_empty_one(database_url: str) -> None:
    with ClientStore.open(database_url) as store:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE blocked")
        with pytest.raises(StoreCorrupt), store.begin() as unit:
            unit.blocked.all()


def test_a_damaged_page_is_corrupt_when_it_is_read(sqlite_url: str) -> None:
    with ClientStore.open(sqlite_url) as store, store.begin() as unit:
        for number in range(200):
            unit.blocked.add(f"user {number}")
    path = parse_url(sqlite_url).path
    assert path is not None
    content = bytearray(path.read_bytes())
    start = content.index(b"user 150") // 4096 * 4096
    content[start : start + 4096] = bytes(4096)
    path.write_bytes(content)
    with ClientStore.open(sqlite_url) as store, pytest.raises(StoreCorrupt), store.begin() as unit:
        unit.blocked.all()


def test_a_row_that_is_there_already_is_a_stale_writer(database_url: str) -> None:
    def twice() -> None:
        with store.begin() as unit:
            for _ in range(2):
                unit.outgoing.add(bytes(16), "bob", b"text", state="queued")
            unit.outgoing.next_in("bob", "queued", limit=1)

    with ClientStore.open(database_url) as store:
        with pytest.raises(StaleWriter) as stale:
            twice()
        assert isinstance(stale.value.__cause__, Exception)
        assert type(stale.value.__cause__).__module__ != "sqlalchemy.exc"
        with store.begin() as unit:
            assert unit.outgoing.lanes("queued") == []


def test_a_lock_that_another_holds_is_unavailable(postgres_url: str) -> None:
    with ClientStore.open(postgres_url) as store:

        def wait() -> None:
            with store.begin() as unit:
                unit.work.change(IMPATIENT)
                unit.blocked.all()

        engine = open_engine(parse_url(postgres_url))
        with engine.begin() as other:
            other.exec_driver_sql("LOCK TABLE blocked")
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                wait()
        engine.dispose()
        with store.begin() as unit:
            assert unit.blocked.all() == frozenset()


def test_a_broken_connection_takes_the_idle_ones_with_it(postgres_url: str) -> None:
    with ClientStore.open(postgres_url) as store:
        with store.begin() as unit:
            unit.blocked.add("eve")
        store.engine.connect().close()
        assert store.engine.pool.checkedin() == 1  # type: ignore[attr-defined]
        terminate_all(postgres_url, but_the_lock=True)
        with pytest.raises(StoreUnavailable), store.begin() as unit:
            unit.blocked.all()
        assert store.engine.pool.checkedin() == 0  # type: ignore[attr-defined]
        with store.begin() as unit:
            assert unit.blocked.all() == {"eve"}


def test_an_interrupted_statement_costs_its_connection(sqlite_url: str) -> None:
    interruptions: list[type[BaseException]] = []
    connections: list[sqlite3.Connection] = []

    class Cursor(sqlite3.Cursor):
        def execute(self, *arguments: Any) -> Cursor:  # noqa: ANN401 - the driver's
            if interruptions and "blocked" in arguments[0]:
                raise interruptions.pop()
            return super().execute(*arguments)

    class Connection(sqlite3.Connection):
        def cursor(self, _factory: object = None) -> Cursor:  # type: ignore[override]
            return super().cursor(Cursor)

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401
        connections.append(sqlite3.connect(*arguments, factory=Connection, **options))
        return connections[-1]

    driver = ModuleType("interrupted_driver")
    driver.__dict__.update({name: value for name, value in vars(sqlite3).items() if not name.startswith("__")})
    driver.__dict__["connect"] = connect
    with ClientStore.open(sqlite_url, dbapi=driver) as store:
        with store.begin() as unit:
            unit.inbox.add("direct", b"before")
        before = len(connections)
        interruptions.append(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt), store.begin() as unit:
            unit.blocked.add("eve")
        with store.begin() as unit:
            assert [event.body for event in unit.inbox.after(0, limit=9)] == [b"before"]
            assert unit.blocked.all() == frozenset()
        assert len(connections) == before + 1


def interrupting(url: str, calls: list[int]) -> ModuleType:
    """A driver whose next call but so many is interrupted."""

    def call() -> None:
        if calls:
            calls[0] -= 1
            if calls[0] < 0:
                calls.clear()
                raise KeyboardInterrupt

    return counting_driver(url, call)


def test_the_next_unit_finds_no_lock_whichever_call_of_the_one_before_was_interrupted(sqlite_url: str) -> None:
    interrupt: list[int] = []

    def work() -> None:
        with store.begin() as unit:
            unit.blocked.add("eve")
            for device_id in (1, 2):  # written together, at the end
                unit.devices.put("bob", device_id, 7)

    with ClientStore.open(sqlite_url, dbapi=interrupting(sqlite_url, interrupt)) as store:
        with store.begin():
            pass
        held: list[KeyboardInterrupt] = []  # with their tracebacks
        while len(held) < CALLS_MAX:
            interrupt[:] = [len(held)]
            try:
                work()
            except KeyboardInterrupt as error:
                held.append(error)
            else:
                interrupt.clear()
                break
            with store.begin() as unit:
                assert not unit.blocked.all(), len(held)
    assert len(("begin", "blocked", "devices", "epoch", "commit")) <= len(held) < CALLS_MAX


def test_a_commit_that_fails_costs_its_unit_and_not_the_next(sqlite_url: str) -> None:
    failures: list[sqlite3.Error] = []

    def commit() -> None:
        if failures:
            raise failures.pop()

    driver = counting_driver(sqlite_url, lambda: None, before_commit=commit)
    with ClientStore.open(sqlite_url, dbapi=driver) as store:
        failures.append(sqlite3.OperationalError("disk I/O error"))
        failures[0].sqlite_errorcode = sqlite3.SQLITE_IOERR
        with pytest.raises(StoreUnavailable), store.begin() as unit:
            unit.blocked.add("eve")
        with store.begin() as unit:
            assert unit.blocked.all() == frozenset()
