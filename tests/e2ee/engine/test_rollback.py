"""A store that is older than what the relay has seen of it: noticed before anything is sent."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.errors import RefusalCode, Refused, StoreRolledBack
from e2ee.frames import Challenge, Welcome

if TYPE_CHECKING:
    from tests.support.engines import Device, World


def test_a_restored_copy_of_the_store_is_noticed_before_anything_is_sent(
    world: World, alice: Device, bob: Device
) -> None:
    path = alice.url.removeprefix("sqlite:///")
    alice.send("bob", "1")
    world.settle()
    alice.lose_connection()
    alice.engine.close()
    shutil.copy(path, path + ".copy")
    alice.open()
    alice.connect()
    alice.send("bob", "2")
    world.settle()
    alice.lose_connection()
    alice.engine.close()
    shutil.copy(path + ".copy", path)
    alice.open()
    alice.send("bob", "3")
    with pytest.raises(StoreRolledBack):
        alice.connect()
    assert not alice.outgoing
    assert bob.texts() == ["1", "2"]
    alice.connected = False


@pytest.mark.parametrize("counter", ["submission_number", "delivery_number", "upload_number"])
def test_each_of_the_three_counters_tells_a_rollback(alice: Device, counter: str) -> None:
    alice.lose_connection()
    with alice.store.begin() as unit:
        ours = getattr(unit.counters, counter)
    welcome = Welcome(1, 0, 0, 0, 3, 3, 0)
    with pytest.raises(StoreRolledBack):
        alice.engine.connected(replace(welcome, **{counter: ours + 1}))


def test_a_relay_that_has_seen_as_much_as_the_store_is_no_rollback(alice: Device) -> None:
    alice.lose_connection()
    with alice.store.begin() as unit:
        counters = unit.counters
        numbers = (counters.submission_number, counters.delivery_number, counters.upload_number)
    assert alice.engine.connected(Welcome(1, *numbers, 3, 3, 0)).requests == ()


def test_a_new_installation_of_a_device_counts_on_from_what_the_relay_has_seen_of_it(
    world: World, alice: Device
) -> None:
    bob = world.device("bob")
    alice.send("bob", "1")
    world.settle()
    alice.lose_connection()
    with alice.store.begin() as unit:
        identity = unit.account.require().identity
    again = world.device("alice", identity=identity)
    again.send("bob", "2")
    world.settle()
    assert bob.texts() == ["1", "2"]


def test_a_submission_number_that_stood_for_something_else_is_a_rollback(
    world: World, alice: Device, bob: Device
) -> None:
    assert bob.connected
    world.relay.refusing["bob"] = RefusalCode.ROLLED_BACK
    alice.send("bob", "hello")
    alice.lose_connection()
    alice.connect()
    with pytest.raises(StoreRolledBack):
        world.settle()
    with alice.store.begin() as unit:
        assert len(unit.envelopes.lanes()) == 1  # nothing is forgotten


def test_a_relay_of_another_version_is_refused(alice: Device) -> None:
    with pytest.raises(Refused) as refused:
        alice.engine.login(Challenge((2,), bytes(32), ()))
    assert refused.value.code is RefusalCode.UNSUPPORTED_VERSION
