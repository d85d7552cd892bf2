"""Members of whom a device learns later than of their keys: what they have sent is asked for, and told."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from e2ee.diagnostics import Reason
from e2ee.engine.groups import wanted
from e2ee.engine.groups.chains import logs_awaited
from e2ee.events import HistoryGap, MessageLost
from e2ee.frames import Deliver, Delivery, EnvelopeKind, GetGroupLog
from ratchet import OwnSenderKey
from tests.support.group_world import PAIRWISE, Team, settle_in_time, texts, withhold
from tests.support.rolling_back import talk

if TYPE_CHECKING:
    from e2ee.groups import Membership
    from tests.support.engines import Device, World
    from tests.support.post_groups import StoredGroup


def unnoticed(world: World, pair: Team, bob: Device, carol: Device, text: str) -> None:
    """Let Carol join and write while Bob, who knows her, is away; the relay has lost the entry that he was to get."""
    talk(world, (carol, bob), (bob, carol))
    bob.lose_connection()
    pair.join(carol)
    world.settle()
    pair.send(carol, text)
    world.settle()
    withhold(bob, EnvelopeKind.GROUP_ENTRY)


def told_short(
    world: World, pair: Team, bob: Device, carol: Device, text: str
) -> tuple[StoredGroup, tuple[list[bytes], Membership]]:
    """As `unnoticed`, and the relay tells a log that ends before she joined; return where that is, and the whole."""
    stored = world.relay.groups.stored[pair.group_id]
    before = list(stored.log), stored.state
    unnoticed(world, pair, bob, carol, text)
    whole = list(stored.log), stored.state
    stored.log, stored.state = before
    bob.connect()
    settle_in_time(world)
    assert texts(bob) == []
    return stored, whole


@pytest.fixture
def pair(world: World, alice: Device, bob: Device) -> Team:
    made = Team(world, alice, bob)
    world.settle()
    return made


@pytest.mark.parametrize("greetings", [0, 1])
def test_a_device_restored_to_before_a_member_joined_gets_what_that_member_sends(
    world: World, pair: Team, alice: Device, bob: Device, carol: Device, greetings: int
) -> None:
    for _ in range(greetings):
        talk(world, (carol, bob), (bob, carol))
    backup = bob.back_up()
    pair.join(carol)
    talk(world, (alice, bob))
    bob.lose_connection()
    pair.send(carol, "of the newcomer")
    world.settle()
    bob.put_back(backup)
    bob.connect()
    settle_in_time(world)
    assert len(bob.of(HistoryGap)) == 1
    assert texts(bob) == ["of the newcomer"]
    pair.send(carol, "another")
    settle_in_time(world)
    assert texts(bob) == ["of the newcomer", "another"]
    assert bob.engine.report().waiting_to_be_opened == 0


def test_a_key_that_comes_before_its_sender_is_known_as_a_member_is_asked_for_again(
    world: World, pair: Team, bob: Device, carol: Device
) -> None:
    unnoticed(world, pair, bob, carol, "of the newcomer")
    bob.connect()
    settle_in_time(world)
    assert texts(bob) == ["of the newcomer"]
    assert bob.engine.report().waiting_to_be_opened == 0


def test_what_waits_for_a_member_has_the_log_fetched_on_the_next_connection_too(
    world: World, pair: Team, bob: Device, carol: Device
) -> None:
    unnoticed(world, pair, bob, carol, "of the newcomer")
    bob.connect()
    while not bob.do(logs_awaited):
        bob.take_push()
    bob.restart()
    assert bob.do(logs_awaited) == [pair.group_id]
    bob.connect()
    world.relay.boxes[bob.name].mail.clear()
    settle_in_time(world)
    assert texts(bob) == ["of the newcomer"]
    assert bob.do(logs_awaited) == []


def test_what_somebody_sends_who_joins_and_leaves_unnoticed_is_asked_for_and_arrives(
    world: World, pair: Team, bob: Device, carol: Device
) -> None:
    unnoticed(world, pair, bob, carol, "of one who has left")
    pair.leave(carol)
    bob.connect()
    settle_in_time(world)
    assert texts(bob) == ["of one who has left"]
    assert bob.engine.report().waiting_to_be_opened == 0


def test_what_waits_for_a_member_arrives_also_if_the_relay_first_tells_a_log_that_ends_before_it(
    world: World, pair: Team, bob: Device, carol: Device
) -> None:
    stored, whole = told_short(world, pair, bob, carol, "of the newcomer")
    stored.log, stored.state = whole  # from here on it tells all
    pair.send(carol, "another")
    for _ in range(48):
        world.settle()
        world.clock.now += 3600
    assert sorted(map(str, texts(bob))) == ["another", "of the newcomer"]
    assert bob.of(MessageLost) == []
    assert bob.engine.report().waiting_to_be_opened == 0


@pytest.mark.parametrize("restarts", [0, 1])
def test_what_waits_for_who_joined_and_left_by_then_arrives_too(
    world: World, pair: Team, bob: Device, carol: Device, restarts: int
) -> None:
    stored, whole = told_short(world, pair, bob, carol, "last words")
    for _ in range(restarts):
        bob.restart()
        bob.connect()
        settle_in_time(world)
    stored.log, stored.state = whole  # from here on it tells all
    pair.leave(carol)
    settle_in_time(world)
    assert texts(bob) == ["last words"]
    assert bob.of(MessageLost) == []
    assert bob.engine.report().waiting_to_be_opened == 0


def test_a_clock_that_is_set_back_makes_no_questions_without_a_pause(
    world: World, pair: Team, bob: Device, carol: Device
) -> None:
    talk(world, (carol, bob), (bob, carol))
    body = pair.group_id + OwnSenderKey.create(uuid.UUID(int=1)).encrypt(b"invented")
    world.relay.put(carol.name, bob.name, bytes(16), EnvelopeKind.SENDER_KEY, body)
    bob.take_push()
    world.clock.now -= 3600
    assert logs_asked_for(bob) == 1


def test_a_message_that_comes_while_the_log_is_asked_for_has_it_asked_for_once_more(
    world: World, pair: Team, bob: Device, carol: Device
) -> None:
    talk(world, (carol, bob), (bob, carol))
    body = pair.group_id + OwnSenderKey.create(uuid.UUID(int=1)).encrypt(b"invented")
    for number in range(2):
        world.relay.put(carol.name, bob.name, bytes([number]) * 16, EnvelopeKind.SENDER_KEY, body)
        bob.take_push()
        bob.tick()
    assert logs_asked_for(bob) == 1
    world.clock.now += 1
    assert logs_asked_for(bob) == 1
    world.clock.now += 60
    assert logs_asked_for(bob) == 0


def logs_asked_for(device: Device) -> int:
    """Let a device do all that it does without any time passing; return how often it asks for a log."""
    asked = 0
    for _ in range(1_000):
        if device.outgoing:
            asked += isinstance(device.outgoing[0], GetGroupLog)
            device.relay_takes_one()
        elif device.incoming:
            device.take_reply()
        elif device.wake_at is not None and device.wake_at <= device.world.clock.now:
            device.tick()
        else:
            break
    return asked


def leave_unmet(world: World, pair: Team, bob: Device, carol: Device) -> None:
    """Let Carol, whom Bob has never met, join, write and leave; the relay loses all but the message itself."""
    bob.lose_connection()
    pair.join(carol)
    world.settle()
    pair.send(carol, "of one who has left")
    world.settle()
    pair.leave(carol)
    withhold(bob, *PAIRWISE, EnvelopeKind.GROUP_ENTRY)


def test_what_a_stranger_sends_waits_and_is_asked_for_by_nobody(
    world: World, pair: Team, bob: Device, carol: Device
) -> None:
    leave_unmet(world, pair, bob, carol)
    before = len(world.relay.overheard)
    bob.connect()
    settle_in_time(world)
    assert texts(bob) == []
    assert bob.engine.report().waiting_to_be_opened == 1
    assert not any(
        (sender, recipient) == (bob.name, carol.name) for sender, recipient, _ in world.relay.overheard[before:]
    )


def test_a_message_that_a_relay_makes_up_of_somebody_known_costs_one_question_and_is_lost(
    world: World, pair: Team, bob: Device, carol: Device
) -> None:
    talk(world, (carol, bob), (bob, carol))
    body = pair.group_id + OwnSenderKey.create(uuid.UUID(int=1)).encrypt(b"invented")
    start = world.relay.boxes[bob.name].number + 1
    for number in range(3):
        envelope_id = bytes([number]) * 16
        bob.push(Deliver((Delivery(start + number, *carol.name, envelope_id, EnvelopeKind.SENDER_KEY, body, 0),)))
    settle_in_time(world)
    assert texts(bob) == []
    assert [(one.sender, one.why, one.count) for one in bob.of(MessageLost)] == [("carol", Reason.NOT_KNOWN, 3)]
    assert bob.engine.report().waiting_to_be_opened == 0


def test_what_waits_for_a_member_of_a_group_ends_when_the_group_is_forgotten(
    world: World, pair: Team, alice: Device, bob: Device, carol: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unmet(world, pair, bob, carol)
    bob.connect()
    settle_in_time(world)
    assert bob.do(logs_awaited) == [pair.group_id]
    pair.leave(bob)
    world.settle()
    monkeypatch.setattr(wanted, "GROUPS_MAX", 1)
    other = Team(world, alice, bob, name="other")
    world.settle()
    assert pair.seen_by(bob) is None
    assert other.seen_by(bob) == other.state
    assert [(one.sender, one.why) for one in bob.of(MessageLost)] == [("carol", Reason.UNKNOWN_GROUP)]
    assert bob.engine.report().waiting_to_be_opened == 0
    bob.restart()
    bob.connect()
    assert not any(isinstance(frame, GetGroupLog) for frame in bob.outgoing)
