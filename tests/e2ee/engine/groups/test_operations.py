"""Operations on groups between engines, through a relay in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.errors import GroupRefused, NotAMember, RefusalCode, UnknownGroup
from e2ee.events import (
    GroupClosed,
    GroupCreated,
    GroupDeleted,
    GroupInvitation,
    GroupJoined,
    GroupLeft,
    GroupMemberJoined,
    GroupMemberLeft,
    GroupRoleChanged,
)
from e2ee.groups import GroupKind, Operation, Role
from tests.support.group_talk import Member, Three

if TYPE_CHECKING:
    from tests.support.engines import World


def test_who_makes_a_group_is_its_admin_and_hears_of_it(three: Three) -> None:
    group = three.alice.create("team")
    assert group.members == {"alice": Role.ADMIN}
    assert (group.is_member, group.is_admin, group.kind, group.log_number) == (True, True, GroupKind.OPEN, 0)
    assert [type(event) for event in three.alice.told()] == [GroupCreated]


def test_an_open_group_is_joined_by_its_name_and_everybody_hears_of_it(three: Three) -> None:
    made = three.alice.create("team")
    joined = three.bob.join("team")
    assert joined.id == made.id
    assert list(joined.members) == ["alice", "bob"]
    assert [(type(event), event.members) for event in three.bob.device.of(GroupJoined)] == [
        (GroupJoined, ("alice", "bob"))
    ]
    assert [event.user for event in three.alice.device.of(GroupMemberJoined)] == ["bob"]
    assert three.alice.group().fingerprint == joined.fingerprint


def test_a_name_that_nobody_has_given_is_an_unknown_group(three: Three) -> None:
    with pytest.raises(UnknownGroup):
        three.bob.join("nowhere")


def test_a_name_that_is_taken_is_refused(three: Three) -> None:
    three.alice.create("team")
    with pytest.raises(GroupRefused) as refused:
        three.bob.create("team")
    assert refused.value.code is RefusalCode.GROUP_NAME_TAKEN


def test_joining_twice_is_joining_once(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    assert three.bob.join("team").log_number == 1


def test_an_invitation_needs_the_consent_of_who_is_invited(three: Three) -> None:
    three.alice.create("team", GroupKind.INVITATION)
    three.alice.act(Operation.INVITE, "bob")
    assert list(three.alice.group().members) == ["alice"]
    assert [event.by for event in three.bob.device.of(GroupInvitation)] == ["alice"]
    assert [(one.is_member, one.is_invited) for one in three.bob.groups()] == [(False, True)]
    three.bob.act(Operation.ACCEPT)
    assert list(three.alice.group().members) == ["alice", "bob"]
    assert [event.members for event in three.bob.device.of(GroupJoined)] == [("alice", "bob")]


def test_joining_a_group_that_invites_us_accepts_the_invitation(three: Three) -> None:
    group = three.alice.create("team", GroupKind.INVITATION)
    three.alice.act(Operation.INVITE, "bob", role=Role.ADMIN)
    assert three.bob.join(group.id).is_admin


def test_a_declined_invitation_is_over(three: Three) -> None:
    three.alice.create("team", GroupKind.INVITATION)
    three.alice.act(Operation.INVITE, "bob")
    three.bob.act(Operation.LEAVE)
    assert three.bob.groups() == []
    assert three.alice.group().invited == ()
    with pytest.raises(NotAMember):
        three.bob.act(Operation.ACCEPT)


def test_nobody_joins_a_group_by_invitation_uninvited(three: Three) -> None:
    group = three.alice.create("team", GroupKind.INVITATION)
    with pytest.raises(UnknownGroup):  # the relay tells strangers nothing
        three.bob.join(group.id)
    assert three.bob.groups() == []


def test_leaving_needs_nobodys_consent_and_everybody_hears_of_it(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    three.bob.act(Operation.LEAVE)
    assert [event.by for event in three.bob.device.of(GroupLeft)] == ["bob"]
    assert [(event.user, event.by) for event in three.alice.device.of(GroupMemberLeft)] == [("bob", "bob")]
    assert three.bob.groups() == []


def test_the_last_admin_leaves_only_if_somebody_follows(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    with pytest.raises(GroupRefused) as refused:
        three.alice.act(Operation.LEAVE)
    assert refused.value.code is RefusalCode.ENTRY_REFUSED
    three.alice.act(Operation.LEAVE, "bob")
    assert three.bob.group().is_admin
    assert [(event.user, event.admin) for event in three.bob.device.of(GroupRoleChanged)] == [("bob", True)]


def test_the_last_member_leaves_an_empty_group_behind_and_its_name_is_free(three: Three) -> None:
    before = three.alice.create("team")
    three.alice.act(Operation.LEAVE)
    assert three.alice.create("team").id != before.id


def test_whoever_is_removed_is_out_and_told_by_whom(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    three.carol.join("team")
    three.alice.act(Operation.REMOVE, "bob")
    assert [event.by for event in three.bob.device.of(GroupLeft)] == ["alice"]
    assert [(event.user, event.by) for event in three.carol.device.of(GroupMemberLeft)] == [("bob", "alice")]
    with pytest.raises(NotAMember):
        three.bob.act(Operation.REMOVE, "carol")


def test_admins_are_made_and_unmade(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    three.alice.act(Operation.PROMOTE, "bob")
    three.bob.act(Operation.DEMOTE, "alice")
    assert three.carol.join("team").members == {"alice": Role.MEMBER, "bob": Role.ADMIN, "carol": Role.MEMBER}
    with pytest.raises(GroupRefused):
        three.bob.act(Operation.DEMOTE, "bob")


def test_a_closed_group_lets_nobody_in_uninvited(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    three.alice.act(Operation.CLOSE)
    assert [event.by for event in three.bob.device.of(GroupClosed)] == ["alice"]
    with pytest.raises(UnknownGroup):
        three.carol.join("team")


def test_a_deleted_group_is_over_for_all_and_its_name_is_free(three: Three) -> None:
    group = three.alice.create("team")
    three.bob.join("team")
    three.alice.act(Operation.DELETE)
    assert [event.by for event in three.bob.device.of(GroupDeleted)] == ["alice"]
    assert three.bob.groups() == []
    with pytest.raises(GroupRefused):
        three.bob.act(Operation.LEAVE, group=group.id)
    assert three.bob.create("team").id != group.id


def test_another_device_of_our_user_hears_of_the_groups_too(three: Three, world: World) -> None:
    second = Member(world.device("alice", 2, identity=three.alice.identity))
    made = three.alice.create("team")
    assert [event.group for event in second.device.of(GroupCreated)] == [made.id]
    assert second.group().fingerprint == made.fingerprint


def test_a_device_that_comes_later_fetches_the_log_of_a_group_it_hears_of(three: Three, world: World) -> None:
    three.alice.create("team")
    three.bob.join("team")
    second = Member(world.device("alice", 2, identity=three.alice.identity))
    three.carol.join("team")
    assert [event.members for event in second.device.of(GroupJoined)] == [("alice", "bob", "carol")]
    assert second.group().fingerprint == three.carol.group().fingerprint


def test_an_entry_that_was_withheld_is_fetched_when_the_next_one_comes(three: Three) -> None:
    three.alice.create("team")
    three.bob.join("team")
    box = three.world.relay.boxes["alice", 1]
    three.alice.device.lose_connection()
    three.carol.join("team")
    box.mail.clear()
    three.alice.device.connect()
    three.carol.act(Operation.LEAVE)
    assert list(three.alice.group().members) == ["alice", "bob"]
    assert [type(event) for event in three.alice.told()[2:]] == [GroupMemberJoined, GroupMemberLeft]
