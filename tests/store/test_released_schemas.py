"""Stores written by each released schema are opened, checked and used, for ever.

``snapshots/`` holds SQL dumps; a new version adds one and changes none (`python -m tests.store.snapshots`).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from store import ClientStore
from store.schema import CLIENT
from tests.store import snapshots

if TYPE_CHECKING:
    from pathlib import Path


def restored(dump: Path, folder: Path) -> str:
    """Make a database from a dump; return its URL."""
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        connection.executescript(dump.read_text("utf-8"))
    return f"sqlite:///{folder}/store.db"


def test_every_version_of_the_schema_has_a_dump() -> None:
    assert [dump.name for dump in snapshots.dumps()] == [f"client-{n}.sql" for n in range(1, CLIENT.version + 1)]


@pytest.mark.parametrize("dump", snapshots.dumps(), ids=lambda dump: dump.stem)
def test_a_dump_opens_is_whole_and_holds_what_was_put_in(dump: Path, tmp_path: Path) -> None:
    with ClientStore.open(restored(dump, tmp_path), passphrase=snapshots.PASSPHRASE) as store:
        assert store.check() == ()
        with store.begin() as unit:
            assert unit.account.require().user_id == "alice"
            assert [event.body for event in unit.inbox.after(0, limit=9)] == [snapshots.TEXT]
            assert unit.outgoing.lanes("queued") == ["bob"]
            loaded = unit.sessions.load("bob", 1)
            assert loaded is not None
            loaded.session.encrypt(b"next", now=snapshots.TIME)
            unit.sessions.save(loaded)


def test_the_tables_made_today_are_those_of_the_last_dump(tmp_path: Path) -> None:
    def definitions(path: Path) -> set[str]:
        with closing(sqlite3.connect(path)) as connection:
            return {
                " ".join(row[0].split())
                for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
            }

    restored(snapshots.dumps()[-1], tmp_path)
    ClientStore.open(f"sqlite:///{tmp_path}/new.db").close()
    assert definitions(tmp_path / "new.db") == definitions(tmp_path / "store.db")
