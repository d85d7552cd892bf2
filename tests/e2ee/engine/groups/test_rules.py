"""Rules of docs/protocol.md about sender keys that no other test shows by the way; each test names its rule."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from e2ee.content import Content, ContentKind, Destination, RetryRequest, encode_content, encode_retry_request
from e2ee.engine.alone import send_control
from e2ee.engine.groups.keys import current_key
from e2ee.events import MessagesResent
from e2ee.frames import EnvelopeKind
from e2ee.group_content import KeyRequest, SenderKeyBody, encode_body
from ratchet import OwnSenderKey
from tests.support.group_world import Team, texts

from .test_distribution import sent_pairwise
from .test_hostile import bodies, deliver, refused

if TYPE_CHECKING:
    from uuid import UUID

    from e2ee.engine.step import Step
    from tests.support.engines import Device, World


# As R5.7 and R5.8 have them.
DISTRIBUTIONS_PER_DEVICE_MAX, REQUEST_INTERVAL_S, ANSWER_INTERVAL_S = 4, 600.0, 60.0


def distribution(device: Device, team: Team) -> bytes:
    """The device's chain where it stands now."""

    def work(step: Step) -> bytes:
        loaded = current_key(step, team.group_id)
        assert loaded is not None
        return loaded.key.distribution_message()

    return device.do(work)


def hand_over(device: Device, to: str, team: Team, message: bytes) -> None:
    """Let a device give somebody a chain of its own, whichever it is."""
    body = encode_body(SenderKeyBody(team.group_id, message))

    def work(step: Step) -> None:
        session = step.sessions.get(to, 1)
        assert session is not None
        send_control(step, (to, 1), session, ContentKind.SENDER_KEY, body)

    device.do(work)
    device.world.settle()


def known_chains(device: Device, sender: Device, team: Team) -> list[UUID]:
    return device.do(lambda step: step.unit.sender_keys.distributions_of(team.group_id, *sender.name))


def test_r5_7_a_chain_that_is_known_is_not_rewound(world: World, team: Team, alice: Device, bob: Device) -> None:
    team.send(alice, "one")
    world.settle()
    early = distribution(alice, team)
    team.send(alice, "two")
    team.send(alice, "three")
    world.settle()
    hand_over(alice, "bob", team, early)
    for body in bodies(world, team, alice):
        deliver(bob, alice, team, body)
    team.send(alice, "four")
    world.settle()
    assert texts(bob) == ["one", "two", "three", "four"]
    assert refused(bob) == []


def test_r5_7_a_device_has_four_distribution_ids_in_a_group_and_the_one_used_least_goes(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    team.send(alice, "used")
    world.settle()
    used = known_chains(bob, alice, team)
    made = [OwnSenderKey.create(uuid4()) for _ in range(DISTRIBUTIONS_PER_DEVICE_MAX)]
    for key in made[:-1]:
        hand_over(alice, "bob", team, key.distribution_message())
    assert set(known_chains(bob, alice, team)) == {*used, *(key.distribution_id for key in made[:-1])}
    team.send(alice, "used again")
    team.send(alice, "and again")
    world.settle()
    hand_over(alice, "bob", team, made[-1].distribution_message())
    left = set(known_chains(bob, alice, team))
    assert len(left) == DISTRIBUTIONS_PER_DEVICE_MAX
    assert {*used, made[-1].distribution_id} <= left
    team.send(alice, "still read")
    world.settle()
    assert texts(bob)[-1] == "still read"


def test_r5_8_a_chain_is_asked_for_once_in_ten_minutes(world: World, team: Team, alice: Device, bob: Device) -> None:
    team.send(alice, "hello")
    world.settle()
    world.clock.now += 10
    world.settle()  # receipts and confirmations are on their way
    alice.lose_connection()  # she answers nothing
    state, key = team.state, OwnSenderKey.create(uuid4())
    where = Destination(None, team.group_id, state.epoch, state.number, state.hash)

    def arrive() -> int:
        """Let a message of the chain come; return how many pairwise envelopes Bob has sent Alice by then."""
        content = Content(ContentKind.TEXT, b"m" * 16, 1, 1, "alice", 1, where, b"?")
        deliver(bob, alice, team, key.encrypt(encode_content(content)))
        world.settle()
        return sent_pairwise(world, bob, "alice")

    before = sent_pairwise(world, bob, "alice")
    assert [arrive() for _ in range(3)] == [before + 1] * 3
    world.clock.now += REQUEST_INTERVAL_S
    assert [arrive() for _ in range(2)] == [before + 2] * 2


def test_r5_8_a_key_request_is_answered_once_in_a_minute_and_to_members_only(
    world: World, team: Team, alice: Device, carol: Device
) -> None:
    mallory = world.device("mallory")
    team.send(alice, "hello")
    world.settle()
    world.clock.now += 10
    world.settle()  # receipts and confirmations are on their way

    def answers(device: Device) -> int:
        """Ask Alice for her chain; return how many envelopes that brings."""
        before = sent_pairwise(world, alice, device.name[0])
        loaded = alice.do(lambda step: current_key(step, team.group_id))
        assert loaded is not None
        body = encode_body(KeyRequest(1, team.group_id, loaded.key.chain_id))
        device.do(lambda step: step.queue(ContentKind.KEY_REQUEST, "alice", body))
        world.settle()
        return sent_pairwise(world, alice, device.name[0]) - before

    assert [answers(carol), answers(carol)] == [1, 0]
    world.clock.now += ANSWER_INTERVAL_S
    assert answers(carol) == 1
    assert answers(mallory) == 0


@pytest.mark.parametrize("who", ["came later", "has left"])
def test_r5_9_a_group_message_goes_again_to_nobody_who_was_not_a_member_then_and_is_one_now(
    world: World, team: Team, alice: Device, carol: Device, who: str
) -> None:
    team.send(alice, "among us")
    world.settle()
    asking = carol
    if who == "has left":
        team.leave(carol)
    else:
        asking = world.device("dave")
        team.join(asking)
    asking.send("alice", "hello")
    world.settle()
    ids = [
        one.envelope_id
        for sender, _, one in world.relay.overheard
        if sender == alice.name and one.kind is EnvelopeKind.SENDER_KEY
    ]

    def ask(step: Step) -> None:
        session = step.sessions.get("alice", 1)
        assert session is not None
        send_control(
            step, ("alice", 1), session, ContentKind.RETRY_REQUEST, encode_retry_request(RetryRequest(tuple(ids)))
        )

    before = texts(asking)
    asking.do(ask)
    world.settle()
    assert texts(asking) == before
    resent = [one for one in alice.live if isinstance(one, MessagesResent)]
    assert [(one.recipient, one.messages, one.gone) for one in resent] == [(asking.name[0], (), len(set(ids)))]
