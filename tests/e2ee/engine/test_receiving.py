"""Every delivery ends as opened, duplicate, pending or refused, and is acknowledged; a bug costs one message."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.content import Content, Destination, encode_content
from e2ee.engine import receiving
from e2ee.engine.numbers import take_numbers
from e2ee.events import (
    DeliveryQuarantined,
    DeliveryRefused,
    DeliveryState,
    DirectMessage,
    InboxFull,
    MessagePending,
    UnknownContent,
)
from e2ee.frames import Deliver, Delivery, EnvelopeKind
from e2ee.ids import UserId
from e2ee.options import ClientOptions, InboxMode
from store import Received, inbox

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from tests.support.engines import Device, World


def mail_for(world: World, device: Device) -> list[Delivery]:
    return world.relay.boxes[device.name].mail


def wait_for_mail(world: World, sender: Device, recipient: Device) -> Delivery:
    """Let the sender send what it has; return the last delivery, which waits at the relay."""
    while sender.possible():
        world.dice.choice(sender.possible())()
    return mail_for(world, recipient)[-1]


def outcome(device: Device, delivery: Delivery) -> int | None:
    """Push one delivery alone; return what the device acknowledges."""
    output = device.engine.push(Deliver((delivery,)))
    device.take(output)
    return output.acknowledge


def test_noise_is_parked_told_and_acknowledged(world: World, alice: Device, bob: Device) -> None:
    bob.send("alice", "hello")
    good = wait_for_mail(world, bob, alice)
    noise = good._replace(number=9, body=good.body[:-1] + bytes([good.body[-1] ^ 1]), envelope_id=bytes(16))
    assert outcome(alice, noise) == 9
    (event,) = [event for event in alice.live if isinstance(event, MessagePending)]
    assert (event.sender, event.envelope_id) == ("bob", bytes(16))
    assert outcome(alice, good) == good.number
    assert alice.texts() == ["hello"]  # what was forged has used up no prekey


def test_a_parked_envelope_that_comes_again_is_parked_once(world: World, alice: Device, bob: Device) -> None:
    bob.send("alice", "hello")
    good = wait_for_mail(world, bob, alice)
    noise = good._replace(body=good.body[:-1] + bytes([good.body[-1] ^ 1]), envelope_id=bytes(16))
    for number in (7, 8):
        assert outcome(alice, noise._replace(number=number)) == number
    with alice.store.begin() as unit:
        assert len(unit.pending.from_device("bob", 1)) == 1


@pytest.mark.parametrize("body", [b"", b"\x44", bytes(200)])
def test_what_is_no_message_is_refused_and_acknowledged(alice: Device, body: bytes) -> None:
    delivery = Delivery(5, "bob", 1, bytes(16), EnvelopeKind.PREKEY, body, 0)
    assert outcome(alice, delivery) == 5
    assert isinstance(alice.live[-1], DeliveryRefused)


def test_mail_from_the_very_device_is_refused(alice: Device) -> None:
    assert outcome(alice, Delivery(5, "alice", 1, bytes(16), EnvelopeKind.SIGNAL, bytes(50), 0)) == 5
    assert isinstance(alice.live[-1], DeliveryRefused)


def test_mail_from_a_blocked_user_is_dropped(world: World, alice: Device, bob: Device) -> None:
    with alice.store.begin() as unit:
        unit.blocked.add("bob")
    bob.send("alice", "hello")
    world.settle()
    assert alice.texts() == []
    assert mail_for(world, alice) == []


def test_the_same_mail_twice_in_one_batch_is_told_once(world: World, alice: Device, bob: Device) -> None:
    bob.send("alice", "hello")
    mail = wait_for_mail(world, bob, alice)
    alice.push(Deliver((mail, mail._replace(number=mail.number + 1))))
    assert alice.texts() == ["hello"]


def test_mail_under_another_envelope_id_is_no_second_message(world: World, alice: Device, bob: Device) -> None:
    bob.send("alice", "hello")
    mail = wait_for_mail(world, bob, alice)
    alice.push(Deliver((mail, mail._replace(number=mail.number + 1, envelope_id=bytes(16)))))
    assert alice.texts() == ["hello"]


def forge(device: Device, **changes: object) -> None:
    """Let a device send a content of its own making to Alice."""
    content = Content(1, b"m" * 16, 1, 0, device.name[0], 1, Destination("alice"), b"forged")

    def work(step: Step) -> None:
        encoded = encode_content(replace(content, **changes))  # type: ignore[arg-type]
        step.unit.outgoing.add(b"o" * 16, "user:alice", encoded, state="queued")
        step.memory.active["alice"] = None

    device.take(device.engine._run(work))


def test_a_message_that_was_encrypted_again_is_told_once(world: World, alice: Device, bob: Device) -> None:
    for _ in range(2):  # the same message id inside, another key and envelope outside
        forge(bob)
        wait_for_mail(world, bob, alice)
        world.settle()
        with bob.store.begin() as unit:
            unit.outgoing.take_out(b"o" * 16)
    assert alice.texts() == ["forged"]
    assert alice.of(DeliveryQuarantined) == []
    assert len([one for one in world.relay.overheard if one[0] == bob.name]) >= 2


@pytest.mark.parametrize(
    "changes",
    [
        {"sender_user_id": "carol"},
        {"sender_device_id": 2},
        {"destination": Destination("carol")},
        {"destination": Destination(None, bytes(32))},
        {"kind": 4, "body": encode_content(Content(1, b"c" * 16, 1, 0, "bob", 1, Destination("alice"), b"x"))},
        {"kind": 3, "body": b"\xc0"},
    ],
    ids=["another sender", "another device", "another recipient", "a group", "a copy of a stranger", "no receipt"],
)
def test_a_content_that_does_not_belong_to_its_envelope_is_refused(
    world: World, alice: Device, bob: Device, changes: dict[str, object]
) -> None:
    forge(bob, **changes)
    wait_for_mail(world, bob, alice)
    world.settle()
    assert alice.texts() == []
    assert [type(event) for event in alice.live if isinstance(event, DeliveryRefused)] == [DeliveryRefused]
    assert alice.engine.report().deliveries["refused"] == 1
    assert alice.engine.report().heals == 0
    assert mail_for(world, alice) == []
    bob.send("alice", "hello")
    world.settle()
    assert alice.texts() == ["hello"]  # the session goes on


def test_a_content_of_a_kind_that_is_not_known_is_one_live_event(world: World, alice: Device, bob: Device) -> None:
    forge(bob, kind=200)
    wait_for_mail(world, bob, alice)
    world.settle()
    assert [event for event in alice.live if isinstance(event, UnknownContent)] == [
        UnknownContent(UserId("bob"), 1, 200)
    ]
    assert alice.texts() == []


def test_a_bug_of_ours_costs_one_message_and_not_the_account(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = receiving._take_message
    attempts = []

    def failing(step: Step, content: Content) -> None:
        if content.body == b"poison":
            attempts.append(content.message_id)
            raise ZeroDivisionError("a secret")
        original(step, content)

    monkeypatch.setattr(receiving, "_take_message", failing)
    for text in ("before", "poison", "after"):
        bob.send("alice", text)
    wait_for_mail(world, bob, alice)
    world.settle()
    assert alice.texts() == ["before", "after"]
    assert len(attempts) == 1 + 3  # in the batch, then three times alone
    (event,) = alice.of(DeliveryQuarantined)
    assert event.cause.startswith("ZeroDivisionError at ")
    assert "secret" not in event.cause
    assert mail_for(world, alice) == []
    with alice.store.begin() as unit:
        assert len(unit.quarantine.all()) == 1
    answer = alice.send("bob", "the connection goes on")
    world.settle()
    assert bob.texts() == ["the connection goes on"]
    assert alice.states(answer)[-1] is DeliveryState.DELIVERED


def test_no_more_mail_is_taken_than_the_inbox_has_room_for(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "INBOX_MAX", 4)
    for number in range(10):
        bob.send("alice", str(number))
    world.settle()
    assert InboxFull() in alice.live
    with alice.store.begin() as unit:
        assert unit.inbox.count() <= 4
    seen: list[str | None] = []
    while events := alice.engine.next_events(1):
        seen += [event.text for event in events if isinstance(event, DirectMessage)]
        alice.take(alice.engine.acknowledge_event(events[0]))
        world.settle()
    assert seen == [str(number) for number in range(10)]
    assert mail_for(world, alice) == []


def test_a_program_that_only_sends_keeps_no_events(world: World, bob: Device) -> None:
    alice = world.device("alice", options=ClientOptions(one_time_prekeys=3, inbox=InboxMode.DISCARD))
    bob.send("alice", "hello")
    alice.send("bob", "status")
    world.settle()
    assert alice.engine.next_events(10) == ()
    assert bob.texts() == ["status"]


def test_an_event_that_was_not_acknowledged_comes_again_and_says_so(world: World, alice: Device, bob: Device) -> None:
    bob.send("alice", "hello")
    world.settle()
    (first,) = alice.engine.next_events(10)
    assert alice.engine.next_events(10, first.number) == ()
    alice.restart()
    (again,) = alice.engine.next_events(10)
    assert again == first
    assert (first.redelivered, again.redelivered) == (0, 1)
    alice.take(alice.engine.acknowledge_event(again))
    assert alice.engine.next_events(10) == ()


@pytest.mark.parametrize(
    ("arrived", "highest", "gaps"),
    [
        ([1, 2, 3], 3, ()),
        ([1, 4], 4, ((2, 3),)),
        ([1, 5, 3], 5, ((2, 2), (4, 4))),
        ([1, 5, 2], 5, ((3, 4),)),
        ([1, 5, 4], 5, ((2, 3),)),
        ([1, 3, 2], 3, ()),
        ([7, 8], 8, ()),
        ([1, 3, 3], 3, ((2, 2),)),
    ],
)
def test_missing_conversation_numbers_are_kept_as_runs(
    arrived: list[int], highest: int, gaps: tuple[tuple[int, int], ...]
) -> None:
    received = Received(0)
    for number in arrived:
        received = take_numbers(received, number, 10.0)
    assert (received.highest, received.gaps) == (highest, gaps)
    assert received.gaps_since == (10.0 if gaps else None)
