"""When a link gives the relay up, and how it ends (docs/protocol.md section 4), on a clock that the tests move."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from e2ee import frames
from e2ee.errors import RefusalCode
from e2ee.limits import CHALLENGE_AGE_MAX_S, HEARTBEAT_S, REPLY_AGE_MAX_S, REQUESTS_OPEN_MAX
from e2ee.link import Challenged, LinkDown, LinkUp
from e2ee.wire import encode_frame
from tests.support.scripted_relay import (
    CHALLENGE,
    CLOSING,
    DELIVER,
    LOGIN,
    SUBMITTED,
    WELCOME,
    ScriptedRelay,
    only_end,
    submit,
)

# Deadlines.


def test_a_relay_without_a_challenge_is_left_when_its_time_is_over() -> None:
    relay = ScriptedRelay()
    assert relay.waits(CHALLENGE_AGE_MAX_S - 0.1) == []
    assert only_end(relay.waits(0.1)).code is None


def test_a_challenge_that_was_not_answered_in_time_is_void() -> None:
    relay = ScriptedRelay()
    relay.says(CHALLENGE)
    assert only_end(relay.waits(CHALLENGE_AGE_MAX_S)).code is None
    relay.link.login(LOGIN, relay.now)
    assert relay.heard() == []


def test_a_login_without_an_answer_ends_the_link() -> None:
    relay = ScriptedRelay()
    relay.says(CHALLENGE)
    relay.link.login(LOGIN, relay.now)
    assert relay.waits(REPLY_AGE_MAX_S - 0.1) == []
    assert only_end(relay.waits(0.1)).code is None


def test_after_silence_the_client_asks_for_a_sign_of_life() -> None:
    relay = ScriptedRelay().up()
    relay.waits(HEARTBEAT_S - 0.1)
    assert relay.heard() == []
    relay.waits(0.1)
    assert relay.heard() == [frames.Ping(0, 1)]


def test_the_sign_of_life_is_the_links_own_affair() -> None:
    relay = ScriptedRelay().up()
    relay.waits(HEARTBEAT_S)
    assert relay.says(frames.Pong(1)) == []
    assert relay.link.deadline == relay.now + HEARTBEAT_S


def test_whatever_the_relay_says_puts_the_question_off() -> None:
    relay = ScriptedRelay().up()
    relay.waits(HEARTBEAT_S / 2)
    relay.says(DELIVER)
    relay.waits(HEARTBEAT_S * 0.75)
    assert relay.heard() == []


def test_a_relay_that_stays_silent_is_dead() -> None:
    relay = ScriptedRelay().up()
    assert relay.waits(HEARTBEAT_S + REPLY_AGE_MAX_S - 0.1) == []
    assert only_end(relay.waits(0.1)).reason == "no reply to a Ping in time"


def test_a_relay_that_answers_everything_but_one_request_is_dead() -> None:
    relay = ScriptedRelay().up()
    relay.link.request(submit(1), relay.now)
    relay.waits(REPLY_AGE_MAX_S - 1)
    relay.link.request(submit(2), relay.now)
    relay.says(replace(SUBMITTED, request=2), DELIVER)
    assert only_end(relay.waits(1)).reason == "no reply to a Submit in time"


def test_a_request_that_waits_for_its_turn_has_its_time_from_then_on() -> None:
    relay = ScriptedRelay().up()
    for number in range(REQUESTS_OPEN_MAX + 1):
        relay.link.request(submit(number), relay.now)
    relay.waits(REPLY_AGE_MAX_S - 1)
    relay.says(*[replace(SUBMITTED, request=number + 1) for number in range(REQUESTS_OPEN_MAX)])
    assert relay.waits(REPLY_AGE_MAX_S - 1) == []
    assert only_end(relay.waits(1)).reason == "no reply to a Submit in time"


# The end.


def test_the_relays_last_word_is_handed_on_with_its_wish() -> None:
    down = only_end(ScriptedRelay().up().says(CLOSING))
    assert (down.code, down.retry_after_s) == (RefusalCode.SHUTTING_DOWN, 2.0)


def test_a_code_of_a_later_release_ends_the_link_too() -> None:
    assert only_end(ScriptedRelay().up().says(frames.Closing(200, "", None))).code is None


def test_what_the_relay_explains_stays_out_of_the_reason() -> None:
    assert "canary" not in only_end(ScriptedRelay().up().says(frames.Closing(1, "canary", None))).reason


def test_a_link_ends_once_and_then_takes_and_says_nothing_more() -> None:
    relay = ScriptedRelay().up()
    relay.link.request(submit(1), relay.now)
    relay.link.acknowledge(3, relay.now)
    relay.heard()
    only_end(relay.says(CLOSING, SUBMITTED, DELIVER))
    relay.link.request(submit(2), relay.now)
    relay.link.acknowledge(4, relay.now)
    relay.link.login(LOGIN, relay.now)
    relay.link.lost("the carrier ended")
    relay.link.close()
    assert relay.waits(1_000) == []
    assert relay.heard() == []
    assert relay.link.deadline is None


def test_a_carrier_that_ends_ends_the_link() -> None:
    relay = ScriptedRelay().up()
    relay.link.lost("the carrier ended")
    assert relay.link.take_events() == [LinkDown(None, None, "the carrier ended")]


@pytest.mark.parametrize("seed", range(50))
def test_whatever_the_relay_sends_the_link_raises_nothing_and_ends_at_most_once(seed: int) -> None:
    dice = random.Random(seed)
    relay = ScriptedRelay()
    messages = [encode_frame(frame) for frame in (CHALLENGE, WELCOME, DELIVER, CLOSING, SUBMITTED, frames.Pong(2))]
    events = relay.says(CHALLENGE)
    relay.link.login(LOGIN, relay.now)
    events += relay.says(WELCOME)
    for number in range(40):
        relay.link.request(submit(number), relay.now)
        data = bytearray(dice.choice(messages))
        if dice.random() < 0.3:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        events += relay.sends(bytes(data)) + relay.waits(dice.random() * 10)
    assert [type(event) for event in events[:2]] == [Challenged, LinkUp]
    assert sum(isinstance(event, LinkDown) for event in events) <= 1
    assert all(not isinstance(event, LinkDown) for event in events[:-1])
