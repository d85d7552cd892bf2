"""Messages to groups at the relay: rules R7.6 to R7.8 of docs/protocol.md, on the core."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import AppendEntry, EnvelopeKind, GroupMiss, GroupSubmitted, Outcome, Submitted
from e2ee.groups import GroupKind, Operation, device_digest
from e2ee.relay import core
from e2ee.relay.rates import Rate
from store.relay import limits as stored
from tests.support.relay_device import Device
from tests.support.relay_group import Group, append
from tests.support.relay_talk import Desk

if TYPE_CHECKING:
    from tests.support.relay_talk import Line


class Team:
    """Alice with two devices, Bob and Carol, in one group, before whom no mail waits."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.alice, self.bob, self.carol = (self.desk.join(Device(name)) for name in ("alice", "bob", "carol"))
        self.tablet = self.desk.join(Device("alice", 2, of=self.alice.device))
        self.group = Group(self.alice)
        self.group.bring_in(self.alice, self.bob, self.carol)
        for line in (self.alice, self.tablet, self.bob, self.carol):
            line.received.clear()


@pytest.fixture
def team() -> Team:
    return Team()


def messages(line: Line, group: Group) -> list[bytes]:
    """The sender-key messages of the group that were delivered."""
    mail = [one for one in line.mail() if one.kind is EnvelopeKind.SENDER_KEY]
    assert all(one.body.startswith(group.id) for one in mail)
    return [one.body[len(group.id) :] for one in mail]


def test_a_message_goes_to_every_device_of_every_member_but_the_sending_one(team: Team) -> None:
    answer = team.group.send(team.alice, b"one", b"two")
    assert answer == GroupSubmitted(answer.request, 2, (), None, (), (), None)
    assert [messages(line, team.group) for line in (team.tablet, team.bob, team.carol)] == [[b"one", b"two"]] * 3
    assert messages(team.alice, team.group) == []


def test_the_devices_of_a_group_are_told_to_its_members_without_the_one_that_asks(team: Team) -> None:
    answer = team.group.devices(team.alice)
    assert (answer.refusal, answer.epoch, answer.log_number) == (None, team.group.state.epoch, team.group.state.number)
    assert [(one.user_id, one.devices) for one in answer.members] == [
        ("alice", (team.tablet.device.ref,)),
        ("bob", (team.bob.device.ref,)),
        ("carol", (team.carol.device.ref,)),
    ]


def test_who_is_no_member_learns_no_devices_and_sends_nothing(team: Team) -> None:
    eve = team.desk.join(Device("eve"))
    team.group.do(team.alice, Operation.INVITE, eve.device)
    assert team.group.devices(eve).refusal == RefusalCode.UNKNOWN_GROUP
    refused = eve.send(team.group.frame(eve, b"spam")).one(GroupSubmitted)
    assert refused == GroupSubmitted(refused.request, 0, (), RefusalCode.UNKNOWN_GROUP, (), (), None)
    before = team.group.frame(team.bob, b"late")
    team.group.do(team.bob, Operation.LEAVE)
    team.group.do(team.alice, Operation.PROMOTE, team.carol.device)
    assert team.group.devices(team.bob).members == ()
    late = team.bob.send(before).one(GroupSubmitted)
    assert (late.refusal, list(late.entries)) == (RefusalCode.GROUP_CHANGED, team.group.log[-2:-1])
    assert team.group.send(team.alice, b"secret").accepted == 1
    assert messages(eve, team.group) == messages(team.bob, team.group) == []


def test_a_message_of_an_older_epoch_is_refused_with_the_entries_since(team: Team) -> None:
    frame = team.group.frame(team.alice, b"late")
    team.group.do(team.carol, Operation.LEAVE)
    answer = team.alice.send(frame).one(GroupSubmitted)
    assert (answer.accepted, answer.refusal) == (0, RefusalCode.GROUP_CHANGED)
    assert list(answer.entries) == team.group.log[-1:]
    assert messages(team.bob, team.group) == []


