"""A member whose store was put back: its chain is given up, and it writes and reads on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.errors import RefusalCode
from e2ee.events import HistoryGap
from e2ee.frames import GroupSubmitted, SubmitGroup
from tests.support.group_world import Team, texts

if TYPE_CHECKING:
    from tests.support.engines import Device, World


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
