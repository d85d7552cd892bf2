"""Channels and the directory at the relay's core: who hears what, and who does not (docs/protocol.md section 4.1)."""

from __future__ import annotations

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import Done, Publish, Published, RefusedRequest, Subscribe, Unsubscribe, UserNotices, WatchUsers
from e2ee.relay import audience
from e2ee.relay.audience import Audience
from e2ee.relay.limits import RelayOptions
from e2ee.wire import encode_frame
from tests.support.relay_device import Device
from tests.support.relay_talk import Desk, Line


def subscribe(line: Line, channel: str) -> Done | RefusedRequest:
    line.send(Subscribe(0, 1, channel))
    answers: list[Done | RefusedRequest] = [*line.take(Done), *line.take(RefusedRequest)]
    (answer,) = answers
    return answer


def publish(line: Line, channel: str, data: bytes = b"news") -> None:
    line.send(Publish(0, 2, channel, data)).one(Done)


def heard(line: Line) -> list[tuple[str, str, bytes]]:
    return [(one.channel, one.sender_user_id, one.data) for one in line.take(Published)]


def three(desk: Desk) -> tuple[Line, Line, Line]:
    return desk.log_in(Device("alice")), desk.log_in(Device("bob")), desk.log_in(Device("carol"))


def test_a_publication_reaches_those_subscribed_and_not_its_publisher() -> None:
    alice, bob, carol = three(Desk())
    for line in (alice, bob):
        assert subscribe(line, "news") == Done(1)
    publish(alice, "news")
    assert heard(bob) == [("news", "alice", b"news")]
    assert heard(alice) == heard(carol) == []


def test_an_unsubscribed_connection_hears_nothing_more_and_one_that_ended_is_forgotten() -> None:
    desk = Desk()
    alice, bob, carol = three(desk)
    subscribe(bob, "news")
    subscribe(carol, "news")
    bob.send(Unsubscribe(0, 3, "news")).one(Done)
    carol.end()
    publish(alice, "news")
    assert heard(bob) == heard(carol) == []


def test_a_subscription_repeated_is_one_and_a_publication_is_heard_once_by_several_masks() -> None:
    alice, bob, _ = three(Desk(options=RelayOptions(channel_masks=True)))
    for channel in ("news", "news", "n*", "?ews", "[mn]ews"):
        assert subscribe(bob, channel) == Done(1)
    publish(alice, "news")
    publish(alice, "nothing")
    publish(alice, "weather")
    assert heard(bob) == [("news", "alice", b"news"), ("nothing", "alice", b"news")]


def test_a_mask_is_refused_where_the_options_do_not_take_masks() -> None:
    alice, bob, _ = three(Desk())
    assert subscribe(bob, "n*") == RefusedRequest(1, RefusalCode.NOT_AUTHORIZED, None)
    publish(alice, "news")
    assert heard(bob) == []


def test_the_signs_of_a_mask_stand_for_themselves_in_a_publication() -> None:
    alice, bob, carol = three(Desk(options=RelayOptions(channel_masks=True)))
    subscribe(bob, "news")
    subscribe(carol, "n*")
    publish(alice, "n*")
    assert heard(bob) == []
    assert heard(carol) == [("n*", "alice", b"news")]


@pytest.mark.parametrize("channel", ["", "two\nlines", "x" * 257])
def test_a_channel_without_a_proper_name_ends_the_connection(channel: str) -> None:
    alice, _, _ = three(Desk())
    alice.send_bytes(encode_frame(Subscribe(0, 1, channel)))
    assert alice.code is RefusalCode.MALFORMED


def test_one_connection_has_so_many_subscriptions_and_no_more() -> None:
    alice, _, _ = three(Desk(options=RelayOptions(subscriptions_max=2)))
    answers = [subscribe(alice, channel) for channel in ("a", "b", "c", "a")]
    assert answers == [Done(1), Done(1), RefusedRequest(1, RefusalCode.TOO_LARGE, None), Done(1)]


def test_a_relay_compares_with_so_many_masks_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "MASKS_MAX", 1)
    alice, bob, _ = three(Desk(options=RelayOptions(channel_masks=True)))
    assert subscribe(alice, "n*") == subscribe(bob, "n*") == subscribe(bob, "news") == Done(1)
    assert subscribe(bob, "m*") == RefusedRequest(1, RefusalCode.UNAVAILABLE, None)


