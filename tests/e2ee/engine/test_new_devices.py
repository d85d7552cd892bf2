"""A newly linked device makes itself known to its user's other devices: what they send from then on is copied to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from e2ee.content import ContentKind, decode_content, encode_new_device
from e2ee.diagnostics import Reason
from e2ee.engine.peers import OWN_DEVICES_AGE_S
from e2ee.errors import RefusalCode
from e2ee.events import DeliveryRefused
from e2ee.frames import Bundles, DeviceBundle, EnvelopeKind, GetBundles, RefusedRequest, Submit, UploadPreKeys
from e2ee.limits import DEVICES_PER_USER_MAX
from store import outbox
from store.tallied import TalliedTable

if TYPE_CHECKING:
    from e2ee.content import Content
    from e2ee.frames import ClientFrame
    from ratchet import IdentityKeyPair
    from tests.support.engines import Device, World

STEPS: Final = 12  # of a device alone, in which it registers and makes itself known


def identity_of(device: Device) -> IdentityKeyPair:
    with device.store.begin() as unit:
        return unit.account.require().identity


def link(world: World, device_id: int, first: Device, *, online: bool = True) -> Device:
    return world.device(first.name[0], device_id, identity=identity_of(first), online=online)


def believes_to_be_alone(world: World, device: Device) -> None:
    """Let a device send, and be told that its user has no other one."""
    device.send("bob", "alone")
    world.settle()
    assert device.engine._memory.own_devices_at == world.clock.now


def queued(device: Device) -> int:
    """How many announcements wait to be encrypted."""
    with device.store.begin() as unit:
        waiting = unit.outgoing.next_in(f"user:{device.name[0]}", "queued", limit=100)
        return sum(decode_content(one.content).kind == ContentKind.NEW_DEVICE for one in waiting)


def one_step(device: Device) -> ClientFrame | None:
    """Let the relay take a device's next frame and answer it, if it has one; return the frame."""
    if not device.outgoing:
        return None
    frame = device.outgoing[0]
    device.relay_takes_one()
    while device.incoming:
        device.take_reply()
    return frame


def requests(device: Device) -> list[ClientFrame]:
    """What a device asks of the relay until it has no more to ask."""
    asked = []
    while (frame := one_step(device)) is not None:
        asked.append(frame)
    return asked


def between(world: World, sender: Device, recipient: Device) -> list[EnvelopeKind]:
    """The kinds of what went from one device to another."""
    pairs = [(who, to, one.kind) for who, to, one in world.relay.overheard]
    return [kind for who, to, kind in pairs if (who, to) == (sender.name, recipient.name)]


def test_what_a_device_sends_is_copied_to_a_new_one_that_it_took_the_announcement_of(
    world: World, alice: Device, bob: Device
) -> None:
    believes_to_be_alone(world, alice)
    told_at = world.clock.now
    second = link(world, 2, alice)
    alice.send("bob", "for both")
    world.settle()
    assert second.copies() == ["for both"]
    assert bob.texts() == ["alone", "for both"]
    assert world.clock.now < told_at + OWN_DEVICES_AGE_S


def test_an_announcement_is_one_message_to_each_other_device_that_costs_it_one_prekey_and_is_not_answered(
    world: World, alice: Device, heard: list[Content]
) -> None:
    second = link(world, 2, alice)
    keys_before = [len(world.relay.boxes[one.name].one_time) for one in (alice, second)]
    third = link(world, 3, alice)
    assert between(world, third, alice) == between(world, third, second) == [EnvelopeKind.PREKEY]
    assert between(world, alice, third) == between(world, second, third) == []
    assert [(one.kind, one.sender_device_id) for one in heard] == [(ContentKind.NEW_DEVICE, n) for n in (2, 3, 3)]
    assert [len(world.relay.boxes[one.name].one_time) for one in (alice, second)] == [n - 1 for n in keys_before]


@pytest.mark.parametrize("steps", range(STEPS))
def test_a_device_that_dies_at_any_point_of_its_registration_is_known_after_the_next(
    world: World, alice: Device, bob: Device, steps: int
) -> None:
    believes_to_be_alone(world, alice)
    second = link(world, 2, alice, online=False)
    second.connect()
    for _ in range(steps):
        if second.outgoing or second.incoming:
            (second.take_reply if second.incoming else second.relay_takes_one)()
    second.restart()
    second.connect()
    world.settle()
    alice.send("bob", "for both")
    world.settle()
    assert second.copies() == ["for both"]
    assert bob.texts() == ["alone", "for both"]
    assert world.keys_used_twice() == []


@pytest.mark.usefixtures("bob")
def test_the_steps_in_which_it_may_die_reach_from_the_upload_to_the_stored_announcement(
    world: World, alice: Device
) -> None:
    second = link(world, 2, alice, online=False)
    second.connect()
    asked = [type(frame) for frame in requests(second)]
    assert asked == [UploadPreKeys, GetBundles, Submit]
    assert 2 * len(asked) < STEPS


