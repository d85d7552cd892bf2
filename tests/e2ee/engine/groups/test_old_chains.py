"""Chains of peers that have ended: kept for what is on its way, then erased, and remembered as erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.engine.groups.old_chains import KEPT_CONNECTED_S
from e2ee.events import MessagePending
from ratchet.messages import SenderKeyMessage
from tests.support.group_world import Team, texts

from .test_hostile import bodies, deliver

if TYPE_CHECKING:
    from tests.support.engines import Device, World


def chains(device: Device, sender: Device, body: bytes) -> tuple[int, ...]:
    """The chains that a device holds of the sender of a ciphertext."""
    distribution_id = SenderKeyMessage.parse(body).distribution_id
    loaded = device.do(lambda step: step.unit.sender_keys.load_peer(*sender.name, distribution_id))
    return () if loaded is None else loaded.key.chain_ids


def stay_connected(world: World, seconds: float) -> None:
    end = world.clock.now + seconds
    while world.clock.now < end:
        world.clock.now += 60
        world.settle()


@pytest.fixture
def ended(world: World, team: Team, alice: Device, carol: Device) -> bytes:
    """A message of Alice's on a chain that has ended since, because Carol left."""
    team.send(alice, "old")
    world.settle()
    body = bodies(world, team, alice)[-1]
    team.leave(carol)
    world.settle()
    team.send(alice, "new")
    world.settle()
    return body


def test_a_chain_is_kept_for_a_while_and_then_erased(world: World, alice: Device, bob: Device, ended: bytes) -> None:
    old = SenderKeyMessage.parse(ended).chain_id
    assert old in chains(bob, alice, ended)
    stay_connected(world, KEPT_CONNECTED_S / 2)
    assert old in chains(bob, alice, ended)
    stay_connected(world, KEPT_CONNECTED_S)
    assert old not in chains(bob, alice, ended)
    assert len(chains(bob, alice, ended)) == 1


def test_a_replay_of_an_erased_chain_is_a_duplicate_and_no_reason_to_ask_for_the_key(
    world: World, team: Team, alice: Device, bob: Device, ended: bytes
) -> None:
    stay_connected(world, 2 * KEPT_CONNECTED_S)
    deliver(bob, alice, team, ended)
    world.settle()
    assert texts(bob) == ["old", "new"]
    assert not any(isinstance(event, MessagePending) for event in bob.live)


def test_the_clock_stands_still_without_a_connection(world: World, alice: Device, bob: Device, ended: bytes) -> None:
    old = SenderKeyMessage.parse(ended).chain_id
    bob.restart()
    world.clock.now += 7 * 24 * 3600
    bob.connect()
    world.settle()
    assert old in chains(bob, alice, ended)


def test_what_was_counted_survives_a_restart(world: World, alice: Device, bob: Device, ended: bytes) -> None:
    old = SenderKeyMessage.parse(ended).chain_id
    for _ in range(3):
        stay_connected(world, KEPT_CONNECTED_S / 2)
        bob.restart()
        bob.connect()
        world.settle()
    assert old not in chains(bob, alice, ended)


def test_a_member_that_was_away_for_a_week_of_changes_reads_all_its_mail(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    dave = world.device("dave")
    bob.lose_connection()
    sent = []
    for day in range(7):
        for number in range(3):
            sent.append(f"day {day}, {number}")
            team.send(alice, sent[-1])
            world.settle()
        if dave.name[0] in team.state.members:
            team.leave(dave)
        else:
            team.join(dave)
        world.settle()
        world.clock.now += 24 * 3600
    bob.connect()
    world.settle()
    assert texts(bob) == sent
    assert world.keys_used_twice() == []
