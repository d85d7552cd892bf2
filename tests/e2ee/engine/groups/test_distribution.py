"""Who is given our sender key, when, once, and what happens if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.content import ContentKind, decode_content
from e2ee.diagnostics import Reason
from e2ee.engine.groups.keys import current_key
from e2ee.engine.groups.standing import group_keys
from e2ee.events import DeliveryState, GroupMessage, MessageHealed, MessageLost, MessageState
from e2ee.frames import Deliver, EnvelopeKind
from e2ee.groups import KeyState
from tests.support.engines import World
from tests.support.group_world import PAIRWISE, Team, settle_in_time, texts, withhold

if TYPE_CHECKING:
    from pathlib import Path

    from e2ee.engine.step import Step
    from store import OutgoingMessage
    from tests.support.engines import Device


def chain(device: Device, team: Team) -> int:
    loaded = device.do(lambda step: current_key(step, team.group_id))
    assert loaded is not None
    return loaded.key.chain_id


def states(device: Device, team: Team) -> dict[tuple[str, int], KeyState]:
    return {(one.user, one.device_id): one.state for one in device.do(lambda step: group_keys(step, team.id))}


def sent_pairwise(world: World, sender: Device, to: str) -> int:
    """How many envelopes a device has put into another user's mailboxes, each counted once."""
    kinds = (EnvelopeKind.PREKEY, EnvelopeKind.SIGNAL)
    found = {
        one.envelope_id
        for who, where, one in world.relay.overheard
        if who == sender.name and where[0] == to and one.kind in kinds
    }
    return len(found)


def test_every_device_has_confirmed_the_key_soon_after_the_first_message(
    world: World, team: Team, alice: Device
) -> None:
    assert set(states(alice, team).values()) <= {KeyState.PENDING}
    team.send(alice, "hello")
    world.settle()
    world.clock.now += 10
    world.settle()
    assert states(alice, team) == {("bob", 1): KeyState.KEYED, ("carol", 1): KeyState.KEYED}


def test_a_key_goes_to_a_device_once_however_much_is_sent(world: World, team: Team, alice: Device) -> None:
    team.send(alice, "first")
    world.settle()
    before = sent_pairwise(world, alice, "bob")
    for number in range(5):
        team.send(alice, str(number))
        world.settle()
    assert sent_pairwise(world, alice, "bob") == before


def test_the_message_waits_until_the_relay_has_every_key(world: World, team: Team, alice: Device, bob: Device) -> None:
    bob.lose_connection()
    team.send(alice, "hello")
    world.settle()
    kinds = [one.kind for one in world.relay.boxes[bob.name].mail]
    assert kinds.index(EnvelopeKind.SENDER_KEY) > kinds.index(EnvelopeKind.PREKEY)


def test_a_user_whose_mailbox_is_full_costs_nobody_the_message_and_asks_for_the_key_later(
    world: World, team: Team, alice: Device, bob: Device, carol: Device
) -> None:
    world.relay.full.add(bob.name)
    team.send(alice, "missed")
    world.settle()
    assert texts(carol) == ["missed"]
    assert states(alice, team)["bob", 1] is KeyState.FAILED
    (lost,) = [event for event in alice.of(MessageState) if event.state is DeliveryState.FAILED]
    assert (lost.recipient, lost.why, lost.group) == ("bob", Reason.MAILBOX_FULL, team.id)
    world.relay.full.clear()
    team.send(alice, "after")
    world.settle()
    world.clock.now += 10
    world.settle()
    assert texts(bob) == ["after"]
    assert states(alice, team)["bob", 1] is KeyState.KEYED


def test_a_newcomer_is_given_the_chain_and_nobody_else_anything(world: World, team: Team, alice: Device) -> None:
    team.send(alice, "first")
    world.settle()
    used, before = chain(alice, team), sent_pairwise(world, alice, "bob")
    dave = world.device("dave")
    team.join(dave)
    world.settle()
    team.send(alice, "second")
    world.settle()
    assert (texts(dave), chain(alice, team)) == (["second"], used)
    assert sent_pairwise(world, alice, "bob") == before


