"""Submitting: rules R4.9 to R4.11, R4.14 and R4.15 of docs/protocol.md, on the core."""

from __future__ import annotations

from dataclasses import replace

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import DeviceRef, EnvelopeKind, Outcome, RefusedRequest, Submitted, UnknownFrame
from e2ee.relay.connection import Arrived
from e2ee.relay.limits import RelayOptions
from e2ee.wire import encode_frame
from store.relay import limits as stored
from tests.support.relay_device import Device
from tests.support.relay_talk import Desk

STORED, DUPLICATE = (Outcome.STORED,), (Outcome.DUPLICATE,)


def test_messages_are_stored_in_the_order_of_the_frame_and_delivered_so() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    assert alice.submitted(bob.device, b"1", b"2", b"3").outcomes == (STORED,) * 3
    assert bob.bodies() == [b"1", b"2", b"3"]


def test_a_delivery_names_its_sender_and_is_the_ciphertext_as_it_was_sent() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice", 5)), desk.join(Device("bob"))
    frame = alice.device.submit(bob.device, b"\x00\xffopaque")
    alice.send(frame)
    (delivery,) = bob.mail()
    sent = frame.submissions[0].envelopes[0]
    assert (delivery.sender_user_id, delivery.sender_device_id) == ("alice", 5)
    assert (delivery.envelope_id, delivery.kind, delivery.body) == (sent.envelope_id, sent.kind, sent.body)


@pytest.mark.parametrize("kind", [EnvelopeKind.SENDER_KEY, EnvelopeKind.GROUP_ENTRY])
def test_r4_15_what_is_of_a_group_comes_only_by_way_of_the_group(kind: EnvelopeKind) -> None:
    # Else a stranger's entry with another past would pass for another log, and stop a member's sending.
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    frame = alice.device.submit(bob.device, b"x")
    envelope = frame.submissions[0].envelopes[0]._replace(kind=kind)
    alice.send_bytes(encode_frame(replace(frame, submissions=(frame.submissions[0]._replace(envelopes=(envelope,)),))))
    assert (alice.code, bob.bodies()) == (RefusalCode.MALFORMED, [])


def test_r4_9_each_device_of_a_user_gets_its_own_ciphertext() -> None:
    desk, bob = Desk(), Device("bob")
    phone, desktop = desk.join(bob), desk.join(Device("bob", 2, of=bob))
    alice = desk.join(Device("alice"))
    frame = alice.device.submit([bob, desktop.device], b"")
    frame = replace(frame, submissions=(alice.device.submission({1: b"to 1", 2: b"to 2"}),))
    assert alice.send(frame).one(Submitted).outcomes == ((Outcome.STORED, Outcome.STORED),)
    assert (phone.bodies(), desktop.bodies()) == ([b"to 1"], [b"to 2"])


def test_r4_9_a_wrong_device_list_is_refused_with_the_difference_and_nothing_is_stored() -> None:
    desk, bob = Desk(), Device("bob")
    phone, desktop = desk.join(bob), desk.join(Device("bob", 2, of=bob))
    alice = desk.join(Device("alice"))
    ghost = Device("bob", 3, of=bob)
    answer = alice.submitted([bob, ghost], b"one", b"two")
    assert (answer.outcomes, answer.refusal) == ((), RefusalCode.DEVICES_CHANGED)
    assert answer.change is not None
    assert (answer.change.missing, answer.change.extra) == ((desktop.device.ref,), (3,))
    assert phone.bodies() + desktop.bodies() == []


def test_r4_9_a_device_that_registered_anew_is_missing_under_its_new_registration_id() -> None:
    desk, bob = Desk(), Device("bob")
    desk.join(bob)
    alice = desk.join(Device("alice"))
    desk.join(restored := Device("bob", of=bob))
    answer = alice.submitted(bob, b"one")
    assert answer.change is not None
    assert (answer.change.missing, answer.change.extra) == ((DeviceRef(1, restored.account.registration_id),), ())


