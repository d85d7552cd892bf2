"""Mailboxes: order, cursors, limits, duplicates, acknowledgement, shared bodies, age."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from store.errors import InvalidUse, TooLarge
from store.relay import DeviceKey, Envelope, MailboxState, Outcome
from store.relay.limits import (
    ENVELOPE_IDS_AGE_S,
    ENVELOPE_SIZE_MAX,
    MAIL_AGE_S,
    MAILBOX_COUNT_MAX,
    MAILBOX_SIZE_MAX,
    SHARE_DIVISOR,
)

from .world import MESSAGE, World, envelope_id

if TYPE_CHECKING:
    from store.relay import Device
    from tests.store.conftest import Clock

STORED, DUPLICATE, FULL, GONE = Outcome.STORED, Outcome.DUPLICATE, Outcome.FULL, Outcome.GONE
SHARE = MAILBOX_COUNT_MAX // SHARE_DIVISOR


def state(world: World, device: Device) -> MailboxState | None:
    with world.store.begin() as unit:
        return unit.mailboxes.state(device.key)


def numbers(world: World, device: Device, after: int = 0) -> list[int]:
    return [delivery.number for delivery in world.mail(device, after)]


# Order and cursors.


def test_envelopes_are_listed_in_the_order_in_which_they_were_put_in(world: World) -> None:
    alice, bob, carol = world.devices(3)
    with world.store.begin() as unit:
        unit.mailboxes.append(
            [
                Envelope(sender, carol.key, envelope_id(number), MESSAGE, bytes([number]))
                for number, sender in enumerate([alice, bob, bob, alice])
            ]
        )
    world.send(bob, carol, 9, content=b"later")
    assert world.contents(carol) == [b"\0", b"\1", b"\2", b"\3", b"later"]
    assert numbers(world, carol) == [1, 2, 3, 4, 5]


def test_a_delivery_says_who_sent_what_and_when(world: World, clock: Clock) -> None:
    alice, bob = world.device("alice", 3), world.device("bob")
    clock.now += 5.25
    world.send(alice, bob, 7, content=b"hello")
    (delivery,) = world.mail(bob)
    assert (delivery.sender_user_id, delivery.sender_device_id) == ("alice", 3)
    assert (delivery.envelope_id, delivery.kind, delivery.content) == (envelope_id(7), MESSAGE, b"hello")
    assert delivery.stored_at == clock.now


def test_numbers_rise_by_one_in_each_mailbox_alone(world: World) -> None:
    alice, bob, carol = world.devices(3)
    world.send(alice, bob, 1, 2)
    world.send(alice, carol, 3)
    world.send(alice, bob, 4)
    assert (numbers(world, bob), numbers(world, carol)) == ([1, 2, 3], [1])


def test_a_cursor_passes_over_what_was_read(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, *range(5))
    assert (numbers(world, bob, after=3), numbers(world, bob, after=5)) == ([4, 5], [])


def test_a_listing_ends_at_the_number_of_envelopes_asked_for(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, *range(5))
    with world.store.begin() as unit:
        assert [one.number for one in unit.mailboxes.deliveries(bob.key, after=1, count_max=2)] == [2, 3]


@pytest.mark.parametrize(("size_max", "expected"), [(29, 2), (30, 3), (10, 1), (9, 1), (0, 1), (1000, 4)])
def test_a_listing_ends_before_it_has_more_bytes_than_asked_for_but_never_empty(
    world: World, size_max: int, expected: int
) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, *range(4), content=bytes(10))
    with world.store.begin() as unit:
        assert len(unit.mailboxes.deliveries(bob.key, after=0, size_max=size_max)) == expected


def test_a_unit_that_does_not_commit_has_put_nothing_in(world: World) -> None:
    alice, bob = world.devices(2)

    def send_and_fail() -> None:
        with world.store.begin() as unit:
            unit.mailboxes.append([Envelope(alice, bob.key, envelope_id(1), MESSAGE, b"lost")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send_and_fail()
    assert state(world, bob) == MailboxState(0, 0, 0)
    assert world.send(alice, bob, 1) == [STORED]


def test_a_device_that_is_gone_takes_no_mail_and_the_others_do(world: World) -> None:
    alice, bob, carol = world.devices(3)
    with world.store.begin() as unit:
        unit.devices.remove([bob])
    assert world.fan_out(alice, [bob, carol], 1) == [GONE, STORED]
    assert world.count("envelope_ids") == 1


def test_an_envelope_may_have_the_largest_size_and_no_more(world: World) -> None:
    alice, bob = world.devices(2)
    assert world.send(alice, bob, 1, content=bytes(ENVELOPE_SIZE_MAX)) == [STORED]
    with pytest.raises(TooLarge):
        world.send(alice, bob, 2, content=bytes(ENVELOPE_SIZE_MAX + 1))
    with pytest.raises(TooLarge):
        world.fan_out(alice, [bob], 2, body=bytes(ENVELOPE_SIZE_MAX + 1))


@pytest.mark.parametrize(("size", "kind"), [(15, 1), (17, 1), (16, 256), (16, -1)])
def test_an_id_of_another_size_or_a_kind_out_of_range_is_a_bug_of_the_caller(
    world: World, size: int, kind: int
) -> None:
    alice, bob = world.devices(2)
    with pytest.raises(InvalidUse), world.store.begin() as unit:
        unit.mailboxes.append([Envelope(alice, bob.key, bytes(size), kind, b"")])


def test_nothing_to_put_in_is_nothing_done(world: World) -> None:
    with world.store.begin() as unit:
        assert unit.mailboxes.append([]) == []
        assert unit.mailboxes.acknowledge({}) == 0
        assert unit.mailboxes.state(DeviceKey(99)) is None


# Duplicates.


def test_an_envelope_sent_again_is_a_duplicate_and_stored_once(world: World) -> None:
    alice, bob = world.devices(2)
    assert world.send(alice, bob, 1, 2) == [STORED, STORED]
    assert world.send(alice, bob, 2, 3, 1) == [DUPLICATE, STORED, DUPLICATE]
    assert numbers(world, bob) == [1, 2, 3]


def test_an_envelope_twice_in_one_batch_is_stored_once(world: World) -> None:
    alice, bob = world.devices(2)
    assert world.send(alice, bob, 1, 1, 2, 1) == [STORED, DUPLICATE, STORED, DUPLICATE]


def test_an_acknowledged_envelope_is_a_duplicate_still(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1)
    world.acknowledge(bob, 1)
    assert world.send(alice, bob, 1) == [DUPLICATE]
    assert world.mail(bob) == []


def test_an_id_is_remembered_for_thirty_days(world: World, clock: Clock) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1)
    world.acknowledge(bob, 1)
    clock.now += ENVELOPE_IDS_AGE_S - 1
    with world.store.begin() as unit:
        assert unit.sweep().envelope_ids == 0
    assert world.send(alice, bob, 1) == [DUPLICATE]
    clock.now += 1
    with world.store.begin() as unit:
        assert unit.sweep().envelope_ids == 1
    assert world.send(alice, bob, 1) == [STORED]


def test_an_id_is_a_duplicate_only_from_the_same_device_to_the_same_device(world: World) -> None:
    alice_1, alice_2 = world.device("alice", 1), world.device("alice", 2)
    bob, eve = world.device("bob"), world.device("eve")
    world.send(alice_1, bob, 1)
    assert world.send(alice_2, bob, 1) == [STORED]
    assert world.send(eve, bob, 1) == [STORED]
    assert world.send(alice_1, eve, 1) == [STORED]


# Acknowledgement.


def test_an_acknowledgement_removes_everything_up_to_its_number(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, *range(5), content=bytes(10))
    assert world.acknowledge(bob, 3) == 3
    assert numbers(world, bob) == [4, 5]
    assert state(world, bob) == MailboxState(5, 2, 20)


def test_an_acknowledgement_may_be_repeated_and_come_late(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, *range(5))
    assert [world.acknowledge(bob, number) for number in (3, 3, 2, 4)] == [3, 0, 0, 1]
    with world.store.begin() as unit:
        found = unit.devices.find(bob.user_id, 1)
    assert found is not None
    assert found.counters.delivery_number == 4


def test_an_acknowledgement_from_the_future_swallows_nothing_that_comes_later(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1, 2)
    assert world.acknowledge(bob, 2**63 - 1) == 2
    world.send(alice, bob, 3)
    with world.store.begin() as unit:
        found = unit.devices.find(bob.user_id, 1)
    assert (numbers(world, bob), found.counters.delivery_number if found else None) == ([3], 2)


def test_numbers_go_on_when_a_mailbox_has_been_emptied(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1, 2)
    world.acknowledge(bob, 2)
    world.send(alice, bob, 3)
    assert numbers(world, bob) == [3]


def test_several_devices_acknowledge_in_one_unit_and_one_that_is_gone_is_passed_over(world: World) -> None:
    alice, bob, carol = world.devices(3)
    for device in (bob, carol):
        world.send(alice, device, 1, 2)
    with world.store.begin() as unit:
        assert unit.mailboxes.acknowledge({bob.key: 1, carol.key: 2, DeviceKey(999): 5}) == 3
    assert (numbers(world, bob), numbers(world, carol)) == ([2], [])


def test_the_poll_finds_those_with_mail_behind_their_cursor(world: World) -> None:
    alice, bob, carol, dave = world.devices(4)
    for device in (bob, carol):
        world.send(alice, device, 1, 2)
    world.send(alice, dave, 1)
    world.acknowledge(dave, 1)
    with world.store.begin() as unit:
        assert unit.mailboxes.waiting({bob.key: 1, carol.key: 2, dave.key: 0, alice.key: 0}) == [bob.key]


# Shared bodies.


def test_the_body_of_a_fan_out_is_stored_once_until_the_last_acknowledgement(world: World) -> None:
    alice, *others = world.devices(4)
    assert world.fan_out(alice, others, 1, body=b"to all") == [STORED] * 3
    left = []
    for other in others:
        assert world.contents(other) == [b"to all"]
        left.append((world.count("bodies"), world.count("body_references")))
        world.acknowledge(other, 1)
    assert left == [(1, 1)] * 3
    assert (world.count("bodies"), world.count("body_references")) == (0, 0)


def test_a_body_goes_with_the_last_device_that_waited_for_it(world: World) -> None:
    alice, bob, carol = world.devices(3)
    world.fan_out(alice, [bob, carol], 1)
    world.acknowledge(bob, 1)
    with world.store.begin() as unit:
        unit.devices.remove([carol])
    assert world.count("bodies") == 0


def test_a_fan_out_that_nobody_takes_leaves_no_body(world: World) -> None:
    alice, bob = world.devices(2)
    world.fan_out(alice, [bob], 1)
    assert world.fan_out(alice, [bob], 1) == [DUPLICATE]
    assert (world.count("bodies"), world.count("body_references")) == (1, 1)
    assert world.fan_out(alice, [], 2) == []
    assert world.count("bodies") == 1


def test_a_fan_out_keeps_its_place_among_the_other_envelopes(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1, content=b"before")
    world.fan_out(alice, [bob], 2, body=b"to all")
    world.send(alice, bob, 3, content=b"after")
    assert world.contents(bob) == [b"before", b"to all", b"after"]


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
    assert state(world, bob) == MailboxState(2, 1, len(b"younger"))
    assert numbers(world, bob) == [2]


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

COUNTED = (
    "SELECT device_key, count(*), sum(size) FROM mail GROUP BY device_key ORDER BY 1",
    "SELECT device_key, count, size FROM mailboxes WHERE count <> 0 OR size <> 0 ORDER BY 1",
    "SELECT device_key, sender_user_key, count(*), sum(size) FROM mail GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT device_key, sender_user_key, count, size FROM mailbox_shares ORDER BY 1, 2",
    "SELECT body_key, count(*) FROM mail WHERE body_key IS NOT NULL GROUP BY 1 ORDER BY 1",
    "SELECT body_key, count FROM body_references ORDER BY 1",
    "SELECT DISTINCT body_key, 1 FROM mail WHERE body_key IS NOT NULL ORDER BY 1",
    "SELECT body_key, 1 FROM bodies ORDER BY 1",
)


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
        found = [world.rows(query) for query in COUNTED]
        assert found[::2] == found[1::2], f"seed {seed}, step {step}"
