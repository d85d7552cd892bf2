"""What a unit has just put into a mailbox, handed over without being read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.relay import Envelope, Outcome

from .world import MESSAGE, World, envelope_id

if TYPE_CHECKING:
    from store.relay import Device


def envelopes(sender: Device, recipient: Device, *numbers: int) -> list[Envelope]:
    return [Envelope(sender, recipient.key, envelope_id(one), MESSAGE, bytes([one])) for one in numbers]


def test_it_is_what_would_be_read(world: World) -> None:
    alice, bob, carol = world.device("alice", 3), world.device("bob"), world.device("carol")
    with world.store.begin() as unit:
        unit.mailboxes.append([*envelopes(alice, carol, 1, 2), *envelopes(alice, bob, 3), *envelopes(bob, carol, 4)])
        unit.mailboxes.fan_out(bob, [carol.key, bob.key], envelope_id=envelope_id(5), kind=MESSAGE, body=b"to all")
        unit.mailboxes.append(envelopes(alice, carol, 6))
        added = {device.user_id: unit.mailboxes.added(device.key, after=0) for device in (alice, bob, carol)}
    assert added == {"alice": None, "bob": world.mail(bob), "carol": world.mail(carol)}
    assert [one.content for one in world.mail(carol)] == [b"\1", b"\2", b"\4", b"to all", b"\6"]


def test_it_is_not_given_where_something_else_waits_before_it(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1)
    with world.store.begin() as unit:
        unit.mailboxes.append(envelopes(alice, bob, 2))
        assert unit.mailboxes.added(bob.key, after=0) is None
        assert unit.mailboxes.added(bob.key, after=2) is None
        assert unit.mailboxes.added(bob.key, after=1) == unit.mailboxes.deliveries(bob.key, after=1)


def test_what_was_not_stored_is_not_in_it(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1)
    with world.store.begin() as unit:
        outcomes = unit.mailboxes.append(envelopes(alice, bob, 1, 2, 2))
        assert outcomes == [Outcome.DUPLICATE, Outcome.STORED, Outcome.DUPLICATE]
        added = unit.mailboxes.added(bob.key, after=1)
    assert added is not None
    assert [(one.number, one.envelope_id) for one in added] == [(2, envelope_id(2))]


def test_it_ends_with_the_device(world: World) -> None:
    alice, bob = world.devices(2)
    with world.store.begin() as unit:
        unit.mailboxes.append(envelopes(alice, bob, 1))
        unit.devices.remove([bob])
        assert unit.mailboxes.added(bob.key, after=0) is None


def test_the_next_unit_knows_nothing_of_it(world: World) -> None:
    alice, bob = world.devices(2)
    world.send(alice, bob, 1)
    with world.store.begin() as unit:
        assert unit.mailboxes.added(bob.key, after=0) is None


def test_many_submission_numbers_are_raised_at_once_and_never_lowered(world: World) -> None:
    alice, bob = world.devices(2)
    with world.store.begin() as unit:
        unit.devices.advance_submissions({alice.key: 5, bob.key: 9})
    with world.store.begin() as unit:
        unit.devices.advance_submissions({alice.key: 7, bob.key: 8})
        unit.devices.advance_submissions({})
    assert [world.state(one).counters.submission_number for one in (alice, bob)] == [7, 9]
