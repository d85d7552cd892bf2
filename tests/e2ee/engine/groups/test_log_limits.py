"""What bounds the logs of groups at a client, from both sides of each limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.engine.groups import fetching, log, memory, operations, state, wanted
from e2ee.engine.groups.memberships import MEMBERSHIPS_CACHED_MAX, Memberships
from e2ee.engine.groups.state import membership_at
from e2ee.errors import GroupError, GroupRefused, RefusalCode
from e2ee.events import GroupOperationFailed
from e2ee.groups import Membership, Operation, take_entry
from e2ee.groups import membership as rules
from store.limits import INBOX_MAX
from tests.support.group_talk import in_step

if TYPE_CHECKING:
    from tests.support.group_talk import Three


def test_a_log_has_so_many_entries_and_no_more(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (log, fetching, operations):
        monkeypatch.setattr(module, "GROUP_LOG_MAX", 3)
    three.alice.create("team")
    three.bob.join("team")
    three.carol.join("team")
    assert three.alice.group().log_number == 2
    with pytest.raises(GroupRefused) as refused:  # also if the relay takes it
        three.carol.act(Operation.LEAVE)
    assert refused.value.code is RefusalCode.GROUP_FULL
    assert three.alice.group().log_number == 2


def test_a_full_group_is_said_to_be_full(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    three.alice.create("team")
    three.bob.join("team")
    monkeypatch.setattr(rules, "GROUP_MEMBERS_MAX", 2)
    with pytest.raises(GroupRefused) as refused:
        three.carol.join("team")
    assert refused.value.code is RefusalCode.GROUP_FULL
    assert three.alice.group().log_number == 1


def test_a_group_that_we_are_out_of_makes_room_for_another_and_none_that_we_are_in(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wanted, "GROUPS_MAX", 2)
    for name in ("one", "two", "three"):
        three.alice.create(name)
    three.bob.join("one")
    three.bob.join("two")
    with pytest.raises(GroupError):
        three.bob.join("three")
    three.bob.act(Operation.LEAVE, group="one")
    three.bob.join("three")
    assert [group.name for group in three.bob.groups()] == ["three", "two"]


def test_so_many_logs_are_looked_up_at_once(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanted, "FETCHES_MAX", 2)
    three.bob.device.lose_connection()
    groups = three.bob.device.engine.groups
    begun = [three.bob.begin(groups.join(name)) for name in ("one", "two", "three")]
    assert [one in three.bob.device.outcomes for one in begun] == [False, False, True]
    assert isinstance(three.bob.device.outcomes[begun[2]], GroupError)


def test_a_replay_goes_back_so_far_and_no_further(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "REPLAYED_MAX", 1)
    three.alice.create("team")
    three.bob.join("team")
    three.carol.join("team")
    three.carol.act(Operation.LEAVE)
    three.alice.device.restart()
    group_id = three.stored.state.group_id
    found = in_step(three.alice, lambda step: [membership_at(step, group_id, number) for number in (1, 2, 3)])
    assert [None if one is None else one.number for one in found] == [1, None, 3]


def test_so_many_entries_are_replayed_in_a_minute_and_no_more(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "REPLAYED_IN_WINDOW_MAX", 4)
    three.alice.create("team")
    three.bob.join("team")
    three.carol.join("team")
    three.carol.act(Operation.LEAVE)
    three.alice.device.restart()
    group_id = three.stored.state.group_id

    def numbers() -> list[int | None]:
        found = in_step(three.alice, lambda step: [membership_at(step, group_id, number) for number in (2, 1, 2)])
        return [None if one is None else one.number for one in found]

    assert numbers() == [2, None, 2]  # what was replayed before is remembered
    three.world.clock.now += memory.REPLAY_WINDOW_S
    assert numbers() == [2, 1, 2]


def test_the_memberships_in_memory_are_bounded_and_the_one_asked_for_last_stays(three: Three) -> None:
    three.alice.create("team")
    known = Memberships()
    first = three.stored.state
    known.put(first)
    for number in range(MEMBERSHIPS_CACHED_MAX):
        assert known.get(first.group_id, first.hash) is first
        entry = first.next_entry(
            three.alice.identity,
            take_entry(three.stored.log[0]).actor,
            Operation.CLOSE,
            time_ms=number,
            entropy=bytes,
        )
        known.put(first.apply(take_entry(entry)))
    assert known.get(first.group_id, first.hash) is first
    assert known.size == MEMBERSHIPS_CACHED_MAX


def test_a_relay_that_has_lost_entries_is_said_to_have(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    stored = three.stored
    del stored.log[1:]
    stored.state = Membership.start(take_entry(stored.log[0]))
    with pytest.raises(GroupRefused) as refused:
        three.bob.act(Operation.LEAVE)
    assert refused.value.code is RefusalCode.GROUP_CHANGED
    assert "lost" in str(refused.value)


def test_entries_wait_at_the_relay_while_the_inbox_has_no_room_for_what_they_tell(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.alice.create("team")
    monkeypatch.setattr(fetching, "INBOX_ROOM", INBOX_MAX + 1)
    operation_id = three.bob.begin(three.bob.device.engine.groups.join("team"))
    three.bob.device.relay_takes_one()
    three.bob.device.take_reply()
    three.bob.device.engine.groups.abandon(operation_id)
    assert three.bob.groups() == []
    monkeypatch.undo()
    three.world.settle()
    assert [group.name for group in three.bob.groups()] == ["team"]
    assert three.bob.device.of(GroupOperationFailed) == []
