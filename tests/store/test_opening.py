"""Opening a store: what each refusal says, and that it changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from store import (
    TESTING,
    ClientStore,
    KeyUnavailable,
    PassphraseNeeded,
    PassphraseNotNeeded,
    Received,
    StoreCorrupt,
    StoreNewer,
    StoreUnavailable,
    UnsupportedDatabase,
    WrongPassphrase,
)
from store.database import open_engine, parse_url
from store.migrations import Migration, Schema, create, migrate, stored_version, version_table
from store.schema import CLIENT

if TYPE_CHECKING:
    from sqlalchemy import Connection


ROOT = Path(__file__).parent.parent.parent
KEY = bytes(range(32))


def change(url: str, sql: str) -> None:
    """Change a store behind its back."""
    engine = open_engine(parse_url(url))
    with engine.begin() as connection:
        connection.exec_driver_sql(sql)
    engine.dispose()


def test_a_store_in_memory_works_and_is_gone_afterwards() -> None:
    with ClientStore.open("sqlite://") as store, store.begin() as unit:
        unit.account.create("alice")
    with ClientStore.open("sqlite://") as store, store.begin() as unit:
        assert unit.account.load() is None


def test_another_database_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedDatabase, match="mysql"):
        ClientStore.open("mysql://localhost/alice")


def test_what_was_committed_is_there_at_the_next_opening(database_url: str) -> None:
    with ClientStore.open(database_url) as store, store.begin() as unit:
        unit.account.create("alice", 3)
        unit.counters.delivery_number = 7
    with ClientStore.open(database_url) as store, store.begin() as unit:
        assert (unit.account.require().user_id, unit.account.require().device_id) == ("alice", 3)
        assert unit.counters.delivery_number == 7


def test_each_opening_has_the_next_epoch(database_url: str) -> None:
    epochs = []
    for _ in range(3):
        with ClientStore.open(database_url) as store:
            epochs.append(store.epoch)
    assert epochs == [1, 2, 3]


def test_a_store_without_a_key_works_and_says_that_it_is_not_sealed(database_url: str) -> None:
    with ClientStore.open(database_url) as store:
        assert not store.sealed


def test_a_store_with_a_passphrase_says_that_it_is_sealed_and_opens_with_it_only(database_url: str) -> None:
    with ClientStore.open(database_url, passphrase="right", profile=TESTING) as store:
        assert store.sealed
    with pytest.raises(WrongPassphrase):
        ClientStore.open(database_url, passphrase="wrong")
    with pytest.raises(PassphraseNeeded):
        ClientStore.open(database_url)
    with pytest.raises(PassphraseNeeded):
        ClientStore.open(database_url, key_provider=lambda: KEY)
    ClientStore.open(database_url, passphrase="right").close()


def test_a_wrong_passphrase_changes_nothing_and_keeps_nobody_out(database_url: str) -> None:
    ClientStore.open(database_url, passphrase="right", profile=TESTING).close()
    with pytest.raises(WrongPassphrase):
        ClientStore.open(database_url, passphrase="wrong")
    with ClientStore.open(database_url, passphrase="right") as store:
        assert store.epoch == 2


def test_a_key_provider_seals_and_opens(database_url: str) -> None:
    with ClientStore.open(database_url, key_provider=lambda: KEY) as store:
        assert store.sealed
    with pytest.raises(WrongPassphrase):
        ClientStore.open(database_url, key_provider=lambda: bytes(32))
    ClientStore.open(database_url, key_provider=lambda: KEY).close()


@pytest.mark.parametrize("key", [b"", bytes(31), "x" * 32, None])
def test_a_provider_that_gives_no_key_is_told_apart_from_a_wrong_key(sqlite_url: str, key: object) -> None:
    ClientStore.open(sqlite_url, key_provider=lambda: KEY).close()
    with pytest.raises(KeyUnavailable):
        ClientStore.open(sqlite_url, key_provider=lambda: key)  # type: ignore[arg-type, return-value]


def test_a_provider_that_fails_leaves_its_error_as_the_cause_and_the_store_as_it_was(sqlite_url: str) -> None:
    ClientStore.open(sqlite_url, key_provider=lambda: KEY).close()

    def locked_keyring() -> bytes:
        raise PermissionError("the keyring is locked")

    with pytest.raises(KeyUnavailable) as refused:
        ClientStore.open(sqlite_url, key_provider=locked_keyring)
    assert isinstance(refused.value.__cause__, PermissionError)
    ClientStore.open(sqlite_url, key_provider=lambda: KEY).close()


def test_a_key_for_a_store_that_is_not_sealed_is_refused_instead_of_ignored(database_url: str) -> None:
    ClientStore.open(database_url).close()
    with pytest.raises(PassphraseNotNeeded):
        ClientStore.open(database_url, passphrase="any", profile=TESTING)


def test_a_seal_taken_off_behind_the_stores_back_is_noticed(database_url: str) -> None:
    ClientStore.open(database_url, passphrase="right", profile=TESTING).close()
    change(database_url, "UPDATE store SET seal_kind = 0")
    with pytest.raises(StoreCorrupt):
        ClientStore.open(database_url)


def test_a_newer_schema_is_refused_and_left_as_it_is(database_url: str) -> None:
    ClientStore.open(database_url).close()
    change(database_url, "UPDATE schema_version SET version = 99")
    with pytest.raises(StoreNewer, match="99"):
        ClientStore.open(database_url)
    change(database_url, f"UPDATE schema_version SET version = {CLIENT.version}")  # noqa: S608 - a number
    with ClientStore.open(database_url) as store:
        assert store.epoch == 2


def test_tables_of_version_1_are_brought_forward_on_either_database(database_url: str) -> None:
    with ClientStore.open(database_url) as store, store.begin() as unit:
        unit.pending.add("bob", 1, bytes(16), 2, b"parked", reason="r")
        unit.conversations.save_received(b"bob", "bob", 1, Received(4, ((2, 2),), 1.0))
        unit.account.create("alice", 1)
        unit.prekeys.rotate()
        unit.prekeys.published(7)
        unit.outgoing.add(bytes(16), "bob", b"text", state="queued")
    for statement in (
        "DROP TABLE ended_chains",
        "DROP TABLE sent_envelopes",
        "ALTER TABLE envelopes DROP COLUMN alone",
        "ALTER TABLE pending DROP COLUMN requests",
        "ALTER TABLE received DROP COLUMN told",
        "ALTER TABLE received DROP COLUMN watched",
        "ALTER TABLE store DROP COLUMN confirmed_submission_number",
        "ALTER TABLE store DROP COLUMN confirmed_upload_number",
        "ALTER TABLE outgoing DROP COLUMN again",
        "DROP INDEX outgoing_by_lane",
        "ALTER TABLE outgoing DROP COLUMN conversation_number",
        "CREATE INDEX outgoing_by_lane ON outgoing (lane, number)",
        "UPDATE schema_version SET version = 1",
    ):
        change(database_url, statement)
    with ClientStore.open(database_url) as store, store.begin() as unit:
        assert unit.pending.devices() == [("bob", 1, 0)]
        assert unit.conversations.received(b"bob", "bob", 1) == Received(4, ((2, 2),), 1.0, told=0, watched=0)
        assert (unit.counters.confirmed_submission_number, unit.counters.confirmed_upload_number) == (0, 7)
        assert [one.again for one in unit.outgoing.next_in("bob", "queued", limit=9)] == [0]
        assert unit.numbered.without() == [bytes(16)]
        unit.sent_envelopes.add(bytes(16), "bob", b"m" * 16)
        assert unit.sent_envelopes.find("bob", [bytes(16)]) == {bytes(16): b"m" * 16}


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM store",
        "DELETE FROM schema_version",
        "DROP TABLE schema_version",
        "DROP TABLE sessions",
        "ALTER TABLE sessions DROP COLUMN state",
        "UPDATE schema_version SET name = 'relay'",
    ],
)
def test_half_a_store_is_corrupt_and_not_absent(database_url: str, damage: str) -> None:
    ClientStore.open(database_url).close()
    change(database_url, damage)
    with pytest.raises(StoreCorrupt):
        ClientStore.open(database_url)


def test_an_empty_file_and_a_file_of_something_else_are_corrupt_and_stay_as_they_are(tmp_path: Path) -> None:
    for content in (b"", b"notes of mine\n" * 500):
        path = tmp_path / "store.db"
        path.write_bytes(content)
        with pytest.raises(StoreCorrupt):
            ClientStore.open(f"sqlite:///{path}")
        assert path.read_bytes() == content


def test_another_applications_database_is_corrupt_and_stays_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db")) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreCorrupt, match="no store"):
        ClientStore.open(f"sqlite:///{tmp_path}/store.db")


def test_a_damaged_page_is_corrupt(tmp_path: Path) -> None:
    with ClientStore.open(f"sqlite:///{tmp_path}/store.db") as store, store.begin() as unit:
        unit.account.create("alice")
    whole = (tmp_path / "store.db").read_bytes()
    (tmp_path / "store.db").write_bytes(whole[:100] + bytes(4096 - 100) + whole[4096:])
    with pytest.raises(StoreCorrupt):
        ClientStore.open(f"sqlite:///{tmp_path}/store.db")


@pytest.mark.slow
def test_a_database_that_something_else_has_locked_is_unavailable_and_not_corrupt(tmp_path: Path) -> None:
    ClientStore.open(f"sqlite:///{tmp_path}/store.db").close()
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            ClientStore.open(f"sqlite:///{tmp_path}/store.db")


def example_schema(version: int, *steps: Migration) -> Schema:
    from sqlalchemy import MetaData  # noqa: PLC0415 - of this example alone

    metadata = MetaData()
    version_table(metadata)
    return Schema("example", version, metadata, steps)


def test_a_migration_that_fails_half_way_leaves_the_old_schema(database_url: str) -> None:
    location = parse_url(database_url)
    engine = open_engine(location)
    with engine.begin() as connection:
        if location.schema:
            connection.exec_driver_sql(f"CREATE SCHEMA {location.schema}")
        create(connection, example_schema(1))
        connection.exec_driver_sql("CREATE TABLE t (a INTEGER)")
        connection.exec_driver_sql("INSERT INTO t (a) VALUES (1)")

    def half(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE t ADD COLUMN b INTEGER")
        connection.exec_driver_sql("UPDATE t SET b = a")
        connection.exec_driver_sql("CREATE TABLE u (a INTEGER)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        migrate(connection, example_schema(2, Migration(2, half)))
    with engine.begin() as connection:
        assert stored_version(connection, example_schema(2)) == 1
        assert connection.exec_driver_sql("SELECT * FROM t").fetchall() == [(1,)]
    with engine.connect() as connection, pytest.raises(StoreCorrupt):
        connection.exec_driver_sql("SELECT * FROM u")
    engine.dispose()


def test_migrations_run_in_order_from_the_version_that_is_there(database_url: str) -> None:
    location = parse_url(database_url)
    engine = open_engine(location)
    ran: list[int] = []
    steps = [Migration(version, lambda _, version=version: ran.append(version)) for version in (2, 3, 4)]  # type: ignore[misc]
    with engine.begin() as connection:
        if location.schema:
            connection.exec_driver_sql(f"CREATE SCHEMA {location.schema}")
        create(connection, example_schema(2))
        assert migrate(connection, example_schema(4, *steps)) == 2
        assert ran == [3, 4]
        assert migrate(connection, example_schema(4, *steps)) == 4
        assert ran == [3, 4]
    engine.dispose()
