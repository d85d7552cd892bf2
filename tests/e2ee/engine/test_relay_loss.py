"""A relay that has lost data: restored from a backup, or begun anew (R4.17). The relay is the real core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.events import HistoryGap, RelayRolledBack
from tests.support.core_office import CoreOffice, restore
from tests.support.rolling_back import talk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engines import Clock, Device, World


@pytest.fixture
def make_relay(tmp_path: Path) -> Callable[[Clock], CoreOffice]:
    return lambda clock: CoreOffice(tmp_path / "relay.db", clock)


def test_a_relay_that_has_lost_everything_gets_users_devices_and_prekeys_again(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    restore(office, None, alice, bob)
    world.settle()
    assert RelayRolledBack() in alice.live  # all had been delivered: nothing goes again
    assert RelayRolledBack() in bob.live
    talk(world, (alice, bob), (bob, alice), (alice, bob))
    assert len(bob.texts()) == 3
    assert len(alice.texts()) == 2
    carol = world.device("carol")  # a stranger finds keys that open
    talk(world, (carol, bob))
    assert len(bob.texts()) == 4
    assert alice.of(HistoryGap) == bob.of(HistoryGap) == []
    assert world.keys_used_twice() == []


def test_a_relay_that_forgot_an_upload_gets_it_again_and_hands_out_nothing_that_was_used(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    backup = office.back_up()
    for number in range(4):  # more strangers than bob has keys there: he uploads new ones
        talk(world, (world.device(f"stranger{number}"), bob))
    restore(office, backup, alice, bob)
    world.settle()
    assert RelayRolledBack() in bob.live
    for number in range(4, 7):
        talk(world, (world.device(f"stranger{number}"), bob))
    assert len(bob.texts()) == 7


def test_mail_under_numbers_that_were_acknowledged_before_the_loss_is_taken_once(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    backup = office.back_up()
    for _ in range(5):
        talk(world, (alice, bob))
    bob.lose_connection()
    restore(office, backup, alice)
    for number in range(8):  # more than bob has acknowledged in the mailbox that is lost
        alice.send("bob", f"after {number}")
    world.settle()
    bob.connect()
    world.settle()
    assert bob.texts()[-8:] == [f"after {number}" for number in range(8)]
    assert len(bob.texts()) == 13


def test_what_was_under_way_goes_again_as_it_is(world: World, office: CoreOffice, alice: Device, bob: Device) -> None:
    talk(world, (alice, bob), (bob, alice))
    backup = office.back_up()
    alice.send("bob", "under way")
    alice.relay_takes_one()  # the reply is lost with the relay
    restore(office, backup, alice, bob)
    world.settle()
    assert bob.texts()[-1] == "under way"
    assert world.keys_used_twice() == []


def test_a_relay_from_before_a_recovery_of_ours_takes_the_newer_registration_again(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    before = office.back_up()
    copy = alice.back_up()
    talk(world, (alice, bob))
    alice.put_back(copy)
    alice.connect()
    talk(world, (alice, bob))
    restore(office, before, alice, bob)
    world.settle()
    talk(world, (alice, bob), (bob, alice))
    assert len(bob.texts()) == 4
    assert len(alice.texts()) == 2