def test_r4_9_what_comes_behind_a_refused_submission_is_not_tried() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    used = alice.device.submit(bob.device, b"one")
    alice.send(used).received.clear()
    other = alice.device.submission({1: b"other"})._replace(number=used.submissions[0].number)
    frame = replace(alice.device.submit(bob.device), submissions=(other, alice.device.submission({1: b"behind"})))
    answer = alice.send(frame).one(Submitted)
    assert (answer.outcomes, answer.refusal) == ((), RefusalCode.ROLLED_BACK)
    assert bob.bodies() == [b"one"]


def test_r4_9_a_copy_to_the_own_devices_names_all_but_the_sending_one() -> None:
    desk, alice = Desk(), Device("alice")
    line, second = desk.join(alice), desk.join(Device("alice", 2, of=alice))
    assert line.submitted(second.device, b"copy").outcomes == (STORED,)
    assert line.submitted([alice, second.device], b"copy").refusal == RefusalCode.DEVICES_CHANGED
    assert (line.bodies(), second.bodies()) == ([], [b"copy"])


def test_r4_10_a_full_share_of_a_mailbox_is_an_outcome_of_that_device_alone() -> None:
    desk, bob = Desk(), Device("bob")
    desk.join(bob)
    desktop = desk.join(Device("bob", 2, of=bob)).device
    alice = desk.join(Device("alice"))
    body = bytes(256 * 1024)
    for _ in range(stored.MAILBOX_SIZE_MAX // stored.SHARE_DIVISOR // len(body)):
        frame = alice.device.submit([bob, desktop], b"")
        assert alice.send(replace(frame, submissions=(alice.device.submission({1: body}),))).one(Submitted).outcomes
    assert alice.submitted([bob, desktop], b"x").outcomes == ((Outcome.FULL, Outcome.STORED),)
    assert desk.join(Device("carol")).submitted([bob, desktop], b"hi").outcomes == ((Outcome.STORED,) * 2,)


def test_r4_11_a_repetition_is_a_duplicate_and_is_not_delivered_again() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    frame = alice.device.submit(bob.device, b"once")
    assert [one.outcomes for one in alice.send(frame, frame).take(Submitted)] == [(STORED,), (DUPLICATE,)]
    assert bob.bodies() == [b"once"]


def test_r4_11_a_repetition_on_the_next_connection_is_a_duplicate_also_after_acknowledgement() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    frame = alice.device.submit(bob.device, b"once")
    alice.send(frame).end()
    bob.device.delivery_number = bob.mail()[-1].number
    bob.send(bob.device.bundles("alice"))
    again = desk.log_in(alice.device).send(frame).one(Submitted)
    assert again.outcomes == (DUPLICATE,)
    assert bob.bodies() == []


def test_r4_11_a_number_with_other_envelope_ids_is_rolled_back() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"one")
    alice.device.submission_number -= 1
    assert alice.submitted(bob.device, b"another").refusal == RefusalCode.ROLLED_BACK
    assert bob.bodies() == [b"one"]


def test_r4_11_a_number_whose_submission_was_refused_may_be_used_with_other_envelopes() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    assert alice.submitted([bob.device, Device("bob", 2)], b"one").refusal == RefusalCode.DEVICES_CHANGED
    alice.device.submission_number -= 1
    assert alice.submitted(bob.device, b"repaired").outcomes == (STORED,)


def test_envelope_ids_of_one_sender_do_not_make_another_senders_message_a_duplicate() -> None:
    desk = Desk()
    alice, eve, bob = (desk.join(Device(name)) for name in ("alice", "eve", "bob"))
    frame = alice.device.submit(bob.device, b"from alice")
    eve.send(replace(frame, request=1))
    assert alice.send(frame).one(Submitted).outcomes == (STORED,)
    assert [one.sender_user_id for one in bob.mail()] == ["eve", "alice"]


