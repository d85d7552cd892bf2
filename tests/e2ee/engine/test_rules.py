"""Rules of docs/protocol.md that no other test of the engine shows by the way; each test names its rule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.content import Content, ContentKind, Destination, Gone, GoneReason, decode_content, encode_gone
from e2ee.diagnostics import Reason
from e2ee.engine.alone import send_alone, send_control
from e2ee.events import MessageHealed, MessageLost
from e2ee.frames import Deliver, EnvelopeKind
from e2ee.ids import UserId, service_id
from ratchet.messages import PreKeyMessage
from tests.support.damage import act_now, forged, forget_session, heals, hold_mail, signal_only, talked

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from tests.support.engines import Device, World

ASK_PAUSE_S, REQUESTS_MAX = 2.0, 5  # as R6.3 has them
WAITING = b"w" * 16  # the id of an envelope that waits


@pytest.fixture
def carol(world: World) -> Device:
    return world.device("carol")


def park(device: Device, sender: str) -> None:
    """Let an envelope wait for a decision, so that nobody asks for it."""
    with device.store.begin() as unit:
        unit.pending.add(sender, 1, WAITING, 2, bytes(60), reason=Reason.IDENTITY_CHANGED.value)


def waiting(device: Device) -> dict[bytes, int]:
    """What waits of Alice's device, and how often each was asked for."""
    with device.store.begin() as unit:
        return {row.envelope_id: row.requests for row in unit.pending.from_device("alice", 1)}


def say_gone(device: Device, code: int) -> None:
    """Let a device say to Bob that the envelope which waits there does not come."""

    def work(step: Step) -> None:
        session = step.sessions.get("bob", 1)
        assert session is not None
        send_control(step, ("bob", 1), session, ContentKind.GONE, encode_gone(Gone(((WAITING, code),))))

    device.do(work)


def say_again(device: Device, message_id: bytes) -> None:
    """Let a device send Bob a message that takes the place of the envelope which waits there."""

    def work(step: Step) -> None:
        session = step.sessions.get("bob", 1)
        assert session is not None
        where = Destination("bob")
        content = Content(ContentKind.TEXT, message_id, 9, 1, device.name[0], 1, where, b"again", (WAITING,))
        send_alone(step, ("bob", 1), session, content, again=True)

    device.do(work)


@pytest.mark.usefixtures("bob")
def test_r2_4_a_first_message_is_bound_to_the_service_ids_and_devices_of_both_ends(world: World, alice: Device) -> None:
    alice.send("bob", "hello")
    hold_mail(world, alice)
    (envelope,) = [one for who, _, one in world.relay.overheard if who == alice.name]
    ends = [b"\x00" + service_id(UserId(name)).bytes + b"\x01" for name in ("alice", "bob")]
    assert envelope.kind is EnvelopeKind.PREKEY
    assert PreKeyMessage.parse(envelope.body).message.addresses == b"".join(ends)


def test_r5_4_numbers_count_from_one_for_each_conversation_and_control_messages_have_none(
    world: World, alice: Device, bob: Device, carol: Device, heard: list[Content]
) -> None:
    for sender, to in ((alice, "bob"), (alice, "carol"), (alice, "bob"), (bob, "alice"), (carol, "bob")):
        sender.send(to, "x")
        world.settle()
    told = [one for one in heard if one.kind == ContentKind.TEXT]
    assert [(one.sender_user_id, one.destination.user_id, one.conversation_number) for one in told] == [
        ("alice", "bob", 1),
        ("alice", "carol", 1),
        ("alice", "bob", 2),
        ("bob", "alice", 1),
        ("carol", "bob", 1),
    ]
    control = {(one.kind, one.conversation_number) for one in heard if one.kind != ContentKind.TEXT}
    assert control == {(ContentKind.RECEIPT, 0)}


def test_r5_5_answers_take_the_place_of_envelopes_of_the_same_device_only(
    world: World, alice: Device, bob: Device, carol: Device
) -> None:
    for one in (alice, carol):
        one.send("bob", "hello")
    world.settle()
    park(bob, "alice")
    say_again(carol, b"c" * 16)
    world.settle()
    assert WAITING in waiting(bob)
    assert bob.of(MessageHealed) == []
    say_again(alice, b"a" * 16)
    world.settle()
    assert waiting(bob) == {}
    assert [event.sender for event in bob.of(MessageHealed)] == ["alice"]
    assert bob.texts().count("again") == 2