def test_an_entry_that_changes_no_epoch_stops_no_message(team: Team) -> None:
    frame = team.group.frame(team.alice, b"hello")
    team.group.do(team.alice, Operation.PROMOTE, team.bob.device)
    assert team.alice.send(frame).one(GroupSubmitted).accepted == 1


def test_a_log_that_the_relay_has_not_seen_stops_the_message(team: Team) -> None:
    frame = replace(team.group.frame(team.alice, b"x"), log_number=team.group.state.number + 1)
    answer = team.alice.send(frame).one(GroupSubmitted)
    assert (answer.refusal, answer.entries) == (RefusalCode.GROUP_CHANGED, ())


@pytest.mark.parametrize("change", ["new device", "device registered anew", "device removed"])
def test_a_message_for_other_devices_is_refused_with_those_that_there_are(team: Team, change: str) -> None:
    frame = team.group.frame(team.alice, b"x", members=team.group.devices(team.alice).members)
    bob = team.bob.device
    match change:
        case "new device":
            team.desk.join(Device("bob", 2, of=bob))
        case "device registered anew":
            team.desk.join(Device("bob", of=bob))
        case _:
            with team.desk.store.begin() as unit:
                unit.devices.remove(unit.devices.of_users(["bob"]))
    answer = team.alice.send(frame).one(GroupSubmitted)
    assert (answer.accepted, answer.refusal) == (0, RefusalCode.DEVICES_CHANGED)
    assert answer.members == team.group.devices(team.alice).members
    again = replace(frame, digest=device_digest(answer.members))
    assert team.alice.send(again).one(GroupSubmitted).accepted == 1


def test_a_message_without_a_digest_goes_to_whatever_devices_there_are(team: Team) -> None:
    frame = team.group.frame(team.alice, b"x")
    second = team.desk.join(Device("bob", 2, of=team.bob.device))
    assert team.alice.send(frame).one(GroupSubmitted).accepted == 1
    assert messages(second, team.group) == messages(team.bob, team.group) == [b"x"]


def test_a_member_who_has_registered_and_not_uploaded_finds_the_message_too(team: Team) -> None:
    members = team.group.devices(team.alice).members
    tablet = team.desk.log_in(Device("bob", 2, of=team.bob.device))
    stranger = team.desk.log_in(Device("eve"))
    assert team.group.devices(team.alice).members == members  # nobody is told of it, and no digest has it
    frame = team.group.frame(team.alice, b"hello", members=members)
    answer = team.alice.send(frame).one(GroupSubmitted)
    assert answer == GroupSubmitted(answer.request, 1, (), None, (), (), None)
    assert messages(tablet, team.group) == messages(team.bob, team.group) == [b"hello"]
    assert messages(stranger, team.group) == []
    assert team.group.devices(tablet).refusal == RefusalCode.UNKNOWN_GROUP


def test_a_message_sent_while_a_device_begins_anew_waits_in_its_mailbox(team: Team) -> None:
    again = team.desk.log_in(Device("bob", of=team.bob.device))
    assert team.group.send(team.alice, b"hello").accepted == 1
    assert messages(again, team.group) == [b"hello"]


def test_keys_and_messages_of_one_batch_arrive_in_their_order(team: Team) -> None:
    key = team.alice.device.submit(team.bob.device, b"key")
    team.alice.send(key, team.group.frame(team.alice, b"message"), team.alice.device.submit(team.bob.device, b"after"))
    assert [one.body[-7:] for one in team.bob.mail()] == [b"key", b"message", b"after"]
    assert [type(one) for one in team.alice.received] == [Submitted, GroupSubmitted, Submitted]


