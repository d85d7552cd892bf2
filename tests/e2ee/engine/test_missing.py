"""Gaps in conversation numbers: told once, after ten minutes, when everything that waited was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.engine.groups.lane import group_lane
from e2ee.engine.numbers import take_numbers
from e2ee.events import DirectMessage, MessagesMissing
from e2ee.recovery import GAP_AGE_S
from store import Received
from tests.support.damage import act_now, hold_mail

if TYPE_CHECKING:
    from e2ee.frames import Delivery
    from tests.support.engines import Device, World


def sent(world: World, alice: Device, bob: Device, *texts: str) -> list[Delivery]:
    """Alice sends; the mail is taken out of Bob's mailbox and returned."""
    box = world.relay.boxes[bob.name]
    for text in texts:
        alice.send("bob", text)
        hold_mail(world, alice)
    mail, box.mail = list(box.mail), []
    return mail


def deliver(world: World, bob: Device, *mail: Delivery) -> None:
    """Put mail into Bob's mailbox, as new, and let him take it."""
    box = world.relay.boxes[bob.name]
    for one in mail:
        box.number += 1
        box.mail.append(one._replace(number=box.number))
    box.drained = False
    act_now(world)


def later(world: World, bob: Device, seconds: float) -> list[MessagesMissing]:
    """Let time pass for Bob; return what he was told is missing so far."""
    world.clock.now += seconds
    act_now(world)
    return bob.of(MessagesMissing)


def test_a_dropped_message_is_told_after_ten_minutes_and_once(world: World, alice: Device, bob: Device) -> None:
    one, _two, three = sent(world, alice, bob, "1", "2", "3")
    deliver(world, bob, one, three)
    assert later(world, bob, GAP_AGE_S - 1) == []
    (missing,) = later(world, bob, 1)
    assert (missing.sender, missing.sender_device, missing.numbers) == ("alice", 1, ((2, 2),))
    assert later(world, bob, 10 * GAP_AGE_S) == [missing]
    bob.restart()
    bob.connect()
    assert later(world, bob, 10 * GAP_AGE_S) == [missing]


def test_a_message_that_comes_in_time_is_late_and_not_missing(world: World, alice: Device, bob: Device) -> None:
    one, two, three = sent(world, alice, bob, "1", "2", "3")
    deliver(world, bob, one, three)
    world.clock.now += GAP_AGE_S - 1
    deliver(world, bob, two)
    assert later(world, bob, GAP_AGE_S) == []
    assert [(message.text, message.late) for message in bob.of(DirectMessage)] == [
        ("1", False),
        ("3", False),
        ("2", True),
    ]


def test_one_that_was_told_missing_may_still_come_and_is_late(world: World, alice: Device, bob: Device) -> None:
    one, two, three = sent(world, alice, bob, "1", "2", "3")
    deliver(world, bob, one, three)
    assert len(later(world, bob, GAP_AGE_S)) == 1
    deliver(world, bob, two)
    assert [message.late for message in bob.of(DirectMessage)] == [False, False, True]
    assert len(later(world, bob, 10 * GAP_AGE_S)) == 1


def test_a_gap_that_opens_while_another_is_watched_has_ten_minutes_of_its_own(
    world: World, alice: Device, bob: Device
) -> None:
    mail = sent(world, alice, bob, "1", "2", "3", "4", "5")
    deliver(world, bob, mail[0], mail[2])
    world.clock.now += GAP_AGE_S - 1
    deliver(world, bob, mail[4])
    assert [event.numbers for event in later(world, bob, 1)] == [((2, 2),)]
    assert [event.numbers for event in later(world, bob, GAP_AGE_S - 1)] == [((2, 2),)]
    assert [event.numbers for event in later(world, bob, 1)] == [((2, 2),), ((4, 4),)]


def test_nothing_is_missing_before_the_mailbox_was_drained(world: World, alice: Device, bob: Device) -> None:
    one, two, three = sent(world, alice, bob, "1", "2", "3")
    deliver(world, bob, one, three)
    bob.lose_connection()
    world.clock.now += 10 * GAP_AGE_S
    box = world.relay.boxes[bob.name]
    box.number += 1
    box.mail.append(two._replace(number=box.number))
    bob.connect()
    act_now(world)
    assert bob.of(MessagesMissing) == []
    assert [message.text for message in bob.of(DirectMessage)] == ["1", "3", "2"]


def test_what_is_missing_of_a_group_s_messages_names_the_group(world: World, alice: Device, bob: Device) -> None:
    with bob.store.begin() as unit:
        gaps = Received(5, ((2, 3),), world.clock.now, watched=5)
        unit.conversations.save_received(group_lane(b"g" * 32).encode(), alice.name[0], 1, gaps)
    bob.restart()
    bob.connect()
    act_now(world)
    (missing,) = later(world, bob, GAP_AGE_S)
    assert (missing.group, missing.numbers) == ((b"g" * 32).hex(), ((2, 3),))


@pytest.mark.parametrize("now", [10.0, 1000.0])
def test_a_gap_that_was_told_does_not_start_the_clock_again(now: float) -> None:
    told = Received(5, ((2, 3),), None, told=5, watched=5)
    assert take_numbers(told, 6, now) == Received(6, ((2, 3),), None, told=5, watched=5)
    assert take_numbers(told, 2, now) == Received(5, ((3, 3),), None, told=5, watched=5)
    assert take_numbers(told, 8, now) == Received(8, ((2, 3), (6, 7)), now, told=5, watched=8)
