"""Messages to a group: encrypted once, keyed before, delivered once, in order, and confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.engine.groups.keys import current_key
from e2ee.errors import GroupError
from e2ee.events import DeliveryState, GroupMessage, MessageState
from e2ee.groups import Operation
from e2ee.ids import UserId
from tests.support.group_world import Team, texts

if TYPE_CHECKING:
    from tests.support.engines import Device, World


def test_every_other_member_reads_a_message_and_its_sender_does_not_get_it(
    world: World, team: Team, alice: Device, bob: Device, carol: Device
) -> None:
    team.send(alice, "hello")
    world.settle()
    assert (texts(alice), texts(bob), texts(carol)) == ([], ["hello"], ["hello"])


def test_everybody_writes_and_reads(world: World, team: Team, alice: Device, bob: Device, carol: Device) -> None:
    for device in (alice, bob, carol):
        team.send(device, f"from {device.name[0]}")
    world.settle()
    everything = {"from alice", "from bob", "from carol"}
    for device in (alice, bob, carol):
        assert set(texts(device)) == everything - {f"from {device.name[0]}"}


def test_messages_of_one_sender_come_in_order(world: World, team: Team, alice: Device, bob: Device) -> None:
    sent = [str(number) for number in range(40)]
    for text in sent:
        team.send(alice, text)
    world.settle()
    assert texts(bob) == sent


def test_the_event_tells_group_sender_and_number(world: World, team: Team, alice: Device, bob: Device) -> None:
    message_id = team.send(alice, b"\x00\xff")
    world.settle()
    (event,) = bob.of(GroupMessage)
    assert (event.group, event.name, event.sender, event.sender_device) == (team.id, "team", "alice", 1)
    assert (event.message_id, event.conversation_number, event.text, event.data) == (message_id, 1, None, b"\x00\xff")


def test_a_message_is_sent_then_delivered_to_each_member_and_read_by_who_says_so(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    message_id = team.send(alice, "hello")
    world.settle()
    bob.take(bob.engine.mark_read(bob.of(GroupMessage)))
    world.clock.now += 10
    world.settle()
    states = [(event.recipient, event.state) for event in alice.of(MessageState) if event.message_id == message_id]
    assert states[0] == (None, DeliveryState.SENT)
    assert sorted(states[1:], key=str) == [
        ("bob", DeliveryState.DELIVERED),
        ("bob", DeliveryState.READ),
        ("carol", DeliveryState.DELIVERED),
    ]
    assert {event.group for event in alice.of(MessageState)} == {team.id}


def test_a_message_written_offline_goes_when_there_is_a_connection(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    alice.lose_connection()
    team.send(alice, "later")
    alice.restart()
    alice.connect()
    world.settle()
    assert texts(bob) == ["later"]


def test_whoever_is_no_member_cannot_send(world: World, team: Team, alice: Device, bob: Device) -> None:
    dave = world.device("dave")
    with pytest.raises(GroupError):
        team.send(dave, "hello")
    team.change(alice, Operation.LEAVE, subject=UserId("bob"), subject_key=bob.key)
    world.settle()
    with pytest.raises(GroupError):
        team.send(alice, "hello")


def test_another_device_of_the_sender_has_the_message_too(world: World, team: Team, alice: Device) -> None:
    identity = alice.do(lambda step: step.account.identity)
    second = world.device("alice", 2, identity=identity)
    team.send(alice, "hello")
    world.settle()
    assert texts(second) == ["hello"]


def test_one_ciphertext_is_made_for_all_and_no_key_is_used_twice(world: World, team: Team, alice: Device) -> None:
    for number in range(3):
        team.send(alice, str(number))
        world.settle()
    loaded = alice.do(lambda step: current_key(step, team.group_id))
    assert loaded is not None
    assert loaded.messages == 3
    assert world.keys_used_twice() == []
