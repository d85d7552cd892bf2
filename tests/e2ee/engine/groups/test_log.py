"""Logs of groups at a client whose relay lies: what it takes, what it refuses, what it finds out (messaging 11)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.engine.groups.log import Standing, expect
from e2ee.engine.groups.members import usable_members
from e2ee.engine.groups.state import epoch_at, membership, membership_at, was_member
from e2ee.errors import GroupRefused, LogForked, RefusalCode
from e2ee.events import (
    DeliveryRefused,
    GroupForked,
    GroupJoined,
    GroupLeft,
    GroupMemberJoined,
    GroupMemberLeft,
    IdentityChanged,
)
from e2ee.frames import GroupLog
from e2ee.groups import GroupKind, Membership, Operation, take_entry
from e2ee.groups import Member as Seat
from e2ee.ids import UserId
from ratchet import IdentityKeyPair
from tests.support.group_talk import Member, Three, entry_after, in_step, then
from tests.support.post_groups import StoredGroup

if TYPE_CHECKING:
    from e2ee.engine.step import Step
    from e2ee.groups import Group
    from tests.support.post_office import DeviceName


def two_and_carol(three: Three) -> Group:
    """A group of Alice and Bob; Carol is outside."""
    group = three.alice.create("team")
    three.bob.join("team")
    return group


def genesis_of(identity: IdentityKeyPair, user: str, name: str = "team") -> bytes:
    return Membership.genesis(
        identity, UserId(user), name=name, kind=GroupKind.OPEN, time_ms=1_700_000_000_000, entropy=os.urandom
    )


def refusals(member: Member) -> list[str]:
    return [event.reason for event in member.device.live if isinstance(event, DeliveryRefused)]


# What is no entry of the log.


def test_an_entry_with_a_broken_signature_changes_nothing(three: Three) -> None:
    two_and_carol(three)
    before = three.bob.group()
    good = entry_after(three.stored.state, three.alice.identity, "alice", Operation.CLOSE)
    three.bob.shown(good[:-1] + bytes([good[-1] ^ 1]))
    assert three.bob.group() == before
    assert len(refusals(three.bob)) == 1


def test_an_outsiders_entry_changes_nothing_whatever_the_relay_says(three: Three) -> None:
    two_and_carol(three)
    before = three.bob.group()
    insider = replace(three.stored.state, members={**three.stored.state.members, **_seat(three, "carol")})
    three.bob.shown(
        entry_after(
            insider,
            three.carol.identity,
            "carol",
            Operation.REMOVE,
            subject="alice",
            subject_key=three.alice.identity.public_key,
        )
    )
    assert three.bob.group() == before
    assert len(refusals(three.bob)) == 1
    assert three.bob.device.of(GroupForked) == []


def _seat(three: Three, user: str) -> dict[UserId, Seat]:
    seat = three.stored.state.members[UserId("alice")]
    return {UserId(user): replace(seat, identity_key=three.carol.identity.public_key)}


def test_the_relay_cannot_enter_a_group_by_invitation(three: Three) -> None:
    three.alice.create("team", GroupKind.INVITATION)
    three.alice.act(Operation.INVITE, "bob")
    three.bob.act(Operation.ACCEPT)
    before = three.bob.group()
    own = IdentityKeyPair.generate()
    opened = replace(three.stored.state, kind=GroupKind.OPEN)
    three.bob.shown(entry_after(opened, own, "relay", Operation.JOIN))
    assert three.bob.group() == before


def test_an_open_group_is_entered_visibly(three: Three) -> None:
    two_and_carol(three)
    three.bob.shown(entry_after(three.stored.state, IdentityKeyPair.generate(), "relay", Operation.JOIN))
    assert "relay" in three.bob.group().members
    assert [event.user for event in three.bob.device.of(GroupMemberJoined)] == ["relay"]


def test_entries_that_come_again_are_told_once(three: Three) -> None:
    two_and_carol(three)
    three.carol.join("team")
    before, events = three.bob.group(), len(three.bob.told())
    three.bob.shown(*three.stored.log, *reversed(three.stored.log))
    assert (three.bob.group(), len(three.bob.told())) == (before, events)


def test_entries_in_the_wrong_order_come_into_the_right_one(three: Three) -> None:
    two_and_carol(three)
    first = entry_after(three.stored.state, three.carol.identity, "carol", Operation.JOIN)
    second = entry_after(then(three.stored.state, first), three.carol.identity, "carol", Operation.LEAVE)
    three.stored.log += [first, second]
    three.stored.state = then(three.stored.state, first, second)
    three.bob.shown(second, first)
    assert three.bob.group().log_number == 3
    assert [type(event) for event in three.bob.told()[1:]] == [GroupMemberJoined, GroupMemberLeft]


def test_a_group_that_is_no_business_of_ours_leaves_nothing_behind(three: Three) -> None:
    two_and_carol(three)
    three.carol.shown(*three.stored.log)
    assert three.carol.told() == []
    with three.carol.device.store.begin() as unit:
        assert unit.groups.all() == []
        assert unit.groups.pinned("team") is None


def test_a_log_that_stops_verifying_is_taken_as_far_as_it_is_good_and_no_join_is_made(three: Three) -> None:
    two_and_carol(three)
    bad = three.stored.log[1]
    three.stored.log[1] = bad[:-1] + bytes([bad[-1] ^ 1])
    with pytest.raises(GroupRefused) as refused:
        three.carol.join("team")
    assert refused.value.code is RefusalCode.NOT_AUTHENTIC
    assert three.carol.groups() == []


# Names.


def test_a_name_stands_for_the_group_that_it_stood_for_first(three: Three) -> None:
    first = two_and_carol(three)
    three.bob.act(Operation.LEAVE)
    other = genesis_of(three.carol.identity, "carol")
    groups = three.world.relay.groups.stored
    mine = groups.pop(bytes.fromhex(first.id))
    state = Membership.start(take_entry(other))
    groups[state.group_id] = StoredGroup([other], state)  # found first under the name
    groups[mine.state.group_id] = mine
    assert three.bob.join("team").id == first.id


def test_another_group_than_the_one_asked_for_is_refused_and_pins_nothing(three: Three) -> None:
    other = genesis_of(three.carol.identity, "carol", name="trap")
    state = Membership.start(take_entry(other))
    three.world.relay.groups.stored[state.group_id] = StoredGroup([other], replace(state, name="team"))
    with pytest.raises(GroupRefused) as refused:
        three.bob.join("team")
    assert refused.value.code is RefusalCode.NOT_AUTHENTIC
    with three.bob.device.store.begin() as unit:
        assert unit.groups.pinned("team") is None
        assert unit.groups.all() == []


# Identities.


def test_another_key_behind_a_members_name_is_a_change_of_identity_and_gets_no_key_of_ours(three: Three) -> None:
    two_and_carol(three)
    three.carol.join("team")
    three.device_knows(three.alice, "bob", three.bob.identity.public_key)
    impostor = IdentityKeyPair.generate()
    three.alice.shown(entry_after(three.stored.state, impostor, "bob", Operation.JOIN))
    group_id = three.stored.state.group_id

    def usable(step: Step) -> frozenset[UserId]:
        now = membership(step, group_id)
        assert now is not None
        return usable_members(step, now)

    assert in_step(three.alice, usable) == {"alice", "carol"}
    changes = three.alice.device.of(IdentityChanged)
    assert [(event.user, event.shown) for event in changes] == [("bob", impostor.public_key)]
    in_step(three.alice, usable)
    assert len(three.alice.device.of(IdentityChanged)) == 1
    three.alice.device.trust("bob", impostor.public_key)
    assert in_step(three.alice, usable) == {"alice", "bob", "carol"}


def test_whose_seat_goes_to_another_key_is_told_that_it_is_out(three: Three) -> None:
    two_and_carol(three)
    three.bob.shown(entry_after(three.stored.state, IdentityKeyPair.generate(), "bob", Operation.JOIN))
    assert len(three.bob.device.of(GroupLeft)) == 1
    assert not three.bob.group().is_member


# What is withheld.


def test_a_withheld_removal_reaches_us_with_the_first_message_that_names_it(three: Three) -> None:
    two_and_carol(three)
    three.carol.join("team")
    three.bob.device.lose_connection()
    three.alice.act(Operation.REMOVE, "carol")
    three.world.relay.boxes["bob", 1].mail.clear()
    three.bob.device.connect()
    three.world.settle()
    assert "carol" in three.bob.group().members
    now = three.alice.group()
    digest, number = three.stored.state.hash, now.log_number
    group_id = bytes.fromhex(now.id)
    assert in_step(three.bob, lambda step: expect(step, group_id, number, digest)) is Standing.AHEAD
    three.world.settle()
    assert in_step(three.bob, lambda step: expect(step, group_id, number, digest)) is Standing.KNOWN
    assert [event.user for event in three.bob.device.of(GroupMemberLeft)] == ["carol"]


def test_a_relay_that_tells_less_than_it_says_there_is_is_asked_again_and_not_all_the_time(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = two_and_carol(three)
    group_id = bytes.fromhex(group.id)
    asked = []

    def withhold(_sender: DeviceName, frame: object) -> GroupLog:
        asked.append(frame)
        return GroupLog(0, group_id, 7, None, (), None)

    monkeypatch.setattr(three.world.relay.groups, "handle", withhold)
    assert in_step(three.bob, lambda step: expect(step, group_id, 7, bytes(32))) is Standing.AHEAD
    three.world.settle()
    assert 1 < len(asked) < 10
    assert three.bob.group().log_number == 1


# Two logs.


def forked(three: Three) -> bytes:
    """Bob is shown another entry under a number that he holds; return it."""
    two_and_carol(three)
    base = three.stored.state
    theirs = entry_after(base, three.alice.identity, "alice", Operation.CLOSE)
    three.carol.join("team")
    three.bob.shown(theirs)
    return theirs


def test_a_second_log_is_found_out_told_once_with_both_entries_and_stops_operations(three: Three) -> None:
    theirs = forked(three)
    three.bob.shown(theirs)
    [event] = three.bob.device.of(GroupForked)
    assert (event.log_number, event.ours, event.theirs) == (2, three.stored.log[2], theirs)
    assert three.bob.group().forked
    with pytest.raises(LogForked):
        three.bob.act(Operation.PROMOTE, "carol")


def test_an_entry_that_follows_upon_another_log_is_a_fork_too(three: Three) -> None:
    two_and_carol(three)
    base = three.stored.state
    other = entry_after(base, three.alice.identity, "alice", Operation.CLOSE)
    after = entry_after(
        then(base, other),
        three.alice.identity,
        "alice",
        Operation.REMOVE,
        subject="bob",
        subject_key=three.bob.identity.public_key,
    )
    three.carol.join("team")
    three.bob.shown(after)
    [event] = three.bob.device.of(GroupForked)
    assert (event.log_number, event.theirs) == (2, after)
    assert three.bob.group().is_member


def test_a_message_that_names_another_entry_than_ours_is_a_fork(three: Three) -> None:
    group_id = bytes.fromhex(two_and_carol(three).id)
    assert in_step(three.bob, lambda step: expect(step, group_id, 1, b"x" * 32)) is Standing.FORKED
    [event] = three.bob.device.of(GroupForked)
    assert (event.log_number, event.theirs) == (1, b"x" * 32)


def test_a_fork_outlives_a_restart(three: Three) -> None:
    forked(three)
    three.bob.device.restart()
    assert three.bob.group().forked


def test_an_accepted_fork_takes_the_relays_log_from_where_the_two_part(three: Three) -> None:
    theirs = forked(three)
    stored = three.stored
    stored.log[2:] = [theirs]
    stored.state = then(Membership.start(take_entry(stored.log[0])), *stored.log[1:])
    three.bob.device.take(three.bob.device.engine.groups.accept_fork("team"))
    three.world.settle()
    group = three.bob.group()
    assert not group.forked
    assert (group.kind, list(group.members)) == (GroupKind.INVITATION, ["alice", "bob"])
    assert group.fingerprint == stored.state.fingerprint


def test_an_accepted_fork_where_the_relay_has_our_log_leaves_it_and_is_not_told_again(three: Three) -> None:
    theirs = forked(three)
    before = three.bob.group().fingerprint
    three.bob.device.lose_connection()
    three.bob.device.take(three.bob.device.engine.groups.accept_fork("team"))
    three.bob.device.restart()
    three.bob.device.connect()
    three.world.settle()
    three.bob.shown(theirs)
    assert not three.bob.group().forked
    assert three.bob.group().fingerprint == before
    assert len(three.bob.device.of(GroupForked)) == 1


def test_who_leaves_a_forked_group_is_out_of_whichever_log_the_relay_has(three: Three) -> None:
    theirs = forked(three)
    stored = three.stored
    stored.log[2:] = [theirs]
    stored.state = then(Membership.start(take_entry(stored.log[0])), *stored.log[1:])
    three.bob.act(Operation.LEAVE)
    assert three.bob.groups() == []
    assert list(stored.state.members) == ["alice"]
    assert len(three.bob.device.of(GroupLeft)) == 1


def test_a_seat_that_lasts_needs_no_replay_and_one_that_ended_is_found_by_it(three: Three) -> None:
    two_and_carol(three)
    three.carol.join("team")
    three.alice.act(Operation.REMOVE, "carol")
    group_id, bob, carol = three.stored.state.group_id, three.bob.identity, three.carol.identity

    def had(number: int, user: str, key: bytes) -> bool:
        return in_step(three.alice, lambda step: was_member(step, group_id, number, user, key))

    assert [had(number, "bob", bob.public_key) for number in range(5)] == [False, True, True, True, False]
    assert [had(number, "carol", carol.public_key) for number in range(4)] == [False, False, True, False]
    assert not had(2, "bob", carol.public_key)
    epochs = in_step(three.alice, lambda step: [epoch_at(step, group_id, number) for number in range(5)])
    assert epochs == [0, 1, 2, 3, None]


# Long logs.


def long_log(three: Three, entries: int) -> None:
    """Let Bob have come and gone many times."""
    for number in range(entries):
        operation = Operation.LEAVE if number % 2 == 0 else Operation.JOIN
        entry = entry_after(three.stored.state, three.bob.identity, "bob", operation)
        three.stored.log.append(entry)
        three.stored.state = three.stored.state.apply(take_entry(entry))


def test_a_log_of_many_pages_is_verified_wholly_also_over_a_restart(three: Three) -> None:
    two_and_carol(three)
    long_log(three, 600)
    operation_id = three.carol.begin(three.carol.device.engine.groups.join("team"))
    for _ in range(4):  # question and answer, of the name and of the second page
        three.carol.device.relay_takes_one()
        three.carol.device.take_reply()
        if three.carol.device.engine.tick(three.world.clock.now).requests:
            break
    three.carol.device.restart()
    three.carol.device.connect()
    three.world.settle()
    assert three.carol.group().members.keys() == {"alice", "bob", "carol"}
    assert [event.members for event in three.carol.device.of(GroupJoined)] == [("alice", "bob", "carol")]
    assert operation_id not in three.carol.device.outcomes or three.carol.device.outcomes[operation_id] is None


def test_the_membership_as_of_an_older_entry_follows_from_our_own_log(three: Three) -> None:
    two_and_carol(three)
    long_log(three, 9)
    three.carol.join("team")
    group_id = three.stored.state.group_id
    three.carol.device.restart()

    def at(number: int) -> list[str] | None:
        found = in_step(three.carol, lambda step: membership_at(step, group_id, number))
        return None if found is None else sorted(found.members)

    assert [at(0), at(1), at(2), at(3)] == [["alice"], ["alice", "bob"], ["alice"], ["alice", "bob"]]
    assert at(11) == ["alice", "carol"]
    assert at(12) is None