def test_a_hook_vetoes_subscriptions_and_one_that_raises_does_too() -> None:
    def before(user_id: str, channel: str) -> bool:
        if channel == "broken":
            raise LookupError
        return (user_id, channel) == ("alice", "allowed")

    alice, bob, _ = three(Desk(before_subscription=before))
    refused = RefusedRequest(1, RefusalCode.NOT_AUTHORIZED, None)
    assert subscribe(alice, "allowed") == Done(1)
    assert subscribe(alice, "other") == subscribe(alice, "broken") == subscribe(bob, "allowed") == refused


def test_a_relay_without_channels_refuses_them() -> None:
    alice, _, _ = three(Desk(options=RelayOptions(channels=False)))
    assert subscribe(alice, "news") == RefusedRequest(1, RefusalCode.NOT_AUTHORIZED, None)
    alice.send(Publish(0, 2, "news", b""))
    assert alice.one(RefusedRequest).code == RefusalCode.NOT_AUTHORIZED


def test_publications_count_against_the_rate_of_their_connection() -> None:
    desk = Desk(options=RelayOptions(envelopes_burst=1_280, envelopes_per_s=1.0))
    alice, bob, _ = three(desk)
    subscribe(bob, "news")
    alice.send(*(Publish(0, number, "news", b"") for number in range(1_281)))
    (refused,) = alice.take(RefusedRequest)
    assert (refused.request, refused.code) == (1_280, RefusalCode.RATE_LIMITED)
    assert len(heard(bob)) == 1_280


def test_the_directory_tells_who_is_there_and_then_who_comes() -> None:
    desk = Desk(options=RelayOptions(directory=True))
    alice, _, _ = three(desk)
    alice.send(WatchUsers(0, 4, on=True)).one(Done)
    dave = Device("dave")
    desk.log_in(dave)
    desk.log_in(Device("dave", 2, of=dave))
    told = [(one.user_id, one.exists) for frame in alice.take(UserNotices) for one in frame.users]
    assert told == [("alice", True), ("bob", True), ("carol", True), ("dave", True)]


def test_a_watch_begins_with_so_many_users_in_order_and_tells_no_others_until_something_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audience, "WATCHED_USERS_MAX", 2)
    monkeypatch.setattr(audience, "USERS_PER_FRAME_MAX", 1)
    desk = Desk(options=RelayOptions(directory=True))
    carol, _, _ = (desk.log_in(Device(name)) for name in ("carol", "bob", "alice"))
    carol.send(WatchUsers(0, 4, on=True)).one(Done)
    desk.log_in(Device("aaron"))
    assert [one.user_id for frame in carol.take(UserNotices) for one in frame.users] == ["alice", "bob", "aaron"]


def test_a_watch_that_is_ended_tells_nothing_more() -> None:
    desk = Desk(options=RelayOptions(directory=True))
    alice, _, _ = three(desk)
    alice.send(WatchUsers(0, 4, on=True)).take(UserNotices)
    alice.send(WatchUsers(0, 5, on=False))
    desk.log_in(Device("dave"))
    assert alice.take(UserNotices) == []


def test_the_directory_is_closed_unless_the_options_open_it() -> None:
    alice, _, _ = three(Desk())
    alice.send(WatchUsers(0, 4, on=True))
    assert alice.one(RefusedRequest).code == RefusalCode.NOT_AUTHORIZED


def test_what_another_worker_announces_is_passed_on_and_what_cannot_be_read_is_not() -> None:
    options = RelayOptions()
    audience, other = Audience(options, None), Audience(options, None)
    announced = other._announcement(Published("news", "alice", 1, b"news"))
    assert len({announced, other._announcement(Published("news", "alice", 1, b"news"))}) == 2, "equal notices are one"
    outputs: list[object] = []
    for data in (announced[:-1], b"", announced):
        audience.announced(data, outputs)  # type: ignore[arg-type]
        other.announced(data, outputs)  # type: ignore[arg-type]
    assert outputs == []  # nobody is subscribed, and nothing raised
