"""Operations on groups between engines, through a relay in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.errors import GroupRefused, NotAMember, RefusalCode, UnknownGroup
from e2ee.events import (
    GroupClosed,
    GroupCreated,
    GroupDeleted,
    GroupEvent,
    GroupInvitation,
    GroupJoined,
    GroupLeft,
    GroupMemberJoined,
    GroupMemberLeft,
    GroupRoleChanged,
)
from e2ee.groups import GroupKind, Operation, Role
from tests.support.group_talk import Member

if TYPE_CHECKING:
    from tests.support.engines import World


class Team:
    """Three users of one relay."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alice, self.bob, self.carol = (Member(world.device(name)) for name in ("alice", "bob", "carol"))


@pytest.fixture
def team(world: World) -> Team:
    return Team(world)


def told(member: Member) -> list[GroupEvent]:
    """What the application has read about groups, as it came."""
    return member.device.of(GroupEvent)


def test_who_makes_a_group_is_its_admin_and_hears_of_it(team: Team) -> None:
    group = team.alice.create("team")
    assert group.members == {"alice": Role.ADMIN}
    assert (group.is_member, group.is_admin, group.kind, group.log_number) == (True, True, GroupKind.OPEN, 0)
    assert [type(event) for event in told(team.alice)] == [GroupCreated]


def test_an_open_group_is_joined_by_its_name_and_everybody_hears_of_it(team: Team) -> None:
    made = team.alice.create("team")
    joined = team.bob.join("team")
    assert joined.id == made.id
    assert list(joined.members) == ["alice", "bob"]
    assert [(type(event), event.members) for event in team.bob.device.of(GroupJoined)] == [
        (GroupJoined, ("alice", "bob"))
    ]
    assert [event.user for event in team.alice.device.of(GroupMemberJoined)] == ["bob"]
    assert team.alice.group().fingerprint == joined.fingerprint


def test_a_name_that_nobody_has_given_is_an_unknown_group(team: Team) -> None:
    with pytest.raises(UnknownGroup):
        team.bob.join("nowhere")


def test_a_name_that_is_taken_is_refused(team: Team) -> None:
    team.alice.create("team")
    with pytest.raises(GroupRefused) as refused:
        team.bob.create("team")
    assert refused.value.code is RefusalCode.GROUP_NAME_TAKEN


def test_joining_twice_is_joining_once(team: Team) -> None:
    team.alice.create("team")
    team.bob.join("team")
    assert team.bob.join("team").log_number == 1


def test_an_invitation_needs_the_consent_of_who_is_invited(team: Team) -> None:
    team.alice.create("team", GroupKind.INVITATION)
    team.alice.act(Operation.INVITE, "bob")
    assert list(team.alice.group().members) == ["alice"]
    assert [event.by for event in team.bob.device.of(GroupInvitation)] == ["alice"]
    assert [(one.is_member, one.is_invited) for one in team.bob.groups()] == [(False, True)]
    team.bob.act(Operation.ACCEPT)
    assert list(team.alice.group().members) == ["alice", "bob"]
    assert [event.members for event in team.bob.device.of(GroupJoined)] == [("alice", "bob")]


def test_joining_a_group_that_invites_us_accepts_the_invitation(team: Team) -> None:
    group = team.alice.create("team", GroupKind.INVITATION)
    team.alice.act(Operation.INVITE, "bob", role=Role.ADMIN)
    assert team.bob.join(group.id).is_admin


def test_a_declined_invitation_is_over(team: Team) -> None:
    team.alice.create("team", GroupKind.INVITATION)
    team.alice.act(Operation.INVITE, "bob")
    team.bob.act(Operation.LEAVE)
    assert team.bob.groups() == []
    assert team.alice.group().invited == ()
    with pytest.raises(NotAMember):
        team.bob.act(Operation.ACCEPT)


def test_nobody_joins_a_group_by_invitation_uninvited(team: Team) -> None:
    group = team.alice.create("team", GroupKind.INVITATION)
    with pytest.raises(UnknownGroup):  # the relay tells strangers nothing
        team.bob.join(group.id)
    assert team.bob.groups() == []


