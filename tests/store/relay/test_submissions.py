"""What submission numbers stood for: remembered for each device, the latest ones, whoever connects later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.errors import InvalidUse, StaleWriter
from store.relay.limits import SUBMISSIONS_REMEMBERED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.relay import Device

    from .world import World


def digest(number: int) -> bytes:
    return number.to_bytes(16, "big")


def record(world: World, device: Device, numbers: Iterable[int], label: int = 0) -> None:
    with world.store.begin() as unit:
        unit.submissions.record({(device.key, number): digest(number + label) for number in numbers})


def known(world: World, device: Device, *numbers: int) -> dict[int, bytes]:
    with world.store.begin() as unit:
        return unit.submissions.known(device.key, numbers)


def test_a_number_is_known_by_its_digest_for_its_own_device_alone(world: World) -> None:
    alice, bob = world.devices(2)
    record(world, alice, [1, 2])
    assert known(world, alice, 1, 2, 3) == {1: digest(1), 2: digest(2)}
    assert known(world, bob, 1, 2) == {}


def test_numbers_of_several_devices_are_recorded_together(world: World) -> None:
    devices = world.devices(3)
    with world.store.begin() as unit:
        unit.submissions.record({(one.key, 7): digest(one.key) for one in devices})
    assert [known(world, one, 7) for one in devices] == [{7: digest(one.key)} for one in devices]


def test_the_latest_numbers_of_a_device_are_kept_however_many_there_were(world: World) -> None:
    (alice,) = world.devices(1)
    record(world, alice, range(1, SUBMISSIONS_REMEMBERED + 1))
    record(world, alice, [SUBMISSIONS_REMEMBERED + 1])
    assert known(world, alice, 1, 2, SUBMISSIONS_REMEMBERED + 1) == {
        number: digest(number) for number in (2, SUBMISSIONS_REMEMBERED + 1)
    }
    record(world, alice, range(1_000, 1_000 + 3 * SUBMISSIONS_REMEMBERED))  # more than there are places, at once
    assert world.count("submissions") == SUBMISSIONS_REMEMBERED
    last = 1_000 + 3 * SUBMISSIONS_REMEMBERED - 1
    assert known(world, alice, last - SUBMISSIONS_REMEMBERED, last) == {last: digest(last)}


def test_a_number_that_another_worker_has_recorded_meanwhile_is_not_replaced(world: World) -> None:
    (alice,) = world.devices(1)
    later = 5 + SUBMISSIONS_REMEMBERED
    record(world, alice, [later])
    for number in (later, 5):
        with pytest.raises(StaleWriter):
            record(world, alice, [number], label=1)
    assert known(world, alice, 5, later) == {later: digest(later)}


def test_nothing_to_record_takes_no_lock_and_writes_nothing(world: World) -> None:
    record(world, world.device("alice"), [])
    assert world.count("submissions") == 0


def test_a_removed_device_leaves_nothing_behind(world: World) -> None:
    alice, bob = world.devices(2)
    record(world, alice, [1])
    record(world, bob, [1])
    with world.store.begin() as unit:
        unit.devices.remove([alice])
    assert (known(world, alice, 1), known(world, bob, 1)) == ({}, {1: digest(1)})


def test_a_digest_has_sixteen_bytes(world: World) -> None:
    alice = world.device("alice")
    for wrong in (b"", bytes(15), bytes(17)):
        with pytest.raises(InvalidUse), world.store.begin() as unit:
            unit.submissions.record({(alice.key, 1): wrong})
        with pytest.raises(InvalidUse), world.store.begin() as unit:
            unit.devices.record_upload(alice.key, 1, wrong)


def test_the_last_upload_of_a_device_is_remembered_with_its_number(world: World) -> None:
    alice = world.device("alice")
    with world.store.begin() as unit:
        unit.devices.record_upload(alice.key, 4, digest(4))
        state = unit.devices.find("alice", 1)
    assert state is not None
    assert (state.counters.upload_number, state.upload_digest) == (4, digest(4))
