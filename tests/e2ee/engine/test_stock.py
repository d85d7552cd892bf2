"""Prekeys: uploaded at first, refilled when they run low, never forgotten on the way, rotated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.errors import RefusalCode
from e2ee.events import HandshakeWithoutOneTimeKey, PreKeysLow, RelayRolledBack
from e2ee.frames import LowPreKeys, RefusedRequest, UploadPreKeys
from e2ee.ids import UserId
from e2ee.options import ClientOptions
from store import PreKeyKind

if TYPE_CHECKING:
    from tests.support.engines import Device, World


def uploads(device: Device) -> list[UploadPreKeys]:
    return [request for request in device.outgoing if isinstance(request, UploadPreKeys)]


def test_a_new_device_uploads_all_kinds_of_prekeys(world: World, alice: Device) -> None:
    box = world.relay.boxes[alice.name]
    assert box.listed
    assert (len(box.one_time), len(box.one_time_kem)) == (3, 3)


def test_a_full_stock_is_made_ten_at_a_time_and_uploaded_at_once(world: World) -> None:
    device = world.device("alice", options=ClientOptions(), online=False)
    device.connect()
    steps = 1
    while not uploads(device):
        assert device.wake_at is not None
        assert device.wake_at <= world.clock.now
        device.tick()
        steps += 1
    assert steps == 10
    (upload,) = uploads(device)
    assert (len(upload.one_time_prekeys), len(upload.one_time_kem_prekeys)) == (100, 100)
    assert (upload.number, upload.purge) == (1, True)


def test_prekeys_are_stored_before_they_are_uploaded(world: World) -> None:
    device = world.device("alice", online=False)
    device.connect()
    (first,) = uploads(device)
    device.restart()  # the upload never arrived
    device.connect()
    while not uploads(device):
        device.tick()
    (second,) = uploads(device)
    assert set(first.one_time_prekeys) <= set(second.one_time_prekeys)
    assert second.signed_prekey == first.signed_prekey
    assert second.number == first.number + 1


def test_an_upload_whose_reply_is_lost_is_repeated_and_does_no_harm(world: World, bob: Device) -> None:
    alice = world.device("alice", online=False)
    alice.connect()
    alice.relay_takes_one()
    alice.restart()
    alice.connect()
    world.settle()
    bob.send("alice", "hello")
    world.settle()
    assert alice.texts() == ["hello"]


def test_one_time_prekeys_are_refilled_when_askers_have_taken_them(world: World, alice: Device) -> None:
    for number in range(3):
        world.device(f"friend{number}").send("alice", "hello")
        world.settle()
    box = world.relay.boxes[alice.name]
    assert (len(box.one_time), len(box.one_time_kem)) == (0, 0)
    alice.push(LowPreKeys(0, 0))
    world.settle()
    assert (len(box.one_time), len(box.one_time_kem)) == (3, 3)
    assert alice.texts() == ["hello"] * 3


def test_low_prekeys_are_told(alice: Device) -> None:
    alice.push(LowPreKeys(1, 2))
    assert alice.live[-1] == PreKeysLow(1, 2)


def test_one_time_prekeys_that_were_used_are_gone(world: World, alice: Device, bob: Device) -> None:
    bob.send("alice", "hello")
    world.settle()
    with alice.store.begin() as unit:
        assert unit.prekeys.count(PreKeyKind.ONE_TIME) == 2
        assert unit.prekeys.count(PreKeyKind.ONE_TIME_KEM) == 2


def test_a_first_message_without_a_one_time_key_opens_and_is_told(world: World, alice: Device, bob: Device) -> None:
    box = world.relay.boxes[alice.name]
    box.one_time.clear()
    box.one_time_kem.clear()
    bob.send("alice", "hello")
    world.settle()
    assert alice.texts() == ["hello"]
    assert [event for event in alice.live if isinstance(event, HandshakeWithoutOneTimeKey)] == [
        HandshakeWithoutOneTimeKey(UserId("bob"), 1)
    ]


def test_a_rotation_is_uploaded_and_first_messages_under_the_old_keys_still_open(
    world: World, alice: Device, bob: Device
) -> None:
    bob.send("alice", "under the old keys")
    bob.relay_takes_one()  # asks for the bundle
    old = world.relay.boxes[alice.name].signed_prekey
    alice.rotate_prekeys()
    world.settle()
    assert world.relay.boxes[alice.name].signed_prekey != old
    assert alice.texts() == ["under the old keys"]


def test_a_relay_that_lost_its_data_gets_the_prekeys_again(world: World, alice: Device, bob: Device) -> None:
    alice.lose_connection()
    del world.relay.boxes[alice.name]
    alice.connect()
    assert RelayRolledBack() in alice.live
    world.settle()
    bob.send("alice", "hello")
    world.settle()
    assert alice.texts() == ["hello"]


def test_a_refused_upload_goes_again_after_the_time_that_the_relay_gives(world: World) -> None:
    device = world.device("alice", online=False)
    device.connect()
    (first,) = uploads(device)
    device.outgoing.clear()
    device.take(device.engine.reply(first, RefusedRequest(0, RefusalCode.RATE_LIMITED, 5_000)))
    device.tick()
    assert uploads(device) == []
    assert device.wake_at == world.clock.now + 5
    world.clock.now += 5
    device.tick()
    (second,) = uploads(device)
    assert second.signed_prekey == first.signed_prekey
    world.settle()
    assert device.wake_at is not None
    assert device.wake_at > world.clock.now  # and nothing of it is due any more
