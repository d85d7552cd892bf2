"""What a leaver, a newcomer, a lying member and a lying relay get out of a group: nothing that is not theirs."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from e2ee.content import Content, ContentKind, Destination, encode_content
from e2ee.engine.groups.keys import current_key
from e2ee.events import DeliveryRefused, GroupMessage, MessagePending
from e2ee.frames import Deliver, Delivery, EnvelopeKind
from e2ee.group_content import SenderKeyBody, encode_body
from e2ee.ids import UserId
from ratchet import MessageKeyGone, NotAuthentic, OwnSenderKey, PeerSenderKey, UnknownSenderKey
from ratchet.messages import SenderKeyMessage
from tests.support.group_world import PAIRWISE, Team, texts, withhold

if TYPE_CHECKING:
    from tests.support.engines import Device, World


def bodies(world: World, team: Team, sender: Device) -> list[bytes]:
    """Every group ciphertext of a device that the relay was shown."""
    return [
        envelope.body
        for who, where, envelope in world.relay.overheard
        if who == sender.name and where[0] == team.id and envelope.kind is EnvelopeKind.SENDER_KEY
    ]


def keys_of(device: Device, sender: Device, body: bytes) -> PeerSenderKey | None:
    """What a device holds of the chain that a ciphertext is of, as a thief would keep it."""
    distribution_id = SenderKeyMessage.parse(body).distribution_id
    loaded = device.do(lambda step: step.unit.sender_keys.load_peer(*sender.name, distribution_id))
    return None if loaded is None else PeerSenderKey.from_bytes(loaded.key.to_bytes())


def deliver(device: Device, sender: Device, team: Team, body: bytes, *, group_id: bytes | None = None) -> None:
    """Let the relay hand a device a group message as from *sender*."""
    number = device.world.relay.boxes[device.name].number + 1
    device.world.relay.boxes[device.name].number = number
    where = team.group_id if group_id is None else group_id
    delivery = Delivery(number, *sender.name, os.urandom(16), EnvelopeKind.SENDER_KEY, where + body, 0)
    device.push(Deliver((delivery,)))


def sealed(device: Device, team: Team, **changes: object) -> bytes:
    """A message of *device*, sealed with its own chain, with something in it that its engine would not say."""
    state = team.state

    def work(step: object) -> bytes:
        loaded = current_key(step, team.group_id)  # type: ignore[arg-type]
        assert loaded is not None
        where = Destination(None, team.group_id, state.epoch, state.number, state.hash)
        content = Content(ContentKind.TEXT, os.urandom(16), 99, 1, device.name[0], device.name[1], where, b"forged")
        body = loaded.key.encrypt(encode_content(replace(content, **changes)))  # type: ignore[arg-type]
        step.unit.sender_keys.save_own(loaded, messages=1)  # type: ignore[attr-defined]
        return body

    return device.do(work)


def refused(device: Device) -> list[str]:
    return [event.reason for event in device.live if isinstance(event, DeliveryRefused)]


# Leavers and newcomers.


@pytest.mark.parametrize("how", ["it leaves", "it is removed"])
def test_a_leaver_with_all_its_keys_opens_nothing_that_was_sent_by_who_knows_it_is_gone(
    world: World, team: Team, alice: Device, bob: Device, carol: Device, how: str
) -> None:
    for device in (alice, bob):
        team.send(device, "before")
    world.settle()
    kept = {sender.name: keys_of(carol, sender, bodies(world, team, sender)[-1]) for sender in (alice, bob)}
    for sender in (alice, bob):  # before: the very keys open what comes next
        team.send(sender, "while a member")
        world.settle()
        held = kept[sender.name]
        assert held is not None
        assert b"while a member" in PeerSenderKey.from_bytes(held.to_bytes()).decrypt(bodies(world, team, sender)[-1])
    if how == "it leaves":
        team.leave(carol)
    else:
        team.remove(alice, carol)
    world.settle()
    for sender in (alice, bob):  # after: a relay that is on its side hands it every ciphertext
        team.send(sender, "among us")
        world.settle()
        held = kept[sender.name]
        assert held is not None
        with pytest.raises(UnknownSenderKey):
            held.decrypt(bodies(world, team, sender)[-1])
        deliver(carol, sender, team, bodies(world, team, sender)[-1])
    assert "among us" not in texts(carol)
    assert texts(bob)[-1] == "among us"


def test_a_message_made_before_its_sender_learned_of_a_leaving_never_goes_out_with_the_old_chain_afterwards(
    world: World, team: Team, alice: Device, bob: Device, carol: Device
) -> None:
    team.send(alice, "first")
    world.settle()
    kept = keys_of(carol, alice, bodies(world, team, alice)[-1])
    assert kept is not None
    team.send(alice, "unsure")
    alice.lose_connection()  # its frame is lost: nobody knows what became of it
    sent = len(bodies(world, team, alice))
    team.leave(carol)
    world.settle()
    alice.connect()
    world.settle()
    later = bodies(world, team, alice)[sent:]
    assert texts(bob) == ["first", "unsure"]
    # What was made before the leaving was seen may be shown once more, if the relay asks first; what follows is new.
    with pytest.raises(UnknownSenderKey):
        kept.decrypt(later[-1])


def test_a_newcomer_reads_nothing_that_was_sent_before_it_came(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    team.send(alice, "past")
    world.settle()
    past = bodies(world, team, alice)[-1]
    dave = world.device("dave")
    team.join(dave)
    world.settle()
    team.send(alice, "present")
    world.settle()
    deliver(dave, alice, team, past)
    assert texts(dave) == ["present"]
    held = keys_of(dave, alice, past)
    assert held is not None
    with pytest.raises(MessageKeyGone):
        held.decrypt(past)
    assert texts(bob) == ["past", "present"]


def test_a_member_that_comes_back_reads_nothing_of_the_time_between(
    world: World, team: Team, alice: Device, carol: Device
) -> None:
    team.send(alice, "1")
    world.settle()
    team.leave(carol)
    world.settle()
    team.send(alice, "2")
    world.settle()
    between = bodies(world, team, alice)[-1]
    team.join(carol)
    world.settle()
    team.send(alice, "3")
    world.settle()
    deliver(carol, alice, team, between)
    assert texts(carol) == ["1", "3"]


# Forged senders.


def test_nobody_speaks_with_another_members_chain(
    world: World, team: Team, alice: Device, bob: Device, carol: Device
) -> None:
    team.send(alice, "mine")
    team.send(bob, "his")
    world.settle()
    body = bodies(world, team, alice)[-1]
    deliver(carol, bob, team, body)  # Alice's ciphertext as if from Bob
    assert sorted(map(str, texts(carol))) == ["his", "mine"]
    forged = sealed(bob, team, sender_user_id="alice")
    deliver(carol, bob, team, forged)
    deliver(carol, alice, team, forged)
    assert sorted(map(str, texts(carol))) == ["his", "mine"]


def test_a_member_that_has_a_chain_cannot_sign_for_it(world: World, team: Team, alice: Device, carol: Device) -> None:
    team.send(alice, "mine")
    world.settle()
    body = bodies(world, team, alice)[-1]
    broken = body[:-1] + bytes([body[-1] ^ 1])
    deliver(carol, alice, team, broken)
    assert refused(carol) == ["not authentic on any session"]
    held = keys_of(carol, alice, body)
    assert held is not None
    with pytest.raises(NotAuthentic):
        held.decrypt(broken)


def test_a_replay_is_a_duplicate_under_whatever_envelope_id(
    world: World, team: Team, alice: Device, carol: Device
) -> None:
    team.send(alice, "once")
    world.settle()
    for _ in range(3):
        deliver(carol, alice, team, bodies(world, team, alice)[-1])
    assert texts(carol) == ["once"]
    assert refused(carol) == []


def test_a_message_of_one_group_is_none_of_another(world: World, alice: Device, bob: Device, carol: Device) -> None:
    first = Team(world, alice, bob, carol)
    second = Team(world, bob, alice, carol, name="others")
    world.settle()
    first.send(alice, "here")
    second.send(alice, "there")
    world.settle()
    deliver(carol, alice, first, bodies(world, first, alice)[-1], group_id=second.group_id)
    other = second.state
    where = Destination(None, second.group_id, other.epoch, other.number, other.hash)
    deliver(carol, alice, first, sealed(alice, first, destination=where))
    assert [(event.group, event.text) for event in carol.of(GroupMessage)] == [
        (first.id, "here"),
        (second.id, "there"),
    ]
    assert refused(carol) == ["its content does not belong to it"] * 2


# Lies about the log.


@pytest.mark.parametrize("lie", ["epoch", "number", "before it was a member"])
def test_a_member_that_lies_about_the_epoch_is_refused(
    world: World, team: Team, alice: Device, bob: Device, lie: str
) -> None:
    team.send(bob, "truth")
    world.settle()
    state = team.state
    genesis = alice.do(lambda step: step.unit.groups.log(team.group_id, limit=1))[0]
    where = Destination(None, team.group_id, state.epoch, state.number, state.hash)
    wrong = {
        "epoch": replace(where, group_epoch=state.epoch + 1),
        "number": replace(where, group_epoch=0),
        "before it was a member": Destination(None, team.group_id, 0, 0, genesis.hash),
    }[lie]
    deliver(alice, bob, team, sealed(bob, team, destination=wrong))
    assert texts(alice) == ["truth"]
    assert refused(alice) == ["its content does not belong to it"]


def test_a_leaver_stops_no_group_by_naming_another_log(
    world: World, team: Team, alice: Device, bob: Device, carol: Device
) -> None:
    team.send(carol, "hello")
    world.settle()
    state = team.state
    other = Destination(None, team.group_id, state.epoch, state.number, bytes(32))
    lie = sealed(carol, team, destination=other)
    team.leave(carol)
    world.settle()
    deliver(alice, carol, team, lie)
    team.send(alice, "undisturbed")
    world.settle()
    assert texts(bob)[-1] == "undisturbed"


def test_a_relay_that_withholds_a_removal_cannot_show_what_was_sent_after_it(
    world: World, team: Team, alice: Device, bob: Device, carol: Device
) -> None:
    team.send(alice, "before")
    world.settle()
    bob.lose_connection()
    team.remove(alice, carol)
    world.settle()
    team.send(alice, "after")
    world.settle()
    # The relay drops the removal out of Bob's mailbox. The message itself says that there is something to know.
    box = world.relay.boxes[bob.name]
    box.mail = [one for one in box.mail if one.kind is not EnvelopeKind.GROUP_ENTRY]
    bob.connect()
    world.settle()
    assert texts(bob) == ["before", "after"]
    seen = team.seen_by(bob)
    assert seen is not None
    assert UserId("carol") not in seen.members


def test_the_key_of_a_stranger_to_the_group_is_not_kept(world: World, team: Team, alice: Device) -> None:
    mallory = world.device("mallory")
    key = OwnSenderKey.create(uuid4())
    body = encode_body(SenderKeyBody(team.group_id, key.distribution_message()))
    mallory.do(lambda step: step.queue(ContentKind.SENDER_KEY, "alice", body))
    world.settle()
    assert alice.do(lambda step: step.unit.sender_keys.load_peer("mallory", 1, key.distribution_id)) is None
    assert team.state.number == 2


# Messages before their key.


def test_a_message_before_its_key_waits_and_is_delivered_with_it(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    bob.lose_connection()
    team.send(alice, "early")
    world.settle()
    withhold(bob, *PAIRWISE)
    bob.connect()
    world.settle()
    assert any(isinstance(event, MessagePending) for event in bob.live)
    assert texts(bob) == ["early"]
