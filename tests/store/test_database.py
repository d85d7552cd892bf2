"""Engines: which URLs are taken, how connections are set up, what a driver's error becomes."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, text

from store.database import (
    SQLITE_SETTINGS,
    Dialect,
    Statement,
    checkpoint,
    create_file,
    open_engine,
    parse_url,
    require_file,
)
from store.errors import InvalidUse, StoreCorrupt, StoreUnavailable, UnsupportedDatabase

if TYPE_CHECKING:
    from pathlib import Path


def make_table(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE t (a INTEGER)"))


@pytest.mark.parametrize(
    "url",
    [
        "mysql://localhost/a",
        "postgresql+asyncpg://localhost/a",
        "sqlite+aiosqlite:///a.db",
        "sqlite:///a.db?mode=ro",
        "sqlite://a.db",
        "postgresql://localhost/a?schema=Robert'); DROP",
        "postgresql://localhost/a?schema=pg_catalog",
        "a.db",
        "",
    ],
)
def test_a_url_of_another_database_is_refused(url: str) -> None:
    with pytest.raises(UnsupportedDatabase):
        parse_url(url)


def test_a_bare_postgresql_url_means_psycopg_and_its_schema_is_not_passed_to_the_server() -> None:
    location = parse_url("postgresql://alice:secret@db/chat?schema=bots")
    assert location.url.drivername == "postgresql+psycopg"
    assert (location.dialect, location.schema, dict(location.url.query)) == (Dialect.POSTGRESQL, "bots", {})


def test_the_password_of_a_url_is_in_no_text_about_the_location() -> None:
    location = parse_url("postgresql://alice:secret@db/chat")
    assert "secret" not in f"{location} {location!r}"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_url_without_a_file_is_a_database_in_memory(url: str) -> None:
    assert parse_url(url).in_memory


def test_every_connection_of_the_pool_has_every_setting(sqlite_url: str) -> None:
    engine = open_engine(parse_url(sqlite_url), pool_size=3)
    connections = [engine.raw_connection() for _ in range(3)]
    assert len({id(one.dbapi_connection) for one in connections}) == 3
    for connection in connections:
        cursor = connection.cursor()
        found = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name, _, _ in SQLITE_SETTINGS}
        assert found == {name: expected for name, _, expected in SQLITE_SETTINGS}
        connection.close()
    engine.dispose()


def test_a_transaction_holds_the_write_lock_from_its_beginning(sqlite_url: str) -> None:
    location = parse_url(sqlite_url)
    engine = open_engine(location)
    with (
        closing(sqlite3.connect(str(location.path), timeout=0)) as other,
        engine.begin(),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("CREATE TABLE t (a INTEGER)")
    engine.dispose()


def test_a_table_made_in_a_transaction_that_rolls_back_is_gone(database_url: str) -> None:
    engine = open_engine(parse_url(database_url))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"CREATE SCHEMA {parse_url(database_url).schema}")
    with engine.connect() as connection, connection.begin() as transaction:
        make_table(connection)
        transaction.rollback()
    with pytest.raises(StoreCorrupt), engine.begin() as connection:
        connection.exec_driver_sql("SELECT a FROM t")
    engine.dispose()


def test_a_new_file_is_complete_private_and_leaves_nothing_beside_it(sqlite_url: str) -> None:
    location = parse_url(sqlite_url)
    assert location.path is not None
    assert not require_file(location)
    create_file(location, make_table)
    assert require_file(location)
    assert stat.S_IMODE(location.path.stat().st_mode) == 0o600
    assert [path.name for path in location.path.parent.iterdir()] == ["store.db"]


def test_a_creation_that_is_cut_short_leaves_no_store_and_the_next_one_succeeds(sqlite_url: str) -> None:
    location = parse_url(sqlite_url)

    def fail(connection: Connection) -> None:
        make_table(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create_file(location, fail)
    assert not require_file(location)
    create_file(location, make_table)
    assert require_file(location)


def test_an_empty_file_is_corrupt_and_not_absent(sqlite_url: str) -> None:
    location = parse_url(sqlite_url)
    assert location.path is not None
    location.path.touch()
    with pytest.raises(StoreCorrupt, match="empty"):
        require_file(location)


def test_a_log_without_its_database_is_corrupt_and_not_absent(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "store.db-wal").write_bytes(b"frames")
    with pytest.raises(StoreCorrupt, match="gone"):
        require_file(parse_url(sqlite_url))


def test_a_file_that_is_no_database_is_corrupt(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database at all" * 1000)
    engine = open_engine(parse_url(sqlite_url))
    with pytest.raises(StoreCorrupt, match="not a database"):
        engine.connect()
    engine.dispose()


def test_a_file_in_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    engine = open_engine(parse_url(f"sqlite:///{tmp_path}/missing/store.db"))
    with pytest.raises(StoreUnavailable):
        engine.connect()
    with pytest.raises(StoreUnavailable, match="cannot create"):
        create_file(parse_url(f"sqlite:///{tmp_path}/missing/store.db"), make_table)
    engine.dispose()


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    engine = open_engine(parse_url(f"postgresql://postgres@/postgres?host={tmp_path}"))
    with pytest.raises(StoreUnavailable):
        engine.connect()
    engine.dispose()


def test_after_a_checkpoint_the_log_is_empty(sqlite_url: str, tmp_path: Path) -> None:
    engine = open_engine(parse_url(sqlite_url))
    with engine.begin() as connection:
        make_table(connection)
    assert (tmp_path / "store.db-wal").stat().st_size > 0
    assert checkpoint(engine)
    assert (tmp_path / "store.db-wal").stat().st_size == 0
    engine.dispose()


def test_a_statement_has_both_databases_parameters() -> None:
    statement = Statement("t", "SELECT a FROM t WHERE a = ?")
    assert (statement.sqlite, statement.postgresql) == ("SELECT a FROM t WHERE a = ?", "SELECT a FROM t WHERE a = %s")


@pytest.mark.parametrize("sql", ["SELECT a FROM t WHERE a = '?'", "SELECT a % 2 FROM t"])
def test_a_statement_that_the_translation_could_misread_is_refused(sql: str) -> None:
    with pytest.raises(InvalidUse):
        Statement("t", sql)