def test_an_unknown_user_is_told_so() -> None:
    line = Desk().join(Device("alice"))
    assert line.submitted(Device("nobody"), b"hello").refusal == RefusalCode.UNKNOWN_USER


def test_who_has_not_uploaded_prekeys_cannot_submit() -> None:
    desk = Desk()
    bob = desk.join(Device("bob"))
    assert desk.log_in(Device("alice")).submitted(bob.device, b"hi").refusal == RefusalCode.NOT_REGISTERED


def test_upload_and_submit_in_one_batch_are_taken_in_their_order() -> None:
    desk, alice = Desk(), Device("alice")
    bob = desk.join(Device("bob"))
    line = desk.log_in(alice)
    line.send(alice.upload(), alice.submit(bob.device, b"hi"))
    assert line.one(Submitted).outcomes == (STORED,)


def test_the_applications_rule_who_may_write_to_whom_is_kept() -> None:
    desk = Desk(may_send=lambda sender, to: (sender, to) != ("eve", "bob"))
    alice, eve, bob = (desk.join(Device(name)) for name in ("alice", "eve", "bob"))
    assert eve.submitted(bob.device, b"spam").refusal == RefusalCode.NOT_AUTHORIZED
    assert alice.submitted(bob.device, b"hello").refusal is None
    assert bob.bodies() == [b"hello"]


def test_a_rule_that_fails_lets_nothing_through_and_costs_one_connection() -> None:
    def broken(_sender: str, _to: str) -> bool:
        raise LookupError

    desk = Desk(may_send=broken)
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.send(alice.device.submit(bob.device, b"hello"))
    assert alice.code is RefusalCode.UNAVAILABLE
    assert (bob.closed, bob.bodies()) == (None, [])


def test_more_than_the_rate_is_refused_with_the_time_to_wait_and_then_taken() -> None:
    desk = Desk(options=RelayOptions(envelopes_per_s=10.0, envelopes_burst=1280))
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    for _ in range(20):
        assert alice.submitted(bob.device, *[b"x"] * 64).refusal is None
    refused = alice.submitted(bob.device, b"one too many")
    assert (refused.outcomes, refused.refusal) == ((), RefusalCode.RATE_LIMITED)
    assert refused.retry_after_ms is not None
    desk.now += refused.retry_after_ms / 1000
    assert alice.submitted(bob.device, b"later").outcomes == (STORED,)


def test_a_flood_of_requests_is_refused_with_the_time_to_wait() -> None:
    desk = Desk(options=RelayOptions(requests_per_s=1.0, requests_burst=3))
    alice = desk.log_in(Device("alice"))
    refused = alice.send(*(alice.device.bundles("bob") for _ in range(4))).one(RefusedRequest)
    assert (refused.code, refused.retry_after_ms) == (RefusalCode.RATE_LIMITED, 1001)


def test_r1_5_an_unknown_request_is_refused_and_an_unknown_frame_without_a_number_ignored() -> None:
    line = Desk().join(Device("alice"))
    line.desk.handle(Arrived(line.connection, UnknownFrame(99, 5)), Arrived(line.connection, UnknownFrame(99, None)))
    assert line.one(RefusedRequest) == RefusedRequest(5, RefusalCode.UNKNOWN_REQUEST, None)
    assert line.closed is None


def test_r4_15_frames_whose_parts_contradict_each_other_close_the_connection() -> None:
    desk, bob = Desk(), Device("bob")
    desk.join(bob)
    good = Device("alice").submit(bob, b"one", b"two")
    first, second = good.submissions
    contradictions = (
        replace(good, devices=good.devices * 2),
        replace(good, devices=()),
        replace(good, submissions=(first._replace(envelopes=first.envelopes * 2),)),
        replace(good, submissions=(second, first)),
        replace(good, submissions=(first, first)),
    )
    assert [desk.log_in(Device(f"eve{n}")).send(frame).code for n, frame in enumerate(contradictions)] == [
        RefusalCode.MALFORMED
    ] * len(contradictions)
