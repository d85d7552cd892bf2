"""The client's half of the conversation, frame by frame, against a scripted relay (docs/protocol.md section 4)."""

from __future__ import annotations

import random
from dataclasses import replace

import msgpack
import pytest

from e2ee import frames, link
from e2ee.errors import InvalidArgument, RefusalCode
from e2ee.limits import (
    FRAME_SIZE_MAX,
    HEARTBEAT_S,
    REQUEST_NUMBER_MAX,
    REQUESTS_OPEN_MAX,
)
from e2ee.link import Challenged, LinkDown, LinkUp, Pushed, Replied
from e2ee.link_events import RawReceived
from e2ee.wire import encode_frame
from tests.support.scripted_relay import (
    CHALLENGE,
    DELIVER,
    LOGIN,
    SUBMITTED,
    WELCOME,
    ScriptedRelay,
    only_end,
    submit,
)

BUNDLES = frames.GetBundles(0, 0, bytes(16), (frames.WantedDevices("bob", None),))
UPLOAD = frames.UploadPreKeys(0, 0, 1, False, None, None, (), ())  # noqa: FBT003 - the fields of a frame
REMOVE = frames.RemoveDevice(0, 0, 2)
EXCHANGES: list[tuple[frames.Request, frames.Reply]] = [
    (frames.Ping(0, 0), frames.Pong(1)),
    (UPLOAD, frames.Uploaded(1, 100, 100)),
    (BUNDLES, frames.Bundles(1, ())),
    (submit(1), SUBMITTED),
    (REMOVE, frames.Removed(1)),
    (frames.DeleteAccount(0, 0), frames.AccountDeleted(1)),
    (frames.ReplaceIdentity(0, 0, b"claim", b"\x05" + bytes(32), bytes(64)), frames.IdentityReplaced(1)),
    (frames.ListDevices(0, 0), frames.DeviceList(1, ())),
]


# Logging in.


def test_the_client_says_nothing_before_the_relay_has_spoken() -> None:
    relay = ScriptedRelay()
    relay.link.request(submit(1), relay.now)
    relay.link.acknowledge(5, relay.now)
    assert relay.heard() == []


def test_the_challenge_is_handed_out_and_the_login_follows_it() -> None:
    relay = ScriptedRelay()
    assert relay.says(CHALLENGE) == [Challenged(CHALLENGE)]
    relay.link.login(LOGIN, relay.now)
    assert relay.heard() == [LOGIN]


def test_the_link_is_up_with_the_welcome_and_not_before() -> None:
    relay = ScriptedRelay()
    relay.says(CHALLENGE)
    relay.link.login(LOGIN, relay.now)
    assert not relay.link.is_up
    assert relay.says(WELCOME) == [LinkUp(WELCOME)]
    assert relay.link.is_up


def test_a_login_without_a_challenge_is_refused() -> None:
    relay = ScriptedRelay()
    with pytest.raises(InvalidArgument):
        relay.link.login(LOGIN, relay.now)


def test_a_second_login_is_refused() -> None:
    relay = ScriptedRelay().up()
    with pytest.raises(InvalidArgument):
        relay.link.login(LOGIN, relay.now)


def test_a_relay_that_speaks_only_later_versions_is_left() -> None:
    down = only_end(ScriptedRelay().says(replace(CHALLENGE, versions=(2, 3))))
    assert down.code is RefusalCode.UNSUPPORTED_VERSION


def test_a_relay_that_speaks_later_versions_too_is_answered() -> None:
    challenge = replace(CHALLENGE, versions=(2, 1))
    assert ScriptedRelay().says(challenge) == [Challenged(challenge)]


@pytest.mark.parametrize(
    "frame", [WELCOME, DELIVER, frames.Drained(1), frames.LowPreKeys(1, 1), *(reply for _request, reply in EXCHANGES)]
)
def test_before_the_challenge_nothing_else_is_taken(frame: frames.RelayFrame) -> None:
    assert only_end(ScriptedRelay().says(frame)).code is None


def test_a_welcome_without_a_login_ends_the_link() -> None:
    relay = ScriptedRelay()
    relay.says(CHALLENGE)
    assert only_end(relay.says(WELCOME)).code is None


def test_mail_before_the_welcome_ends_the_link() -> None:
    relay = ScriptedRelay()
    relay.says(CHALLENGE)
    relay.link.login(LOGIN, relay.now)
    assert only_end(relay.says(DELIVER)).code is None


@pytest.mark.parametrize("frame", [CHALLENGE, WELCOME])
def test_a_second_challenge_or_welcome_ends_the_link(frame: frames.RelayFrame) -> None:
    assert only_end(ScriptedRelay().up().says(frame)).code is None


