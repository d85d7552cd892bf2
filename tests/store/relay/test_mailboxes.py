"""Mailboxes: order, cursors, duplicates, acknowledgement, shared bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.errors import InvalidUse, TooLarge
from store.relay import DeviceKey, Envelope, MailboxState, Outcome
from store.relay.limits import ENVELOPE_IDS_AGE_S, ENVELOPE_SIZE_MAX

from .world import MESSAGE, World, envelope_id

if TYPE_CHECKING:
    from store.relay import Device
    from tests.store.conftest import Clock

STORED, DUPLICATE, GONE = Outcome.STORED, Outcome.DUPLICATE, Outcome.GONE


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
