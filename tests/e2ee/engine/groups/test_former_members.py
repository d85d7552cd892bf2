"""Messages of a group that this device hears of only when it is out of it again, or that it was never in."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from e2ee.content import ContentKind
from e2ee.diagnostics import Reason
from e2ee.engine.alone import send_control
from e2ee.engine.groups.keys import own_key, rotate
from e2ee.engine.groups.old_chains import COUNT_INTERVAL_S, KEPT_CONNECTED_S
from e2ee.events import MessageLost
from e2ee.frames import Deliver, Delivery, Drained, EnvelopeKind
from e2ee.group_content import SenderKeyBody, encode_body
from ratchet import OwnSenderKey
from tests.support.group_world import PAIRWISE, Team, texts, withhold
from tests.support.rolling_back import talk

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.frames import RelayFrame
    from tests.support.engines import Device, World
    from tests.support.post_office import DeviceName


def test_a_message_of_a_group_that_we_hear_of_when_we_are_out_of_it_is_lost_and_asks_for_no_log_without_end(
    world: World, alice: Device, bob: Device, carol: Device
) -> None:
    team = Team(world, alice, bob)
    world.settle()
    carol.lose_connection()
    team.join(carol)  # another device of hers does
    world.settle()
    team.send(alice, "while she is in it")
    world.settle()
    team.leave(carol)
    world.settle()
    carol.connect()
    world.settle()  # which fails if it does not come to rest
    assert texts(bob) == ["while she is in it"]
    assert [event.why for event in carol.of(MessageLost)] == [Reason.UNKNOWN_GROUP]


def test_a_message_of_a_group_that_we_were_never_in_is_lost_and_asks_for_no_log_without_end(
    world: World, team: Team, alice: Device
) -> None:
    dave = world.device("dave")
    world.settle()
    body = bytes.fromhex(team.id) + OwnSenderKey.create(uuid.UUID(int=1)).encrypt(b"invented")
    box = world.relay.boxes[dave.name]
    box.number = box.pushed = box.number + 1
    dave.push(Deliver((Delivery(box.number, alice.name[0], 1, bytes(16), EnvelopeKind.SENDER_KEY, body, 0),)))
    world.settle()
    assert [event.why for event in dave.of(MessageLost)] == [Reason.UNKNOWN_GROUP]


def test_a_last_message_is_read_though_its_key_comes_after_the_entry_that_its_sender_left_with(
    world: World, team: Team, bob: Device, carol: Device
) -> None:
    bob.lose_connection()
    team.send(carol, "farewell")
    world.settle()
    team.leave(carol)
    world.settle()
    box = world.relay.boxes[bob.name]
    last = [EnvelopeKind.SENDER_KEY, *PAIRWISE]
    mail = sorted(box.mail, key=lambda one: last.index(one.kind) if one.kind in last else -1)
    assert [one.kind for one in mail] != [one.kind for one in box.mail]
    box.mail = [one._replace(number=old.number) for one, old in zip(mail, box.mail, strict=True)]
    bob.connect()
    world.settle()
    assert texts(bob) == ["farewell"]
    assert bob.engine.report().waiting_to_be_opened == 0
    for _ in range(int(KEPT_CONNECTED_S / COUNT_INTERVAL_S) + 1):
        world.clock.now += COUNT_INTERVAL_S
        world.settle()
    assert bob.do(lambda step: step.unit.sender_keys.distributions_of(team.group_id, "carol", 1)) == []


@pytest.fixture
def farewell(world: World, team: Team, bob: Device, carol: Device) -> list[Delivery]:
    """Carol has left; Bob, who was away, has lost her chain. What he has of her in his mailbox, a new key among it."""
    team.send(carol, "hello")
    world.settle()
    bob.lose_connection()
    carol.do(lambda step: rotate(step, own_key(step, team.group_id)))
    team.send(carol, "farewell")
    world.settle()
    team.leave(carol)
    world.settle()
    bob.do(lambda step: step.unit.sender_keys.delete_of_user("carol"))
    return withhold(bob, *PAIRWISE)


def test_a_key_of_who_has_left_is_not_taken_once_the_mailbox_is_drained(
    world: World, team: Team, bob: Device, farewell: list[Delivery]
) -> None:
    bob.connect()
    world.settle()
    number = world.relay.boxes[bob.name].number
    bob.push(Deliver(tuple(one._replace(number=number + 1 + at) for at, one in enumerate(farewell))))
    world.settle()
    assert bob.do(lambda step: step.unit.sender_keys.distributions_of(team.group_id, "carol", 1)) == []


def give_a_new_chain(giver: Device, to: Device, team: Team) -> None:
    """Let a device, member or not, give another one a chain that it has just made."""
    body = encode_body(SenderKeyBody(team.group_id, OwnSenderKey.create(uuid.uuid4()).distribution_message()))

    def work(step: Step) -> None:
        session = step.sessions.get(*to.name)
        assert session is not None
        send_control(step, to.name, session, ContentKind.SENDER_KEY, body)

    giver.do(work)


def test_a_chain_of_who_has_left_is_taken_for_ten_minutes_however_long_the_relay_says_that_there_is_more(
    world: World, team: Team, bob: Device, carol: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = world.relay.push

    def never_drained(name: DeviceName) -> RelayFrame | None:
        frame = push(name)
        return None if name == bob.name and isinstance(frame, Drained) else frame

    talk(world, (carol, bob), (bob, carol))
    monkeypatch.setattr(world.relay, "push", never_drained)
    bob.lose_connection()
    bob.connect()
    team.leave(carol)
    world.settle()
    for seconds in (KEPT_CONNECTED_S - 1, 1):
        world.clock.now += seconds
        give_a_new_chain(carol, bob, team)
        world.settle()
        assert len(bob.do(lambda step: step.unit.sender_keys.distributions_of(team.group_id, "carol", 1))) == 1


@pytest.mark.parametrize("entry_first", [True, False])
@pytest.mark.usefixtures("farewell")
def test_a_last_message_whose_key_does_not_come_is_asked_for_and_sent_again_by_who_has_left(
    world: World, bob: Device, *, entry_first: bool
) -> None:
    box = world.relay.boxes[bob.name]
    numbers = [one.number for one in box.mail]
    mail = sorted(box.mail, key=lambda one: (one.kind is EnvelopeKind.GROUP_ENTRY) is not entry_first)
    box.mail = [one._replace(number=number) for one, number in zip(mail, numbers, strict=True)]
    bob.connect()
    world.settle()
    world.clock.now += 120
    world.settle()
    assert texts(bob) == ["hello", "farewell"]
    assert bob.engine.report().waiting_to_be_opened == 0


@pytest.mark.usefixtures("farewell")
def test_what_has_waited_since_an_earlier_connection_for_who_has_left_is_asked_for_too(
    world: World, bob: Device, carol: Device
) -> None:
    carol.lose_connection()
    bob.connect()
    world.settle()
    assert texts(bob) == ["hello"]
    bob.restart()
    bob.connect()
    carol.connect()
    world.settle()
    assert texts(bob) == ["hello", "farewell"]
