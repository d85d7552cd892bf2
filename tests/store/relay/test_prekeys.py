"""Prekeys: uploads that may be repeated, keys handed out once, answers that may be asked for again."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from store.errors import InvalidUse
from store.relay import (
    Bundle,
    Device,
    HandedKey,
    OneTimePreKey,
    PreKeyKind,
    RelayStore,
    Stock,
    UploadRefused,
    Wanted,
)
from store.relay.limits import (
    ASKER_WINDOW_S,
    BUNDLE_ANSWER_AGE_S,
    BUNDLE_ANSWERS_MAX,
    BUNDLES_MAX,
    HANDED_PREKEYS_AGE_S,
    ONE_TIME_PREKEYS_MAX,
    TARGET_WINDOW_S,
)

from .world import LONG_LIVED, World, envelope_id, identity, one_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.store.conftest import Clock

WORKERS = 16


def upload(world: World, device: Device, keys: Sequence[OneTimePreKey]) -> Stock | UploadRefused:
    with world.store.begin() as unit:
        return unit.prekeys.upload(device.key, LONG_LIVED, keys)


def stock(world: World, device: Device) -> Stock:
    with world.store.begin() as unit:
        return unit.prekeys.stock(device.key)


def ask(world: World, asker: Device, request: int, *wanted: Device, one_time: bool = True) -> list[Bundle]:
    with world.store.begin() as unit:
        return unit.prekeys.hand_out(asker, envelope_id(request), [Wanted(one, one_time) for one in wanted])


def ids(bundle: Bundle) -> tuple[int | None, int | None]:
    """The ids of the one-time keys in a bundle; None where there is none."""
    ec, kem = bundle.one_time_ec, bundle.one_time_kem
    return (None if ec is None else ec.key_id, None if kem is None else kem.key_id)


# Uploading.


def test_an_upload_says_how_many_keys_of_each_kind_are_there(world: World) -> None:
    alice = world.device("alice")
    assert upload(world, alice, one_time(3)) == Stock(3, 3)
    assert upload(world, alice, one_time(2, first=3)) == Stock(5, 5)


def test_an_upload_may_be_repeated(world: World) -> None:
    alice = world.device("alice")
    assert [upload(world, alice, one_time(3)) for _ in range(2)] == [Stock(3, 3), Stock(3, 3)]


def test_a_repeated_upload_does_not_bring_back_a_key_that_was_handed_out(world: World) -> None:
    alice, bob = world.device("alice", prekeys=2), world.device("bob")
    assert [ids(bundle) for bundle in ask(world, bob, 1, alice)] == [(0, 0)]
    assert upload(world, alice, one_time(2)) == Stock(1, 1)
    assert [ids(bundle) for bundle in ask(world, bob, 2, alice)] == [(1, 1)]
    assert [ids(bundle) for bundle in ask(world, bob, 3, alice)] == [(None, None)]


def test_another_key_under_an_id_that_is_there_is_refused_and_nothing_stored(world: World) -> None:
    alice = world.device("alice", prekeys=2)
    refused = [*one_time(1, first=5), OneTimePreKey(PreKeyKind.EC, 1, b"another")]
    with world.store.begin() as unit:
        changed = replace(LONG_LIVED, signed_id=9)
        assert unit.prekeys.upload(alice.key, changed, refused) is UploadRefused.OTHER_KEY
    assert stock(world, alice) == Stock(2, 2)
    assert ask(world, alice, 1, alice)[0].prekeys == LONG_LIVED


def test_another_key_under_an_id_that_was_handed_out_is_refused(world: World) -> None:
    alice = world.device("alice", prekeys=1)
    ask(world, alice, 1, alice)
    assert upload(world, alice, one_time(1, label="another ")) is UploadRefused.OTHER_KEY


def test_another_signature_makes_another_key(world: World) -> None:
    alice = world.device("alice", prekeys=1)
    resigned = [OneTimePreKey(PreKeyKind.KEM, 0, b"kem 0", b"another signature")]
    assert upload(world, alice, resigned) is UploadRefused.OTHER_KEY


def test_the_id_of_a_handed_out_key_is_forgotten_after_thirty_days(world: World, clock: Clock) -> None:
    alice = world.device("alice", prekeys=1)
    ask(world, alice, 1, alice)
    clock.now += HANDED_PREKEYS_AGE_S
    with world.store.begin() as unit:
        assert unit.sweep().prekeys == 2
    assert upload(world, alice, one_time(1, label="another ")) == Stock(1, 1)


def test_more_keys_than_are_kept_are_refused_and_the_last_that_fit_are_taken(world: World) -> None:
    alice = world.device("alice")
    assert upload(world, alice, one_time(ONE_TIME_PREKEYS_MAX + 1)) is UploadRefused.TOO_MANY
    assert stock(world, alice) == Stock(0, 0)
    full = Stock(ONE_TIME_PREKEYS_MAX, ONE_TIME_PREKEYS_MAX)
    assert upload(world, alice, one_time(ONE_TIME_PREKEYS_MAX)) == full
    assert upload(world, alice, one_time(1, first=500)) is UploadRefused.TOO_MANY


def test_an_upload_without_long_lived_keys_leaves_those_that_are_there(world: World) -> None:
    alice = world.device("alice")
    with world.store.begin() as unit:
        unit.prekeys.upload(alice.key, None, one_time(1))
    (bundle,) = ask(world, alice, 1, alice)
    assert (bundle.prekeys, ids(bundle)) == (LONG_LIVED, (0, 0))


def test_a_purge_drops_the_one_time_keys_and_nothing_else(world: World) -> None:
    alice, bob = world.device("alice", prekeys=2), world.device("bob", prekeys=2)
    with world.store.begin() as unit:
        unit.prekeys.purge(alice.key)
    assert (stock(world, alice), stock(world, bob)) == (Stock(0, 0), Stock(2, 2))
    assert ids(ask(world, bob, 1, alice)[0]) == (None, None)


def test_an_upload_that_names_an_id_twice_is_a_bug_of_the_caller(world: World) -> None:
    alice = world.device("alice")
    with pytest.raises(InvalidUse):
        upload(world, alice, [*one_time(1), *one_time(1)])


# Handing out.


def test_a_bundle_holds_the_identity_key_and_what_was_uploaded(world: World) -> None:
    alice, bob = world.device("alice", prekeys=1, registration_id=77), world.device("bob")
    ec, kem = HandedKey(0, b"ec 0", None), HandedKey(0, b"kem 0", b"signature")
    assert ask(world, bob, 1, alice) == [Bundle(alice, identity("alice"), LONG_LIVED, ec, kem)]


def test_one_time_keys_are_handed_out_in_order_and_then_the_last_resort_key_alone(world: World) -> None:
    alice, bob = world.device("alice", prekeys=2), world.device("bob")
    assert [ids(ask(world, bob, n, alice)[0]) for n in range(3)] == [(0, 0), (1, 1), (None, None)]


def test_one_kind_may_be_used_up_before_the_other(world: World) -> None:
    alice, bob = world.device("alice"), world.device("bob")
    upload(world, alice, one_time(1) + one_time(2)[1:2])
    assert [ids(ask(world, bob, n, alice)[0]) for n in range(2)] == [(0, 0), (1, None)]


def test_a_withheld_one_time_key_is_not_used_up(world: World) -> None:
    alice, bob = world.device("alice", prekeys=1), world.device("bob")
    assert ids(ask(world, bob, 1, alice, one_time=False)[0]) == (None, None)
    assert stock(world, alice) == Stock(1, 1)


def test_bundles_come_in_the_order_asked_for_and_devices_that_are_gone_are_left_out(world: World) -> None:
    alice, bob, carol = world.device("alice", prekeys=1), world.device("bob"), world.device("carol", prekeys=1)
    with world.store.begin() as unit:
        unit.devices.remove([bob])
    assert [bundle.device for bundle in ask(world, alice, 1, carol, bob, alice)] == [carol, alice]


def test_a_device_asked_for_twice_in_one_request_gives_one_key(world: World) -> None:
    alice, bob = world.device("alice", prekeys=2), world.device("bob")
    assert [ids(bundle) for bundle in ask(world, bob, 1, alice, alice)] == [(0, 0), (0, 0)]
    assert stock(world, alice) == Stock(1, 1)


def test_a_request_names_up_to_a_hundred_devices(world: World) -> None:
    alice = world.device("alice", prekeys=1)
    assert len(ask(world, alice, 1, *[alice] * BUNDLES_MAX)) == 100
    with pytest.raises(InvalidUse):
        ask(world, alice, 2, *[alice] * (BUNDLES_MAX + 1))


def test_a_unit_that_does_not_commit_hands_out_nothing(world: World) -> None:
    alice = world.device("alice", prekeys=1)

    def ask_and_fail() -> None:
        with world.store.begin() as unit:
            unit.prekeys.hand_out(alice, envelope_id(1), [Wanted(alice)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_and_fail()
    assert ids(ask(world, alice, 1, alice)[0]) == (0, 0)


def test_a_device_that_was_removed_gives_and_gets_no_prekeys_and_spoils_no_unit(world: World) -> None:
    alice, bob = world.device("alice", prekeys=1), world.device("bob")
    with world.store.begin() as unit:
        unit.devices.remove([bob])
        assert unit.prekeys.upload(bob.key, LONG_LIVED, one_time(1)) is UploadRefused.GONE
        assert unit.prekeys.hand_out(bob, envelope_id(1), [Wanted(alice)]) == []
    assert stock(world, alice) == Stock(1, 1)


# Asking again.


def test_the_same_request_has_the_same_answer_for_ten_minutes(world: World, clock: Clock) -> None:
    alice, bob, carol = world.device("alice", prekeys=2), world.device("bob", prekeys=2), world.device("carol")
    first = ask(world, carol, 1, alice, bob)
    clock.now += BUNDLE_ANSWER_AGE_S - 1
    assert ask(world, carol, 1, alice, bob) == first
    assert stock(world, alice) == Stock(1, 1)


def test_after_ten_minutes_the_same_request_is_a_new_one(world: World, clock: Clock) -> None:
    alice, bob = world.device("alice", prekeys=2), world.device("bob")
    ask(world, bob, 1, alice)
    clock.now += BUNDLE_ANSWER_AGE_S
    assert ids(ask(world, bob, 1, alice)[0]) == (1, 1)


def test_an_answer_that_is_too_old_is_swept(world: World, clock: Clock) -> None:
    alice, bob = world.device("alice", prekeys=2), world.device("bob")
    ask(world, bob, 1, alice)
    clock.now += BUNDLE_ANSWER_AGE_S
    with world.store.begin() as unit:
        assert unit.sweep().answers == 1


def test_the_request_ids_of_two_askers_are_apart(world: World) -> None:
    alice, bob, carol = world.device("alice", prekeys=2), world.device("bob"), world.device("carol")
    assert [ids(ask(world, asker, 1, alice)[0]) for asker in (bob, carol)] == [(0, 0), (1, 1)]


def test_a_repeated_answer_has_the_same_one_time_keys_beside_the_newest_signed_prekey(world: World) -> None:
    alice, bob = world.device("alice", prekeys=1), world.device("bob")
    (first,) = ask(world, bob, 1, alice)
    rotated = replace(LONG_LIVED, signed_id=3, signed_key=b"new signed key")
    with world.store.begin() as unit:
        unit.prekeys.upload(alice.key, rotated)
    assert ask(world, bob, 1, alice) == [replace(first, prekeys=rotated)]


def test_a_repeated_answer_has_no_one_time_key_that_the_first_one_had_not(world: World) -> None:
    alice, bob = world.device("alice"), world.device("bob")
    ask(world, bob, 1, alice)
    upload(world, alice, one_time(1))
    assert ids(ask(world, bob, 1, alice)[0]) == (None, None)


def test_a_repeated_answer_has_no_key_of_a_registration_that_is_over(world: World) -> None:
    alice, bob = world.device("alice", prekeys=1, registration_id=1), world.device("bob")
    ask(world, bob, 1, alice)
    again = world.device("alice", prekeys=1, registration_id=2)
    (bundle,) = ask(world, bob, 1, alice)
    assert (bundle.device, ids(bundle)) == (again, (None, None))


def test_so_many_answers_are_remembered_for_one_asker_and_the_oldest_go_first(world: World, clock: Clock) -> None:
    alice, bob = world.device("alice"), world.device("bob")
    upload(world, alice, one_time(1))
    ask(world, bob, 0, alice)
    for request in range(1, BUNDLE_ANSWERS_MAX + 1):
        clock.now += 1
        ask(world, bob, request, alice)
    assert world.count("bundle_answers") == BUNDLE_ANSWERS_MAX
    upload(world, alice, one_time(1, first=1))
    assert ids(ask(world, bob, 0, alice)[0]) == (1, 1)


# Allowances.


def test_what_an_asker_was_given_counts_for_a_minute_once_for_each_device(world: World, clock: Clock) -> None:
    alice, bob, carol = world.device("alice", prekeys=2), world.device("bob", prekeys=2), world.device("carol")
    ask(world, carol, 1, alice, bob)
    clock.now += 1
    ask(world, carol, 2, alice)
    with world.store.begin() as unit:
        assert (unit.prekeys.taken(carol.user_key), unit.prekeys.taken(alice.user_key)) == (3, 0)
    clock.now += ASKER_WINDOW_S - 1
    with world.store.begin() as unit:
        assert unit.prekeys.taken(carol.user_key) == 1


def test_only_strangers_count_against_the_allowance_of_a_device_for_an_hour(world: World, clock: Clock) -> None:
    alice, bob, carol = world.device("alice", prekeys=3), world.device("bob"), world.device("carol")
    with world.store.begin() as unit:
        unit.prekeys.hand_out(bob, envelope_id(1), [Wanted(alice, stranger=False)])
        unit.prekeys.hand_out(carol, envelope_id(2), [Wanted(alice, stranger=True)])
        assert unit.prekeys.taken_from([alice.key, bob.key]) == {alice.key: 1, bob.key: 0}
    clock.now += TARGET_WINDOW_S
    with world.store.begin() as unit:
        assert unit.prekeys.taken_from([alice.key]) == {alice.key: 0}


# Many workers.


def pop(store: RelayStore, worker: int, target: Device, rounds: int) -> list[tuple[int | None, int | None]]:
    """Ask *rounds* times for a bundle of *target*; a worker is an asker of its own."""
    with store.begin() as unit:
        asker = unit.devices.find(f"worker {worker}", 1)
    assert asker is not None
    handed = []
    for request in range(rounds):
        with store.begin() as unit:
            handed.append(ids(unit.prekeys.hand_out(asker.device, envelope_id(request), [Wanted(target)])[0]))
    return handed


def pop_in_a_process(url: str, worker: int, target: Device, rounds: int) -> list[tuple[int | None, int | None]]:
    with RelayStore.open(url, connections=1) as store:
        return pop(store, worker, target, rounds)


def assert_each_once(handed: list[tuple[int | None, int | None]], keys: int) -> None:
    for kind in range(2):
        given = Counter(pair[kind] for pair in handed if pair[kind] is not None)
        assert given == Counter(range(keys))


def test_sixteen_threads_are_never_handed_the_same_key(world: World) -> None:
    alice = world.device("alice", prekeys=60)
    for worker in range(WORKERS):
        world.device(f"worker {worker}")
    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda worker: pop(world.store, worker, alice, 8), range(WORKERS)))
    assert_each_once([pair for result in results for pair in result], 60)


@pytest.mark.slow
def test_sixteen_processes_are_never_handed_the_same_key(postgres_world: World) -> None:
    alice = postgres_world.device("alice", prekeys=100)
    for worker in range(WORKERS):
        postgres_world.device(f"worker {worker}")
    # Forked from a process that has imported everything and opened nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(WORKERS, context) as pool:
        waiting = [pool.submit(pop_in_a_process, postgres_world.url, worker, alice, 20) for worker in range(WORKERS)]
        results = [one.result() for one in waiting]
    assert_each_once([pair for result in results for pair in result], 100)


def test_a_worker_passes_over_what_another_one_is_handing_out(postgres_world: World) -> None:
    alice, bob, carol = (postgres_world.device(name, prekeys=2) for name in ("alice", "bob", "carol"))
    with (
        RelayStore.open(postgres_world.url, clock=postgres_world.clock) as other,
        other.begin() as unit,
    ):
        (first,) = unit.prekeys.hand_out(bob, envelope_id(1), [Wanted(alice)])
        (second,) = ask(postgres_world, carol, 1, alice)
    assert (ids(first), ids(second)) == ((0, 0), (1, 1))


def test_two_workers_asked_at_once_under_one_request_id_give_one_answer(postgres_world: World) -> None:
    alice, bob = postgres_world.device("alice", prekeys=9), postgres_world.device("bob")
    with RelayStore.open(postgres_world.url, clock=postgres_world.clock) as other, ThreadPoolExecutor(1) as pool:
        with other.begin() as unit:
            first = unit.prekeys.hand_out(bob, envelope_id(1), [Wanted(alice)])
            again = pool.submit(ask, postgres_world, bob, 1, alice)
            postgres_world.until_somebody_waits()
        assert again.result() == first
    assert stock(postgres_world, alice) == Stock(8, 8)
