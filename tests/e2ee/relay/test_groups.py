"""Logs of groups at the relay: rules R7.1 to R7.5 and R7.9 to R7.12 of docs/protocol.md, on the core."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import AppendEntry, EnvelopeKind, GroupLog, RefusedRequest
from e2ee.groups import GroupKind, Membership, Operation, Role, sign_entry, take_entry
from e2ee.groups import membership as rules
from e2ee.ids import UserId
from e2ee.limits import GROUP_ENTRIES_PER_FRAME_MAX
from e2ee.relay.limits import IdentityChange, RelayOptions
from store.relay import limits as stored
from tests.support.relay_device import Device
from tests.support.relay_group import Group, append, genesis, read
from tests.support.relay_talk import Desk

if TYPE_CHECKING:
    from tests.support.relay_talk import Line

UNKNOWN = RefusalCode.UNKNOWN_GROUP


@pytest.fixture
def desk() -> Desk:
    return Desk()


def join(desk: Desk, *names: str) -> list[Line]:
    return [desk.join(Device(name)) for name in names]


def entries(line: Line) -> list[bytes]:
    """What was delivered to a line of groups' logs."""
    return [one.body for one in line.mail() if one.kind is EnvelopeKind.GROUP_ENTRY]


def test_a_group_is_made_by_its_genesis_entry_and_its_id_is_the_entrys_hash(desk: Desk) -> None:
    (alice,) = join(desk, "alice")
    group = Group(alice)
    answer = read(alice, group.id)
    assert (answer.group_id, answer.head, answer.refusal, answer.entries) == (group.id, 0, None, (group.log[0],))
    assert read(alice, name="team").group_id == take_entry(group.log[0]).hash


def test_every_device_of_every_old_and_new_member_gets_each_entry_once(desk: Desk) -> None:
    alice, bob, carol = join(desk, "alice", "bob", "carol")
    tablet = desk.join(Device("alice", 2, of=alice.device))
    group = Group(alice)
    group.bring_in(alice, bob)
    group.bring_in(alice, carol)
    group.do(bob, Operation.LEAVE)
    assert entries(alice) == entries(tablet) == group.log
    assert entries(bob) == group.log[1:]
    assert entries(carol) == group.log[3:]


def test_an_invited_user_gets_the_entries_about_the_invitation_and_no_other(desk: Desk) -> None:
    alice, bob, eve = join(desk, "alice", "bob", "eve")
    group = Group(alice)
    invited = group.do(alice, Operation.INVITE, bob.device)
    group.bring_in(alice, eve)
    ended = group.do(alice, Operation.REMOVE, bob.device)
    assert entries(bob) == [invited.data, ended.data]