def test_a_device_added_during_a_send_is_given_the_key_before_the_message(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    team.send(alice, "first")
    world.settle()
    second = world.device("bob", 2, identity=bob.do(lambda step: step.account.identity))
    team.send(alice, "second")
    world.settle()
    assert texts(bob) == ["first", "second"]
    assert texts(second) == ["second"]


def test_a_device_that_is_removed_ends_the_chain(world: World, team: Team, alice: Device, bob: Device) -> None:
    second = world.device("bob", 2, identity=bob.do(lambda step: step.account.identity))
    team.send(alice, "first")
    world.settle()
    used = chain(alice, team)
    second.lose_connection()
    world.relay.boxes.pop(("bob", 2))
    world.every.remove(second)
    team.send(alice, "second")
    world.settle()
    assert chain(alice, team) != used
    assert texts(bob) == ["first", "second"]
    second.engine.close()


def test_two_leave_at_once_and_the_message_is_made_for_those_who_stay(
    world: World, team: Team, alice: Device, bob: Device, carol: Device
) -> None:
    dave = world.device("dave")
    team.join(dave)
    world.settle()
    team.send(alice, "all")
    world.settle()
    team.leave(bob)
    team.leave(carol)
    team.send(alice, "the rest")  # Alice has seen neither
    world.settle()
    assert (texts(bob), texts(carol), texts(dave)) == (["all"], ["all"], ["all", "the rest"])
    assert world.keys_used_twice() == []


def test_a_message_that_came_before_its_key_s_position_is_sent_again_pairwise(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    bob.lose_connection()
    team.send(alice, "early")
    world.settle()
    withhold(bob, *PAIRWISE)
    bob.connect()
    world.settle()
    assert texts(bob) == ["early"]
    assert len(bob.of(MessageHealed)) == 1
    assert len(bob.of(GroupMessage)) == 1


@pytest.mark.parametrize("killed", [False, True], ids=["at once", "after a restart"])
def test_a_message_that_comes_after_a_key_that_begins_later_is_sent_again_pairwise_and_is_then_a_duplicate(
    world: World, team: Team, alice: Device, bob: Device, *, killed: bool
) -> None:
    bob.lose_connection()
    team.send(alice, "early")
    team.send(alice, "second")
    world.settle()
    box = world.relay.boxes[bob.name]
    early, second = (one for one in box.mail if one.kind is EnvelopeKind.SENDER_KEY)
    box.mail = [second]  # as a relay delivers that loses and reorders
    bob.connect()
    world.settle()
    assert texts(bob) == ["second"]
    if killed:
        bob.restart()
        bob.connect()
        world.settle()
    for number in (1, 2):
        bob.push(Deliver((early._replace(number=box.number + number),)))
        world.settle()
        assert texts(bob) == ["second", "early"]
    assert bob.engine.report().waiting_to_be_opened == 0
    assert len(bob.of(MessageHealed)) == 2


def test_a_message_from_before_a_newcomer_s_key_is_asked_for_once_under_however_many_ids_it_comes(
    world: World, team: Team, alice: Device
) -> None:
    team.send(alice, "before")
    world.settle()
    before = next(
        one for who, _, one in world.relay.overheard if who == alice.name and one.kind is EnvelopeKind.SENDER_KEY
    )
    dave = world.device("dave")
    team.join(dave)
    team.send(alice, "after")
    world.settle()
    for number in range(20):
        body = team.group_id + before.body
        world.relay.put(alice.name, dave.name, bytes([number]) * 16, EnvelopeKind.SENDER_KEY, body)
        world.settle()
        world.clock.now += 60
    assert texts(dave) == ["after"]
    assert [(one.why, one.count) for one in dave.of(MessageLost)] == [(Reason.NOT_KNOWN, 1)]


def test_copies_of_a_message_under_other_ids_before_its_key_are_not_asked_for_when_that_begins_later(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    bob.lose_connection()
    team.send(alice, "early")
    world.settle()
    withhold(bob, *PAIRWISE)
    (early,) = world.relay.boxes[bob.name].mail
    for number in range(20):
        world.relay.put(alice.name, bob.name, bytes([number]) * 16, early.kind, early.body)
    bob.connect()
    settle_in_time(world)
    assert texts(bob) == ["early"]
    assert bob.of(MessageLost) == []
    assert bob.engine.report().waiting_to_be_opened == 0


def test_a_control_message_with_a_key_is_told_to_nobody(world: World, team: Team, alice: Device, bob: Device) -> None:
    team.send(alice, "hello")
    world.settle()
    kinds = {decode_content(one.content).kind for one in _outbox(alice)}
    assert ContentKind.SENDER_KEY not in kinds
    assert {type(event).__name__ for event in bob.read_inbox()} <= {"GroupMessage", "GroupJoined", "GroupMemberJoined"}


def _outbox(device: Device) -> list[OutgoingMessage]:
    def work(step: Step) -> list[OutgoingMessage]:
        unit = step.unit
        return [
            one
            for state in ("queued", "submitted", "sent", "delivered")
            for lane in unit.outgoing.lanes(state)
            for one in unit.outgoing.next_in(lane, state, limit=100)
        ]

    return device.do(work)


# Random interleavings.


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_in_between_every_member_reads_everything_once_and_in_order(tmp_path: Path, seed: int) -> None:
    _play(tmp_path, seed, rounds=25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_longer_stories_lose_and_double_nothing_either(tmp_path: Path, seed: int) -> None:
    _play(tmp_path, seed, rounds=80)


def _play(folder: Path, seed: int, *, rounds: int) -> None:
    """Alice and Bob stay; others come and go, devices are added, connections are lost; everybody sends."""
    world = World(folder, seed=seed)
    try:
        staying = [world.device(name) for name in ("alice", "bob")]
        passing = [world.device(name) for name in ("carol", "dave", "erin")]
        team = Team(world, *staying, passing[0])
        world.settle()
        sent: dict[str, list[str]] = {device.name[0]: [] for device in staying}
        for number in range(rounds):
            _one_step(world, team, staying, passing, sent, number)
            for _ in range(world.dice.randrange(12)):
                steps = [step for device in world.every for step in device.possible()]
                if steps:
                    world.dice.choice(steps)()
        for device in world.every:
            if not device.connected:
                device.connect()
        world.settle()
        world.clock.now += 120
        world.settle()
        for reader, writer in (staying, staying[::-1]):
            assert [one.text for one in reader.of(GroupMessage) if one.sender == writer.name[0]] == sent[writer.name[0]]
        for device in passing:
            ids = [one.message_id for one in device.of(GroupMessage)]
            assert len(set(ids)) == len(ids)
        assert world.keys_used_twice() == []
    finally:
        world.close()


def _one_step(
    world: World, team: Team, staying: list[Device], passing: list[Device], sent: dict[str, list[str]], number: int
) -> None:
    match world.dice.randrange(8):
        case 0:
            device = world.dice.choice(passing)
            if device.name[0] in team.state.members:
                team.leave(device)
            else:
                team.join(device)
        case 1:
            device = world.dice.choice(staying)
            if device.connected:
                device.lose_connection()
            else:
                device.connect()
        case 2 if len(world.every) < 7:
            owner = world.dice.choice(staying)
            taken = {device.name for device in world.every}
            if (owner.name[0], 2) not in taken:
                identity = owner.do(lambda step: step.account.identity)
                world.device(owner.name[0], 2, identity=identity, online=False).connect()
        case _:
            device = world.dice.choice(staying)
            text = f"{device.name[0]} {number}"
            team.send(device, text)
            sent[device.name[0]].append(text)
