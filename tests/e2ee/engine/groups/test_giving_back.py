"""Which entries a member gives back to a relay that has lost them, where it begins, and what bounds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.diagnostics import Reason
from e2ee.errors import GroupRefused
from e2ee.events import GroupForked
from e2ee.frames import AppendEntry
from e2ee.groups import GroupKind, Membership, Operation, take_entry
from tests.support.core_office import CoreOffice, restore
from tests.support.group_talk import Member, entry_after, then
from tests.support.lost_logs import invite, log_at, log_of, notice, numbers, reasons, send, settle, texts, watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engines import Clock, Device, World


@pytest.fixture
def make_relay(tmp_path: Path) -> Callable[[Clock], CoreOffice]:
    return lambda clock: CoreOffice(tmp_path / "relay.db", clock)


def test_an_entry_of_who_has_left_is_given_back_by_who_stays_before_anything_is_sent(
    world: World, office: CoreOffice, alice: Device, bob: Device, carol: Device
) -> None:
    Member(alice).create(kind=GroupKind.INVITATION)
    invite(alice, bob, carol)
    notice(world, alice)
    backup = office.back_up()
    notice(world, alice)
    Member(bob).act(Operation.LEAVE)
    world.settle()
    bob.lose_connection()
    restore(office, backup, alice, carol)
    settle(world)
    send(alice, "not for who has left")
    settle(world)
    assert texts(carol)[-1] == "not for who has left"
    assert log_at(office, Member(alice).group().id) == log_of(alice)
    bob.connect()
    settle(world)
    assert "not for who has left" not in texts(bob)


@pytest.mark.parametrize("the_group", [False, True])
@pytest.mark.parametrize("kind", list(GroupKind))
def test_a_member_whose_own_entries_are_lost_too_gives_the_log_back_alone(
    world: World,
    office: CoreOffice,
    alice: Device,
    bob: Device,
    carol: Device,
    *,
    kind: GroupKind,
    the_group: bool,
) -> None:
    before = office.back_up()
    Member(alice).create(kind=kind)
    invite(alice, carol)
    backup = office.back_up()
    Member(carol).act(Operation.LEAVE)
    invite(alice, bob)
    Member(alice).act(Operation.PROMOTE, "bob")
    notice(world, alice, bob)
    log = log_of(bob)
    for device in (alice, carol):
        device.lose_connection()
    restore(office, before if the_group else backup, bob)
    settle(world)
    send(bob, "held until the log is whole")
    settle(world)
    assert log_at(office, Member(bob).group().id) == log == log_of(bob)
    for device in (alice, carol):
        device.connect()
    settle(world)
    assert texts(alice)[-1] == "held until the log is whole"
    assert "held until the log is whole" not in texts(carol)
    assert [device.of(GroupForked) for device in (alice, bob, carol)] == [[], [], []]


def test_nothing_is_sent_past_a_member_that_has_not_come_back_to_a_relay_that_has_lost_everything(
    world: World, office: CoreOffice, alice: Device, bob: Device, carol: Device
) -> None:
    Member(alice).create(kind=GroupKind.INVITATION)
    invite(alice, bob, carol)
    notice(world, bob)
    for device in (alice, carol):
        device.lose_connection()
    restore(office, None, bob)
    settle(world)
    send(bob, "to all")
    settle(world)
    assert reasons(bob)[-1] == Reason.RELAY_LOG_BEHIND.value
    alice.connect()
    settle(world)
    assert "to all" not in texts(alice)
    carol.connect()
    settle(world)
    assert [texts(device)[-1] for device in (alice, carol)] == ["to all", "to all"]


def test_the_end_of_a_group_is_given_back_too_and_its_name_is_free_again(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    Member(alice).create(kind=GroupKind.INVITATION)
    invite(alice, bob)
    notice(world, bob)
    backup = office.back_up()
    notice(world, bob)
    Member(alice).act(Operation.DELETE)
    alice.lose_connection()
    restore(office, backup, bob)
    settle(world)
    assert Member(bob).create("team").id


def test_a_group_of_which_the_relay_knows_nothing_is_not_given_back_by_who_is_out_of_it(
    world: World, office: CoreOffice, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = office.back_up()
    Member(alice).create(kind=GroupKind.INVITATION)
    invite(alice, bob)
    notice(world, bob)
    Member(bob).act(Operation.LEAVE)
    alice.lose_connection()
    seen = watch(office, monkeypatch)
    restore(office, backup, bob)
    settle(world)
    assert numbers(seen) == [3]


def test_who_is_invited_gives_a_lost_invitation_back_when_it_accepts(
    office: CoreOffice, alice: Device, bob: Device
) -> None:
    Member(alice).create(kind=GroupKind.INVITATION)
    backup = office.back_up()
    Member(alice).act(Operation.INVITE, "bob")
    alice.lose_connection()
    restore(office, backup, bob)
    group_id = Member(bob).groups()[0].id
    with pytest.raises(GroupRefused):
        Member(bob).join(group_id)
    assert "bob" in Member(bob).join(group_id).members


def test_an_operation_on_a_log_that_the_relay_has_lost_is_refused_and_done_when_it_is_tried_again(
    world: World, office: CoreOffice, alice: Device, bob: Device, carol: Device
) -> None:
    Member(alice).create(kind=GroupKind.INVITATION)
    notice(world, alice)
    backup = office.back_up()
    invite(alice, bob)
    Member(alice).act(Operation.PROMOTE, "bob")
    alice.lose_connection()
    restore(office, backup, bob, carol)  # nothing that it had confirmed to Bob is lost: he does not notice at the login
    with pytest.raises(GroupRefused):
        Member(bob).act(Operation.INVITE, "carol")
    settle(world)
    Member(bob).act(Operation.INVITE, "carol")
    assert [one.is_invited for one in Member(carol).groups()] == [True]


def test_what_the_relay_takes_from_nobody_stays_missing_and_the_reason_says_what_to_do(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    Member(alice).create(kind=GroupKind.INVITATION)
    invite(alice, bob)
    notice(world, alice, bob)
    office.rules = {"may_create_group": lambda user: user != "alice"}
    restore(office, None, alice, bob)
    send(bob, "held")
    settle(world)
    assert reasons(bob)[-1] == Reason.RELAY_LOG_BEHIND.value
    assert Reason.RELAY_LOG_BEHIND.recoverable
    assert "make another group" in Reason.RELAY_LOG_BEHIND.what_to_do
    Member(bob).create("team 2", kind=GroupKind.OPEN)
    Member(alice).join("team 2")
    bob.take(bob.engine.send_group("team 2", "in another group")[1])
    settle(world)
    assert texts(alice) == ["of bob", "in another group"]


def test_an_entry_counts_whoever_has_brought_it_also_somebody_whom_we_have_blocked(
    world: World, office: CoreOffice, alice: Device, bob: Device, carol: Device
) -> None:
    Member(alice).create(kind=GroupKind.INVITATION)
    invite(alice, bob, carol)
    alice.do(lambda step: step.unit.blocked.add("carol"))
    genesis, *log = log_of(alice)
    state = then(Membership.start(take_entry(genesis)), *log)
    left = entry_after(state, Member(bob).identity, "bob", Operation.LEAVE)
    office.handle(carol.name, AppendEntry(0, 99, left))
    world.settle()
    assert [list(Member(device).group(Member(alice).group().id).members) for device in (alice, bob)] == [
        ["alice", "carol"]
    ] * 2
