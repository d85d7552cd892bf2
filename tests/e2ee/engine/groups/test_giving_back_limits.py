"""What bounds giving back a lost log, several who do it at a time, and who gives back only a part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.diagnostics import Reason
from e2ee.engine.groups import giving_back
from e2ee.errors import RefusalCode
from e2ee.events import GroupForked
from e2ee.frames import AppendEntry, GroupDevices, GroupLog
from e2ee.groups import GroupKind, Operation, take_entry
from e2ee.relay.limits import RelayOptions
from tests.support.core_office import CoreOffice, restore
from tests.support.group_talk import Member
from tests.support.lost_logs import (
    hour_with,
    invite,
    log_at,
    log_of,
    notice,
    numbers,
    reasons,
    send,
    settle,
    texts,
    watch,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2ee.frames import ClientFrame, RelayFrame
    from tests.support.engines import Clock, Device, World


@pytest.fixture
def make_relay(tmp_path: Path) -> Callable[[Clock], CoreOffice]:
    return lambda clock: CoreOffice(tmp_path / "relay.db", clock)


def test_where_to_begin_is_found_in_few_steps_and_each_lost_entry_is_brought_once(
    world: World, office: CoreOffice, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    carol = world.device("carol")
    Member(alice).create(kind=GroupKind.INVITATION)
    for _ in range(20):
        Member(alice).act(Operation.INVITE, "carol")
        Member(carol).act(Operation.LEAVE, group=Member(carol).groups()[0].id)
    backup = office.back_up()
    invite(alice, bob)
    notice(world, bob)
    for device in (alice, carol):
        device.lose_connection()
    seen = watch(office, monkeypatch)
    restore(office, backup, bob)
    settle(world)
    log = log_of(bob)
    assert numbers(seen) == [None, 42, 41, 42, None]
    assert log_at(office, Member(bob).group().id) == log


@pytest.mark.parametrize("seed", range(4))
def test_members_that_give_the_same_entries_back_at_one_time_make_one_log(
    world: World, office: CoreOffice, alice: Device, bob: Device, carol: Device, seed: int
) -> None:
    world.dice.seed(seed)
    Member(alice).create(kind=GroupKind.INVITATION)
    backup = office.back_up()
    invite(alice, bob, carol)
    Member(alice).act(Operation.PROMOTE, "carol")
    notice(world, alice, bob, carol)
    log = log_of(alice)
    restore(office, backup, alice, bob, carol)
    settle(world)
    send(bob, "to all")
    settle(world)
    assert log_at(office, Member(alice).group().id) == log
    assert [texts(device)[-1] for device in (alice, carol)] == ["to all", "to all"]
    assert [device.of(GroupForked) for device in (alice, bob, carol)] == [[], [], []]


def test_who_gives_back_only_a_part_keeps_the_rest_from_nobody_and_reads_nothing_meanwhile(
    world: World, office: CoreOffice, alice: Device, bob: Device, carol: Device
) -> None:
    Member(alice).create(kind=GroupKind.INVITATION)
    invite(alice, bob)
    backup = office.back_up()
    invite(alice, carol)
    Member(alice).act(Operation.REMOVE, "carol")
    notice(world, alice, bob)
    log = log_of(alice)
    for device in (alice, bob):
        device.lose_connection()
    restore(office, backup, carol)
    settle(world)
    group_id = Member(alice).group().id
    for entry in log[3:5]:  # as if it knew nothing of its removal
        office.handle(carol.name, AppendEntry(0, 99, entry))
    assert log_at(office, group_id) == log[:5]
    bob.connect()
    send(bob, "not for carol")
    settle(world)
    alice.connect()
    settle(world)
    assert log_at(office, group_id) == log
    assert texts(alice)[-1] == "not for carol"
    assert "not for carol" not in texts(carol)


def test_an_entry_that_was_made_on_the_shorter_log_is_a_fork_and_then_nothing_is_given_back(
    world: World, office: CoreOffice, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    Member(alice).create(kind=GroupKind.OPEN)
    backup = office.back_up()
    invite(alice, bob)
    Member(alice).act(Operation.PROMOTE, "bob")
    notice(world, alice, bob)
    for device in (alice, bob):
        device.lose_connection()
    restore(office, backup)
    eve = world.device("eve")
    Member(eve).join("team")
    seen = watch(office, monkeypatch)
    alice.connect()
    settle(world)
    assert len(alice.of(GroupForked)) == 1
    assert [number for number in numbers(seen) if number is not None] in ([], [1])
    assert log_at(office, Member(alice).group().id) == log_of(eve)


def test_what_the_relay_takes_only_so_fast_is_given_back_when_it_may_be(
    world: World, office: CoreOffice, alice: Device, bob: Device, carol: Device
) -> None:
    Member(alice).create(kind=GroupKind.OPEN)
    notice(world, alice)
    backup = office.back_up()
    for device in (bob, carol):
        Member(device).join("team")
    notice(world, alice)
    for device in (bob, carol):
        device.lose_connection()
    office.options = RelayOptions(group_joins_per_minute=1)
    restore(office, backup, alice)
    settle(world)
    assert log_at(office, Member(alice).group().id) == log_of(alice)


def test_after_one_look_no_more_is_given_back_than_the_limit(
    world: World, office: CoreOffice, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_back, "GIVEN_BACK_MAX", 2)
    backup = office.back_up()
    Member(alice).create(kind=GroupKind.INVITATION)
    invite(alice, bob)
    Member(alice).act(Operation.PROMOTE, "bob")
    notice(world, alice)
    bob.lose_connection()
    seen = watch(office, monkeypatch)
    restore(office, backup, alice)
    world.settle()
    assert numbers(seen) == [None, 0, 1, None, 2, 3, None]


@pytest.mark.parametrize("says", ["it has the entry", "there is no such group"])
def test_a_relay_that_never_has_what_it_is_given_costs_a_bounded_number_of_entries(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setattr(giving_back, "GIVEN_BACK_MAX", 8)
    Member(alice).create(kind=GroupKind.INVITATION)
    for _ in range(10):
        invite(alice, bob)
        Member(alice).act(Operation.REMOVE, "bob")
    send(alice, "held")

    def never_has_it(frame: ClientFrame, reply: RelayFrame | None) -> RelayFrame | None:
        if isinstance(frame, AppendEntry):
            return GroupLog(0, None, 0, None if says == "it has the entry" else RefusalCode.UNKNOWN_GROUP, (), None)
        if isinstance(reply, GroupDevices):
            return GroupDevices(0, RefusalCode.UNKNOWN_GROUP, 0, 0, ())
        return reply

    asked, appended = hour_with(world, alice, never_has_it)
    assert 5 < asked < 30
    assert appended <= 8 * asked
    assert reasons(alice) == [Reason.RELAY_LOG_BEHIND.value]


def test_who_is_no_member_in_another_log_learns_of_it_by_giving_back_its_own(
    world: World, office: CoreOffice, alice: Device, bob: Device
) -> None:
    Member(alice).create(kind=GroupKind.OPEN)
    backup = office.back_up()
    Member(bob).join("team")
    notice(world, bob)
    for device in (alice, bob):
        device.lose_connection()
    restore(office, backup)
    eve = world.device("eve")
    Member(eve).join("team")
    bob.connect()
    send(bob, "held")
    settle(world)
    (fork,) = bob.of(GroupForked)
    assert [take_entry(fork.ours).actor, take_entry(fork.theirs).actor] == ["bob", "eve"]
    assert reasons(bob)[-1] == Reason.LOG_FORKED.value
    bob.take(bob.engine.groups.accept_fork("team"))
    settle(world)
    assert log_of(bob) == log_of(eve) == log_at(office, Member(bob).group().id)
    assert Member(bob).join("team").members.keys() == {"alice", "bob", "eve"}
