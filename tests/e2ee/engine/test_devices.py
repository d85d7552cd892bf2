"""Several devices of one user: copies, device lists that change, devices that register again, full mailboxes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from e2ee.events import DeliveryState, DirectMessage, OwnMessage
from e2ee.frames import Bundles, GetBundles, WantedDevices
from e2ee.limits import DEVICES_PER_USER_MAX

if TYPE_CHECKING:
    from ratchet import IdentityKeyPair
    from tests.support.engines import Device, World

SENT, DELIVERED, FAILED = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.FAILED


def identity_of(device: Device) -> IdentityKeyPair:
    with device.store.begin() as unit:
        return unit.account.require().identity


def second_device(world: World, first: Device) -> Device:
    return world.device(first.name[0], 2, identity=identity_of(first))


def test_a_message_reaches_every_device_of_the_recipient(world: World, alice: Device, bob: Device) -> None:
    bob2 = second_device(world, bob)
    alice.send("bob", "to both")
    world.settle()
    assert (bob.texts(), bob2.texts()) == (["to both"], ["to both"])


def test_a_relay_that_shows_one_device_under_every_id_makes_no_list_that_no_relay_would_take(
    world: World, alice: Device, bob: Device
) -> None:
    honest = world.relay._bundles(alice.name, "bob", None)
    for first in (1, 21, 41):
        ids = tuple(range(first, first + 20))
        many = tuple(replace(honest.bundles[0], device_id=device_id) for device_id in ids)
        for wanted in (None, ids, (60,)):
            request = GetBundles(0, 0, bytes(16), (WantedDevices("bob", wanted),))
            alice.take(alice.engine.reply(request, Bundles(0, (replace(honest, bundles=many),))))
    with alice.store.begin() as unit:
        assert len(unit.devices.of("bob")) <= DEVICES_PER_USER_MAX
    alice.send("bob", "to the one that there is")
    world.settle()
    assert bob.texts() == ["to the one that there is"]


def test_a_device_that_comes_later_gets_what_is_sent_from_then_on(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "before")
    world.settle()
    bob2 = second_device(world, bob)
    alice.send("bob", "after")
    world.settle()
    assert (bob.texts(), bob2.texts()) == (["before", "after"], ["after"])
    assert world.keys_used_twice() == []


def test_messages_under_way_are_repaired_for_a_new_device_without_new_ciphertexts_for_the_old(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "0")
    world.settle()
    alice.lose_connection()
    for number in range(1, 6):
        alice.send("bob", str(number))
    bob2 = second_device(world, bob)
    alice.connect()
    world.settle()
    assert (bob.texts(), bob2.texts()) == (
        [str(number) for number in range(6)],
        [str(number) for number in range(1, 6)],
    )
    for_first = [
        (envelope.envelope_id, envelope.body)
        for sender, recipient, envelope in world.relay.overheard
        if (sender, recipient) == (("alice", 1), ("bob", 1))
    ]
    assert len(set(for_first)) == 6  # one ciphertext for each message, however often it was sent
    assert len(for_first) > 6
    assert world.keys_used_twice() == []


def test_the_senders_other_device_gets_a_copy(world: World, alice: Device, bob: Device) -> None:
    alice2 = second_device(world, alice)
    message_id = alice.send("bob", "hello")
    world.settle()
    (copy,) = alice2.of(OwnMessage)
    assert (copy.recipient, copy.text, copy.message_id, copy.own_device) == ("bob", "hello", message_id, 1)
    assert bob.texts() == ["hello"]
    assert alice.of(OwnMessage) == []


def test_both_devices_of_a_user_see_a_whole_conversation(world: World, alice: Device, bob: Device) -> None:
    alice2 = second_device(world, alice)
    for number in range(5):
        alice.send("bob", f"one {number}")
        world.settle()
        alice2.send("bob", f"two {number}")
        world.settle()
        bob.send("alice", f"bob {number}")
        world.settle()
    assert alice.texts() == alice2.texts() == [f"bob {number}" for number in range(5)]
    assert alice2.copies() == [f"one {number}" for number in range(5)]
    assert alice.copies() == [f"two {number}" for number in range(5)]
    assert bob.texts() == [f"{who} {number}" for number in range(5) for who in ("one", "two")]


def test_a_failing_copy_does_not_fail_the_message(world: World, alice: Device, bob: Device) -> None:
    second_device(world, alice)
    world.relay.full.add(("alice", 2))
    message_id = alice.send("bob", "hello")
    world.settle()
    assert bob.texts() == ["hello"]
    assert alice.states(message_id) == [SENT, DELIVERED]


def test_receipts_go_to_the_device_that_sent_and_count_there_only(world: World, alice: Device, bob: Device) -> None:
    alice2 = second_device(world, alice)
    first = alice.send("bob", "from one")
    second = alice2.send("bob", "from two")
    world.settle()
    assert bob.texts() in (["from one", "from two"], ["from two", "from one"])
    assert (alice.states(first), alice.states(second)) == ([SENT, DELIVERED], [])
    assert (alice2.states(second), alice2.states(first)) == ([SENT, DELIVERED], [])


def test_a_device_that_registered_again_is_written_to_with_a_new_session(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "before")
    world.settle()
    identity = identity_of(bob)
    bob.lose_connection()
    world.every.remove(bob)
    restored = world.device("bob", 1, identity=identity)
    alice.send("bob", "after")
    world.settle()
    assert restored.texts() == ["after"]
    assert world.keys_used_twice() == []
    bob.engine.close()


def test_a_removed_device_is_left_out(world: World, alice: Device, bob: Device) -> None:
    bob2 = second_device(world, bob)
    alice.send("bob", "to both")
    world.settle()
    bob2.lose_connection()
    del world.relay.boxes["bob", 2]
    message_id = alice.send("bob", "to one")
    world.settle()
    assert bob.texts() == ["to both", "to one"]
    assert alice.states(message_id) == [SENT, DELIVERED]


def test_a_full_mailbox_fails_the_message_only_if_no_device_has_room(world: World, alice: Device, bob: Device) -> None:
    second_device(world, bob)
    world.relay.full.add(("bob", 2))
    stored = alice.send("bob", "one has room")
    world.settle()
    assert alice.states(stored) == [SENT, DELIVERED]
    world.relay.full.add(("bob", 1))
    failed = alice.send("bob", "none has room")
    world.settle()
    assert alice.states(failed) == [FAILED]


def test_a_note_to_oneself_reaches_the_other_device(world: World, alice: Device) -> None:
    alice2 = second_device(world, alice)
    alice.send("alice", "buy milk")
    world.settle()
    assert [(message.sender, message.text) for message in alice2.of(DirectMessage)] == [("alice", "buy milk")]


def test_a_note_to_oneself_without_another_device_fails(world: World, alice: Device) -> None:
    message_id = alice.send("alice", "buy milk")
    world.settle()
    assert alice.states(message_id) == [FAILED]


def test_a_user_with_one_device_makes_no_copies_once_that_is_known(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "1")
    world.settle()
    alice.send("bob", "2")
    with alice.store.begin() as unit:
        assert unit.outgoing.next_in("user:alice", "queued", limit=10) == []
    world.settle()
    assert bob.texts() == ["1", "2"]