@pytest.mark.parametrize("code", [RefusalCode.IDENTITY_TAKEN, RefusalCode.REPLACED, RefusalCode.MALFORMED])
def test_a_refused_login_ends_the_link_with_the_relays_code(code: RefusalCode) -> None:
    relay = ScriptedRelay()
    relay.says(CHALLENGE)
    relay.link.login(LOGIN, relay.now)
    assert only_end(relay.says(frames.Closing(code, "", None))).code is code


# Requests and replies.


@pytest.mark.parametrize(("request_", "reply"), EXCHANGES)
def test_a_reply_comes_with_the_request_as_it_was_given(request_: frames.Request, reply: frames.Reply) -> None:
    relay = ScriptedRelay().up()
    relay.link.request(request_, relay.now)
    assert relay.heard() == [replace(request_, request=1)]
    [event] = relay.says(reply)
    assert isinstance(event, Replied)
    assert event.request is request_
    assert event.reply == reply


@pytest.mark.parametrize(("request_", "_reply"), EXCHANGES)
def test_every_request_may_be_refused(request_: frames.Request, _reply: frames.Reply) -> None:
    relay = ScriptedRelay().up()
    relay.link.request(request_, relay.now)
    refused = frames.RefusedRequest(1, RefusalCode.RATE_LIMITED, 500)
    assert relay.says(refused) == [Replied(request_, refused)]


@pytest.mark.parametrize("asked", range(len(EXCHANGES)))
@pytest.mark.parametrize("answered", range(len(EXCHANGES)))
def test_only_a_reply_of_the_kind_asked_for_is_one(asked: int, answered: int) -> None:
    relay = ScriptedRelay().up()
    relay.link.request(EXCHANGES[asked][0], relay.now)
    [event] = relay.says(EXCHANGES[answered][1])
    assert isinstance(event, Replied if asked == answered else LinkDown)


def test_replies_find_their_requests_in_any_order() -> None:
    relay = ScriptedRelay().up()
    requests = [submit(number) for number in range(10)]
    for request in requests:
        relay.link.request(request, relay.now)
    order = random.Random(4).sample(range(10), 10)
    events = relay.says(*[replace(SUBMITTED, request=number + 1) for number in order])
    assert [event.request for event in events if isinstance(event, Replied)] == [requests[number] for number in order]


def test_a_reply_to_nothing_ends_the_link() -> None:
    assert only_end(ScriptedRelay().up().says(SUBMITTED)).code is None


def test_a_reply_counts_once() -> None:
    relay = ScriptedRelay().up()
    relay.link.request(submit(1), relay.now)
    relay.says(SUBMITTED)
    assert only_end(relay.says(SUBMITTED)).code is None


def test_requests_beyond_the_open_ones_wait_for_a_reply() -> None:
    relay = ScriptedRelay().up()
    for number in range(REQUESTS_OPEN_MAX + 2):
        relay.link.request(submit(number), relay.now)
    assert len(relay.heard()) == REQUESTS_OPEN_MAX
    relay.says(SUBMITTED)
    assert relay.heard() == [replace(submit(REQUESTS_OPEN_MAX), request=REQUESTS_OPEN_MAX + 1)]


