"""What comes pairwise and says that it is a message to a group: taken only for one that came and did not open."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from e2ee.content import Content, ContentKind, Destination
from e2ee.diagnostics import Reason
from e2ee.engine.alone import send_alone
from e2ee.events import DeliveryRefused, MessageLost
from e2ee.frames import EnvelopeKind
from e2ee.groups import Operation
from ratchet import OwnSenderKey
from tests.support.group_world import PAIRWISE, Team, settle_in_time, texts, withhold
from tests.support.rolling_back import talk

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.groups import Membership
    from tests.support.engines import Device, World

LONG_AFTER_S = 20 * 24 * 3600.0


def say_again(speaker: Device, to: Device, group: Membership | None, text: str, answers: bytes) -> None:
    """Let a device say to one other that it sends it a message of the group again, in place of an envelope."""
    assert group is not None
    where = Destination(None, group.group_id, group.epoch, group.number, group.hash)

    def work(step: Step) -> None:
        session = step.sessions.get(*to.name)
        assert session is not None
        content = Content(ContentKind.TEXT, os.urandom(16), 7, 1, *speaker.name, where, text.encode())
        send_alone(step, to.name, session, replace(content, answers=(answers,)))

    speaker.do(work)


def invented(team: Team) -> bytes:
    """The body of a message on a chain that nobody was given."""
    return team.group_id + OwnSenderKey.create(uuid4()).encrypt(b"invented")


def reasons(device: Device) -> list[str]:
    return [event.reason for event in device.live if isinstance(event, DeliveryRefused)]


def test_who_has_left_says_nothing_more_by_sending_again_what_nobody_asked_for(
    world: World, team: Team, bob: Device, carol: Device
) -> None:
    talk(world, (carol, bob), (bob, carol))
    team.send(carol, "hello")
    world.settle()
    before = team.seen_by(carol)
    team.leave(carol)
    world.settle()
    world.clock.now += LONG_AFTER_S
    say_again(carol, bob, before, "written long after", os.urandom(16))
    world.settle()
    assert texts(bob) == ["hello"]
    assert reasons(bob) == [Reason.CONTENT_MISMATCH.value]


def test_a_member_cannot_tell_one_of_the_others_something_else_unasked(
    world: World, team: Team, alice: Device, bob: Device, carol: Device
) -> None:
    talk(world, (carol, bob), (bob, carol))
    say_again(carol, bob, team.seen_by(carol), "for one alone", os.urandom(16))
    world.settle()
    assert texts(bob) == texts(alice) == []


def test_a_direct_message_that_waits_is_no_reason_to_take_a_message_to_a_group(
    world: World, team: Team, bob: Device, carol: Device
) -> None:
    talk(world, (carol, bob), (bob, carol))
    envelope_id = os.urandom(16)
    waits = (*carol.name, envelope_id, int(EnvelopeKind.SIGNAL), team.group_id + bytes(80))
    bob.do(lambda step: step.unit.pending.add(*waits, reason=Reason.NOT_AUTHENTIC.value))
    say_again(carol, bob, team.seen_by(carol), "for one alone", envelope_id)
    world.settle()
    assert texts(bob) == []


def test_what_is_sent_again_to_a_store_that_was_put_back_to_before_the_message_is_told_as_lost_once(
    world: World, team: Team, bob: Device, carol: Device
) -> None:
    talk(world, (carol, bob), (bob, carol))
    backup = bob.back_up()
    bob.lose_connection()
    team.send(carol, "last words")
    world.settle()
    team.leave(carol)
    world.settle()
    withhold(bob, *PAIRWISE)
    carol.lose_connection()
    bob.connect()
    settle_in_time(world)
    bob.lose_connection()  # it has asked; the answer reaches a store that knows nothing of it
    carol.connect()
    settle_in_time(world)
    bob.put_back(backup)
    bob.connect()
    for _ in range(24):
        world.clock.now += 3600
        world.settle()
    assert texts(bob) == []
    assert [(one.why, one.count) for one in bob.of(MessageLost)] == [(Reason.CONTENT_MISMATCH, 1)]
    assert bob.engine.report().waiting_to_be_opened == 0


def test_bodies_made_up_for_a_group_that_is_over_are_asked_for_no_faster_than_a_session_is_renewed(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    team.send(alice, "hello")
    world.settle()
    team.change(alice, Operation.DELETE)
    world.settle()
    alice.lose_connection()
    before = len(world.relay.overheard)
    for _ in range(100):
        world.relay.put(alice.name, bob.name, os.urandom(16), EnvelopeKind.SENDER_KEY, invented(team))
        world.settle()
        world.clock.now += 2
    assert 0 < sum(sender == bob.name for sender, _, _ in world.relay.overheard[before:]) <= 10
