"""What a relay had confirmed and has lost goes again, within limits (R4.23). The relay is the real core."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.engine import relay_loss
from e2ee.engine.waits import WAIT_MAX_S
from e2ee.events import DeliveryState, GroupMessage, MessageState, RelayRolledBack
from e2ee.groups import GroupKind
from e2ee.options import ClientOptions
from e2ee.trust import IdentityPolicy
from tests.support.core_office import CoreOffice, restore
from tests.support.group_talk import Member
from tests.support.rolling_back import numbers, talk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engines import Clock, Device, World

DAY_S = 24 * 3600.0
SILENT = ClientOptions(one_time_prekeys=3, receipts=False)  # whose peers never learn what has arrived


@pytest.fixture
def make_relay(tmp_path: Path) -> Callable[[Clock], CoreOffice]:
    return lambda clock: CoreOffice(tmp_path / "relay.db", clock)


def losses(device: Device) -> list[RelayRolledBack]:
    return [event for event in device.live if isinstance(event, RelayRolledBack)]


def lie(device: Device, submission_number: int) -> None:
    """Connect to a relay that tells a lower submission number than it has; let nothing come of it but that."""
    device.lose_connection()
    relay = device.world.relay
    challenge = relay.challenge()
    _, welcome = relay.login(device.engine.login(challenge), challenge)
    device.connected = True
    device.take(device.engine.connected(replace(welcome, submission_number=submission_number)))


def test_what_was_confirmed_and_lost_is_sent_again_once_and_the_application_is_told_how_much(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    bob.lose_connection()
    backup = office.back_up()
    sent = [alice.send("bob", f"lost {number}") for number in range(3)]
    world.settle()
    assert [alice.states(one) for one in sent] == [[DeliveryState.SENT]] * 3
    restore(office, backup, alice, bob)
    world.settle()
    assert losses(alice) == [RelayRolledBack(3, 0)]
    assert bob.texts()[1:] == ["lost 0", "lost 1", "lost 2"]
    assert [alice.states(one)[-1] for one in sent] == [DeliveryState.DELIVERED] * 3
    assert world.keys_used_twice() == []
    alice.lose_connection()
    alice.connect()
    world.settle()
    assert len(losses(alice)) == 1


def test_what_its_receiver_has_already_is_told_once_and_confirmed_again(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    backup = office.back_up()
    alice.lose_connection()
    alice.connect()
    message_id = alice.send("bob", "taken")
    while bob.texts() != [*bob.texts()[:1], "taken"]:
        (alice.possible() + bob.possible())[0]()
    assert DeliveryState.DELIVERED not in alice.states(message_id)  # the receipt is lost with the relay
    restore(office, backup, alice, bob)
    world.settle()
    assert losses(alice) == [RelayRolledBack(1, 0)]
    assert bob.texts()[1:] == ["taken"]
    assert alice.states(message_id)[-1] is DeliveryState.DELIVERED


def test_a_relay_that_lost_everything_gets_what_was_not_delivered_whoever_comes_first(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    bob.lose_connection()
    alice.send("bob", "before the loss")
    world.settle()
    restore(office, None, alice)
    world.settle()  # bob is nobody there
    bob.connect()
    world.settle()
    world.clock.now += WAIT_MAX_S  # alice asks for bob from time to time
    world.settle()
    assert bob.texts()[1:] == ["before the loss"]
    assert world.keys_used_twice() == []


def test_a_store_that_is_opened_after_the_loss_still_knows_what_was_confirmed(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    bob.lose_connection()
    backup = office.back_up()
    alice.send("bob", "lost")
    world.settle()
    alice.restart()
    restore(office, backup, alice, bob)
    world.settle()
    assert bob.texts()[1:] == ["lost"]


def test_a_lost_acknowledgement_or_an_unanswered_submission_is_no_loss_of_the_relay(
    world: World, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice), (alice, bob))
    alice.send("bob", "unanswered")
    alice.lose_connection()  # it never left
    bob.lose_connection()
    for device in (alice, bob):
        device.connect()
    world.settle()
    assert losses(alice) == losses(bob) == []
    assert bob.texts()[-1] == "unanswered"


def test_an_upload_that_the_relay_confirmed_is_enough_to_notice_a_loss(
    world: World, office: CoreOffice, alice: Device
) -> None:
    backup = office.back_up()
    alice.rotate_prekeys()
    world.settle()
    restore(office, backup, alice)
    world.settle()
    assert losses(alice) == [RelayRolledBack(0, 0)]
    assert numbers(alice)["upload_number"] == 3


def test_messages_to_a_group_go_again_to_those_who_were_in_it(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    Member(alice).create()
    Member(bob).join()
    alice.take(alice.engine.send_group("team", "first")[1])
    world.settle()
    bob.lose_connection()
    backup = office.back_up()
    alice.take(alice.engine.send_group("team", "lost")[1])
    world.settle()
    restore(office, backup, alice, bob)
    world.settle()
    assert losses(alice) == [RelayRolledBack(1, 0)]
    assert [event.text for event in bob.of(GroupMessage)] == ["first", "lost"]
    assert world.keys_used_twice() == []


def test_a_newcomer_does_not_read_a_groups_lost_message(world: World, alice: Device, bob: Device) -> None:
    Member(alice).create(kind=GroupKind.OPEN)
    Member(bob).join()
    bob.lose_connection()
    alice.take(alice.engine.send_group("team", "before carol")[1])
    world.settle()
    carol = world.device("carol")
    Member(carol).join()
    lie(alice, 0)
    world.settle()
    assert losses(alice) == [RelayRolledBack(0, 1)]
    assert carol.of(GroupMessage) == []
    bob.connect()
    world.settle()
    assert [event.text for event in bob.of(GroupMessage)] == ["before carol"]


def test_a_newcomer_who_comes_while_a_lost_message_is_under_way_does_not_read_it(
    world: World, alice: Device, bob: Device
) -> None:
    Member(alice).create(kind=GroupKind.OPEN)
    Member(bob).join()
    bob.lose_connection()
    alice.take(alice.engine.send_group("team", "before carol")[1])
    world.settle()
    carol = world.device("carol")
    lie(alice, 0)
    assert losses(alice) == [RelayRolledBack(1, 0)]
    Member(carol).join()
    assert carol.of(GroupMessage) == []


def test_a_relay_that_lies_again_and_again_gets_each_message_three_times_more_and_then_no_more(
    world: World, alice: Device
) -> None:
    bob = world.device("bob", options=SILENT)
    message_id = alice.send("bob", "the first")
    for _ in range(8):
        talk(world, (alice, bob))  # something is confirmed each time, or there was nothing to lie about
        lie(alice, 0)
        world.settle()
        world.clock.now += relay_loss.LOSS_INTERVAL_S
    assert [(event.sent_again, event.left) for event in losses(alice)] == [
        *((2, 0), (3, 0), (4, 0)),
        *((3, 2), (3, 3), (3, 4), (3, 5), (3, 6)),
    ]
    assert alice.states(message_id) == [DeliveryState.SENT] * 4
    assert len(bob.texts()) == 9
    assert world.keys_used_twice() == []


def test_a_relay_that_lies_on_every_connection_is_believed_three_times_and_then_once_in_eight_hours(
    world: World, alice: Device
) -> None:
    bob = world.device("bob", options=SILENT)
    told: list[int] = []
    for _ in range(6):
        talk(world, (alice, bob))  # something new each time, so that there is something to be sent again
        lie(alice, 0)
        world.settle()
        told.append(losses(alice)[-1].sent_again)
    assert [bool(one) for one in told] == [True] * 3 + [False] * 3
    world.clock.now += relay_loss.LOSS_INTERVAL_S
    talk(world, (alice, bob))
    lie(alice, 0)
    world.settle()
    assert losses(alice)[-1].sent_again > 0
    assert len(bob.texts()) == 7


def test_no_more_than_the_newest_go_again(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_loss, "SENT_AGAIN_MAX", 2)
    talk(world, (alice, bob), (bob, alice))
    bob.lose_connection()
    sent = [alice.send("bob", f"{number}") for number in range(3)]
    world.settle()
    lie(alice, 0)
    world.settle()
    assert losses(alice) == [RelayRolledBack(2, 1)]
    assert [len(alice.states(one)) for one in sent] == [1, 2, 2]


def test_what_is_older_than_30_days_does_not_go_again(world: World, alice: Device, bob: Device) -> None:
    talk(world, (alice, bob), (bob, alice))
    bob.lose_connection()
    alice.send("bob", "old")
    world.settle()
    alice.lose_connection()
    world.clock.now += 30 * DAY_S + 1
    lie(alice, 0)
    assert losses(alice) == [RelayRolledBack(0, 1)]


def test_a_lie_about_a_loss_does_not_bring_mail_of_before_under_a_new_identity(
    world: World, office: CoreOffice
) -> None:
    options = ClientOptions(one_time_prekeys=3, identities=IdentityPolicy.ALWAYS)
    alice = world.device("alice", options=options)
    bob = world.device("bob", options=SILENT)
    talk(world, (alice, bob))
    bob.lose_connection()
    with office.store.begin() as unit:
        unit.users.remove("bob")
    other = world.device("bob", options=SILENT)  # the relay gives the name to somebody else
    other.send("alice", "a new key")
    world.settle()
    assert alice.texts() == ["a new key"]
    lie(alice, 0)
    world.settle()
    assert losses(alice)[-1].sent_again == 1
    assert other.texts() == []
    alice.send("bob", "for whoever it is")
    world.settle()
    assert other.texts() == ["for whoever it is"]


def test_sent_is_told_again_for_what_was_stored_again(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    bob.lose_connection()
    backup = office.back_up()
    message_id = alice.send("bob", "lost")
    world.settle()
    restore(office, backup, alice)
    world.settle()
    assert [event.state for event in alice.of(MessageState) if event.message_id == message_id] == [
        DeliveryState.SENT,
        DeliveryState.SENT,
    ]