def test_messages_and_entries_of_one_batch_arrive_in_their_order(team: Team) -> None:
    eve = Device("eve")
    entry = team.group.entry(team.alice.device, Operation.INVITE, eve)
    direct = team.alice.device.submit(team.bob.device, b"before")
    team.alice.send(
        direct, AppendEntry(0, team.alice.device.next_request(), entry), team.group.frame(team.alice, b"after")
    )
    assert [one.body for one in team.bob.mail()] == [b"before", entry, team.group.id + b"after"]


def test_a_message_that_comes_again_is_accepted_again_and_not_delivered_twice(team: Team) -> None:
    frame = team.group.frame(team.alice, b"once")
    assert [one.accepted for one in team.alice.send(frame, frame).take(GroupSubmitted)] == [1, 1]
    again = team.desk.log_in(team.alice.device)
    assert again.send(frame).one(GroupSubmitted).accepted == 1
    assert messages(team.bob, team.group) == [b"once"]


def test_what_was_stored_is_not_refused_when_it_comes_again_after_the_group_has_changed(team: Team) -> None:
    frame = team.group.frame(team.alice, b"one", b"two", members=team.group.devices(team.alice).members)
    stored = replace(frame, messages=frame.messages[:1])
    team.alice.send(stored).received.clear()
    team.desk.join(Device("bob", 2, of=team.bob.device))
    team.group.do(team.carol, Operation.LEAVE)
    line = team.desk.log_in(team.alice.device)
    answers = line.send(stored, frame).take(GroupSubmitted)
    assert [(one.accepted, one.refusal) for one in answers] == [(1, None), (1, RefusalCode.GROUP_CHANGED)]
    other = replace(frame, messages=(replace(frame.messages[0], envelope_id=bytes(16)),))
    assert line.send(other).one(GroupSubmitted).accepted == 0
    late = replace(frame, epoch=team.group.state.epoch, log_number=team.group.state.number)
    answer = line.send(late).one(GroupSubmitted)
    assert (answer.accepted, answer.refusal) == (1, RefusalCode.DEVICES_CHANGED)
    assert messages(team.bob, team.group) == [b"one"]


def test_a_number_that_stood_for_another_message_is_rolled_back(team: Team) -> None:
    frame = team.group.frame(team.alice, b"one", b"two")
    team.alice.send(frame).received.clear()
    first = replace(team.group.frame(team.alice, b"three").messages[0], number=frame.messages[-1].number + 1)
    clone = replace(frame.messages[1], number=first.number + 1)
    other = replace(frame, messages=(first, replace(clone, number=first.number + 1, envelope_id=bytes(16))))
    assert team.alice.send(other).one(GroupSubmitted).accepted == 2
    bad = replace(frame, messages=(replace(frame.messages[1], envelope_id=bytes(16)),))
    assert team.alice.send(bad).one(GroupSubmitted).refusal == RefusalCode.ROLLED_BACK
    direct = team.alice.device.submit(team.bob.device, b"x")
    direct = replace(direct, submissions=(direct.submissions[0]._replace(number=frame.messages[0].number),))
    assert team.alice.send(direct).one(Submitted).refusal == RefusalCode.ROLLED_BACK


