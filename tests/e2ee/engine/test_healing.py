"""Sessions that no longer open what comes heal by themselves: once, rate-limited, and without the application."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from e2ee.content import ContentKind, RetryRequest, encode_retry_request
from e2ee.diagnostics import Reason, correlation_of
from e2ee.engine.alone import send_control
from e2ee.events import (
    DeliveryState,
    DirectMessage,
    HealingPaused,
    MessageHealed,
    MessageLost,
    MessagePending,
    MessagesResent,
)
from e2ee.frames import Deliver, Delivery, EnvelopeKind
from e2ee.recovery import HEAL_DELAY_MIN_S, HEALS_PER_HOUR_MAX, RESENDS_MAX, STRANGER_HEALS_PER_HOUR_MAX
from tests.support.damage import (
    act_now,
    copy_session,
    forged,
    forget_session,
    heals,
    hold_mail,
    put_back,
    signal_only,
    talked,
)
from tests.support.engines import World

if TYPE_CHECKING:
    from pathlib import Path

    from e2ee.engine.step import Step
    from tests.support.engines import Device


def live(device: Device, kind: type) -> list[object]:
    return [event for event in device.live if isinstance(event, kind)]


def test_a_message_for_a_lost_session_is_asked_for_and_told_once(world: World, alice: Device, bob: Device) -> None:
    talked(world, alice, bob)
    forget_session(bob.store, "alice")
    message_id = alice.send("bob", "are you there?")
    world.settle()
    assert bob.texts() == ["are you there?"]
    (pending,) = live(bob, MessagePending)
    assert isinstance(pending, MessagePending)
    assert pending.why is Reason.NO_SESSION
    (healed,) = bob.of(MessageHealed)
    assert (healed.sender, healed.message_id) == ("alice", message_id)
    assert healed.correlations == (pending.correlation,)
    assert live(alice, MessagesResent) == [MessagesResent("bob", 1, (message_id,), 0)]  # type: ignore[arg-type]
    assert alice.states(message_id) == [DeliveryState.SENT, DeliveryState.DELIVERED]
    assert (heals(bob), heals(alice)) == (1, 0)
    with bob.store.begin() as unit:
        assert unit.pending.count() == 0


def test_an_old_copy_of_a_session_heals_and_everything_arrives_in_order(
    world: World, alice: Device, bob: Device
) -> None:
    talked(world, alice, bob)
    old = copy_session(bob.store, "alice")
    for number in range(3):
        bob.send("alice", f"question {number}")
        world.settle()
        alice.send("bob", f"answer {number}")
        world.settle()
    put_back(bob.store, "alice", old)
    for number in range(3, 6):
        alice.send("bob", f"answer {number}")
    world.settle()
    assert bob.texts() == [f"answer {number}" for number in range(6)]
    assert not any(message.late for message in bob.of(DirectMessage))
    assert len(bob.of(MessageHealed)) == 3
    assert heals(bob) == 1
    bob.send("alice", "and back")
    world.settle()
    assert alice.texts()[-1] == "and back"
    assert heals(alice) == 0


def test_a_healed_message_that_comes_behind_a_later_one_says_so(world: World, alice: Device, bob: Device) -> None:
    talked(world, alice, bob)
    alice.send("bob", "first")
    hold_mail(world, alice)
    (mail,) = world.relay.boxes["bob", 1].mail
    damaged = mail._replace(body=mail.body[:-1] + bytes([mail.body[-1] ^ 1]))
    world.relay.boxes["bob", 1].mail = [damaged]
    alice.send("bob", "second")
    world.settle()
    assert [(one.text, one.late) for one in bob.of(DirectMessage)] == [("second", False), ("first", True)]


def test_both_sides_heal_at_once_and_converge(world: World, alice: Device, bob: Device) -> None:
    talked(world, alice, bob)
    forget_session(alice.store, "bob")
    forget_session(bob.store, "alice")
    with alice.store.begin() as unit:
        unit.devices.delete("bob", 1)
    alice.send("bob", "from alice")
    bob.send("alice", "from bob")
    world.settle()
    assert (alice.texts(), bob.texts()) == (["from bob"], ["from alice"])
    for number in range(3):
        alice.send("bob", f"a{number}")
        bob.send("alice", f"b{number}")
        world.settle()
    assert alice.texts()[1:] == ["b0", "b1", "b2"]
    assert bob.texts()[1:] == ["a0", "a1", "a2"]
    assert world.keys_used_twice() == []


@pytest.mark.parametrize("seed", range(4))
def test_old_copies_on_both_sides_converge_in_every_order(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed)
    alice, bob = world.device("alice"), world.device("bob")
    talked(world, alice, bob)
    olds = copy_session(alice.store, "bob"), copy_session(bob.store, "alice")
    for number in range(2):
        alice.send("bob", f"before a{number}")
        world.settle()
        bob.send("alice", f"before b{number}")
        world.settle()
    put_back(alice.store, "bob", olds[0])
    put_back(bob.store, "alice", olds[1])
    dice = random.Random(seed)
    for number in range(6):
        one, other = (alice, "bob") if dice.random() < 0.5 else (bob, "alice")
        one.send(other, f"{one.name[0]} {number}")
        if dice.random() < 0.5:
            world.settle()
    world.settle()
    world.clock.now += 2 * HEAL_DELAY_MIN_S
    for device in (alice, bob):
        device.tick()
        device.send("bob" if device is alice else "alice", "at last")
    world.settle()
    assert alice.texts()[-1] == bob.texts()[-1] == "at last"
    assert alice.texts().count("at last") == bob.texts().count("at last") == 1
    assert [device.engine.report().waiting_to_be_opened for device in (alice, bob)] == [0, 0]
    world.close()


def test_what_was_parked_before_a_restart_is_asked_for_after_it(world: World, alice: Device, bob: Device) -> None:
    talked(world, alice, bob)
    forget_session(bob.store, "alice")
    alice.send("bob", "are you there?")
    hold_mail(world, alice)
    bob.take_push()
    bob.restart()
    world.settle()
    assert bob.texts() == []
    bob.connect()
    world.settle()
    assert bob.texts() == ["are you there?"]


def test_noise_in_a_peer_s_name_costs_one_heal_a_minute_and_ends_as_lost(
    world: World, alice: Device, bob: Device
) -> None:
    signal_only(world, alice, bob)
    for number in range(50):
        bob.push(Deliver((forged(alice, bob, number),)))
    world.settle()
    assert heals(bob) == 1
    lost = bob.of(MessageLost)
    assert sum(event.count for event in lost) == 50
    assert {event.why for event in lost} == {Reason.NOT_KNOWN}
    assert correlation_of((0).to_bytes(16, "big")) in lost[0].correlations
    alice.send("bob", "unharmed")
    world.settle()
    assert bob.texts() == ["unharmed"]


def test_a_peer_that_never_heals_is_cut_off_with_one_event_and_doubling_pauses(
    world: World, alice: Device, bob: Device
) -> None:
    signal_only(world, alice, bob)
    alice.lose_connection()
    started = world.clock.now
    asked_at: list[float] = []
    for number in range(100):
        bob.push(Deliver((forged(alice, bob, number),)))
        act_now(world)
        if heals(bob) > len(asked_at):
            asked_at.append(world.clock.now - started)
        world.clock.now += 20
    assert asked_at[:5] == [0, 60, 180, 420, 900]
    paused = live(bob, HealingPaused)
    assert len(paused) == len(asked_at) - 1  # one for each pause that follows a heal in vain, none for each message
    assert heals(bob) == len(asked_at)


def test_the_pause_is_a_minute_again_once_a_message_opens_on_the_new_ratchet(
    world: World, alice: Device, bob: Device
) -> None:
    signal_only(world, alice, bob)
    alice.lose_connection()
    for number in range(3):
        bob.push(Deliver((forged(alice, bob, number),)))
        world.settle()
        world.clock.now += 2**number * 60
    with bob.store.begin() as unit:
        assert unit.heals.load("alice", 1).delay_s == 240
    alice.connect()
    world.settle()
    with bob.store.begin() as unit:
        assert unit.heals.load("alice", 1).delay_s == 0
        assert unit.heals.load("alice", 1).next_allowed_at <= world.clock.now + 60


def test_an_account_heals_sixty_times_an_hour_and_not_once_more(world: World, alice: Device, bob: Device) -> None:
    signal_only(world, alice, bob)
    with bob.store.begin() as unit:
        for _ in range(HEALS_PER_HOUR_MAX - 1):
            unit.heals.log(stranger=False)
    bob.push(Deliver((forged(alice, bob, 1),)))
    world.settle()
    assert heals(bob) == 1
    world.clock.now += 61
    bob.push(Deliver((forged(alice, bob, 2),)))
    act_now(world)
    assert heals(bob) == 1
    assert len(live(bob, HealingPaused)) == 1
    world.clock.now += 3600
    world.settle()
    assert heals(bob) == 2


def test_strangers_are_healed_five_times_an_hour_in_all(world: World, bob: Device) -> None:
    for number in range(STRANGER_HEALS_PER_HOUR_MAX + 1):
        stranger = world.device(f"stranger-{number}")
        stranger.send("bob", "hello")
        hold_mail(world, stranger)
        (mail,) = world.relay.boxes["bob", 1].mail
        world.relay.boxes["bob", 1].mail = []
        session = copy_session(stranger.store, "bob")
        assert session.awaiting_answer
        noise = Delivery(mail.number, *stranger.name, bytes([number]) * 16, EnvelopeKind.SIGNAL, bytes(60), 0)
        bob.push(Deliver((noise,)))
        world.settle()
    assert heals(bob) == STRANGER_HEALS_PER_HOUR_MAX
    assert len(live(bob, HealingPaused)) == 1


def test_a_bundle_under_another_identity_key_heals_nothing(world: World, alice: Device, bob: Device) -> None:
    signal_only(world, alice, bob)
    world.relay.identities["alice"] = world.relay.identities["bob"]
    bob.push(Deliver((forged(alice, bob, 1),)))
    act_now(world)
    assert heals(bob) == 0
    with bob.store.begin() as unit:
        assert unit.pending.count() == 1
        assert unit.heals.load("alice", 1).delay_s == HEAL_DELAY_MIN_S


def test_a_message_is_sent_again_three_times_to_a_device_and_is_then_gone(
    world: World, alice: Device, bob: Device
) -> None:
    talked(world, alice, bob)
    message_id = alice.send("bob", "slippery")
    hold_mail(world, alice)
    box = world.relay.boxes["bob", 1]
    for _ in range(RESENDS_MAX + 1):
        box.mail = [one._replace(body=one.body[:-1] + bytes([one.body[-1] ^ 1])) for one in box.mail]
        while bob.possible() or (bob.wake_at is not None and bob.wake_at <= world.clock.now + 3600):
            world.clock.now = max(world.clock.now, bob.wake_at or 0.0)
            for step in bob.possible():
                step()
            hold_mail(world, bob)
            if world.relay.boxes["alice", 1].mail:
                break
        alice.take_push()
        hold_mail(world, alice)
    world.settle()
    assert bob.texts() == []
    assert [(event.why, event.count) for event in bob.of(MessageLost)] == [(Reason.ASKED_TOO_OFTEN, RESENDS_MAX + 1)]
    assert message_id


def test_what_the_sender_keeps_no_more_is_gone_and_never_an_empty_message(
    world: World, alice: Device, bob: Device
) -> None:
    talked(world, alice, bob)
    forget_session(bob.store, "alice")
    message_id = alice.send("bob", "forgotten")
    hold_mail(world, alice)
    with alice.store.begin() as unit:
        assert unit.outgoing.take_out(bytes.fromhex(message_id)) is not None
    world.settle()
    assert bob.texts() == []
    (lost,) = bob.of(MessageLost)
    assert (lost.sender, lost.why, lost.count) == ("alice", Reason.NOT_KEPT, 1)
    assert live(alice, MessagesResent) == [MessagesResent("bob", 1, (), 1)]  # type: ignore[arg-type]


def test_a_receipt_that_does_not_open_is_due_again_and_nothing_is_lost(
    world: World, alice: Device, bob: Device
) -> None:
    talked(world, alice, bob)
    message_id = alice.send("bob", "was it read?")
    hold_mail(world, alice)
    bob.take_push()
    hold_mail(world, bob)
    forget_session(alice.store, "bob")
    world.settle()
    assert bob.texts() == ["was it read?"]
    assert alice.of(MessageLost) == []
    assert alice.states(message_id)[-1] is DeliveryState.DELIVERED
    with alice.store.begin() as unit:
        assert unit.pending.count() == 0


def ask(step: Step, body: bytes) -> None:
    session = step.sessions.get("alice", 1)
    assert session is not None
    send_control(step, ("alice", 1), session, ContentKind.RETRY_REQUEST, body)


def test_a_message_goes_again_to_nobody_but_its_recipient(world: World, alice: Device, bob: Device) -> None:
    talked(world, alice, bob)
    eve = world.device("eve")
    eve.send("alice", "let us talk")
    world.settle()
    alice.send("bob", "a secret")
    world.settle()
    stolen = [one.envelope_id for sender, to, one in world.relay.overheard if to == bob.name and sender == alice.name]
    body = encode_retry_request(RetryRequest(tuple(stolen)))
    eve.take(eve.engine._run(lambda step: ask(step, body)))
    world.settle()
    assert live(alice, MessagesResent) == [MessagesResent("eve", 1, (), len(stolen))]  # type: ignore[arg-type]
    assert eve.texts() == []


def test_each_device_of_a_user_that_is_not_known_any_more_is_asked_for_its_own(
    world: World, alice: Device, bob: Device
) -> None:
    second = world.device("bob", 2, identity=bob.do(lambda step: step.account.identity))
    backup = alice.back_up()
    talked(world, alice, bob)
    second.send("alice", "of the second")
    world.settle()
    alice.send("bob", "to both")
    world.settle()
    alice.put_back(backup)
    for number in range(2):
        bob.send("alice", f"first {number}")
        second.send("alice", f"second {number}")
    world.settle()
    alice.connect()
    world.settle()
    wanted = {f"{which} {number}" for which in ("first", "second") for number in range(2)}
    assert wanted <= set(alice.texts())
    assert alice.engine.report().waiting_to_be_opened == 0
