"""Asking for sender keys that are missing: what a relay makes up costs little, and what is there is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from e2ee.engine.groups.chains import REQUEST_INTERVAL_S, REQUESTS_PER_USER_MAX
from e2ee.frames import Deliver, Delivery, EnvelopeKind
from ratchet.messages import encode_sender_key_message
from tests.support.group_world import Team

if TYPE_CHECKING:
    from tests.support.engines import Device, World


def made_up(team: Team, sender: str, count: int, *, first: int) -> Deliver:
    """Messages of chains that nobody has, in the name of a member, as a relay may invent them."""
    deliveries = []
    for number in range(first, first + count):
        body = encode_sender_key_message(UUID(int=number).bytes, number, 0, bytes(16)) + bytes(64)
        envelope_id = number.to_bytes(16, "big")
        device_id = 1 + number % 100
        deliveries.append(
            Delivery(number, sender, device_id, envelope_id, EnvelopeKind.SENDER_KEY, team.group_id + body, 0)
        )
    return Deliver(tuple(deliveries))


def requests(world: World, sender: Device, to: str) -> int:
    return sum(one == sender.name and recipient[0] == to for one, recipient, _envelope in world.relay.overheard)


def test_chains_that_a_relay_makes_up_are_asked_for_so_often_and_no_more(world: World) -> None:
    alice, bob = world.device("alice"), world.device("bob")
    team = Team(world, alice, bob)
    world.settle()
    team.send(alice, "the chain that there is")
    world.settle()
    before = requests(world, bob, "alice")
    for first in (1_001, 2_001, 3_001):  # of devices that Alice has not got
        bob.push(made_up(team, "alice", 60, first=first))
        world.settle()
    assert 0 < requests(world, bob, "alice") - before <= REQUESTS_PER_USER_MAX
    assert len(bob.engine._memory.key_requests) == 1
    world.clock.now += REQUEST_INTERVAL_S
    before = requests(world, bob, "alice")
    bob.push(made_up(team, "alice", 1, first=4_001))
    world.settle()
    assert before + 1 <= requests(world, bob, "alice") <= before + REQUESTS_PER_USER_MAX  # with those of before


def test_of_more_missing_chains_than_are_asked_for_at_once_each_has_its_turn(world: World) -> None:
    alice, bob = world.device("alice"), world.device("bob")
    team = Team(world, alice, bob)
    world.settle()
    team.send(alice, "the chain that there is")
    world.settle()
    bob.push(made_up(team, "alice", 50, first=1_001))
    asked: set[bytes] = set()
    for _ in range(4):
        asked |= bob.engine._memory.key_requests[team.group_id, "alice"].keys()
        world.settle()
        assert bob.engine._memory.chains_wanted.at is not None
        world.clock.now = bob.engine._memory.chains_wanted.at
        world.settle()
    assert len(asked) == 50
