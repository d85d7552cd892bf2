"""A relay that has lost entries of a group's log gets them back from those who signed them. It is the real core."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.diagnostics import Reason
from e2ee.engine.waits import WAIT_MAX_S
from e2ee.events import DeliveryState, GroupForked, GroupMessage, MessageState
from e2ee.frames import AppendEntry, GetGroupDevices, GroupDevices
from e2ee.groups import GroupKind, Operation
from tests.support.core_office import CoreOffice, restore
from tests.support.group_talk import Member

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engines import Clock, Device, World


@pytest.fixture
def make_relay(tmp_path: Path) -> Callable[[Clock], CoreOffice]:
    return lambda clock: CoreOffice(tmp_path / "relay.db", clock)


def settle(world: World, times: int = 4) -> None:
    """Let lanes that wait go on, too."""
    for _ in range(times):
        world.settle()
        world.clock.now += WAIT_MAX_S
    world.settle()


def send(device: Device, text: str) -> None:
    device.take(device.engine.send_group("team", text)[1])


def texts(device: Device) -> list[str | None]:
    return [event.text for event in device.of(GroupMessage)]


def reasons(device: Device) -> list[str]:
    return [event.reason for event in device.of(MessageState) if event.state is DeliveryState.HELD]


def invited(alice: Device, bob: Device) -> None:
    """A group by invitation with two members: three entries, of both."""
    Member(alice).create(kind=GroupKind.INVITATION)
    Member(alice).act(Operation.INVITE, "bob")
    Member(bob).join(Member(bob).groups()[0].id)


@pytest.mark.parametrize("everything", [False, True])
def test_members_put_the_log_back_that_the_relay_has_lost_and_go_on(
    world: World, office: CoreOffice, alice: Device, bob: Device, *, everything: bool
) -> None:
    backup = office.back_up()
    invited(alice, bob)
    Member(alice).act(Operation.PROMOTE, "bob")
    send(alice, "before")
    world.settle()
    fingerprint = Member(alice).group().fingerprint
    restore(office, None if everything else backup, alice, bob)
    settle(world)
    send(alice, "after")
    settle(world)
    assert texts(bob) == ["before", "after"]
    assert Member(alice).group().fingerprint == Member(bob).group(Member(alice).group().id).fingerprint == fingerprint
    assert alice.of(GroupForked) == bob.of(GroupForked) == []
    carol = world.device("carol")
    Member(alice).act(Operation.INVITE, "carol")
    Member(carol).join(Member(carol).groups()[0].id)
    assert len(Member(carol).groups()[0].members) == 3


def test_while_its_author_is_away_messages_are_held_with_the_reason_and_everybody_reads_on(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    Member(alice).create(kind=GroupKind.INVITATION)
    Member(alice).act(Operation.INVITE, "bob")
    backup = office.back_up()
    Member(bob).join(Member(bob).groups()[0].id)
    send(alice, "before")
    world.settle()
    bob.lose_connection()
    restore(office, backup, alice)
    send(alice, "held")
    settle(world)
    assert reasons(alice)[-1] == Reason.RELAY_LOG_BEHIND.value
    assert Reason.RELAY_LOG_BEHIND.recoverable
    bob.connect()
    settle(world)
    assert texts(bob) == ["before", "held"]


def test_an_entry_of_who_has_left_stays_missing_and_the_reason_says_what_to_do(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    invited(alice, bob)
    send(alice, "for both")
    world.settle()
    backup = office.back_up()
    Member(bob).act(Operation.LEAVE)
    world.settle()
    restore(office, backup, alice, bob)
    settle(world)
    send(alice, "not for who has left")
    settle(world)
    assert reasons(alice)[-1] == Reason.RELAY_LOG_BEHIND.value
    assert "make another group" in Reason.RELAY_LOG_BEHIND.what_to_do
    assert texts(bob) == ["for both"]
    Member(alice).create("team 2", kind=GroupKind.OPEN)
    Member(bob).join("team 2")
    alice.take(alice.engine.send_group("team 2", "in another group")[1])
    settle(world)
    assert texts(bob) == ["for both", "in another group"]


def test_who_was_removed_before_the_loss_gets_nothing_after_it(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    carol = world.device("carol")
    Member(alice).create(kind=GroupKind.INVITATION)
    for device in (bob, carol):
        Member(alice).act(Operation.INVITE, device.name[0])
        Member(device).join(Member(device).groups()[0].id)
    send(alice, "for three")
    world.settle()
    backup = office.back_up()
    Member(alice).act(Operation.REMOVE, "carol")
    world.settle()
    restore(office, backup, alice, bob, carol)
    settle(world)
    send(alice, "for two")
    settle(world)
    assert texts(bob) == ["for three", "for two"]
    assert texts(carol) == ["for three"]


def test_a_relay_that_always_says_it_is_behind_is_asked_at_longer_and_longer_intervals(
    world: World, alice: Device, bob: Device
) -> None:
    invited(alice, bob)
    send(alice, "held")
    asked = appended = 0
    end = world.clock.now + 3600
    while world.clock.now < end:
        while alice.outgoing:
            frame = alice.outgoing.popleft()
            reply = world.relay.handle(alice.name, frame)
            asked += isinstance(frame, GetGroupDevices)
            appended += isinstance(frame, AppendEntry)
            if isinstance(reply, GroupDevices):
                reply = replace(reply, log_number=0)
            if reply is not None:
                alice.take(alice.engine.reply(frame, reply))
        world.clock.now = min(end, max(world.clock.now + 1, alice.wake_at or end))
        alice.tick()
    assert asked < 30
    assert appended <= 2 * asked
    assert reasons(alice) == [Reason.RELAY_LOG_BEHIND.value]
    assert texts(bob) == []
