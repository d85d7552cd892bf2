"""What a relay gains that shows two logs, or puts a key of its own in a member's place: messages from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.events import DeliveryState, GroupForked, GroupMemberJoined, IdentityChanged, MessageState
from e2ee.groups import Operation
from ratchet import IdentityKeyPair
from tests.support.group_talk import Member, Three, entry_after
from tests.support.group_world import texts

if TYPE_CHECKING:
    from e2ee.ids import GroupId, MessageId
    from tests.support.engines import World


def say(member: Member, group: GroupId, text: str) -> MessageId:
    message_id, output = member.device.engine.send_group(group, text)
    member.device.take(output)
    member.device.world.settle()
    return message_id


def two_views(three: Three) -> GroupId:
    """Alice and Bob are in a group. To Alice, Carol has joined; to Bob, in her place, somebody of the relay's."""
    group = three.alice.create("team")
    three.bob.join("team")
    base = three.stored.state
    three.bob.device.lose_connection()
    three.carol.join("team")
    three.world.relay.boxes["bob", 1].mail.clear()
    three.bob.device.connect()
    three.bob.shown(entry_after(base, IdentityKeyPair.generate(), "mallory", Operation.JOIN))
    assert three.bob.group().log_number == three.alice.group().log_number
    assert three.bob.group().fingerprint != three.alice.group().fingerprint
    return group.id


def test_the_first_message_that_crosses_between_two_views_of_a_log_is_a_fork_and_is_not_shown(three: Three) -> None:
    group = two_views(three)
    say(three.alice, group, "hello")
    assert texts(three.carol.device) == ["hello"]
    assert texts(three.bob.device) == []
    assert [event.log_number for event in three.bob.device.of(GroupForked)] == [2]
    assert three.bob.group().forked


def test_nothing_is_sent_into_a_forked_group_until_somebody_decides_and_then_nothing_is_lost(three: Three) -> None:
    group = two_views(three)
    say(three.alice, group, "hello")
    held = say(three.bob, group, "is anybody else here?")
    states = [event.state for event in three.bob.device.of(MessageState) if event.message_id == held]
    assert states == [DeliveryState.HELD]
    three.bob.device.take(three.bob.device.engine.groups.accept_fork(group))
    three.world.settle()
    for _ in range(3):  # what waits for a minute or two, at the lane's own pace
        three.world.clock.now += 600
        three.world.settle()
    assert three.bob.group().fingerprint == three.alice.group().fingerprint
    assert texts(three.bob.device) == ["hello"]
    assert texts(three.alice.device) == texts(three.carol.device)[1:] == ["is anybody else here?"]


def test_both_ends_of_a_fork_find_it_out_if_both_write(three: Three) -> None:
    group = two_views(three)
    for member, text in ((three.alice, "from alice"), (three.bob, "from bob")):
        _, output = member.device.engine.send_group(group, text)
        member.device.take(output)
    three.world.settle()
    assert three.bob.group().forked or three.alice.group().forked
    assert "from alice" not in texts(three.bob.device)
    assert "from bob" not in texts(three.alice.device)


def test_a_key_that_the_relay_puts_in_a_member_s_place_gets_no_message_until_it_is_trusted(
    three: Three, world: World
) -> None:
    group = three.alice.create("team").id
    three.bob.join("team")
    three.carol.join("team")
    say(three.bob, group, "it is me")
    say(three.alice, group, "hello bob")
    three.bob.device.lose_connection()  # else both have the one mailbox
    world.relay.forget_user("bob")
    impostor = Member(world.device("bob"))
    impostor.join("team")
    say(three.alice, group, "a secret")
    assert texts(three.carol.device)[-1] == "a secret"
    assert texts(impostor.device) == []
    key = impostor.identity.public_key
    assert key in [event.shown for event in three.alice.device.of(IdentityChanged)]
    assert [event.user for event in three.alice.device.of(GroupMemberJoined)][-1] == "bob"
    three.alice.device.trust("bob", key)
    say(three.alice, group, "welcome back")
    assert "welcome back" in texts(impostor.device)
