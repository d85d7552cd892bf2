"""Messages of a group that this device hears of only when it is out of it again, or that it was never in."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from e2ee.diagnostics import Reason
from e2ee.events import MessageLost
from e2ee.frames import Deliver, Delivery, EnvelopeKind
from ratchet import OwnSenderKey
from tests.support.group_world import Team, texts

if TYPE_CHECKING:
    from tests.support.engines import Device, World


def test_a_message_of_a_group_that_we_hear_of_when_we_are_out_of_it_is_lost_and_asks_for_no_log_without_end(
    world: World, alice: Device, bob: Device, carol: Device
) -> None:
    team = Team(world, alice, bob)
    world.settle()
    carol.lose_connection()
    team.join(carol)  # another device of hers does
    world.settle()
    team.send(alice, "while she is in it")
    world.settle()
    team.leave(carol)
    world.settle()
    carol.connect()
    world.settle()  # which fails if it does not come to rest
    assert texts(bob) == ["while she is in it"]
    assert [event.why for event in carol.of(MessageLost)] == [Reason.UNKNOWN_GROUP]


def test_a_message_of_a_group_that_we_were_never_in_is_lost_and_asks_for_no_log_without_end(
    world: World, team: Team, alice: Device
) -> None:
    dave = world.device("dave")
    world.settle()
    body = bytes.fromhex(team.id) + OwnSenderKey.create(uuid.UUID(int=1)).encrypt(b"invented")
    box = world.relay.boxes[dave.name]
    box.number = box.pushed = box.number + 1
    dave.push(Deliver((Delivery(box.number, alice.name[0], 1, bytes(16), EnvelopeKind.SENDER_KEY, body, 0),)))
    world.settle()
    assert [event.why for event in dave.of(MessageLost)] == [Reason.UNKNOWN_GROUP]
