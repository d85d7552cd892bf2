"""What bounds a mailbox: counts, bytes, one sender's share, age; and the counts that are kept beside the mail."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from store.relay import MailboxState, Outcome
from store.relay.limits import (
    ENVELOPE_SIZE_MAX,
    MAIL_AGE_S,
    MAILBOX_COUNT_MAX,
    MAILBOX_SIZE_MAX,
    SHARE_DIVISOR,
)

if TYPE_CHECKING:
    from store.relay import Device
    from tests.store.conftest import Clock

    from .world import World

STORED, DUPLICATE, FULL = Outcome.STORED, Outcome.DUPLICATE, Outcome.FULL
SHARE = MAILBOX_COUNT_MAX // SHARE_DIVISOR


# Limits.


def stuff(world: World, sender: Device, recipient: Device, count: int, first: int = 0) -> Counter[Outcome]:
    """Put in *count* small envelopes, many in a unit."""
    return Counter(world.send(sender, recipient, *range(first, first + count), content=b"x"))


def test_one_user_fills_at_most_a_quarter_of_a_mailbox_with_all_devices_together(world: World) -> None:
    eve_1, eve_2 = world.device("eve", 1), world.device("eve", 2)
    alice, bob = world.device("alice"), world.device("bob")
    assert stuff(world, eve_1, bob, SHARE - 1) == {STORED: SHARE - 1}
    assert stuff(world, eve_2, bob, 3) == {STORED: 1, FULL: 2}
    assert world.send(alice, bob, 1) == [STORED]
    assert world.send(eve_1, alice, 1) == [STORED]


def test_what_found_no_room_is_no_duplicate_when_there_is_room_again(world: World) -> None:
    eve, bob = world.devices(2)
    stuff(world, eve, bob, SHARE)
    assert world.send(eve, bob, 9999, 9999, 0) == [FULL, FULL, DUPLICATE]
    world.acknowledge(bob, 1)
    assert world.send(eve, bob, 9999) == [STORED]


def test_a_mailbox_is_full_with_the_shares_of_four_users(world: World) -> None:
    alice, bob, *others = world.devices(6)
    for other in others:
        assert stuff(world, other, bob, SHARE) == {STORED: SHARE}
    assert world.send(alice, bob, 1) == [FULL]
    assert world.fan_out(alice, [bob], 2) == [FULL]
    assert world.count("bodies") == 0
    world.acknowledge(bob, 1)
    assert world.send(alice, bob, 1, 2) == [STORED, FULL]


def test_one_user_fills_at_most_a_quarter_of_a_mailbox_in_bytes(world: World) -> None:
    eve, alice, bob = world.devices(3)
    fitting = MAILBOX_SIZE_MAX // SHARE_DIVISOR // ENVELOPE_SIZE_MAX
    outcomes = world.send(eve, bob, *range(fitting + 1), content=bytes(ENVELOPE_SIZE_MAX))
    assert Counter(outcomes) == {STORED: fitting, FULL: 1}
    rest = MAILBOX_SIZE_MAX // SHARE_DIVISOR - fitting * ENVELOPE_SIZE_MAX
    assert world.send(eve, bob, 1001, content=bytes(rest + 1)) == [FULL]
    assert world.send(eve, bob, 1002, content=bytes(rest)) == [STORED]
    assert world.send(alice, bob, 1) == [STORED]


def test_an_acknowledgement_gives_a_sender_room_again(world: World) -> None:
    eve, bob = world.devices(2)
    stuff(world, eve, bob, SHARE)
    world.acknowledge(bob, SHARE)
    assert world.count("mailbox_shares") == 0
    assert stuff(world, eve, bob, SHARE, first=SHARE) == {STORED: SHARE}


# Age.


def test_mail_waits_for_thirty_days(world: World, clock: Clock) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1, content=b"old")
    clock.now += 1
    world.send(alice, bob, 2, content=b"younger")
    clock.now += MAIL_AGE_S - 1
    assert world.contents(bob) == [b"younger"]
    with world.store.begin() as unit:
        assert unit.sweep().mail == 1
    with world.store.begin() as unit:
        assert unit.mailboxes.state(bob.key) == MailboxState(2, 1, len(b"younger"))
    assert [delivery.number for delivery in world.mail(bob)] == [2]


def test_expired_mail_takes_its_body_along(world: World, clock: Clock) -> None:
    alice, bob, carol = world.devices(3)
    world.fan_out(alice, [bob, carol], 1)
    clock.now += MAIL_AGE_S
    with world.store.begin() as unit:
        unit.sweep()
    assert (world.count("bodies"), world.count("mail"), world.count("mailbox_shares")) == (0, 0, 0)


def test_a_sweep_is_bounded_and_says_that_there_is_more(world: World, clock: Clock) -> None:
    alice, bob = world.devices(2)
    stuff(world, alice, bob, 1500)
    clock.now += MAIL_AGE_S
    swept = []
    for _ in range(2):
        with world.store.begin() as unit:
            swept.append(unit.sweep())
    assert [(one.mail, one.more) for one in swept] == [(1000, True), (500, False)]


# The counts that are kept beside the mail.


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_the_counts_are_those_of_the_mail(world: World, clock: Clock, seed: int) -> None:
    dice = random.Random(seed)
    devices = world.devices(5)
    for step in range(60):
        clock.now += dice.choice([0, 1, MAIL_AGE_S / 20])
        sender, recipient = dice.choice(devices), dice.choice(devices)
        match dice.randrange(6):
            case 0 | 1:
                content = bytes(dice.randrange(50))
                world.send(sender, recipient, *dice.choices(range(50), k=dice.randrange(9)), content=content)
            case 2:
                world.fan_out(sender, dice.sample(devices, dice.randrange(6)), dice.randrange(50))
            case 3 | 4:
                world.acknowledge(recipient, dice.randrange(30))
            case _ if step % 5:
                with world.store.begin() as unit:
                    unit.sweep()
            case _:
                with world.store.begin() as unit:
                    unit.devices.remove([recipient])
        assert world.kept_counts() == world.real_counts(), f"seed {seed}, step {step}"
