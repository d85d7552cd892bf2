"""Reasons are a closed list that says what to do, and a report shows nothing of anybody."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from e2ee.diagnostics import Diagnostics, Reason, correlation_of
from e2ee.errors import RefusalCode
from e2ee.events import DeliveryRefused, DeliveryState, MessageLost, MessagePending, MessageState
from e2ee.ids import MessageId, UserId
from e2ee.trust import Verdict

PAGE = (Path(__file__).parent.parent.parent / "docs" / "recovery.md").read_text("utf-8")
BOB = UserId("bob")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_stands_on_the_page_with_what_to_do(reason: Reason) -> None:
    ends = "yes" if reason.recoverable else "no"
    assert f"| `{reason.name}` | {reason.value} | {ends} | {reason.what_to_do} |" in PAGE


def test_no_two_reasons_have_the_same_text() -> None:
    assert len({reason.value for reason in Reason}) == len(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_found_by_its_text_and_another_text_is_other(reason: Reason) -> None:
    assert Reason.of(reason.value) is reason
    assert Reason.of(reason.value + "!") is Reason.OTHER


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_of_the_relay_has_a_reason(code: RefusalCode) -> None:
    assert Reason.of_refusal(code).value in (code.name.lower(), "refused")


def test_every_verdict_that_holds_a_message_has_a_reason() -> None:
    held = [verdict for verdict in Verdict if verdict.name.startswith("HOLD")]
    assert [Reason.of(verdict.value) for verdict in held] == [Reason.IDENTITY_CHANGED, Reason.IDENTITY_UNVERIFIED]


def test_events_give_their_reason_as_such() -> None:
    state = MessageState(message_id=MessageId("0" * 32), recipient=BOB, state=DeliveryState.FAILED, reason="blocked")
    assert state.why is Reason.BLOCKED
    assert MessageState(message_id=MessageId("0" * 32), recipient=BOB, state=DeliveryState.SENT).why is None
    assert MessageLost(sender=BOB, sender_device=1, reason="waited too long").why is Reason.EXPIRED
    assert DeliveryRefused(BOB, 1, "a text of an earlier release").why is Reason.OTHER
    pending = MessagePending(BOB, 1, bytes(16), Reason.NO_SESSION.value)
    assert (pending.why, pending.correlation) == (Reason.NO_SESSION, correlation_of(bytes(16)))


def test_a_correlation_is_the_start_of_a_labelled_hash() -> None:
    assert correlation_of(b"e" * 16) == sha256(b"e2ee correlation v1\x00" + b"e" * 16).hexdigest()[:16]


def test_the_last_hundred_troubles_are_remembered_and_all_are_counted() -> None:
    total = Diagnostics()
    for number in range(3):
        one = Diagnostics()
        for at in range(50):
            one.trouble(float(at), Reason.NO_SESSION, bytes([number]) * 16)
        one.deliveries["pending"] += 50
        total.add(one)
    assert len(total.troubles) == 100
    assert {trouble.correlation for trouble in total.troubles} == {correlation_of(bytes([n]) * 16) for n in (1, 2)}
    assert total.reasons == {Reason.NO_SESSION.value: 150}
    assert total.deliveries == {"pending": 150}