def test_who_declines_an_invitation_tells_the_members(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    group.do(alice, Operation.INVITE, bob.device)
    declined = group.do(bob, Operation.LEAVE)
    assert entries(alice)[-1] == entries(bob)[-1] == declined.data


@pytest.mark.parametrize("operation", [Operation.JOIN, Operation.ACCEPT])
def test_nobody_comes_uninvited_into_a_group_by_invitation_or_learns_of_it(desk: Desk, operation: Operation) -> None:
    alice, eve = join(desk, "alice", "eve")
    group = Group(alice)
    answer = append(eve, forged(group, eve.device, operation))
    assert answer == GroupLog(answer.request, None, 0, UNKNOWN, (), None)
    assert entries(alice) == group.log


def forged(group: Group, actor: Device, operation: Operation, subject: Device | None = None) -> bytes:
    """An entry that names the next number, whether its actor may or not."""
    whom = subject or actor
    return sign_entry(
        actor.account.identity,
        group_id=group.id,
        number=group.state.number + 1,
        previous_hash=group.state.hash,
        epoch=group.state.epoch + (operation is not Operation.INVITE),
        time_ms=0,
        operation=operation,
        actor=UserId(actor.user_id),
        subject=UserId(whom.user_id),
        subject_key=whom.account.identity_key,
        entropy=bytes,
    )


def test_what_does_not_follow_from_the_log_is_refused_and_nobody_hears_of_it(desk: Desk) -> None:
    alice, bob, carol = join(desk, "alice", "bob", "carol")
    group = Group(alice)
    group.bring_in(alice, bob)
    before = entries(alice)
    for bad in (
        forged(group, bob.device, Operation.INVITE, carol.device),
        forged(group, bob.device, Operation.REMOVE, alice.device),
        forged(group, bob.device, Operation.DELETE),
    ):
        assert append(bob, bad).refusal == RefusalCode.ENTRY_REFUSED
    assert before == group.log
    assert entries(alice) == []
    assert read(alice, group.id).head == group.state.number


def test_a_full_group_is_said_to_be_full_and_takes_nobody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob, carol, dave = join(desk, "alice", "bob", "carol", "dave")
    group = Group(alice, kind=GroupKind.OPEN)
    group.do(bob, Operation.JOIN)
    late, later = (forged(group, line.device, Operation.JOIN) for line in (carol, dave))
    alice.mail()
    with monkeypatch.context() as patch:
        patch.setattr(rules, "GROUP_MEMBERS_MAX", 2)
        assert append(carol, late).refusal == RefusalCode.GROUP_FULL
        assert (read(alice, group.id).head, entries(alice), entries(carol)) == (1, [], [])
    with monkeypatch.context() as patch:
        patch.setattr(stored, "GROUP_ENTRIES_MAX", 2)
        assert append(dave, later).refusal == RefusalCode.GROUP_FULL
        assert (read(alice, group.id).head, entries(alice), entries(dave)) == (1, [], [])
    assert append(carol, late).refusal is None


def test_an_entry_that_is_none_is_refused_and_costs_no_connection(desk: Desk) -> None:
    (alice,) = join(desk, "alice")
    good = genesis(alice.device)
    for bad in (b"x", good[:-1], good[:-1] + bytes([good[-1] ^ 1]), bytes(65)):
        assert append(alice, bad).refusal == RefusalCode.NOT_AUTHENTIC
    assert alice.closed is None


def test_a_name_is_given_once(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    Group(alice)
    assert append(bob, genesis(bob.device)).refusal == RefusalCode.GROUP_NAME_TAKEN


def test_an_entry_that_comes_again_is_accepted_again_and_not_delivered_twice(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    invited = group.do(alice, Operation.INVITE, bob.device)
    group.do(bob, Operation.ACCEPT)
    for data in (group.log[0], invited.data):
        answer = append(alice, data)
        assert (answer.group_id, answer.refusal, answer.head) == (group.id, None, 2)
    assert entries(alice) == group.log
    again = alice.send(*(AppendEntry(0, alice.device.next_request(), invited.data) for _ in range(2)))
    assert [one.refusal for one in again.take(GroupLog)] == [None, None]


def test_who_loses_the_number_gets_the_entries_since(desk: Desk) -> None:
    alice, bob, carol, dave = join(desk, "alice", "bob", "carol", "dave")
    group = Group(alice)
    group.bring_in(alice, bob)
    group.do(alice, Operation.PROMOTE, bob.device)
    late = group.entry(bob.device, Operation.INVITE, dave.device)
    group.do(alice, Operation.INVITE, carol.device)
    group.do(carol, Operation.ACCEPT)
    answer = append(bob, late)
    assert (answer.refusal, answer.head) == (RefusalCode.GROUP_CHANGED, 5)
    assert list(answer.entries) == group.log[-2:]
    assert group.do(bob, Operation.INVITE, dave.device).number == 6


def test_an_entry_beyond_the_next_number_gets_none(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    group.take(group.entry(alice.device, Operation.INVITE, bob.device))
    answer = append(alice, group.entry(alice.device, Operation.REMOVE, bob.device))
    assert (answer.refusal, answer.head, answer.entries) == (RefusalCode.GROUP_CHANGED, 0, ())


def test_an_entry_on_another_history_is_refused(desk: Desk) -> None:
    alice, bob, carol = join(desk, "alice", "bob", "carol")
    group = Group(alice)
    fork = replace(group.state)
    group.do(alice, Operation.INVITE, bob.device)
    mine = group.state
    group.state = fork
    group.take(group.entry(alice.device, Operation.INVITE, carol.device))
    assert append(alice, group.entry(alice.device, Operation.REMOVE, carol.device)).refusal == RefusalCode.ENTRY_REFUSED
    group.state = mine
    group.do(bob, Operation.ACCEPT)


def test_the_log_of_an_open_group_is_everybodys_and_one_by_invitation_its_members_and_the_invited(desk: Desk) -> None:
    alice, bob, eve = join(desk, "alice", "bob", "eve")
    opened, closed = Group(alice, "open", GroupKind.OPEN), Group(alice, "closed")
    closed.do(alice, Operation.INVITE, bob.device)
    assert list(read(eve, opened.id).entries) == list(read(eve, name="open").entries) == opened.log
    assert list(read(bob, closed.id).entries) == list(read(bob, name="closed").entries) == closed.log
    for answer in (read(eve, closed.id), read(eve, name="closed"), read(eve, bytes(32)), read(eve, name="none")):
        assert answer == GroupLog(answer.request, None, 0, UNKNOWN, (), None)


def test_a_closed_group_is_no_longer_joined_or_read_by_everybody(desk: Desk) -> None:
    alice, bob, eve = join(desk, "alice", "bob", "eve")
    group = Group(alice, kind=GroupKind.OPEN)
    group.do(bob, Operation.JOIN)
    group.do(alice, Operation.CLOSE)
    assert read(eve, group.id).refusal == UNKNOWN
    assert list(read(bob, group.id).entries) == group.log


def test_a_log_is_read_in_pieces_from_the_number_asked_for(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    group.do(alice, Operation.INVITE, bob.device)
    while group.state.number < GROUP_ENTRIES_PER_FRAME_MAX + 3:
        desk.now += 1
        group.do(alice, Operation.INVITE, bob.device)
    first = read(alice, group.id)
    assert (first.head, list(first.entries)) == (group.state.number, group.log[:GROUP_ENTRIES_PER_FRAME_MAX])
    assert list(read(alice, group.id, start=len(first.entries)).entries) == group.log[GROUP_ENTRIES_PER_FRAME_MAX:]
    assert read(alice, group.id, start=group.state.number + 1).entries == ()


def test_the_end_of_a_group_reaches_everybody_and_frees_its_name_and_not_its_id(desk: Desk) -> None:
    alice, bob, carol = join(desk, "alice", "bob", "carol")
    group = Group(alice)
    group.bring_in(alice, bob)
    group.do(alice, Operation.INVITE, carol.device)
    end = group.do(alice, Operation.DELETE)
    assert [entries(line)[-1] for line in (alice, bob, carol)] == [end.data] * 3
    assert append(alice, end.data).refusal is None
    assert append(alice, group.log[0]).refusal is None
    late = append(alice, forged(group, alice.device, Operation.INVITE, bob.device))
    assert late.refusal == RefusalCode.ENTRY_REFUSED
    assert Group(bob).id != group.id


def test_who_had_a_seat_or_an_invitation_may_read_up_to_the_entry_that_ended_it(desk: Desk) -> None:
    alice, bob, carol, eve = join(desk, "alice", "bob", "carol", "eve")
    group = Group(alice)
    group.bring_in(alice, bob)
    group.do(alice, Operation.INVITE, carol.device)
    group.do(carol, Operation.LEAVE)
    group.do(alice, Operation.REMOVE, bob.device)
    group.bring_in(alice, eve)
    assert list(read(carol, group.id).entries) == group.log[:5]
    assert list(read(bob, group.id, start=4).entries) == group.log[4:6]
    assert read(bob, group.id).head == 5
    answer = append(bob, forged(group, bob.device, Operation.LEAVE))
    assert (answer.refusal, answer.head, answer.entries) == (RefusalCode.GROUP_CHANGED, 5, ())
    group.do(alice, Operation.INVITE, bob.device)
    assert list(read(bob, group.id).entries) == group.log
    group.do(alice, Operation.DELETE)
    assert [list(read(line, group.id).entries) for line in (alice, bob, eve)] == [group.log] * 3
    assert list(read(carol, group.id).entries) == group.log[:5]


def test_the_last_member_that_leaves_ends_the_group(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    group.do(alice, Operation.LEAVE)
    assert group.state.deleted
    Group(bob)


def test_more_joins_in_a_minute_than_the_limit_are_refused_with_the_time_to_wait(desk: Desk) -> None:
    desk = Desk(options=RelayOptions(group_joins_per_minute=2))
    alice, bob, carol, dave = join(desk, "alice", "bob", "carol", "dave")
    group = Group(alice, kind=GroupKind.OPEN)
    group.do(bob, Operation.JOIN)
    desk.now += 20
    group.do(carol, Operation.JOIN)
    group.do(alice, Operation.PROMOTE, bob.device)
    desk.now += 10
    answer = append(dave, group.entry(dave.device, Operation.JOIN))
    assert (answer.refusal, answer.retry_after_ms) == (RefusalCode.RATE_LIMITED, 30_001)
    group.do(bob, Operation.LEAVE)
    desk.now += 30.001
    group.do(dave, Operation.JOIN)


def test_the_application_says_who_makes_groups_and_who_invites_whom() -> None:
    desk = Desk(may_create_group=lambda user: user != "eve", may_send=lambda _from, to: to != "bob")
    alice, eve, bob, carol = join(desk, "alice", "eve", "bob", "carol")
    assert append(eve, genesis(eve.device)).refusal == RefusalCode.NOT_AUTHORIZED
    group = Group(alice)
    group.do(alice, Operation.INVITE, carol.device)
    assert append(alice, group.entry(alice.device, Operation.INVITE, bob.device)).refusal == RefusalCode.NOT_AUTHORIZED
    assert entries(bob) == []


def test_who_asks_too_often_waits() -> None:
    desk = Desk(options=RelayOptions(requests_per_s=1.0, requests_burst=3))
    (alice,) = join(desk, "alice")
    append(alice, genesis(alice.device, "one"))
    append(alice, genesis(alice.device, "two"))
    frame = AppendEntry(0, alice.device.next_request(), genesis(alice.device, "three"))
    assert alice.send(frame).one(RefusedRequest).code == RefusalCode.RATE_LIMITED


def test_a_member_with_a_new_identity_is_out_until_an_admin_rekeys_it() -> None:
    desk = Desk(options=RelayOptions(identity_change=IdentityChange.REPLACE))
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    group.bring_in(alice, bob)
    renewed = desk.join(Device("bob"))
    assert read(renewed, group.id).refusal == UNKNOWN
    assert append(renewed, forged(group, renewed.device, Operation.LEAVE)).refusal == UNKNOWN
    assert group.devices(alice).members == ()
    rekey = group.do(alice, Operation.REKEY, renewed.device)
    assert entries(renewed) == [rekey.data]
    assert [one.user_id for one in group.devices(alice).members] == ["bob"]


def test_a_member_whose_account_is_gone_can_still_be_removed(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    group.bring_in(alice, bob)
    with desk.store.begin() as unit:
        unit.users.remove("bob")
    group.do(alice, Operation.REMOVE, bob.device)


def test_an_admin_makes_another_before_it_goes(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    group.bring_in(alice, bob)
    assert append(alice, forged(group, alice.device, Operation.LEAVE)).refusal == RefusalCode.ENTRY_REFUSED
    group.do(alice, Operation.LEAVE, bob.device)
    assert group.state.members[UserId("bob")].role is Role.ADMIN
    group.do(bob, Operation.CLOSE) if group.state.kind is GroupKind.OPEN else group.do(bob, Operation.DELETE)


def test_the_relays_roster_is_what_the_log_says(desk: Desk) -> None:
    alice, bob, carol = join(desk, "alice", "bob", "carol")
    group = Group(alice)
    group.bring_in(alice, bob)
    group.do(alice, Operation.INVITE, carol.device, Role.ADMIN)
    group.do(alice, Operation.PROMOTE, bob.device)
    group.do(alice, Operation.DEMOTE, alice.device)
    rebuilt = Membership.start(take_entry(group.log[0]))
    for data in read(bob, group.id, start=1).entries:
        rebuilt = rebuilt.apply(take_entry(data))
    assert rebuilt == group.state
    with desk.store.begin() as unit:
        seats = {seat.user_id: seat.role for seat in unit.groups.roster(group.id)}
    assert seats == {"alice": Role.MEMBER, "bob": Role.ADMIN, "carol": 128 + Role.ADMIN}