def test_r6_3_one_envelope_is_asked_for_five_times_and_not_once_more(world: World, alice: Device, bob: Device) -> None:
    signal_only(world, alice, bob)
    alice.lose_connection()
    first = forged(alice, bob, 1)
    bob.push(Deliver((first,)))
    act_now(world)
    with bob.store.begin() as unit:
        for _ in range(REQUESTS_MAX - 2):
            unit.pending.asked(unit.pending.from_device("alice", 1))
    for number in (2, 3):
        world.clock.now += 3600
        bob.push(Deliver((forged(alice, bob, number),)))
        act_now(world)
        assert waiting(bob)[first.envelope_id] == REQUESTS_MAX
        assert heals(bob) == number
    assert sorted(waiting(bob).values()) == [1, 2, REQUESTS_MAX]


def test_r6_3_on_a_session_that_works_new_envelopes_are_asked_for_every_two_seconds(
    world: World, alice: Device, bob: Device
) -> None:
    signal_only(world, alice, bob)
    for text in ("one", "two"):
        alice.send("bob", text)
    hold_mail(world, alice)
    box = world.relay.boxes["bob", 1]
    mail, box.mail = list(box.mail), []
    alice.lose_connection()
    for number, one in enumerate(mail, 1):
        noise = forged(alice, bob, number)
        bob.push(Deliver((noise, one._replace(number=2000 + number))))
        act_now(world)
        asked_at_once = number == 1
        assert waiting(bob)[noise.envelope_id] == int(asked_at_once)
    world.clock.now += ASK_PAUSE_S - 0.1
    act_now(world)
    assert sorted(waiting(bob).values()) == [0, 1]
    world.clock.now += 0.1
    act_now(world)
    assert sorted(waiting(bob).values()) == [1, 1]
    assert heals(bob) == 0


def test_r6_6_what_goes_again_is_the_same_message_in_another_envelope_for_the_device_that_asked(
    world: World, alice: Device, bob: Device, heard: list[Content]
) -> None:
    with bob.store.begin() as unit:
        identity = unit.account.require().identity
    second = world.device("bob", 2, identity=identity)
    talked(world, alice, bob)
    forget_session(bob.store, "alice")
    before = len(world.relay.overheard)
    message_id = alice.send("bob", "are you there?")
    with alice.store.begin() as unit:
        kept = unit.outgoing.get(bytes.fromhex(message_id))
        assert kept is not None
        original = decode_content(kept.content)
    world.settle()
    sent = [(to, one) for who, to, one in world.relay.overheard[before:] if who == alice.name]
    (parked,) = [one.envelope_id for to, one in sent if to == bob.name][:1]
    again = [one for one in heard if one.answers]
    assert again == [replace(original, answers=(parked,))]
    assert len({one.envelope_id for _, one in sent}) == len(sent)
    assert [text for text in second.texts() if text == "are you there?"] == ["are you there?"]
    assert [one.message_id for one in heard].count(original.message_id) == 2  # once for each of Bob's devices
    assert world.keys_used_twice() == []


@pytest.mark.parametrize("code", [*GoneReason, 200])
def test_r6_8_every_reason_but_nothing_lost_means_that_the_message_is_lost(
    world: World, alice: Device, bob: Device, code: int
) -> None:
    alice.send("bob", "hello")
    world.settle()
    park(bob, "alice")
    say_gone(alice, code)
    world.settle()
    assert waiting(bob) == {}
    lost = [event.count for event in bob.of(MessageLost)]
    assert lost == ([] if code == GoneReason.NOTHING_LOST else [1])


def test_r6_9_a_gone_ends_only_what_waits_of_the_device_that_sent_it(
    world: World, alice: Device, bob: Device, carol: Device
) -> None:
    for one in (alice, carol):
        one.send("bob", "hello")
    world.settle()
    park(bob, "alice")
    say_gone(carol, GoneReason.NOT_KEPT)
    world.settle()
    assert WAITING in waiting(bob)
    assert bob.of(MessageLost) == []
    say_gone(alice, GoneReason.NOT_KEPT)
    world.settle()
    assert [(event.sender, event.why) for event in bob.of(MessageLost)] == [("alice", Reason.NOT_KEPT)]
