"""A member's device between its login under a new registration and its first upload: nobody can see it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.events import DeliveryState
from tests.support.core_office import CoreOffice
from tests.support.engines import World
from tests.support.group_talk import Member
from tests.support.group_world import texts
from tests.support.rolling_back import registration, talk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.engines import Device


@pytest.fixture(params=["fake", "real"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """With the relay in memory that engines are tested with, and with the real core."""
    real = request.param == "real"
    made = World(tmp_path, make_relay=(lambda clock: CoreOffice(tmp_path / "relay.db", clock)) if real else None)
    yield made
    made.close()


def all_of(device: Device) -> None:
    """Let a device do everything that it can, and nobody else anything."""
    while steps := device.possible():
        steps[0]()


@pytest.mark.parametrize("direct", [False, True])
def test_what_is_sent_to_a_group_while_a_member_begins_anew_arrives(
    world: World, alice: Device, bob: Device, *, direct: bool
) -> None:
    Member(alice).create()
    Member(bob).join()
    talk(world, (alice, bob), (bob, alice))
    alice.take(alice.engine.send_group("team", "before")[1])
    world.settle()
    backup, before = bob.back_up(), registration(bob)
    talk(world, (bob, alice), (alice, bob), (bob, alice))
    bob.lose_connection()
    bob.put_back(backup)
    bob.connect()
    while registration(bob) == before or not bob.connected:
        bob.possible()[0]()
    if direct:  # by which she learns that he has no device, and forgets the one he had
        alice.send("bob", "direct")
        all_of(alice)
        assert alice.do(lambda step: step.unit.devices.of("bob")) == []
    message_id, output = alice.engine.send_group("team", "while he begins anew")
    alice.take(output)
    all_of(alice)
    assert alice.states(message_id) == [DeliveryState.SENT]
    for _ in range(6):
        world.settle()
        world.clock.now += 50
    assert texts(bob)[-1] == "while he begins anew"
    assert bob.engine.report().waiting_to_be_opened == 0