@pytest.mark.usefixtures("bob")
def test_a_device_without_others_asks_once_when_it_registers_and_never_again_when_it_connects(world: World) -> None:
    only = world.device("carol", online=False)
    only.connect()
    assert [type(frame) for frame in requests(only)] == [UploadPreKeys, GetBundles]
    for _ in range(2):
        only.restart()
        only.connect()
        assert requests(only) == []
    assert queued(only) == 0


def test_a_device_that_is_linked_before_the_first_message_is_found_without_its_announcement(
    world: World, alice: Device, bob: Device
) -> None:
    second = link(world, 2, alice, online=False)
    second.connect()
    assert isinstance(one_step(second), UploadPreKeys)
    alice.send("bob", "for both")
    while alice.possible():
        alice.possible()[0]()
    world.settle()
    assert second.copies() == ["for both"]
    assert bob.texts() == ["for both"]


@pytest.mark.usefixtures("bob")
def test_a_device_that_was_away_knows_of_the_new_one_when_it_comes_back(world: World, alice: Device) -> None:
    third = link(world, 3, alice)
    alice.lose_connection()
    second = link(world, 2, third)
    world.clock.now += 5 * 24 * 3600.0
    alice.connect()
    world.settle()
    with alice.store.begin() as unit:
        assert set(unit.sessions.devices("alice")) == {2, 3}
    alice.send("bob", "for all three")
    world.settle()
    assert second.copies() == third.copies() == ["for all three"]


@pytest.mark.usefixtures("bob")
def test_an_announcement_that_the_relay_does_not_take_is_made_later(world: World, alice: Device) -> None:
    believes_to_be_alone(world, alice)
    second = link(world, 2, alice, online=False)
    second.connect()
    assert isinstance(one_step(second), UploadPreKeys)
    asked = second.outgoing.popleft()
    second.take(second.engine.reply(asked, RefusedRequest(0, RefusalCode.RATE_LIMITED, 5_000)))
    assert not second.outgoing
    world.relay.refusing["alice"] = RefusalCode.UNAVAILABLE
    world.settle()
    assert second.wake_at is not None
    del world.relay.refusing["alice"]
    world.clock.now += 600.0
    world.settle()
    alice.send("bob", "for both")
    world.settle()
    assert second.copies() == ["for both"]
    assert between(world, second, alice).count(EnvelopeKind.PREKEY) >= 1


@pytest.mark.usefixtures("bob")
def test_two_devices_that_are_linked_at_once_know_of_each_other(world: World, alice: Device) -> None:
    believes_to_be_alone(world, alice)
    second, third = (link(world, number, alice, online=False) for number in (2, 3))
    second.connect()
    third.connect()
    world.settle()
    for device in (alice, second, third):
        device.send("bob", f"of {device.name[1]}")
        world.settle()
    assert alice.copies() == ["of 2", "of 3"]
    assert second.copies() == ["of 1", "of 3"]
    assert third.copies() == ["of 1", "of 2"]
    assert world.keys_used_twice() == []


@pytest.mark.slow
def test_the_last_device_that_a_user_may_have_is_made_known_to_all_others(world: World, alice: Device) -> None:
    others = [alice, *(link(world, number, alice) for number in range(2, DEVICES_PER_USER_MAX))]
    last = link(world, DEVICES_PER_USER_MAX, alice)
    assert [between(world, last, one) for one in others] == [[EnvelopeKind.PREKEY]] * (DEVICES_PER_USER_MAX - 1)


# Listed anew.


@pytest.mark.usefixtures("bob")
def test_a_device_that_the_relay_had_lost_is_known_again_on_the_session_that_there_was(
    world: World, alice: Device
) -> None:
    second = link(world, 2, alice)
    for device in (alice, second):
        device.send("bob", f"of {device.name[1]}")
        world.settle()
    second.lose_connection()
    del world.relay.boxes[second.name]
    alice.send("bob", "for nobody else")
    world.settle()
    with alice.store.begin() as unit:
        assert unit.devices.of("alice") == []
    sent_before = len(between(world, second, alice))
    second.connect()
    world.settle()
    assert between(world, second, alice)[sent_before:] == [EnvelopeKind.SIGNAL]
    alice.send("bob", "for both")
    world.settle()
    assert second.copies() == ["of 1", "for both"]


@pytest.mark.usefixtures("bob")
def test_any_message_of_an_own_device_makes_it_known(world: World, alice: Device) -> None:
    second = link(world, 2, alice)
    for device in (alice, second):
        device.send("bob", f"of {device.name[1]}")
        world.settle()
    alice.do(lambda step: step.unit.devices.delete("alice", 2))  # as the relay says of one that is not listed just now
    second.send("bob", "still here")
    world.settle()
    alice.send("bob", "for both")
    world.settle()
    assert second.copies() == ["of 1", "for both"]
    assert set(between(world, second, alice)[1:]) == {EnvelopeKind.SIGNAL}


