"""Opening: new files, old dumps, newer schemas, what is no relay's store; what an import loads."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from sqlalchemy import create_engine

from store import ClientStore
from store.database import SQLITE_SETTINGS
from store.errors import StoreCorrupt, StoreNewer, UnsupportedDatabase
from store.relay import RelayStore
from store.relay.schema import RELAY

from .dumps import make
from .world import World

if TYPE_CHECKING:
    from tests.store.conftest import Clock

ROOT: Final = Path(__file__).parents[3]
DUMPS: Final = Path(__file__).parent / "dumps"


def load(url: str, schema: str, version: int) -> None:
    """Fill the database at *url* from the dump of a release."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript((DUMPS / f"relay_{version}_sqlite.sql").read_text("utf-8"))
        return
    engine = create_engine(url.partition("&schema=")[0], isolation_level="AUTOCOMMIT")
    with engine.connect() as connection_:
        script = (DUMPS / f"relay_{version}_postgresql.sql").read_text("utf-8")
        raw = connection_.connection.driver_connection
        assert raw is not None
        raw.execute(f'CREATE SCHEMA "{schema}"')
        raw.execute(f'SET search_path TO "{schema}"')
        raw.execute(script)
    engine.dispose()


@pytest.fixture
def other_url(database_url: str) -> str:
    """A second database that is not there yet."""
    return database_url.replace("store.db", "other.db") + ("" if database_url.startswith("sqlite") else "_other")


@pytest.mark.parametrize("version", range(1, RELAY.version + 1))
def test_a_dump_of_each_release_opens_with_everything_in_it(database_url: str, clock: Clock, version: int) -> None:
    load(database_url, database_url.partition("&schema=")[2], version)
    clock.now = make.NOW
    with World(database_url, clock) as world:
        assert make.contents(world) == make.expected(version)


def test_the_dumps_have_the_tables_that_a_new_store_has(database_url: str, other_url: str, clock: Clock) -> None:
    def shape(world: World) -> list[tuple[object, ...]]:
        if database_url.startswith("sqlite"):
            return world.rows("SELECT type, name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY name")
        return world.rows(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
            "WHERE table_schema = current_schema() ORDER BY 1, 2"
        ) + world.rows(
            "SELECT tablename, replace(indexdef, schemaname, '') FROM pg_indexes "
            "WHERE schemaname = current_schema() ORDER BY indexname"
        )

    with World(database_url, clock) as world:
        new = shape(world)
    load(other_url, other_url.partition("&schema=")[2], RELAY.version)
    with World(other_url, clock) as world:
        assert shape(world) == new


def test_a_newer_schema_is_refused_and_not_changed(database_url: str, clock: Clock) -> None:
    with World(database_url, clock) as world, world.store._engine.begin() as connection:
        connection.execute(RELAY.metadata.tables["schema_version"].update().values(version=RELAY.version + 1))
    for _ in range(2):
        with pytest.raises(StoreNewer):
            RelayStore.open(database_url)


def test_the_store_of_a_client_is_refused_and_a_client_refuses_the_relays(
    database_url: str, other_url: str, clock: Clock
) -> None:
    ClientStore.open(database_url, clock=clock).close()
    with pytest.raises(StoreCorrupt):
        RelayStore.open(database_url)
    World(other_url, clock).store.close()
    with pytest.raises(StoreCorrupt):
        ClientStore.open(other_url)


def test_a_file_that_has_lost_all_its_tables_or_is_another_applications_is_corrupt_and_stays_as_it_is(
    tmp_path: Path, clock: Clock
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    World(url, clock).store.close()
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not name.startswith("sqlite_"):
                connection.execute(f"DROP TABLE {name}")
        for _ in range(2):
            with pytest.raises(StoreCorrupt, match="no store"):
                RelayStore.open(url)
            connection.execute("CREATE TABLE IF NOT EXISTS songs (title TEXT)")
        assert connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'").fetchall() == [
            ("songs",)
        ]


def test_a_store_without_one_of_its_tables_is_corrupt(database_url: str, clock: Clock) -> None:
    with World(database_url, clock) as world, world.store._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE mail")
    with pytest.raises(StoreCorrupt):
        RelayStore.open(database_url)


def test_an_empty_file_is_not_taken_for_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "relay.db").touch()
    for _ in range(2):  # and the refusal has let go of the lock
        with pytest.raises(StoreCorrupt):
            RelayStore.open(f"sqlite:///{tmp_path / 'relay.db'}")


def test_another_database_is_refused() -> None:
    with pytest.raises(UnsupportedDatabase):
        RelayStore.open("mysql://localhost/relay")


def test_a_sqlite_that_cannot_return_rows_is_refused(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(UnsupportedDatabase):
        RelayStore.open(sqlite_url)


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    with RelayStore.open(f"sqlite:///{tmp_path / 'relay.db'}"):
        assert stat.S_IMODE((tmp_path / "relay.db").stat().st_mode) == 0o600


def test_a_connection_is_set_up_as_every_store_is(sqlite_url: str, clock: Clock) -> None:
    with World(sqlite_url, clock) as world:
        found = {name: world.rows(f"PRAGMA {name}")[0][0] for name, _, _ in SQLITE_SETTINGS}
    assert found == {name: expected for name, _, expected in SQLITE_SETTINGS}


def test_a_store_in_memory_works_and_is_gone_when_it_is_closed(clock: Clock) -> None:
    for _ in range(2):
        with World("sqlite://", clock) as world:
            alice, bob = world.devices(2)
            world.send(alice, bob, 1, content=b"hello")
            assert world.contents(bob) == [b"hello"]


def test_deleted_mail_is_on_no_page_after_a_checkpoint(sqlite_url: str, clock: Clock, tmp_path: Path) -> None:
    canary = b"canary of a ciphertext, long enough to be found"
    with World(sqlite_url, clock) as world:
        alice, bob = world.devices(2)
        world.send(alice, bob, 1, content=canary)
        before = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
        world.acknowledge(bob, 1)
        assert world.store.checkpoint()
        after = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert (canary in before, canary in after) == (True, False)


def test_the_relays_store_loads_nothing_of_the_protocol_and_nothing_of_the_clients_store() -> None:
    program = (
        "import store.relay, sys; print(*(n for n in sys.modules if n.split('.')[0] in ('ratchet', 'store', 'e2ee')))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in ran.stdout.split() if not name.startswith("store.relay")}
    shared = {"database", "driver_cursor", "errors", "migrations", "ownership", "packing"}
    assert loaded - {"store.siblings"} == {"store", *(f"store.{name}" for name in shared)}