def test_leaving_needs_nobodys_consent_and_everybody_hears_of_it(team: Team) -> None:
    team.alice.create("team")
    team.bob.join("team")
    team.bob.act(Operation.LEAVE)
    assert [event.by for event in team.bob.device.of(GroupLeft)] == ["bob"]
    assert [(event.user, event.by) for event in team.alice.device.of(GroupMemberLeft)] == [("bob", "bob")]
    assert team.bob.groups() == []


def test_the_last_admin_leaves_only_if_somebody_follows(team: Team) -> None:
    team.alice.create("team")
    team.bob.join("team")
    with pytest.raises(GroupRefused) as refused:
        team.alice.act(Operation.LEAVE)
    assert refused.value.code is RefusalCode.ENTRY_REFUSED
    team.alice.act(Operation.LEAVE, "bob")
    assert team.bob.group().is_admin
    assert [(event.user, event.admin) for event in team.bob.device.of(GroupRoleChanged)] == [("bob", True)]


def test_the_last_member_leaves_an_empty_group_behind_and_its_name_is_free(team: Team) -> None:
    before = team.alice.create("team")
    team.alice.act(Operation.LEAVE)
    assert team.alice.create("team").id != before.id


def test_whoever_is_removed_is_out_and_told_by_whom(team: Team) -> None:
    team.alice.create("team")
    team.bob.join("team")
    team.carol.join("team")
    team.alice.act(Operation.REMOVE, "bob")
    assert [event.by for event in team.bob.device.of(GroupLeft)] == ["alice"]
    assert [(event.user, event.by) for event in team.carol.device.of(GroupMemberLeft)] == [("bob", "alice")]
    with pytest.raises(NotAMember):
        team.bob.act(Operation.REMOVE, "carol")


def test_admins_are_made_and_unmade(team: Team) -> None:
    team.alice.create("team")
    team.bob.join("team")
    team.alice.act(Operation.PROMOTE, "bob")
    team.bob.act(Operation.DEMOTE, "alice")
    assert team.carol.join("team").members == {"alice": Role.MEMBER, "bob": Role.ADMIN, "carol": Role.MEMBER}
    with pytest.raises(GroupRefused):
        team.bob.act(Operation.DEMOTE, "bob")


def test_a_closed_group_lets_nobody_in_uninvited(team: Team) -> None:
    team.alice.create("team")
    team.bob.join("team")
    team.alice.act(Operation.CLOSE)
    assert [event.by for event in team.bob.device.of(GroupClosed)] == ["alice"]
    with pytest.raises(UnknownGroup):
        team.carol.join("team")


def test_a_deleted_group_is_over_for_all_and_its_name_is_free(team: Team) -> None:
    group = team.alice.create("team")
    team.bob.join("team")
    team.alice.act(Operation.DELETE)
    assert [event.by for event in team.bob.device.of(GroupDeleted)] == ["alice"]
    assert team.bob.groups() == []
    with pytest.raises(GroupRefused):
        team.bob.act(Operation.LEAVE, group=group.id)
    assert team.bob.create("team").id != group.id


def test_another_device_of_our_user_hears_of_the_groups_too(team: Team, world: World) -> None:
    with team.alice.device.store.begin() as unit:
        identity = unit.account.require().identity
    second = Member(world.device("alice", 2, identity=identity))
    made = team.alice.create("team")
    assert [event.group for event in second.device.of(GroupCreated)] == [made.id]
    assert second.group().fingerprint == made.fingerprint


def test_a_device_that_comes_later_fetches_the_log_of_a_group_it_hears_of(team: Team, world: World) -> None:
    team.alice.create("team")
    team.bob.join("team")
    with team.alice.device.store.begin() as unit:
        identity = unit.account.require().identity
    second = Member(world.device("alice", 2, identity=identity))
    team.carol.join("team")
    assert [event.members for event in second.device.of(GroupJoined)] == [("alice", "bob", "carol")]
    assert second.group().fingerprint == team.carol.group().fingerprint


def test_an_entry_that_was_withheld_is_fetched_when_the_next_one_comes(team: Team) -> None:
    team.alice.create("team")
    team.bob.join("team")
    box = team.world.relay.boxes["alice", 1]
    team.alice.device.lose_connection()
    team.carol.join("team")
    box.mail.clear()
    team.alice.device.connect()
    team.carol.act(Operation.LEAVE)
    assert list(team.alice.group().members) == ["alice", "bob"]
    assert [type(event) for event in told(team.alice)[2:]] == [GroupMemberJoined, GroupMemberLeft]
