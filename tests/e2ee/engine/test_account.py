"""The account as a whole: devices removed, marks of what was read, prekeys renewed, another identity."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from e2ee.content import ContentKind, ReadCopy, encode_read_copy
from e2ee.engine import account, stock
from e2ee.engine.stock import ROTATION_AGE_S
from e2ee.errors import InvalidArgument, RefusalCode
from e2ee.events import DeliveryRefused, DirectMessage, Disconnected, OwnRead
from e2ee.frames import (
    Deliver,
    IdentityReplaced,
    RefusedRequest,
    Removed,
    RemoveDevice,
    ReplaceIdentity,
    Uploaded,
    UploadPreKeys,
)
from e2ee.options import ClientOptions
from ratchet import OwnSenderKey
from ratchet.prekeys import PreKeyUse
from store import PreKeyKind
from store import prekeys as stored

if TYPE_CHECKING:
    from tests.support.engines import Device, World


def second_device(world: World, first: Device) -> Device:
    with first.store.begin() as unit:
        identity = unit.account.require().identity
    return world.device(first.name[0], 2, identity=identity)


def take_upload(device: Device) -> UploadPreKeys:
    (upload,) = [frame for frame in device.outgoing if isinstance(frame, UploadPreKeys)]
    return upload


# Devices.


def test_what_a_removed_device_could_read_with_is_gone(world: World, alice: Device) -> None:
    alice2 = second_device(world, alice)
    alice.send("alice", "to my other device")
    world.settle()
    assert alice2.texts() == ["to my other device"]
    with alice.store.begin() as unit:
        unit.sender_keys.put_own(bytes(32), OwnSenderKey.create(UUID(int=1)))
    request = alice.do(partial(account.ask_for_removal, device_id=2))
    assert request == RemoveDevice(0, 0, 2)
    alice.take(alice.engine.reply(request, Removed(0)))
    with alice.store.begin() as unit:
        assert unit.sessions.devices("alice") == []
        assert unit.devices.of("alice") == []
        assert unit.sender_keys.load_own(bytes(32)) is None


@pytest.mark.parametrize("device_id", [0, 1, 128, True])
def test_a_device_that_cannot_be_removed_is_the_callers_to_correct(alice: Device, device_id: int) -> None:
    with pytest.raises(InvalidArgument):
        alice.do(partial(account.ask_for_removal, device_id=device_id))


# What was read.


def test_what_one_device_has_read_the_others_hear_in_one_message_for_each_sender(
    world: World, alice: Device, bob: Device
) -> None:
    alice2 = second_device(world, alice)
    ids = [bob.send("alice", str(number)) for number in range(3)]
    world.settle()
    alice.take(alice.engine.mark_read(alice.of(DirectMessage)))
    world.settle()
    (read,) = alice2.of(OwnRead)
    assert (read.sender, read.own_device, set(read.message_ids)) == ("bob", 1, set(ids))
    assert alice.of(OwnRead) == bob.of(OwnRead) == []


def test_own_devices_hear_of_it_also_where_senders_do_not(world: World, bob: Device) -> None:
    alice = world.device("alice", options=ClientOptions(one_time_prekeys=3, receipts=False))
    alice2 = second_device(world, alice)
    message_id = bob.send("alice", "hello")
    world.settle()
    alice.take(alice.engine.mark_read([message_id]))
    world.settle()
    assert [event.message_ids for event in alice2.of(OwnRead)] == [(message_id,)]
    assert len(bob.states(message_id)) <= 2  # sent, and delivered to the second device


@pytest.mark.parametrize(
    "body", [b"", b"\x90", encode_read_copy(ReadCopy("bob", ())), encode_read_copy(ReadCopy("bob", (bytes(15),)))]
)
def test_a_mark_in_another_form_is_refused_and_told(world: World, alice: Device, body: bytes) -> None:
    alice2 = second_device(world, alice)
    alice.do(lambda step: step.queue(ContentKind.READ_COPY, "alice", body))
    world.settle()
    assert alice2.of(OwnRead) == []
    assert any(isinstance(event, DeliveryRefused) for event in alice2.live)


def test_nobody_else_tells_us_what_we_have_read(world: World, alice: Device, bob: Device) -> None:
    body = encode_read_copy(ReadCopy("carol", (bytes(16),)))
    bob.do(lambda step: step.queue(ContentKind.READ_COPY, "alice", body))
    world.settle()
    assert alice.of(OwnRead) == []
    assert any(isinstance(event, DeliveryRefused) for event in alice.live)


# Prekeys.


def is_ready(device: Device) -> bool:
    return device.engine.do(lambda step: step.user_id)[1].ready


def test_a_device_is_ready_once_the_relay_has_its_prekeys_and_at_once_the_next_time(world: World) -> None:
    device = world.device("alice", online=False)
    device.connect()
    assert not is_ready(device)
    world.settle()
    assert is_ready(device)
    device.restart()
    device.connect()
    assert is_ready(device)


def test_a_device_stays_ready_while_nothing_is_due_and_no_mail_comes(world: World, alice: Device) -> None:
    world.settle()
    due = alice.engine.do(lambda step: step.user_id)[1].wake_at
    assert due is not None
    assert alice.engine.tick(due - 1.0).ready
    assert alice.engine.push(Deliver(())).ready
    alice.engine.disconnected()
    assert not alice.engine.tick(due - 1.0).ready


def test_signed_and_last_resort_prekeys_are_replaced_after_a_week_and_the_old_ones_still_open(
    world: World, alice: Device, bob: Device
) -> None:
    first = world.relay.boxes[alice.name].signed_prekey
    bob.send("alice", "under the old keys")
    bob.relay_takes_one()  # the bundle is asked for
    world.clock.now += ROTATION_AGE_S - 1
    alice.tick()
    assert world.relay.boxes[alice.name].signed_prekey == first
    world.clock.now += 2 * stock.ROTATION_LOOK_S
    alice.tick()
    world.settle()
    box = world.relay.boxes[alice.name]
    assert box.signed_prekey != first
    assert alice.texts() == ["under the old keys"]


def test_prekeys_that_have_opened_all_they_may_are_replaced(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "USED_BASE_KEYS_MAX", 2)
    box = world.relay.boxes[alice.name]
    first = box.last_resort
    box.one_time.clear()
    box.one_time_kem.clear()
    for name in ("carol", "dave"):
        world.device(name).send("alice", "hello")
        world.settle()
    assert alice.texts() == ["hello", "hello"]
    assert box.last_resort != first
    bob.send("alice", "under the new keys")
    world.settle()
    assert alice.texts()[-1] == "under the new keys"


def test_prekeys_are_worn_out_at_their_limit_and_not_before(
    world: World, alice: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "USED_BASE_KEYS_MAX", 2)
    assert world.relay.boxes[alice.name].listed
    with alice.store.begin() as unit:
        published = unit.prekeys.unpublished()
        assert published.signed_prekey is None
        signed, kem = world.relay.boxes[alice.name].signed_prekey, world.relay.boxes[alice.name].last_resort
        assert signed is not None
        assert kem is not None
        worn_out = []
        for number in range(3):
            worn_out.append(unit.prekeys.is_worn_out())
            unit.prekeys.consume(PreKeyUse(signed.id, None, kem.id, bytes([number]) * 33))
    assert worn_out == [False, False, True]


def test_republished_prekeys_are_all_new_and_the_relay_forgets_the_old_first(world: World, alice: Device) -> None:
    with alice.store.begin() as unit:
        signed = unit.prekeys.made_at()
    assert signed is not None
    box = world.relay.boxes[alice.name]
    old = [key.id for key in box.one_time]
    world.clock.now += 1
    purge = alice.do(stock.republish)
    assert isinstance(purge, UploadPreKeys)
    assert (purge.purge, purge.one_time_prekeys, purge.signed_prekey) == (True, (), None)
    with pytest.raises(InvalidArgument, match="under way"):
        alice.do(stock.republish)
    with alice.store.begin() as unit:
        assert unit.prekeys.count(PreKeyKind.ONE_TIME) == 3  # nothing is forgotten before the relay has answered
    box.one_time.clear()
    box.one_time_kem.clear()
    alice.outgoing.clear()
    alice.take(alice.engine.reply(purge, Uploaded(0, 0, 0)))
    upload = take_upload(alice)
    assert upload.number == purge.number + 1
    assert upload.signed_prekey is not None
    assert not {key.id for key in upload.one_time_prekeys} & set(old)
    with alice.store.begin() as unit:
        assert unit.prekeys.made_at() == signed + 1


# Another identity.


def test_another_identity_is_taken_only_when_the_relay_has_agreed(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "before")
    world.settle()
    before = alice.key
    request, output = alice.engine.ask_for_identity()
    alice.take(output)
    assert isinstance(request, ReplaceIdentity)
    assert alice.key == before
    alice.outgoing.clear()
    alice.take(alice.engine.reply(request, RefusedRequest(0, RefusalCode.IDENTITY_TAKEN, None)))
    assert alice.key == before
    alice.send("bob", "still me")
    world.settle()
    assert bob.texts() == ["before", "still me"]


def test_under_another_identity_everything_begins_anew_and_what_was_under_way_arrives(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "before")
    world.settle()
    alice.send("bob", "under way")  # encrypted, and never heard of again
    alice.outgoing.clear()
    with alice.store.begin() as unit:
        old = unit.account.require()
    request, output = alice.engine.ask_for_identity()
    alice.take(output)
    assert isinstance(request, ReplaceIdentity)
    alice.take(alice.engine.reply(request, IdentityReplaced(0)))
    assert alice.live[-1] == Disconnected()
    with alice.store.begin() as unit:
        new = unit.account.require()
        assert unit.sessions.count() == 0
        assert (unit.counters.submission_number, unit.counters.upload_number) == (0, 0)
    assert new.identity.public_key == request.identity_key != old.identity.public_key
    assert new.registration_id != old.registration_id
    alice.lose_connection()
    world.relay.forget_user("alice")
    alice.connect()
    world.settle()
    assert bob.texts() == ["before"]  # held: bob is to decide
    bob.trust("alice")
    world.settle()
    assert bob.texts() == ["before", "under way"]
    assert world.keys_used_twice() == []


# What the application has been given.


def test_an_event_that_was_only_fetched_ahead_does_not_count_as_handed_out(
    world: World, alice: Device, bob: Device
) -> None:
    for number in range(3):
        bob.send("alice", str(number))
    world.settle()
    first, second, third = alice.engine.next_events(10)
    assert (first.redelivered, second.redelivered) == (0, 0)
    alice.take(alice.engine.hand_out(second, first))
    again = alice.engine.next_events(10)
    assert [(event.number, event.redelivered) for event in again] == [(second.number, 1), (third.number, 0)]
