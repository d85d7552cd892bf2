"""What a unit stored stays in memory for the next one: it is never anything but what the database holds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet import Session
from store import ClientStore, StaleWriter
from store.database import Statement
from store.inbox import Received
from store.kept import Kept
from tests.support.conversation import account, seeded

if TYPE_CHECKING:
    from store import Unit

PEERS: Final = ("bob", "carol", "dave")
ROOM: Final = (b"room", "bob", 1)
STATE: Final = Statement("sessions", "SELECT version, state FROM sessions WHERE user_id = ? AND device_id = 1")
RENUMBER: Final = Statement("sessions", "UPDATE sessions SET version = version + 1")
RAISE_HIGHEST: Final = Statement("received", "UPDATE received SET highest = highest + 1")


class UndoneError(Exception):
    """Leaves a unit without a commit."""


def first_session(peer: str) -> Session:
    return Session.initiate(account("alice"), account(peer).bundle(), entropy=seeded("s"))


def stored(unit: Unit, peer: str) -> tuple[int, bytes] | None:
    """A session's version and record as the database has them."""
    row = unit.work.row(STATE, (peer,))
    if row is None:
        return None
    version, state = row
    return version, unit.work.vault.open("sessions", peer.encode() + b"\x01", version, state)


def loaded(unit: Unit, peer: str) -> tuple[int, bytes] | None:
    found = unit.sessions.load(peer, 1)
    return None if found is None else (found.version, found.session.to_bytes())


def change(unit: Unit, peer: str, *, save: bool) -> None:
    """Load a session and change it, if there is one."""
    found = unit.sessions.load(peer, 1)
    if found is not None:
        found.session.encrypt(b"text")
        if save:
            unit.sessions.save(found)


def add(unit: Unit, peer: str) -> None:
    if stored(unit, peer) is None:
        unit.sessions.add(peer, 1, first_session(peer))


ACTIONS: Final = ("add", "save", "change without saving", "delete", "delete all", "load")


def act(unit: Unit, action: str, peer: str) -> None:
    match action:
        case "add":
            add(unit, peer)
        case "save":
            change(unit, peer, save=True)
        case "change without saving":
            change(unit, peer, save=False)
        case "delete":
            unit.sessions.delete(peer, 1)
        case "delete all":
            unit.sessions.delete_all()
        case _:
            assert loaded(unit, peer) == stored(unit, peer)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(PEERS)), max_size=4),
            st.sampled_from(["committed", "committed", "rolled back"]),
        ),
        max_size=8,
    )
)
def test_a_session_is_loaded_as_the_database_has_it_whatever_was_done_before(
    units: list[tuple[list[tuple[str, str]], str]],
) -> None:
    with ClientStore.open("sqlite://") as store:
        for actions, end in [([("add", peer) for peer in PEERS], "committed"), *units]:
            with suppress(UndoneError), store.begin() as unit:
                for action, peer in actions:
                    act(unit, action, peer)
                if end == "rolled back":
                    raise UndoneError
        with store.begin() as unit:
            assert [loaded(unit, peer) for peer in PEERS] == [stored(unit, peer) for peer in PEERS]


def test_a_session_saved_is_not_read_again(store: ClientStore) -> None:
    with store.begin() as unit:
        session = first_session("bob")
        unit.sessions.add("bob", 1, session)
        unit.sessions.add("carol", 1, first_session("carol"))
    for _ in range(3):
        with store.begin() as unit:
            found = unit.sessions.load_many([("bob", 1), ("carol", 1), ("nobody", 1)])
            assert sorted(user_id for user_id, _ in found) == ["bob", "carol"]
            assert found["bob", 1].session is session
            for one in found.values():
                unit.sessions.save(one)


def test_a_session_loaded_and_not_saved_is_read_again(store: ClientStore) -> None:
    with store.begin() as unit:
        add(unit, "bob")
    with store.begin() as unit:
        before = stored(unit, "bob")
        change(unit, "bob", save=False)
    with store.begin() as unit:
        assert loaded(unit, "bob") == before


def test_a_unit_that_fails_leaves_nothing_in_memory(store: ClientStore) -> None:
    with store.begin() as unit:
        add(unit, "bob")
        unit.conversations.save_received(*ROOM, Received(1))
        before = stored(unit, "bob")
    with suppress(UndoneError), store.begin() as unit:
        change(unit, "bob", save=True)
        unit.conversations.save_received(*ROOM, Received(2))
        raise UndoneError
    with store.begin() as unit:
        assert loaded(unit, "bob") == before
        assert unit.conversations.received(*ROOM) == Received(1)


def test_what_is_in_memory_is_never_written_over_another_version(store: ClientStore) -> None:
    with store.begin() as unit:
        add(unit, "bob")
    with store.begin() as unit:
        unit.work.change(RENUMBER)
    with pytest.raises(StaleWriter), store.begin() as unit:
        change(unit, "bob", save=True)


def test_what_has_arrived_in_a_conversation_is_not_read_again_until_a_unit_fails(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.conversations.save_received(*ROOM, Received(7))
    with store.begin() as unit:
        unit.work.change(RAISE_HIGHEST)
        assert unit.conversations.received(*ROOM) == Received(7)
    with store.begin() as unit:
        assert unit.conversations.received(*ROOM) == Received(8)


def test_what_was_not_used_for_longest_makes_room() -> None:
    kept: Kept[str, int] = Kept(10)
    for number, key in enumerate("abc"):
        kept.put(key, number, 3)
    kept.settle(committed=True)
    assert kept.take("a") == 0
    kept.put("a", 4, 3)
    kept.put("d", 5, 3)
    kept.settle(committed=True)
    assert [kept.take(key) for key in "abcd"] == [4, None, 2, 5]


def test_what_is_larger_than_the_room_is_not_kept_and_takes_the_room_of_nothing_later() -> None:
    kept: Kept[str, int] = Kept(10)
    kept.put("a", 1, 11)
    kept.settle(committed=True)
    assert kept.take("a") is None
    kept.put("b", 2, 10)
    kept.settle(committed=True)
    assert kept.take("b") == 2


def test_what_is_stored_twice_in_a_unit_counts_once() -> None:
    kept: Kept[str, int] = Kept(10)
    for value in range(4):
        kept.put("a", value, 6)
    kept.put("b", 9, 4)
    kept.settle(committed=True)
    assert (kept.take("a"), kept.take("b")) == (3, 9)