def test_large_requests_wait_until_what_is_under_way_is_answered() -> None:
    relay = ScriptedRelay().up()
    for number in range(5):
        relay.link.request(submit(number, size=FRAME_SIZE_MAX // 4), relay.now)
    assert len(relay.heard()) == 4
    relay.says(SUBMITTED)
    assert len(relay.heard()) == 1


def test_a_request_that_finds_the_queue_full_is_refused_here_and_is_not_sent() -> None:
    relay = ScriptedRelay().up()
    for number in range(REQUESTS_OPEN_MAX + link.REQUESTS_WAITING_MAX):
        relay.link.request(submit(number), relay.now)
    assert relay.link.take_events() == []
    too_many = submit(9_999)
    relay.link.request(too_many, relay.now)
    [event] = relay.link.take_events()
    assert event == Replied(too_many, frames.RefusedRequest(0, RefusalCode.UNAVAILABLE, link.OVERFLOW_WAIT_MS))
    assert len(relay.heard()) == REQUESTS_OPEN_MAX


@pytest.mark.parametrize("frame", [LOGIN, frames.Acknowledge(1)])
def test_a_frame_without_a_reply_is_no_request(frame: frames.ClientFrame) -> None:
    with pytest.raises(InvalidArgument):
        ScriptedRelay().up().link.request(frame, 1_000.0)


def test_a_link_is_idle_when_everything_asked_was_answered() -> None:
    relay = ScriptedRelay().up()
    idle = [relay.link.is_idle]
    relay.link.request(submit(1), relay.now)
    idle.append(relay.link.is_idle)
    relay.says(SUBMITTED)
    idle.append(relay.link.is_idle)
    assert idle == [True, False, True]


def test_a_sign_of_life_asked_for_leaves_the_link_idle() -> None:
    relay = ScriptedRelay().up()
    relay.waits(HEARTBEAT_S)
    assert relay.heard() == [frames.Ping(0, 1)]
    assert relay.link.is_idle


def test_after_the_last_request_number_the_first_comes_again() -> None:
    relay = ScriptedRelay().up()
    relay.link._last_request = REQUEST_NUMBER_MAX - 1
    relay.link.request(submit(1), relay.now)
    relay.link.request(submit(2), relay.now)
    assert [frame.request for frame in relay.heard() if isinstance(frame, frames.Submit)] == [REQUEST_NUMBER_MAX, 1]


# What the relay pushes.


@pytest.mark.parametrize("frame", [DELIVER, frames.Drained(8), frames.LowPreKeys(1, 2)])
def test_what_the_relay_pushes_is_handed_on(frame: frames.Deliver) -> None:
    assert ScriptedRelay().up().says(frame) == [Pushed(frame)]


def test_a_frame_of_a_later_release_is_passed_over() -> None:
    relay = ScriptedRelay().up()
    assert relay.sends(msgpack.packb([99, 1, 2])) == []
    assert relay.link.is_up


def test_elements_that_a_later_release_adds_are_passed_over() -> None:
    relay = ScriptedRelay()
    grown = [*msgpack.unpackb(encode_frame(CHALLENGE)), "more", 7]
    assert relay.sends(msgpack.packb(grown)) == [Challenged(CHALLENGE)]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", encode_frame(DELIVER)[:-1], encode_frame(WELCOME) + b"\x00"])
def test_bytes_that_are_no_frame_end_the_link(data: bytes) -> None:
    relay = ScriptedRelay().up()
    assert only_end(relay.sends(data)).code is None
    assert relay.heard() == []


def test_raw_data_before_the_welcome_or_without_its_form_ends_the_link() -> None:
    for data in (b"\xc1\x00raw", b"\xc1\x01raw"):
        assert only_end(ScriptedRelay().sends(data)).code is None
    for data in (b"\xc1\x02raw", b"\xc1\x01\xff"):
        assert only_end(ScriptedRelay().up().sends(data)).code is None
    assert ScriptedRelay().up().sends(b"\xc1\x00raw", b"\xc1\x01raw") == [RawReceived(b"raw"), RawReceived("raw")]


# Acknowledging.


def test_an_acknowledgement_rides_on_the_next_request() -> None:
    relay = ScriptedRelay().up()
    relay.link.acknowledge(8, relay.now)
    relay.link.request(submit(1), relay.now)
    assert relay.heard() == [replace(submit(1), acknowledged=8, request=1)]
    relay.waits(link.ACKNOWLEDGE_DELAY_S)
    assert relay.heard() == []


def test_an_acknowledgement_without_company_goes_alone_after_a_short_while() -> None:
    relay = ScriptedRelay().up()
    relay.link.acknowledge(8, relay.now)
    relay.link.acknowledge(9, relay.now)
    assert relay.heard() == []
    relay.waits(link.ACKNOWLEDGE_DELAY_S)
    assert relay.heard() == [frames.Acknowledge(9)]


def test_every_further_acknowledgement_does_not_put_the_first_off() -> None:
    relay = ScriptedRelay().up()
    relay.link.acknowledge(8, relay.now)
    relay.waits(link.ACKNOWLEDGE_DELAY_S * 0.75)
    relay.link.acknowledge(9, relay.now)
    relay.waits(link.ACKNOWLEDGE_DELAY_S * 0.5)
    assert relay.heard() == [frames.Acknowledge(9)]


def test_half_a_window_is_acknowledged_at_once() -> None:
    relay = ScriptedRelay().up()
    relay.link.acknowledge(link.ACKNOWLEDGE_AT_ONCE, relay.now)
    assert relay.heard() == [frames.Acknowledge(link.ACKNOWLEDGE_AT_ONCE)]


def test_an_acknowledgement_never_goes_back() -> None:
    relay = ScriptedRelay().up()
    relay.link.acknowledge(9, relay.now)
    relay.link.acknowledge(8, relay.now)
    relay.waits(link.ACKNOWLEDGE_DELAY_S)
    assert relay.heard() == [frames.Acknowledge(9)]


def test_closing_sends_the_acknowledgement_that_waits() -> None:
    relay = ScriptedRelay().up()
    relay.link.acknowledge(9, relay.now)
    relay.link.close()
    assert relay.heard() == [frames.Acknowledge(9)]
    assert only_end(relay.link.take_events()).reason == "closed by this client"
