"""Entries of groups that somebody else than their actor brings to the relay: R7.9 to R7.11, on the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import DeleteAccount, EnvelopeKind, GroupLog
from e2ee.groups import GroupKind, Membership, Operation, Role, sign_entry, take_entry
from e2ee.ids import UserId
from e2ee.relay.limits import IdentityChange, RelayOptions
from tests.support.relay_device import Device
from tests.support.relay_group import Group, append, genesis, read
from tests.support.relay_talk import Desk

if TYPE_CHECKING:
    from tests.support.relay_talk import Line

UNKNOWN = RefusalCode.UNKNOWN_GROUP
REPLACE = RelayOptions(identity_change=IdentityChange.REPLACE)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def join(desk: Desk, *names: str) -> list[Line]:
    return [desk.join(Device(name)) for name in names]


def unsent(device: Device, name: str = "team", kind: GroupKind = GroupKind.INVITATION) -> Group:
    """A group of which the relay knows nothing."""
    group = object.__new__(Group)
    group.log = [genesis(device, name, kind)]
    group.state = Membership.start(take_entry(group.log[0]))
    return group


def sign(
    group: Group, actor: Device, operation: Operation, subject: Device | None = None, role: Role = Role.MEMBER
) -> bytes:
    """The next entry of the log, kept from the relay."""
    data = group.entry(actor, operation, subject, role)
    group.take(data)
    return data


def invited_and_in(group: Group, admin: Device, *devices: Device) -> None:
    for device in devices:
        sign(group, admin, Operation.INVITE, device)
        sign(group, device, Operation.ACCEPT)


def refusals(line: Line, *entries: bytes) -> list[int | None]:
    return [append(line, data).refusal for data in entries]


def entries(line: Line) -> list[tuple[str, bytes]]:
    """What was delivered of logs, and whom the relay names as sender."""
    return [(one.sender_user_id, one.body) for one in line.mail() if one.kind is EnvelopeKind.GROUP_ENTRY]


def test_a_whole_log_is_brought_by_one_who_comes_last_in_it_and_everybody_has_it_once(desk: Desk) -> None:
    alice, bob, carol = join(desk, "alice", "bob", "carol")
    group = unsent(alice.device)
    invited_and_in(group, alice.device, carol.device, bob.device)
    sign(group, carol.device, Operation.LEAVE)
    answers = [append(bob, data) for data in group.log]
    assert [(one.refusal, one.head) for one in answers] == [(None, number) for number in range(len(group.log))]
    assert list(read(bob, group.id).entries) == group.log
    assert entries(alice) == [("bob", data) for data in group.log]
    assert read(carol, group.id).head == group.state.number
    assert [one.user_id for one in group.devices(bob).members] == ["alice"]


def test_what_is_brought_is_judged_by_the_log_as_if_its_actor_had_come(desk: Desk) -> None:
    alice, bob, eve = join(desk, "alice", "bob", "eve")
    group = Group(alice)
    group.bring_in(alice, bob)
    invitation = group.entry(alice.device, Operation.INVITE, eve.device)
    for at in (0, len(invitation) // 2, len(invitation) - 1):
        bad = invitation[:at] + bytes([invitation[at] ^ 1]) + invitation[at + 1 :]
        assert append(bob, bad).refusal == RefusalCode.NOT_AUTHENTIC
    assert append(eve, invitation).refusal is None
    group.take(invitation)
    accepted = group.state.next_entry(
        eve.device.account.identity, UserId("eve"), Operation.ACCEPT, time_ms=0, entropy=bytes
    )
    forged_epoch = sign_entry(
        alice.device.account.identity,
        group_id=group.id,
        number=group.state.number + 1,
        previous_hash=group.state.hash,
        epoch=group.state.epoch,
        time_ms=0,
        operation=Operation.REMOVE,
        actor=UserId("alice"),
        subject=UserId("bob"),
        subject_key=bob.device.account.identity_key,
        entropy=bytes,
    )
    assert refusals(bob, forged_epoch, accepted) == [RefusalCode.ENTRY_REFUSED, None]


def test_a_key_that_is_not_its_actors_any_more_counts_only_where_the_actor_itself_brings_it() -> None:
    desk = Desk(options=REPLACE)
    alice, bob, eve = join(desk, "alice", "bob", "eve")
    group = Group(alice, kind=GroupKind.OPEN)
    group.do(bob, Operation.JOIN)
    group.do(alice, Operation.PROMOTE, bob.device)
    entry = group.entry(bob.device, Operation.REMOVE, alice.device)
    renewed = desk.join(Device("bob"))
    for line in (eve, alice):
        assert append(line, entry).refusal == RefusalCode.NOT_AUTHENTIC
    assert append(eve, genesis(bob.device, "other")).refusal == RefusalCode.NOT_AUTHENTIC
    assert append(renewed, entry).refusal is None


def test_who_has_no_account_takes_no_seat_and_makes_no_group_whoever_brings_the_entry(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    gone = Device("gone")
    group = Group(alice, kind=GroupKind.OPEN)
    joined = group.entry(gone, Operation.JOIN)
    assert refusals(bob, joined, genesis(gone, "other")) == [RefusalCode.NOT_AUTHENTIC] * 2
    desk.join(gone)
    assert append(bob, joined).refusal is None


def test_who_has_deleted_the_account_acts_no_more_and_what_the_log_has_stays(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    group.bring_in(alice, bob)
    promoted = group.entry(alice.device, Operation.PROMOTE, bob.device)
    alice.send(DeleteAccount(0, 5))
    assert refusals(bob, promoted, group.log[1]) == [RefusalCode.NOT_AUTHENTIC, None]


def test_an_outsider_that_has_no_entry_that_fits_learns_the_same_of_a_group_as_of_none(desk: Desk) -> None:
    alice, bob, eve = join(desk, "alice", "bob", "eve")
    group = Group(alice)
    group.bring_in(alice, bob)
    sign(group, alice.device, Operation.PROMOTE, bob.device)
    beyond = sign(group, alice.device, Operation.DEMOTE, bob.device)
    elsewhere = unsent(alice.device, "elsewhere")
    sign(elsewhere, alice.device, Operation.INVITE, bob.device)
    other = Membership.start(take_entry(group.log[0])).next_entry(
        alice.device.account.identity,
        UserId("alice"),
        Operation.INVITE,
        subject=UserId("eve"),
        subject_key=eve.device.account.identity_key,
        time_ms=0,
        entropy=bytes,
    )
    for data in (beyond, other, elsewhere.log[1]):
        answer = append(eve, data)
        assert answer == GroupLog(answer.request, None, 0, UNKNOWN, (), None)
    # Who has an entry may know that the log has it, and learns nothing of what is behind it.
    answer = append(eve, group.log[1])
    assert (answer.refusal, answer.head, answer.entries) == (None, 1, ())
    assert append(bob, group.log[1]).head == 2


def test_who_was_in_the_group_learns_nothing_behind_its_end_by_bringing_entries(desk: Desk) -> None:
    alice, bob, carol = join(desk, "alice", "bob", "carol")
    group = Group(alice)
    group.bring_in(alice, bob)
    group.do(alice, Operation.REMOVE, bob.device)
    group.bring_in(alice, carol)
    sign(group, alice.device, Operation.PROMOTE, carol.device)
    beyond = sign(group, alice.device, Operation.DEMOTE, carol.device)
    answer = append(bob, beyond)
    assert (answer.refusal, answer.head, answer.entries) == (RefusalCode.GROUP_CHANGED, 3, ())
    assert append(bob, group.log[1]).head == 3


def test_a_member_whose_own_entries_are_lost_too_brings_what_it_may_not_yet_read(desk: Desk) -> None:
    alice, bob = join(desk, "alice", "bob")
    group = Group(alice)
    invited_and_in(group, alice.device, bob.device)
    assert read(bob, group.id).refusal == UNKNOWN
    assert refusals(bob, group.log[2], group.log[0], group.log[1], group.log[2]) == [UNKNOWN, None, None, None]
    assert read(bob, group.id).head == 2


def test_the_application_is_asked_about_the_actor_and_only_of_what_would_be_appended() -> None:
    asked: list[tuple[str, ...]] = []

    def may_create(user: str) -> bool:
        asked.append((user,))
        return user != "eve"

    def may_send(sender: str, to: str) -> bool:
        asked.append((sender, to))
        return to != "dave"

    desk = Desk(may_create_group=may_create, may_send=may_send)
    alice, bob, carol, dave, eve = join(desk, "alice", "bob", "carol", "dave", "eve")
    assert append(bob, genesis(eve.device, "other")).refusal == RefusalCode.NOT_AUTHORIZED
    group = unsent(alice.device)
    sign(group, alice.device, Operation.INVITE, carol.device)
    assert refusals(bob, *group.log, *group.log, *group.log) == [None] * 6
    assert append(bob, group.entry(alice.device, Operation.INVITE, dave.device)).refusal == RefusalCode.NOT_AUTHORIZED
    assert asked == [("eve",), ("alice",), ("alice", "carol"), ("alice", "dave")]


def test_a_hook_that_raises_refuses_the_entry_and_nothing_else() -> None:
    def broken(_user: str) -> bool:
        raise ZeroDivisionError

    (alice,) = join(Desk(may_create_group=broken), "alice")
    assert append(alice, genesis(alice.device)).refusal == RefusalCode.NOT_AUTHORIZED
    assert read(alice, name="team").refusal == UNKNOWN


def test_what_is_brought_costs_who_brings_it_and_not_the_actor() -> None:
    desk = Desk(options=RelayOptions(group_deliveries_per_s=0.001, group_deliveries_burst=4))
    alice, bob, carol = join(desk, "alice", "bob", "carol")
    group = Group(alice)
    invitation = sign(group, alice.device, Operation.INVITE, carol.device)
    ended = sign(group, alice.device, Operation.REMOVE, carol.device)
    assert refusals(bob, invitation, ended) == [None, RefusalCode.RATE_LIMITED]
    assert append(alice, ended).refusal is None


def test_joins_that_others_bring_count_against_the_limit_of_the_group() -> None:
    desk = Desk(options=RelayOptions(group_joins_per_minute=1))
    alice, bob, carol, dave = join(desk, "alice", "bob", "carol", "dave")
    group = Group(alice, kind=GroupKind.OPEN)
    for line in (bob, carol):
        sign(group, line.device, Operation.JOIN)
    assert refusals(dave, *group.log) == [None, None, RefusalCode.RATE_LIMITED]
