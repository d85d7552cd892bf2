"""A store that is killed while it is made, opened or deleted: afterwards it opens, whole or as if never made.

Neither half a store nor a damaged one is ever found: a kill while a store is made must not end in StoreCorrupt, and
what was told to be there is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from store import TESTING, ClientStore
from store.relay import RelayStore
from tests.store.relay.world import LONG_LIVED, identity, one_time
from tests.support.counting_driver import counting_driver
from tests.support.killed import Life, killed_at
from tests.support.messenger import Messenger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

CALLS_MAX: Final = 400  # of one life of a store: a bound for the search, above the 200 or so that there are


class Client:
    """A device's store: one life makes it and its account, another opens it, another deletes it."""

    def open(self, url: str, driver: ModuleType | None = None) -> ClientStore:
        return ClientStore.open(url, passphrase="right", profile=TESTING, dbapi=driver)

    def make(self, url: str, life: Life) -> None:
        with self.open(url, counting_driver(url, life.call)) as store:
            life.tell("open", store._opened.claim.store_id)
            with store.begin() as unit:
                there = unit.account.load() is not None
            if not there:
                Messenger(store).create("alice")
            life.tell("filled")

    def delete(self, url: str, life: Life) -> None:
        store = self.open(url, counting_driver(url, life.call))
        store.delete_account()
        life.tell("deleted")

    def contents(self, url: str) -> tuple[object, bool]:
        """Open it, which must not fail; return which store it is, and whether its account is there."""
        with self.open(url) as store:
            assert store.check() == ()
            with store.begin() as unit:
                account = unit.account.load()
                published = None if account is None else unit.prekeys.unpublished()
            assert published is None or len(published.one_time_prekeys) == 3
            return store._opened.claim.store_id, account is not None


class Relay:
    """A relay's store, likewise. What is told of it is only that it is open: it has no name of its own."""

    def make(self, url: str, life: Life) -> None:
        with RelayStore.open(url, dbapi=counting_driver(url, life.call)) as store:
            life.tell("open", "")
            with store.begin() as unit:
                unit.users.register("alice", identity("alice"))
                user = unit.users.find("alice")
                assert user is not None
                unit.prekeys.upload(unit.devices.register(user, 1, 1).key, LONG_LIVED, one_time(3))
            life.tell("filled")

    def contents(self, url: str) -> tuple[object, bool]:
        with RelayStore.open(url) as store, store.begin() as unit:
            state = unit.devices.find("alice", 1)
            assert state is None or unit.prekeys.stock(state.device.key).ec == 3
            return "", state is not None


def lives(url: Callable[[], str], step: int, live: Callable[[str, Life], None]) -> Iterator[tuple[str, list[object]]]:
    """Kill a life at every *step*-th call, each at another place; yield the place and what was told."""
    number = 1
    while True:
        place = url()
        ended = killed_at(number, lambda life, place=place: live(place, life))  # type: ignore[misc]
        yield place, [value for told in ended.told for value in told]
        if not ended.killed:
            return
        number += step
        assert number < CALLS_MAX


SOME: Final = pytest.param(47, id="some calls")
EVERY: Final = (SOME, pytest.param(1, id="every call", marks=pytest.mark.slow))
EVERY_THIRD: Final = (SOME, pytest.param(3, id="every third call", marks=pytest.mark.slow))


@pytest.fixture
def new_url(database_url: str) -> Callable[[], str]:
    """Places where there is no store yet."""
    numbers = iter(range(CALLS_MAX))
    if database_url.startswith("sqlite"):
        return lambda: database_url.replace("store.db", f"{next(numbers)}.db")
    return lambda: f"{database_url}_{next(numbers)}"


@pytest.mark.parametrize("step", EVERY)
@pytest.mark.parametrize("kind", [Client(), Relay()], ids=["client", "relay"])
def test_a_store_killed_while_it_is_made_opens_and_has_what_was_told(
    kind: Client | Relay, step: int, new_url: Callable[[], str]
) -> None:
    kills = 0
    for place, told in lives(new_url, step, kind.make):
        kills += 1
        store_id, filled = kind.contents(place)
        assert "open" not in told or store_id == told[1], "a store that was there was made anew"
        assert filled or "filled" not in told
        # Whatever the first life has left, a second one makes a whole store of it.
        if not filled:
            killed_at(CALLS_MAX, lambda life, place=place: kind.make(place, life))  # type: ignore[misc]
        assert kind.contents(place) == (store_id, True)
    assert kills * step > 40, "the calls are no longer counted"


@pytest.mark.parametrize("step", EVERY_THIRD)
def test_a_store_killed_while_a_killed_one_is_mended_opens_too(step: int, new_url: Callable[[], str]) -> None:
    kind = Client()
    for number, (place, _told) in enumerate(lives(new_url, step, kind.make), 1):
        killed_at(1 + number * 7 % 60, lambda life, place=place: kind.make(place, life))  # type: ignore[misc]
        kind.contents(place)


@pytest.mark.parametrize("step", EVERY_THIRD)
def test_an_account_killed_while_it_is_deleted_is_there_or_gone_and_its_place_can_be_used(
    step: int, new_url: Callable[[], str]
) -> None:
    kind = Client()

    def filled() -> str:
        place = new_url()
        killed_at(CALLS_MAX, lambda life: kind.make(place, life))
        return place

    for place, told in lives(filled, step, kind.delete):
        before, there = kind.contents(place)
        assert not (there and "deleted" in told)
        if there:
            killed_at(CALLS_MAX, lambda life, place=place: kind.delete(place, life))  # type: ignore[misc]
            assert kind.contents(place)[1] is False
        else:
            killed_at(CALLS_MAX, lambda life, place=place: kind.make(place, life))  # type: ignore[misc]
            assert kind.contents(place) == (before, True)
