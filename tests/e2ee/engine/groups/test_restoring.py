"""A relay that has lost entries of a group's log gets them back from whoever knows the log. It is the real core."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.diagnostics import Reason
from e2ee.events import GroupForked
from e2ee.frames import GroupDevices
from e2ee.groups import GroupKind, Operation
from tests.support.core_office import CoreOffice, restore
from tests.support.group_talk import Member
from tests.support.lost_logs import hour_with, reasons, send, settle, texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engines import Clock, Device, World


@pytest.fixture
def make_relay(tmp_path: Path) -> Callable[[Clock], CoreOffice]:
    return lambda clock: CoreOffice(tmp_path / "relay.db", clock)


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
    asked, appended = hour_with(
        world,
        alice,
        lambda _frame, reply: replace(reply, log_number=0) if isinstance(reply, GroupDevices) else reply,
    )
    assert asked < 30
    assert appended <= 2 * asked
    assert reasons(alice) == [Reason.RELAY_LOG_BEHIND.value]
    assert texts(bob) == []
