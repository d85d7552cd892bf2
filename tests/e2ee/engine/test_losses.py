"""What is given up: told in one event for each device, within every limit; and who is given nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.content import ContentKind, RetryRequest, encode_retry_request
from e2ee.diagnostics import Reason, correlation_of
from e2ee.engine import retries
from e2ee.engine.alone import send_control
from e2ee.events import (
    DeliveryQuarantined,
    DeliveryRefused,
    DirectMessage,
    MessageHealed,
    MessageLost,
    MessagePending,
    MessagesResent,
)
from e2ee.frames import Deliver, Delivery, EnvelopeKind
from e2ee.options import ClientOptions
from e2ee.trust import IdentityPolicy
from store import inbox
from store.limits import PENDING_AGE_S, PENDING_PER_DEVICE_MAX
from tests.support.damage import act_now, forget_session, hold_mail

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from tests.support.engines import Device, World

DAY_S = 24 * 3600.0


def noise(number: int, sender: str = "alice") -> Delivery:
    """An envelope for a session that there is not."""
    return Delivery(1000 + number, sender, 1, number.to_bytes(16, "big"), EnvelopeKind.SIGNAL, bytes(60), 0)


def ask(device: Device, envelope_ids: list[bytes], body: bytes | None = None) -> None:
    """Let a device ask Alice for envelopes."""

    def work(step: Step) -> None:
        session = step.sessions.get("alice", 1)
        assert session is not None
        request = encode_retry_request(RetryRequest(tuple(envelope_ids))) if body is None else body
        send_control(step, ("alice", 1), session, ContentKind.RETRY_REQUEST, request)

    device.take(device.engine._run(work))


def carried(world: World, sender: Device, recipient: Device) -> list[bytes]:
    """The ids of the envelopes from one device to another, as the relay knows them."""
    return [one.envelope_id for who, to, one in world.relay.overheard if (who, to) == (sender.name, recipient.name)]


def waiting(device: Device) -> int:
    return device.engine.report().waiting_to_be_opened


@pytest.mark.parametrize(("count", "lost"), [(PENDING_PER_DEVICE_MAX, 0), (PENDING_PER_DEVICE_MAX + 3, 3)])
def test_a_device_has_200_envelopes_waiting_and_loses_its_oldest_beyond_them(
    world: World, alice: Device, bob: Device, *, count: int, lost: int
) -> None:
    alice.lose_connection()
    bob.push(Deliver((noise(0, "carol"),)))
    for start in range(0, count, 50):
        bob.push(Deliver(tuple(noise(number) for number in range(start, min(start + 50, count)))))
    assert waiting(bob) == 1 + PENDING_PER_DEVICE_MAX
    events = bob.of(MessageLost)
    assert sum(event.count for event in events) == lost
    assert {event.why for event in events} <= {Reason.CROWDED_OUT}
    act_now(world)
    with bob.store.begin() as unit:
        assert {one.requests for one in unit.pending.from_device("alice", 1)} == {1}  # all in one request


def test_what_waited_for_14_days_is_lost_in_one_event_for_each_device(world: World, alice: Device, bob: Device) -> None:
    alice.lose_connection()
    bob.push(Deliver((noise(1), noise(2), noise(3, "carol"))))
    act_now(world)
    bob.lose_connection()
    world.clock.now += PENDING_AGE_S + 1
    bob.connect()
    act_now(world)
    assert sorted((event.sender, event.count, event.why) for event in bob.of(MessageLost)) == [
        ("alice", 2, Reason.EXPIRED),
        ("carol", 1, Reason.EXPIRED),
    ]
    assert waiting(bob) == 0


def test_nothing_is_given_up_while_nobody_could_be_told(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.send("bob", "unread")
    world.settle()
    alice.lose_connection()
    bob.push(Deliver((noise(1, "carol"),)))
    with bob.store.begin() as unit:
        monkeypatch.setattr(inbox, "INBOX_MAX", unit.inbox.count())
    bob.lose_connection()
    world.clock.now += PENDING_AGE_S + 1
    bob.connect()
    act_now(world)
    assert waiting(bob) == 1
    assert bob.texts() == ["unread"]
    world.clock.now += DAY_S
    act_now(world)
    assert [event.why for event in bob.of(MessageLost)] == [Reason.EXPIRED]


def test_a_bug_in_answering_costs_the_request_and_not_the_account(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.send("bob", "hello")
    world.settle()
    bob.send("alice", "hello")
    world.settle()
    original = retries._send_again

    def failing(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(retries, "_send_again", failing)
    forget_session(bob.store, "alice")
    alice.send("bob", "does this arrive?")
    world.settle()
    (event,) = alice.of(DeliveryQuarantined)
    assert event.cause.startswith("ZeroDivisionError")
    assert alice.engine.report().deliveries["quarantined"] == 1
    monkeypatch.setattr(retries, "_send_again", original)
    world.clock.now += 61
    alice.send("bob", "the account goes on")
    world.settle()
    assert bob.texts()[1:] == ["does this arrive?", "the account goes on"]


def test_a_retry_request_out_of_its_form_is_refused_and_answered_by_nothing(
    world: World, alice: Device, bob: Device
) -> None:
    bob.send("alice", "hello")
    world.settle()
    before = len(carried(world, alice, bob))
    ask(bob, [], body=b"\xc0")
    world.settle()
    (refused,) = [event for event in alice.live if isinstance(event, DeliveryRefused)]
    assert refused.why is Reason.CONTENT_MISMATCH
    assert len(carried(world, alice, bob)) == before


def replaced(world: World, old: Device) -> Device:
    """The user starts afresh under another identity, and the relay lets it."""
    old.lose_connection()
    world.every.remove(old)
    old.engine.close()
    world.relay.forget_user(old.name[0])
    return world.device(old.name[0])


def test_a_changed_identity_has_nothing_again_before_it_is_trusted_by_name(
    world: World, alice: Device, bob: Device
) -> None:
    message_id = alice.send("bob", "to the old one")
    world.settle()
    ids = carried(world, alice, bob)[:1]
    bob = replaced(world, bob)
    bob.send("alice", "it is me")
    world.settle()
    ask(bob, ids)
    world.settle()
    assert bob.texts() == []
    alice.trust("bob", bob.key, verification="safety number")
    world.settle()
    assert bob.texts() == ["to the old one"]
    assert [event.messages for event in alice.live if isinstance(event, MessagesResent)] == [(message_id,)]


def test_an_identity_that_a_policy_took_by_itself_has_nothing_that_went_to_the_one_before(
    world: World, bob: Device
) -> None:
    always = ClientOptions(one_time_prekeys=3, identities=IdentityPolicy.ALWAYS)
    alice = world.device("alice", options=always)
    alice.send("bob", "to the old one")
    world.settle()
    ids = carried(world, alice, bob)[:1]
    bob = replaced(world, bob)
    bob.send("alice", "it is me")
    world.settle()
    ask(bob, ids)
    world.settle()
    assert alice.texts() == ["it is me"]
    assert bob.texts() == []
    assert Reason.SENT_TO_ANOTHER_IDENTITY.value in alice.engine.report().reasons


def test_a_new_device_of_the_same_identity_may_have_what_the_user_was_sent(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "for all your devices")
    world.settle()
    with bob.store.begin() as unit:
        identity = unit.account.require().identity
    second = world.device("bob", 2, identity=identity)
    second.send("alice", "I am new here")
    world.settle()
    ask(second, carried(world, alice, bob)[:1])
    world.settle()
    assert second.texts() == ["for all your devices"]
    assert bob.texts() == ["for all your devices"]
    assert [one.recipient_device for one in alice.live if isinstance(one, MessagesResent)] == [2]


def test_a_heal_with_a_user_of_several_devices_is_for_one_of_them(world: World, alice: Device, bob: Device) -> None:
    with bob.store.begin() as unit:
        identity = unit.account.require().identity
    second = world.device("bob", 2, identity=identity)
    bob.send("alice", "one")
    second.send("alice", "two")
    world.settle()
    forget_session(alice.store, "bob", 2)
    second.send("alice", "three")
    world.settle()
    assert sorted(map(str, alice.texts())) == ["one", "three", "two"]
    assert [(one.sender_device, one.late) for one in alice.of(DirectMessage)][-1] == (2, False)
    assert len(alice.of(MessageHealed)) == 1
    assert world.keys_used_twice() == []


@pytest.mark.usefixtures("alice")
def test_what_waits_for_a_sender_key_is_no_broken_session(world: World, bob: Device) -> None:
    with bob.store.begin() as unit:
        unit.pending.add("alice", 1, bytes(16), 7, b"g", reason=Reason.NO_SENDER_KEY.value, waits_for=b"chain")
    bob.restart()
    bob.connect()
    world.settle()
    assert bob.engine.report().heals == 0


def test_an_envelope_that_was_answered_for_is_a_duplicate_from_then_on(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "hello")
    world.settle()
    forget_session(bob.store, "alice")
    alice.send("bob", "lost and found")
    hold_mail(world, alice)
    mail = list(world.relay.boxes["bob", 1].mail)
    world.settle()
    assert bob.texts() == ["hello", "lost and found"]
    parked = len([event for event in bob.live if isinstance(event, MessagePending)])
    bob.push(Deliver(tuple(mail)))
    world.settle()
    assert len([event for event in bob.live if isinstance(event, MessagePending)]) == parked
    assert len(bob.of(MessageHealed)) == 1


def test_a_repetition_under_another_id_is_a_duplicate_that_the_report_shows(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "once")
    hold_mail(world, alice)
    (mail,) = world.relay.boxes["bob", 1].mail
    world.settle()
    bob.push(Deliver((mail,)))
    assert Reason.KEY_USED.value not in bob.engine.report().reasons  # the same envelope: nothing to report
    bob.push(Deliver((mail._replace(envelope_id=b"another id......"),)))
    report = bob.engine.report()
    assert (report.deliveries["duplicate"], report.reasons[Reason.KEY_USED.value]) == (2, 1)
    assert report.troubles[-1].correlation == correlation_of(b"another id......")
    assert bob.texts() == ["once"]
