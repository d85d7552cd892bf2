"""The outbox by conversation number: what a receipt names is found without reading a content."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from store import ClientStore, StaleWriter
from store.numbered import _BETWEEN, _COUNT, _OLDEST, _WITHOUT  # the statements themselves: what they read is the point

if TYPE_CHECKING:
    from pathlib import Path

    from store import Unit
    from store.database import Statement


def identifier(number: int) -> bytes:
    return number.to_bytes(16, "big")


def queue(unit: Unit, numbers: range, lane: str = "bob", state: str = "sent") -> None:
    for number in numbers:
        unit.outgoing.add(identifier(number), lane, b"text", state=state, conversation_number=number)


def test_messages_are_found_by_their_numbers_page_by_page(store: ClientStore) -> None:
    with store.begin() as unit:
        queue(unit, range(1, 11))
        queue(unit, range(11, 13), lane="carol")
        queue(unit, range(13, 15), state="queued")
        found = unit.numbered.between("bob", "sent", 3, 12, after=0, limit=4)
        assert [(one.message_id, one.conversation_number) for one in found] == [(identifier(n), n) for n in range(3, 7)]
        rest = unit.numbered.between("bob", "sent", 3, 12, after=found[-1].number, limit=9)
        assert [one.conversation_number for one in rest] == [7, 8, 9, 10]
        unit.outgoing.set_state(identifier(4), "delivered")
        assert [one.conversation_number for one in unit.numbered.between("bob", "sent", 3, 5, after=0, limit=9)] == [
            3,
            5,
        ]


def test_all_but_the_newest_are_the_oldest_first(store: ClientStore) -> None:
    with store.begin() as unit:
        queue(unit, range(1, 8))
        assert unit.numbered.all_but_newest("bob", "sent", 4, limit=9) == [identifier(n) for n in (1, 2, 3)]
        assert unit.numbered.all_but_newest("bob", "sent", 4, limit=2) == [identifier(n) for n in (1, 2)]
        assert unit.numbered.all_but_newest("bob", "sent", 7, limit=9) == []
        assert unit.numbered.all_but_newest("bob", "sent", 8, limit=9) == []


def test_a_message_without_a_number_is_given_one(store: ClientStore) -> None:
    with store.begin() as unit:
        queue(unit, range(1, 3))
        assert unit.numbered.without() == []
        unit.numbered.set_number(identifier(2), 9)
        assert [one.message_id for one in unit.numbered.between("bob", "sent", 9, 9, after=0, limit=9)] == [
            identifier(2)
        ]


def test_no_number_is_given_to_what_is_not_there(store: ClientStore) -> None:
    with pytest.raises(StaleWriter), store.begin() as unit:
        unit.numbered.set_number(identifier(1), 1)


@pytest.mark.parametrize("statement", [_BETWEEN, _COUNT, _OLDEST, _WITHOUT])
def test_everything_is_answered_by_the_index_alone(sqlite_url: str, tmp_path: Path, statement: Statement) -> None:
    ClientStore.open(sqlite_url).close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        values = (0,) * statement.sqlite.count("?")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement.sqlite}", values)]
    assert len(plan) == 1
    assert "COVERING INDEX outgoing_by_lane" in plan[0]