@pytest.mark.usefixtures("bob")
def test_a_device_that_begins_anew_in_an_empty_store_is_known_again(world: World, alice: Device) -> None:
    second = link(world, 2, alice)
    second.lose_connection()
    world.every.remove(second)
    again = link(world, 2, alice)
    alice.send("bob", "for both")
    world.settle()
    assert again.copies() == ["for both"]
    second.engine.close()


@pytest.mark.usefixtures("bob")
def test_a_device_that_is_told_again_and_again_that_it_is_not_registered_owes_one_announcement(
    world: World, alice: Device
) -> None:
    second = link(world, 2, alice)
    world.relay.refusing["alice"] = RefusalCode.NOT_REGISTERED
    for number in range(5):
        second.send("alice", f"to myself {number}")
        world.clock.now += 600.0
        world.settle()
    assert queued(second) == 1


@pytest.mark.usefixtures("alice")
def test_new_keys_of_a_device_that_is_listed_are_nothing_to_be_announced(world: World, alice: Device) -> None:
    second = link(world, 2, alice)
    before = len(between(world, second, alice))
    second.rotate_prekeys()
    world.settle()
    assert world.relay.boxes[second.name].counters.upload == 2
    assert len(between(world, second, alice)) == before


def test_a_full_outbox_costs_the_announcement_and_not_the_registration(
    world: World, alice: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = TalliedTable("outgoing", "created_at", 3, 1_000_000, item_size_max=100_000)
    monkeypatch.setattr(outbox, "OUTGOING", full)
    second = link(world, 2, alice, online=False)
    for _ in range(3):
        second.do(lambda step: step.queue(ContentKind.TEXT, "nobody", b"waits"))
    second.connect()
    assert isinstance(one_step(second), UploadPreKeys)
    assert queued(second) == 0
    assert second.engine._memory.ready


# Those who lie.


def bundles_for(world: World, asker: Device, *, of: Device) -> tuple[DeviceBundle, ...]:
    return world.relay._bundles(asker.name, of.name[0], None).bundles


def answered(device: Device, *bundles: DeviceBundle) -> None:
    """Let a lying relay answer the question for our own devices."""
    asked = device.outgoing.popleft()
    assert isinstance(asked, GetBundles)
    honest = device.world.relay._bundles(device.name, device.name[0], None)
    device.take(device.engine.reply(asked, Bundles(0, (replace(honest, bundles=bundles),))))


def test_a_device_that_the_relay_makes_up_is_told_nothing(world: World, alice: Device, bob: Device) -> None:
    second = link(world, 2, alice, online=False)
    second.connect()
    assert isinstance(one_step(second), UploadPreKeys)
    (invented,) = bundles_for(world, second, of=bob)
    (real,) = bundles_for(world, second, of=alice)
    answered(second, replace(invented, device_id=7), real)
    assert {frame.devices[0].device_id for frame in second.outgoing if isinstance(frame, Submit)} == {1}
    with second.store.begin() as unit:
        assert unit.sessions.devices("alice") == [1]


def test_a_device_that_the_relay_shows_under_every_id_is_told_no_more_often_than_devices_may_be(
    world: World, alice: Device
) -> None:
    second = link(world, 2, alice, online=False)
    second.connect()
    assert isinstance(one_step(second), UploadPreKeys)
    (real,) = bundles_for(world, second, of=alice)
    answered(second, *(replace(real, device_id=number) for number in range(3, 60)))
    (submit,) = [frame for frame in second.outgoing if isinstance(frame, Submit)]
    assert len(submit.devices) == DEVICES_PER_USER_MAX


def test_an_announcement_of_another_user_is_refused(world: World, alice: Device, bob: Device) -> None:
    bob.do(lambda step: step.queue(ContentKind.NEW_DEVICE, "alice", encode_new_device()))
    world.settle()
    assert [event.reason for event in alice.live if isinstance(event, DeliveryRefused)] == [
        Reason.CONTENT_MISMATCH.value
    ]
    assert between(world, alice, bob) == []


@pytest.mark.parametrize("body", [b"", b"\xc0", b"\x90\x90", b"no array"])
def test_an_announcement_that_is_no_array_is_refused(world: World, alice: Device, body: bytes) -> None:
    second = link(world, 2, alice)
    second.do(lambda step: step.queue(ContentKind.NEW_DEVICE, "alice", body))
    world.settle()
    assert [event.reason for event in alice.live if isinstance(event, DeliveryRefused)] == [
        Reason.CONTENT_MISMATCH.value
    ]


def test_an_announcement_of_a_later_release_may_say_more(world: World, alice: Device) -> None:
    second = link(world, 2, alice)
    second.do(lambda step: step.queue(ContentKind.NEW_DEVICE, "alice", b"\x92\x01\xa5later"))
    world.settle()
    assert [event for event in alice.live if isinstance(event, DeliveryRefused)] == []
