"""Operations on one group from several devices at once, lost connections and restarts in the middle of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.engine.groups.operations import OPERATIONS_MAX, TRIES_MAX
from e2ee.errors import GroupError, GroupRefused, RefusalCode
from e2ee.events import GroupCreated, GroupJoined, GroupLeft, GroupOperationFailed
from e2ee.frames import AppendEntry, GroupLog
from e2ee.groups import GroupKind, Operation, take_entry
from tests.support.engines import World
from tests.support.group_talk import Member, Three, entry_after

if TYPE_CHECKING:
    from pathlib import Path

    from e2ee.frames import ClientFrame
    from tests.support.post_office import DeviceName


@pytest.mark.parametrize("seed", range(4))
def test_two_who_act_at_once_both_get_what_they_want(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed)
    three = Three(world)
    three.alice.create("team")
    three.bob.join("team")
    three.alice.act(Operation.PROMOTE, "bob")
    first = three.alice.begin(three.alice.device.engine.groups.act("team", Operation.CLOSE))
    second = three.bob.begin(three.bob.device.engine.groups.act("team", Operation.INVITE, user="carol"))
    world.settle()
    assert (three.alice.device.outcomes[first], three.bob.device.outcomes[second]) == (None, None)
    assert three.alice.group() == three.alice.group(three.bob.group().id)
    assert three.alice.group().fingerprint == three.bob.group().fingerprint
    assert three.bob.group().invited == ("carol",)
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_however_many_come_and_go_at_once_all_see_the_same_log(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed)
    three = Three(world)
    members = [three.alice, three.bob, three.carol]
    three.alice.create("team")
    begun = [(one, one.begin(one.device.engine.groups.join("team"))) for one in members[1:]]
    world.settle()
    begun += [(one, one.begin(one.device.engine.groups.act("team", Operation.LEAVE))) for one in members[1:]]
    begun.append((three.alice, three.alice.begin(three.alice.device.engine.groups.act("team", Operation.CLOSE))))
    if seed % 2:
        world.dice.choice(members).device.restart()
    world.settle()
    for one in members:
        if not one.device.connected:
            one.device.connect()
    world.settle()
    assert list(three.alice.group().members) == ["alice"]
    assert three.alice.group().fingerprint == three.stored.state.fingerprint
    for one in members[1:]:
        assert [type(event) for event in one.told() if isinstance(event, GroupJoined | GroupLeft)] == [
            GroupJoined,
            GroupLeft,
        ]
    assert all(one.device.outcomes.get(operation_id) is None for one, operation_id in begun)
    world.close()


def test_two_wishes_of_one_device_come_one_after_the_other(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    groups = three.alice.device.engine.groups
    begun = [
        three.alice.begin(groups.act("team", Operation.PROMOTE, user="bob")),
        three.alice.begin(groups.act("team", Operation.CLOSE)),
    ]
    three.world.settle()
    assert [three.alice.device.outcomes[one] for one in begun] == [None, None]
    assert [take_entry(data).operation for data in three.stored.log[2:]] == [Operation.PROMOTE, Operation.CLOSE]


class Faster:
    """Somebody who is always faster than Alice: another entry comes before each of hers."""

    def __init__(self, three: Three) -> None:
        self.three = three
        self.handle = three.world.relay.handle
        self.seen: list[bytes] = []
        three.world.relay.handle = self  # type: ignore[method-assign, assignment]

    def __call__(self, sender: DeviceName, frame: ClientFrame) -> object:
        if isinstance(frame, AppendEntry) and sender == ("alice", 1):
            self.seen.append(frame.entry)
            state, bob = self.three.stored.state, self.three.bob.identity
            operation = Operation.LEAVE if "bob" in state.members else Operation.JOIN
            answer = self.handle(("bob", 1), AppendEntry(0, 0, entry_after(state, bob, "bob", operation)))
            assert isinstance(answer, GroupLog)
            assert answer.refusal is None
        return self.handle(sender, frame)


def test_who_is_outrun_five_times_gives_up_and_says_so(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    faster = Faster(three)
    with pytest.raises(GroupRefused) as refused:
        three.alice.act(Operation.CLOSE)
    assert refused.value.code is RefusalCode.GROUP_CHANGED
    assert len(set(faster.seen)) == TRIES_MAX
    assert three.alice.group().fingerprint == three.stored.state.fingerprint


def test_a_wish_that_makes_no_sense_any_more_is_not_signed_again(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    three.alice.act(Operation.PROMOTE, "bob")
    lost = three.bob.begin(three.bob.device.engine.groups.act("team", Operation.CLOSE))
    three.bob.device.lose_connection()
    three.alice.act(Operation.DEMOTE, "bob")
    three.bob.device.connect()
    three.world.settle()
    error = three.bob.device.outcomes[lost]
    assert isinstance(error, GroupRefused)
    assert error.code is RefusalCode.ENTRY_REFUSED


def test_a_wish_that_others_have_fulfilled_is_done(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    lost = three.bob.begin(three.bob.device.engine.groups.act("team", Operation.LEAVE))
    three.bob.device.lose_connection()
    three.alice.act(Operation.REMOVE, "bob")
    three.bob.device.connect()
    three.world.settle()
    assert three.bob.device.outcomes[lost] is None


# Silence.


@pytest.mark.parametrize("lost", ["question", "answer"])
def test_after_silence_the_same_bytes_go_again_and_count_once(three: Three, lost: str) -> None:
    three.alice.create("team")
    operation_id = three.alice.begin(three.alice.device.engine.groups.act("team", Operation.CLOSE))
    [sent] = [frame.entry for frame in three.alice.device.outgoing if isinstance(frame, AppendEntry)]
    if lost == "answer":
        three.alice.device.relay_takes_one()
    three.alice.device.lose_connection()
    three.alice.device.connect()
    three.world.settle()
    assert three.alice.device.outcomes[operation_id] is None
    assert three.stored.log[1:] == [sent]


@pytest.mark.parametrize("lost", ["question", "answer"])
def test_after_a_restart_the_outcome_is_an_event(three: Three, lost: str) -> None:
    three.alice.begin(three.alice.device.engine.groups.create("team", GroupKind.OPEN))
    if lost == "answer":
        three.alice.device.relay_takes_one()
    three.alice.device.restart()
    three.alice.device.connect()
    three.world.settle()
    assert [type(event) for event in three.alice.told()] == [GroupCreated]
    assert three.alice.group().log_number == 0


def test_a_failure_that_nobody_waits_for_is_an_event(three: Three) -> None:
    three.bob.create("team")
    operation_id = three.alice.begin(three.alice.device.engine.groups.create("team", GroupKind.OPEN))
    three.alice.device.engine.groups.abandon(operation_id)
    three.world.settle()
    [event] = three.alice.device.of(GroupOperationFailed)
    assert (event.name, event.operation) == ("team", "create")
    assert operation_id not in three.alice.device.outcomes


def test_a_group_that_nobody_knows_fails_as_an_event_too(three: Three) -> None:
    operation_id = three.alice.begin(three.alice.device.engine.groups.join("nowhere"))
    three.alice.device.engine.groups.abandon(operation_id)
    three.world.settle()
    [event] = three.alice.device.of(GroupOperationFailed)
    assert (event.group, event.name, event.operation) == ("", "nowhere", "join")


def test_what_is_wanted_offline_happens_at_the_next_connection(three: Three, world: World) -> None:
    three.alice.create("team")
    three.bob.device.lose_connection()
    operation_id = three.bob.begin(three.bob.device.engine.groups.join("team"))
    world.settle()
    assert operation_id not in three.bob.device.outcomes
    three.bob.device.restart()
    three.bob.device.connect()
    world.settle()
    assert [event.members for event in three.bob.device.of(GroupJoined)] == [("alice", "bob")]


def test_the_operations_under_way_are_bounded(three: Three) -> None:
    three.alice.device.lose_connection()
    groups = three.alice.device.engine.groups
    for number in range(OPERATIONS_MAX):
        groups.create(f"team {number}", GroupKind.OPEN)
    with pytest.raises(GroupError):
        groups.create("one more", GroupKind.OPEN)


# Identities.


def test_a_member_with_a_new_identity_joins_an_open_group_again(three: Three, world: World) -> None:
    three.alice.create("team")
    three.bob.join("team")
    world.relay.forget_user("bob")
    again = Member(world.device("bob"))
    assert again.join("team").is_member
    assert list(three.alice.group().members) == ["alice", "bob"]
    assert three.alice.group().fingerprint == again.group().fingerprint
