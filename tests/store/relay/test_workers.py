"""Several workers on one PostgreSQL database; one on a SQLite file; wake-ups on both."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from store.errors import InvalidUse, StaleWriter, StoreForked, StoreInUse, StoreUnavailable
from store.relay import Appended, Conflict, Delivery, Envelope, GroupHead, Outcome, RelayStore

from .world import ENTRY, MESSAGE, World, entry, envelope_id, identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.relay import Device
    from tests.store.conftest import Clock


@pytest.fixture
def other(postgres_world: World) -> Iterator[World]:
    """A second worker on the database of `postgres_world`."""
    with World(postgres_world.url, postgres_world.clock) as opened:
        yield opened


class Reader:
    """A connection that asks for what is behind its cursor, and moves it."""

    def __init__(self, world: World, device: Device) -> None:
        self.world = world
        self.device = device
        self.read: list[Delivery] = []

    def poll(self) -> list[bytes]:
        found = self.world.mail(self.device, after=self.read[-1].number if self.read else 0)
        self.read += found
        return [delivery.content for delivery in found]


def test_a_readers_cursor_never_passes_an_envelope_that_commits_later(postgres_world: World, other: World) -> None:
    alice, bob, carol = postgres_world.devices(3)
    reader = Reader(postgres_world, carol)
    with ThreadPoolExecutor(1) as pool:
        with postgres_world.store.begin() as unit:
            unit.mailboxes.append([Envelope(alice, carol.key, envelope_id(1), MESSAGE, b"slow worker's")])
            quick = pool.submit(other.send, bob, carol, 2, content=b"quick worker's")
            # The quick worker has not overtaken: it waits for the lock, and the reader sees nothing yet.
            postgres_world.until_somebody_waits()
            with ThreadPoolExecutor(1) as another_thread:
                assert another_thread.submit(reader.poll).result() == []
        quick.result()
    assert reader.poll() == [b"slow worker's", b"quick worker's"]
    assert [delivery.number for delivery in reader.read] == [1, 2]


def test_with_a_plain_sequence_the_same_story_loses_an_envelope(postgres_world: World) -> None:
    engine = postgres_world.store._engine
    insert = text("INSERT INTO plain_mail (content) VALUES (:content)")
    behind = text("SELECT number, content FROM plain_mail WHERE number > :cursor ORDER BY number")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE plain_mail (number BIGSERIAL PRIMARY KEY, content TEXT)"))
    with engine.connect() as slow, engine.connect() as quick, engine.connect() as reader:
        slow.execute(insert, {"content": "slow worker's"})
        quick.execute(insert, {"content": "quick worker's"})
        quick.commit()
        first = reader.execute(behind, {"cursor": 0}).all()
        reader.commit()
        slow.commit()
        second = reader.execute(behind, {"cursor": first[-1].number}).all()
    assert [row.content for row in first] == ["quick worker's"]
    assert second == []  # the slow worker's has a lower number and is never read


def test_mail_for_different_devices_also_keeps_its_order(postgres_world: World, other: World) -> None:
    # A fan-out takes many mailboxes: were they locked one by one, two workers could wait for each other.
    alice, bob, *members = postgres_world.devices(6)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: [postgres_world.fan_out(alice, members, n, b"a") for n in range(20)])
        second = pool.submit(lambda: [other.fan_out(bob, members[::-1], n, b"b") for n in range(20)])
        first.result()
        second.result()
    orders = {tuple(postgres_world.contents(member)) for member in members}
    assert len(orders) == 1
    assert sorted(*orders) == [b"a"] * 20 + [b"b"] * 20


def test_two_workers_cannot_both_add_an_entry_with_one_number(postgres_world: World, other: World) -> None:
    alice, bob = postgres_world.devices(2)
    head = postgres_world.group("team", alice, bob)

    def append(world: World, actor: Device) -> object:
        with world.store.begin() as unit:
            return unit.groups.append(head.group_id, entry(2, actor.user_id), epoch=2, actor=actor, kind=ENTRY)

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(append, postgres_world, alice), pool.submit(append, other, bob)]
        kinds = sorted(type(result.result()).__name__ for result in results)
    assert kinds == [Appended.__name__, Conflict.__name__]


def test_a_head_read_under_the_lock_is_still_the_head_at_the_commit(postgres_world: World, other: World) -> None:
    alice, bob = postgres_world.devices(2)
    head = postgres_world.group("team", alice, bob)

    def append() -> None:
        with other.store.begin() as unit:
            unit.groups.append(head.group_id, entry(2), epoch=2, actor=bob, kind=ENTRY)

    with ThreadPoolExecutor(1) as pool:
        with postgres_world.store.begin() as unit:
            unit.exclusive()
            before = unit.groups.head(head.group_id)
            waiting = pool.submit(append)
            postgres_world.until_somebody_waits()
            unit.mailboxes.fan_out(alice, [bob.key], envelope_id=envelope_id(1), kind=MESSAGE, body=b"of epoch 1")
        waiting.result()
    assert isinstance(before, GroupHead)
    assert before.epoch == 1
    assert postgres_world.contents(bob)[1:] == [b"of epoch 1", entry(2).entry]


def test_sixteen_threads_of_two_workers_lose_and_repeat_no_envelope(postgres_world: World, other: World) -> None:
    receiver, *senders = postgres_world.devices(17)

    def send(number: int) -> None:
        for step in range(10):
            (postgres_world, other)[number % 2].send(senders[number], receiver, step, content=b"%d" % number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(16)))
    found: list[Delivery] = []
    while more := postgres_world.mail(receiver, after=found[-1].number if found else 0):
        found += more
    assert [delivery.number for delivery in found] == list(range(1, 161))
    assert len({(delivery.content, delivery.envelope_id) for delivery in found}) == 160


def test_two_workers_open_a_new_database_at_once(postgres_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        opened = list(pool.map(RelayStore.open, [postgres_url] * 2))
    for store in opened:
        with store.begin() as unit:
            unit.users.find("alice")
        store.close()


# One worker.


def test_a_second_worker_on_a_sqlite_file_is_refused_and_told_who_has_it(sqlite_url: str, clock: Clock) -> None:
    with World(sqlite_url, clock), pytest.raises(StoreInUse) as refused:
        RelayStore.open(sqlite_url)
    assert (refused.value.pid, refused.value.since) == (os.getpid(), clock.now)


def test_a_sqlite_file_is_free_again_when_its_worker_has_closed_it(sqlite_url: str, clock: Clock) -> None:
    with World(sqlite_url, clock) as first:
        first.device("alice")
    with World(sqlite_url, clock) as second, second.store.begin() as unit:
        assert unit.users.find("alice") is not None


def test_threads_of_one_worker_take_turns(world: World) -> None:
    alice, *others = world.devices(9)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda sender: [world.send(sender, alice, number) for number in range(5)], others))
    assert [delivery.number for delivery in world.mail(alice)] == list(range(1, 41))


def test_a_unit_inside_a_unit_is_refused(world: World) -> None:
    with world.store.begin(), pytest.raises(InvalidUse), world.store.begin():
        pass


def test_a_unit_that_is_over_refuses_calls(world: World) -> None:
    with world.store.begin() as unit:
        pass
    with pytest.raises(InvalidUse):
        unit.users.find("alice")


def test_a_device_of_a_user_that_is_no_more_is_stale_and_its_unit_stores_nothing(world: World) -> None:
    old = world.user("alice")
    with world.store.begin() as unit:
        unit.users.remove("alice")

    def register_and_go_on() -> None:
        with world.store.begin() as unit:
            unit.users.register("bob", identity("bob"))
            with pytest.raises(StaleWriter):
                unit.devices.register(old, 1, 1)
            with pytest.raises(InvalidUse):
                unit.users.find("bob")

    with pytest.raises(InvalidUse):  # the unit ends as what it is: failed
        register_and_go_on()
    with world.store.begin() as unit:
        assert unit.users.find("bob") is None


def test_a_unit_that_waits_too_long_for_the_lock_is_told_to_try_again(postgres_world: World, other: World) -> None:
    alice, bob = postgres_world.devices(2)
    with other.store._engine.connect() as connection:  # the pool's only idle one: the next unit takes it
        connection.execute(text("SET lock_timeout TO 50"))
        connection.commit()

    def send() -> None:
        other.send(alice, bob, 1)

    with postgres_world.store.begin() as unit:
        unit.exclusive()
        with ThreadPoolExecutor(1) as pool, pytest.raises(StoreUnavailable):
            pool.submit(send).result()
    assert other.send(alice, bob, 1) == [Outcome.STORED]


def test_the_time_of_a_unit_stands_still(world: World, clock: Clock) -> None:
    with world.store.begin() as unit:
        before = unit.now
        clock.now += 5
        assert unit.now == before == clock.now - 5


def test_a_closed_store_refuses_units(world: World) -> None:
    world.store.close()
    with pytest.raises(InvalidUse), world.store.begin():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forking beside threads: the child only asks
def test_a_forked_child_is_refused_and_leaves_the_store_to_its_parent(world: World) -> None:
    child = os.fork()
    if child == 0:
        try:
            with world.store.begin():
                os._exit(1)
        except StoreForked:
            world.store.close()
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert world.device("alice").user_id == "alice"


def test_the_server_ends_the_unit_of_a_worker_that_hangs_after_ten_seconds(postgres_world: World) -> None:
    assert postgres_world.rows("SHOW idle_in_transaction_session_timeout") == [("10s",)]


def test_a_unit_reads_what_is_newest_even_if_the_server_is_set_to_snapshots(postgres_url: str, clock: Clock) -> None:
    with World(f"{postgres_url}&options=-cdefault_transaction_isolation%3Dserializable", clock) as world:
        assert world.rows("SHOW default_transaction_isolation") == [("serializable",)]
        assert world.rows("SHOW transaction_isolation") == [("read committed",)]


# Wake-ups.


def test_a_listener_hears_of_each_device_that_has_mail_once_the_unit_is_committed(world: World) -> None:
    alice, bob, carol = world.devices(3)
    with world.store.listen() as listener:
        with world.store.begin() as unit:
            unit.mailboxes.append(
                [Envelope(alice, one.key, envelope_id(1), MESSAGE, b"") for one in (carol, bob, carol)]
            )
            assert listener.wait(0) == []
        assert listener.wait(5) == [bob.key, carol.key]
        assert listener.wait(0) == []


def test_a_listener_hears_nothing_of_a_unit_that_was_rolled_back_or_stored_nothing(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1)

    def connect_and_fail() -> None:
        with world.store.begin() as unit:
            unit.devices.connect(alice.key)
            raise ZeroDivisionError

    with world.store.listen() as listener:
        with pytest.raises(ZeroDivisionError):
            connect_and_fail()
        world.send(alice, bob, 1)
        world.send(alice, bob, 2)
        assert listener.wait(5) == [bob.key]


def test_a_listener_hears_of_new_connections_and_of_removals(world: World) -> None:
    alice, bob = world.devices(2)
    with world.store.listen() as listener:
        with world.store.begin() as unit:
            unit.devices.connect(alice.key)
        assert listener.wait(5) == [alice.key]
        with world.store.begin() as unit:
            unit.users.remove(bob.user_id)
        assert listener.wait(5) == [bob.key]


def test_a_worker_hears_of_what_another_one_stored(postgres_world: World, other: World) -> None:
    alice, bob = postgres_world.devices(2)
    with other.store.listen() as listener:
        postgres_world.send(alice, bob, 1)
        assert listener.wait(5) == [bob.key]
    assert len(other.mail(bob)) == 1


def test_workers_of_two_relays_on_one_database_do_not_hear_each_other(
    postgres_world: World, postgres_server: str, clock: Clock
) -> None:
    with World(f"{postgres_server}&schema=another_relay", clock) as stranger:
        alice, bob = postgres_world.devices(2)
        stranger.devices(2)
        with stranger.store.listen() as listener:
            postgres_world.send(alice, bob, 1)
            first, second = stranger.devices(2)
            stranger.send(second, first, 1)
            assert listener.wait(5) == [first.key]


def test_a_listener_whose_connection_is_gone_says_so(postgres_world: World) -> None:
    alice, bob = postgres_world.devices(2)
    listener = postgres_world.store.listen()
    with postgres_world.store._engine.connect() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND pid <> :me"),
            {"me": connection.execute(text("SELECT pg_backend_pid()")).scalar_one()},
        )
    with pytest.raises(StoreUnavailable):
        listener.wait(5)
    listener.close()
    with pytest.raises(StoreUnavailable):
        listener.wait(0)
    postgres_world.send(alice, bob, 1)
    with postgres_world.store.begin() as unit:
        assert unit.mailboxes.waiting({bob.key: 0}) == [bob.key]
