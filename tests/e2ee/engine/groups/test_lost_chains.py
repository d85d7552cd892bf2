"""A device that has lost a chain, erased since by its owner, gets the messages, or learns that they are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.diagnostics import Reason
from e2ee.engine.groups.asking import FIRST_S
from e2ee.engine.groups.chains import REQUEST_INTERVAL_S
from e2ee.engine.rollback import recover
from e2ee.events import MessageLost
from e2ee.frames import Deliver
from e2ee.groups import Operation
from tests.support.group_world import Team, texts

if TYPE_CHECKING:
    from e2ee.ids import MessageId
    from tests.support.engines import Device, World


@pytest.fixture
def old(world: World, team: Team, alice: Device, bob: Device, carol: Device) -> MessageId:
    """A message on a chain that Bob has lost while he was away, and Alice has replaced since Carol left."""
    team.send(alice, "first")
    world.settle()
    bob.lose_connection()
    message_id = team.send(alice, "old")
    world.settle()
    team.leave(carol)
    world.settle()
    bob.do(lambda step: step.unit.sender_keys.delete_of_user("alice"))
    return message_id


@pytest.mark.usefixtures("old")
def test_what_was_sent_on_a_chain_that_is_erased_is_sent_again(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    bob.connect()
    world.settle()
    assert texts(bob) == ["first", "old"]
    team.send(alice, "new")
    world.settle()
    assert texts(bob) == ["first", "old", "new"]
    assert bob.engine.report().waiting_to_be_opened == 0


def test_what_its_sender_keeps_no_more_is_lost_at_once(
    world: World, alice: Device, bob: Device, old: MessageId
) -> None:
    alice.do(lambda step: step.unit.outgoing.take_out(bytes.fromhex(old)))
    bob.connect()
    world.settle()
    assert [one.why for one in bob.of(MessageLost)] == [Reason.NOT_KEPT]
    assert bob.engine.report().waiting_to_be_opened == 0


@pytest.mark.usefixtures("old")
def test_a_member_that_has_no_chain_at_all_any_more_answers_too(world: World, alice: Device, bob: Device) -> None:
    alice.do(lambda step: recover(step, None))
    world.settle()
    bob.connect()
    for _ in range(3):
        world.settle()
        world.clock.now += 60
    assert texts(bob) == ["first", "old"]


@pytest.mark.usefixtures("old")
def test_what_comes_later_on_a_chain_that_does_not_come_is_asked_for_at_once(
    world: World, team: Team, bob: Device
) -> None:
    (mail,) = [one for one in world.relay.boxes["bob", 1].mail if one.body[:32] == team.group_id]
    bob.connect()
    world.settle()
    bob.push(Deliver((mail._replace(number=mail.number + 100, envelope_id=bytes(16)),)))
    world.settle()
    # Nothing of this id was ever sent: the relay made it up, and nobody waits for it.
    assert [one.why for one in bob.of(MessageLost)] == [Reason.NOT_KNOWN]
    assert bob.engine.report().waiting_to_be_opened == 0


def unanswered(world: World, team: Team, alice: Device, bob: Device) -> None:
    """Let a message wait at Bob for a chain that he has lost, and his request for it be lost too."""
    team.send(alice, "first")
    world.settle()
    bob.do(lambda step: step.unit.sender_keys.delete_of_user("alice"))
    bob.lose_connection()
    team.send(alice, "second")
    world.settle()
    alice.lose_connection()
    bob.connect()
    world.settle()
    assert texts(bob) == ["first"]
    world.relay.boxes["alice", 1].mail.clear()


@pytest.mark.parametrize("begins_again", [False, True])
def test_a_chain_is_asked_for_again_though_nothing_comes(
    world: World, team: Team, alice: Device, bob: Device, *, begins_again: bool
) -> None:
    unanswered(world, team, alice, bob)
    alice.connect()
    world.settle()
    assert texts(bob) == ["first"]
    if begins_again:
        bob.lose_connection()
        bob.connect()
        world.settle()
        world.clock.now += FIRST_S
    else:
        world.clock.now += REQUEST_INTERVAL_S
    world.settle()
    assert texts(bob) == ["first", "second"]


def test_a_chain_that_nobody_gives_is_asked_for_at_longer_and_longer_intervals(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    unanswered(world, team, alice, bob)
    before = world.relay.boxes["alice", 1].number
    end = world.clock.now + 14 * 24 * 3600
    while world.clock.now < end and bob.engine.report().waiting_to_be_opened:
        world.clock.now = max(world.clock.now + 60, min(end, bob.wake_at or end))
        world.settle()
    assert 10 <= world.relay.boxes["alice", 1].number - before <= 22


@pytest.mark.parametrize("order", ["message first", "end first"])
def test_what_waits_for_a_chain_when_its_group_ends_is_sent_again(
    world: World, team: Team, alice: Device, bob: Device, order: str
) -> None:
    team.send(alice, "first")
    world.settle()
    bob.lose_connection()
    team.send(alice, "last")
    world.settle()
    team.change(alice, Operation.DELETE)
    world.settle()
    bob.do(lambda step: step.unit.sender_keys.delete_of_user("alice"))
    if order == "end first":
        box = world.relay.boxes["bob", 1]
        numbers = [one.number for one in box.mail]
        box.mail = [one._replace(number=number) for number, one in zip(numbers, reversed(box.mail), strict=True)]
    bob.connect()
    world.settle()
    assert texts(bob) == ["first", "last"]
    assert bob.engine.report().waiting_to_be_opened == 0
