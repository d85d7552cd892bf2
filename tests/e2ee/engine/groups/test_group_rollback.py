"""A member whose store was put back: its chain is given up, and it writes and reads on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.codec import decode_array, encode_array
from e2ee.engine.groups import fetching
from e2ee.errors import RefusalCode
from e2ee.events import GroupMemberLeft, HistoryGap
from e2ee.frames import GetGroupLog, GroupSubmitted, SubmitGroup
from tests.support.group_world import Team, texts

if TYPE_CHECKING:
    from e2ee.frames import ClientFrame, RelayFrame
    from tests.support.engines import Device, World
    from tests.support.post_office import DeviceName


def keys(device: Device, team: Team) -> bytes | None:
    with device.store.begin() as unit:
        loaded = unit.sender_keys.load_own(bytes.fromhex(team.id))
    return None if loaded is None else loaded.key.distribution_id.bytes


def settle(world: World) -> None:
    """Let what heals have its time: a few waits of minutes."""
    for _ in range(6):
        world.settle()
        world.clock.now += 120
    world.settle()


@pytest.mark.parametrize("meanwhile", [0, 3])
def test_a_restored_member_writes_under_a_new_chain_and_reads_what_comes(
    world: World, team: Team, alice: Device, bob: Device, carol: Device, meanwhile: int
) -> None:
    for device in (alice, bob, carol):
        team.send(device, f"first of {device.name[0]}")
    world.settle()
    backup = alice.back_up()
    team.send(alice, "under way")
    under_way = alice.back_up()
    world.settle()
    for number in range(meanwhile):
        team.send(alice, f"lost {number}")
        team.send(bob, f"taken {number}")
    world.settle()
    before = keys(alice, team)
    alice.put_back(under_way if meanwhile else backup)
    noticed = len(world.relay.overheard)
    alice.connect()
    settle(world)
    team.send(alice, "after")
    team.send(bob, "to alice too")
    settle(world)
    assert len(alice.of(HistoryGap)) == 1
    assert keys(alice, team) not in (None, before)
    for reader in (bob, carol):
        assert texts(reader)[-1] in ("after", "to alice too")
        assert texts(reader).count("after") == 1
        assert texts(reader).count("under way") == 1
    assert texts(alice)[-1] == "to alice too"
    assert world.keys_used_twice(since=noticed) == []


def test_a_number_of_a_group_message_that_stood_for_something_else_is_a_rollback(
    world: World, team: Team, alice: Device, bob: Device
) -> None:
    team.send(alice, "first")
    world.settle()
    before = keys(alice, team)
    team.send(alice, "refused")
    (request,) = [frame for frame in alice.outgoing if isinstance(frame, SubmitGroup)]
    alice.outgoing.clear()
    refusal = GroupSubmitted(0, 0, (), RefusalCode.ROLLED_BACK, (), (), None)
    alice.take(alice.engine.reply(request, refusal))
    settle(world)
    assert len(alice.of(HistoryGap)) == 1
    assert keys(alice, team) not in (None, before)
    assert texts(bob) == ["first", "refused"]


def lose_an_entry(world: World, team: Team, alice: Device, leaver: Device) -> None:
    """Put Alice's store back to before somebody left, which her other life has acknowledged. She is not online."""
    backup = alice.back_up()
    alice.send("bob", "a later number")
    team.leave(leaver)
    world.settle()
    alice.put_back(backup)


def asked_for_logs(world: World, device: Device) -> list[GetGroupLog]:
    """Let the world come to rest, and collect what a device asks for meanwhile."""
    asked: list[GetGroupLog] = []
    handle = world.relay.handle

    def noting(sender: DeviceName, frame: ClientFrame) -> RelayFrame | None:
        if isinstance(frame, GetGroupLog) and sender == device.name:
            asked.append(frame)
        return handle(sender, frame)

    world.relay.handle = noting  # type: ignore[method-assign]
    world.settle()
    world.relay.handle = handle  # type: ignore[method-assign]
    return asked


def test_a_quiet_restored_device_asks_once_for_the_rest_of_each_log(
    world: World, team: Team, alice: Device, bob: Device, carol: Device
) -> None:
    other = Team(world, bob, alice, name="other")
    world.settle()
    lose_an_entry(world, team, alice, carol)
    assert team.seen_by(alice) != team.state
    alice.connect()
    asked = asked_for_logs(world, alice)
    assert sorted(one.group_id or b"" for one in asked) == sorted((team.group_id, other.group_id))
    assert team.seen_by(alice) == team.state
    assert [event.user for event in alice.of(GroupMemberLeft)] == ["carol"]
    alice.restart()
    alice.connect()
    assert asked_for_logs(world, alice) == []


def test_a_crash_before_the_log_has_come_does_not_lose_the_wish_for_it(
    world: World, team: Team, alice: Device, carol: Device
) -> None:
    lose_an_entry(world, team, alice, carol)
    alice.connect()
    for _ in range(3):
        alice.restart()
        alice.connect()
        assert team.seen_by(alice) != team.state
    world.settle()
    assert team.seen_by(alice) == team.state


def test_logs_that_are_taken_up_are_asked_for_a_few_at_a_time_and_all_in_the_end(
    world: World, team: Team, alice: Device, bob: Device, carol: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TAKEN_UP_MAX", 1)
    for name in ("two", "three"):
        Team(world, bob, alice, name=name)
    world.settle()
    lose_an_entry(world, team, alice, carol)
    alice.connect()
    assert len([one for one in alice.outgoing if isinstance(one, GetGroupLog)]) == 1
    assert len(asked_for_logs(world, alice)) == 3
    assert team.seen_by(alice) == team.state


def test_a_group_that_is_gone_at_the_relay_is_asked_for_once(
    world: World, team: Team, alice: Device, carol: Device
) -> None:
    lose_an_entry(world, team, alice, carol)
    before = team.seen_by(alice)
    stored = world.relay.groups.stored.pop(team.group_id)
    alice.connect()
    assert len(asked_for_logs(world, alice)) == 1
    assert team.seen_by(alice) == before
    alice.restart()
    alice.connect()
    assert asked_for_logs(world, alice) == []
    world.relay.groups.stored[team.group_id] = stored


def test_a_group_that_the_first_release_stored_is_read(team: Team, alice: Device) -> None:
    with alice.store.begin() as unit:
        (stored,) = unit.groups.all()
        unit.groups.save(replace(stored, state=encode_array(decode_array(stored.state)[:6])))
    alice.restart()
    assert team.seen_by(alice) == team.state