def test_a_full_mailbox_is_missed_and_stops_nobody_elses(team: Team) -> None:
    body = bytes(256 * 1024)
    for _ in range(stored.MAILBOX_SIZE_MAX // stored.SHARE_DIVISOR // len(body)):
        team.alice.submitted(team.bob.device, body)
    answer = team.group.send(team.alice, body)
    assert answer.missed == (GroupMiss(0, "bob", 1, Outcome.FULL),)
    assert (answer.accepted, messages(team.carol, team.group)) == (1, [body])


def test_a_full_mailbox_of_a_device_that_is_not_listed_is_told_to_nobody(team: Team) -> None:
    team.desk.log_in(Device("bob", 2, of=team.bob.device))
    body = bytes(256 * 1024)
    for _ in range(stored.MAILBOX_SIZE_MAX // stored.SHARE_DIVISOR // len(body)):
        team.group.send(team.alice, body)
    answer = team.group.send(team.alice, body)
    assert answer.missed == tuple(GroupMiss(0, *one, Outcome.FULL) for one in (("alice", 2), ("bob", 1), ("carol", 1)))


def test_who_has_not_uploaded_prekeys_cannot_submit(team: Team) -> None:
    phone = team.desk.log_in(Device("bob", 3, of=team.bob.device))
    answer = phone.send(team.group.frame(phone, b"x")).one(GroupSubmitted)
    assert answer.refusal == RefusalCode.NOT_REGISTERED


@pytest.mark.parametrize("fault", ["numbers", "ids"])
def test_messages_whose_numbers_do_not_rise_or_whose_ids_repeat_close_the_connection(team: Team, fault: str) -> None:
    frame = team.group.frame(team.alice, b"one", b"two")
    first, second = frame.messages
    bad = (second, first) if fault == "numbers" else (first, replace(second, envelope_id=first.envelope_id))
    team.alice.send(replace(frame, messages=bad))
    assert team.alice.code is RefusalCode.MALFORMED


def test_more_deliveries_than_the_limit_stop_with_the_time_to_wait_and_go_on_after_it(team: Team) -> None:
    team.alice.connection.fan_out = Rate(10.0, 12, team.desk.now)
    frame = team.group.frame(team.alice, *(bytes([number]) for number in range(6)))
    answer = team.alice.send(frame).one(GroupSubmitted)
    assert (answer.accepted, answer.refusal, answer.retry_after_ms) == (4, RefusalCode.RATE_LIMITED, 301)
    team.desk.now += 0.61
    assert team.alice.send(replace(frame, messages=frame.messages[4:])).one(GroupSubmitted).accepted == 2
    assert messages(team.bob, team.group) == [bytes([number]) for number in range(6)]


def test_the_limit_counts_devices_that_are_not_listed(team: Team) -> None:
    team.desk.log_in(Device("bob", 2, of=team.bob.device))
    team.alice.connection.fan_out = Rate(10.0, 8, team.desk.now)
    answer = team.group.send(team.alice, b"1", b"2", b"3")
    assert (answer.accepted, answer.refusal) == (2, RefusalCode.RATE_LIMITED)


def test_a_message_to_more_devices_than_the_limit_goes_when_nothing_else_went(team: Team) -> None:
    team.alice.connection.fan_out = Rate(10.0, 2, team.desk.now)
    answer = team.group.send(team.alice, b"1", b"2")
    assert (answer.accepted, answer.retry_after_ms) == (1, 301)


def test_a_batch_that_fans_out_to_many_goes_on_in_another_transaction(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "UNIT_ENVELOPES_MAX", 5)
    frames = [team.group.frame(team.alice, bytes([number])) for number in range(5)]
    direct = team.alice.device.submit(team.bob.device, b"direct")
    answers = team.alice.send(*frames[:4], direct, frames[4])
    assert [one.accepted for one in answers.take(GroupSubmitted)] == [1] * 5
    assert answers.one(Submitted).refusal is None
    assert [one.body[-1] for one in team.bob.mail()] == [0, 1, 2, 3, ord("t"), 4]


def test_the_only_device_of_a_group_may_send_and_reaches_nobody() -> None:
    desk = Desk()
    alice = desk.join(Device("alice"))
    group = Group(alice, kind=GroupKind.OPEN)
    assert group.send(alice, b"x").accepted == 1
    bob = desk.join(Device("bob"))
    assert append(bob, group.entry(bob.device, Operation.JOIN)).refusal is None


def test_a_body_is_stored_once_and_goes_when_the_last_device_has_it(team: Team) -> None:
    team.group.send(team.alice, b"x" * 100)
    with team.desk.store._engine.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM bodies WHERE length(content) = 132").scalar_one()
    assert count == 1
