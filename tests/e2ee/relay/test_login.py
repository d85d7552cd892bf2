"""Logging in: rules R4.1 to R4.6 of docs/protocol.md, on the core."""

from __future__ import annotations

from dataclasses import replace

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import Closing, Drained, Login, Ping, Pong, UnknownFrame, Welcome
from e2ee.relay.connection import Arrived, Authorized, Tick
from e2ee.relay.limits import IdentityChange, RelayOptions
from ratchet.labels import SIGN_LOGIN
from tests.support.relay_device import Device
from tests.support.relay_talk import Desk, Line

UNKNOWN_NAME = "alice\u0378"  # of a code point that no version of Unicode has given a character


def test_the_first_login_binds_the_user_id_and_is_told_counters_of_zero() -> None:
    line = Desk().log_in(Device("alice"))
    welcome = line.one(Welcome)
    assert (welcome.submission_number, welcome.delivery_number, welcome.upload_number) == (0, 0, 0)
    assert line.one(Drained).number == 0


def test_r4_1_nothing_but_a_login_is_taken_before_the_login() -> None:
    line = Desk().open(Device("alice"))
    assert line.send(Ping(0, 1)).code is RefusalCode.MALFORMED


def test_r4_1_an_unknown_frame_before_the_login_closes_the_connection() -> None:
    line = Desk().open(Device("alice"))
    line.desk.handle(Arrived(line.connection, UnknownFrame(100, 1)))
    assert line.code is RefusalCode.MALFORMED


def test_r4_1_a_challenge_is_valid_for_ten_seconds() -> None:
    desk = Desk()
    line = desk.open(Device("alice"))
    desk.now += 10.0
    desk.handle(Tick())
    assert line.closed is None
    desk.now += 0.1
    desk.handle(Tick())
    assert line.code is RefusalCode.NOT_AUTHENTIC


def test_r4_1_a_challenge_is_valid_for_its_own_connection_only() -> None:
    desk, alice = Desk(), Device("alice")
    first, second = desk.open(alice), desk.open(alice)
    assert second.send(alice.login(first.connection.nonce)).code is RefusalCode.NOT_AUTHENTIC


def test_r4_1_a_second_login_on_one_connection_closes_it() -> None:
    desk, alice = Desk(), Device("alice")
    line = desk.log_in(alice)
    assert line.send(alice.login(line.connection.nonce)).code is RefusalCode.MALFORMED


def test_r4_2_the_signature_covers_the_claim_as_it_stands() -> None:
    line = Desk().open(alice := Device("alice"))
    login = alice.login(line.connection.nonce)
    forged = Login(login.claim[:-1] + b"\x01", login.identity_key, login.signature, None, ())
    assert line.send(forged).code is RefusalCode.NOT_AUTHENTIC


def test_r1_6_a_claim_in_another_encoding_is_checked_as_it_stands() -> None:
    desk, alice = Desk(), Device("alice")
    key = alice.account.identity_key

    def forms(line: Line) -> tuple[bytes, bytes]:
        """The claim, and the same values with the version as an integer of nine bytes."""
        claim = alice.claim(line.connection.nonce)
        return claim, claim[:1] + b"\xcf" + bytes(7) + claim[1:]

    line = desk.open(alice)
    _short, long = forms(line)
    line.send(Login(long, key, alice.account.sign(SIGN_LOGIN, long), None, ())).one(Welcome)
    line = desk.open(alice)
    short, long = forms(line)
    assert (
        line.send(Login(long, key, alice.account.sign(SIGN_LOGIN, short), None, ())).code is RefusalCode.NOT_AUTHENTIC
    )


def test_r4_2_somebody_elses_identity_key_does_not_fit_the_signature() -> None:
    line = Desk().open(alice := Device("alice"))
    login = alice.login(line.connection.nonce)
    assert line.send(replace(login, identity_key=Device("eve").account.identity_key)).code is RefusalCode.NOT_AUTHENTIC


def test_r4_2_an_identity_key_without_form_closes_the_connection() -> None:
    line = Desk().open(alice := Device("alice"))
    assert line.send(replace(alice.login(line.connection.nonce), identity_key=bytes(33))).code is RefusalCode.MALFORMED


@pytest.mark.parametrize("claim", [b"\x90", b"\xc0", b"\x99\x01\xa1x\xc4\x00\xa1a\x01\x01\x00\x00\x00", b"\xff" * 1024])
def test_r4_3_a_claim_without_form_closes_the_connection(claim: bytes) -> None:
    line = Desk().open(alice := Device("alice"))
    assert line.send(replace(alice.login(line.connection.nonce), claim=claim)).code is RefusalCode.MALFORMED


def test_r2_1_nobody_logs_in_under_a_name_whose_characters_the_relay_does_not_know() -> None:
    line = Desk().open(alice := Device(UNKNOWN_NAME))
    assert line.send(alice.login(line.connection.nonce)).code is RefusalCode.MALFORMED


def test_r4_3_another_version_of_the_protocol_is_told_so() -> None:
    line = Desk().open(alice := Device("alice"))
    assert line.send(alice.login(line.connection.nonce, version=2)).code is RefusalCode.UNSUPPORTED_VERSION


def test_r4_3_a_login_made_for_another_relay_is_refused() -> None:
    line = Desk().open(alice := Device("alice"))
    assert line.send(alice.login(line.connection.nonce, name="evil.example:443")).code is RefusalCode.WRONG_NAME


def test_r4_3_version_comes_before_name_and_name_before_nonce() -> None:
    line = Desk().open(alice := Device("alice"))
    assert line.send(alice.login(bytes(32), name="x:1", version=9)).code is RefusalCode.UNSUPPORTED_VERSION
    line = Desk().open(alice)
    assert line.send(alice.login(bytes(32), name="x:1")).code is RefusalCode.WRONG_NAME


def test_r4_3_a_user_id_with_another_identity_key_is_taken() -> None:
    desk = Desk()
    desk.log_in(Device("alice"))
    assert desk.log_in(Device("alice")).code is RefusalCode.IDENTITY_TAKEN


def test_r4_3_the_policy_replace_gives_the_id_to_the_new_key_and_ends_what_the_old_one_had() -> None:
    desk = Desk(options=RelayOptions(identity_change=IdentityChange.REPLACE))
    bob = desk.join(Device("bob"))
    old = desk.join(Device("alice"))
    bob.submitted(old.device, b"for the old key")
    new = desk.log_in(Device("alice"))
    assert new.closed is None
    assert old.code is RefusalCode.IDENTITY_TAKEN
    assert new.bodies() == []


def test_r4_3_without_open_registration_only_known_users_come_in() -> None:
    alice = Device("alice")
    desk = Desk()
    desk.log_in(alice)
    closed = Desk(store=desk.store, open_registration=False)
    assert closed.log_in(alice).closed is None
    assert closed.log_in(Device("bob")).code is RefusalCode.NOT_AUTHORIZED


def test_r4_3_the_application_is_asked_after_the_signature_and_before_the_binding() -> None:
    desk = Desk(asks=True)
    alice = Device("alice")
    line = desk.open(alice)
    line.send(alice.login(line.connection.nonce, token=b"secret"))
    (ask,) = line.asked
    assert (ask.user_id, ask.token) == ("alice", b"secret")
    with desk.store.begin() as unit:
        assert unit.users.find("alice") is None
    desk.handle(Authorized(line.connection, allowed=True))
    assert line.take(Welcome)


@pytest.mark.parametrize(
    ("answer", "code"), [(False, RefusalCode.NOT_AUTHORIZED), (None, RefusalCode.UNAVAILABLE)], ids=["no", "no answer"]
)
def test_r4_3_a_user_the_application_does_not_let_in_is_refused(answer: bool | None, code: RefusalCode) -> None:  # noqa: FBT001
    desk = Desk(asks=True)
    line = desk.log_in(Device("alice"))
    desk.handle(Authorized(line.connection, answer))
    assert line.code is code
    with desk.store.begin() as unit:
        assert unit.users.find("alice") is None


def test_r4_3_nobody_is_asked_about_a_login_whose_signature_is_wrong() -> None:
    desk = Desk(asks=True)
    line = desk.open(alice := Device("alice"))
    line.send(replace(alice.login(line.connection.nonce), signature=bytes(64)))
    assert line.asked == []
    assert line.code is RefusalCode.NOT_AUTHENTIC


def test_frames_between_login_and_welcome_close_the_connection() -> None:
    desk = Desk(asks=True)
    line = desk.log_in(Device("alice"))
    assert line.send(Ping(0, 1)).code is RefusalCode.MALFORMED


def test_r4_4_the_welcome_tells_the_highest_counters_that_the_relay_has_seen() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"one", b"two", b"three")
    bob.submitted(alice.device, b"back")
    alice.device.delivery_number = 1
    alice.send(Ping(1, 50))
    rolled_back = alice.device
    rolled_back.submission_number = rolled_back.delivery_number = rolled_back.upload_number = 0
    welcome = desk.log_in(rolled_back).one(Welcome)
    assert (welcome.submission_number, welcome.delivery_number, welcome.upload_number) == (3, 1, 1)


def test_r4_4_a_new_registration_id_starts_without_prekeys_and_meets_the_counters_of_the_one_before() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"one")
    restored = Device("alice", of=alice.device)
    welcome = desk.log_in(restored).one(Welcome)
    assert (welcome.submission_number, welcome.upload_number, welcome.one_time_prekeys) == (1, 1, 0)


def test_r4_5_after_a_rollback_numbers_that_were_used_since_are_refused_and_older_ones_are_duplicates() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    first = alice.device.submit(bob.device, b"one")
    alice.send(first).received.clear()
    alice.submitted(bob.device, b"two", b"three")
    alice.device.submission_number = 1  # as in the copy of the store made after the first message
    clone = desk.log_in(alice.device)
    again = clone.submitted(bob.device, b"another two")
    assert (again.outcomes, again.refusal) == ((), RefusalCode.ROLLED_BACK)
    clone.received.clear()
    clone.send(first)
    (reply,) = clone.received
    assert [outcome for (outcome,) in reply.outcomes] == [1]  # type: ignore[union-attr]


def test_r4_6_a_second_connection_of_a_device_closes_the_first() -> None:
    desk, alice = Desk(), Device("alice")
    first = desk.log_in(alice)
    second = desk.log_in(alice)
    assert first.code is RefusalCode.REPLACED
    assert second.send(Ping(0, 7)).one(Pong).request == 7


def test_r4_6_of_two_logins_of_a_device_in_one_batch_the_later_one_stays() -> None:
    desk, alice = Desk(), Device("alice")
    first, second = desk.open(alice), desk.open(alice)
    desk.handle(*(line.arrival(alice.login(line.connection.nonce)) for line in (first, second)))
    assert first.code is RefusalCode.REPLACED
    assert second.send(Ping(0, 7)).take(Pong)


def test_other_devices_of_the_user_stay_connected() -> None:
    desk, alice = Desk(), Device("alice")
    first = desk.log_in(alice)
    desk.log_in(Device("alice", 2, of=alice))
    assert first.closed is None


def test_a_user_has_at_most_twenty_devices() -> None:
    desk, alice = Desk(), Device("alice")
    desk.log_in(alice)
    for device_id in range(2, 21):
        assert desk.log_in(Device("alice", device_id, of=alice)).closed is None
    assert desk.log_in(Device("alice", 21, of=alice)).code is RefusalCode.NOT_AUTHORIZED
    assert desk.log_in(Device("alice", 20, of=alice)).closed is None


def test_the_oldest_stranger_makes_room_when_too_many_wait_to_log_in() -> None:
    desk = Desk(options=RelayOptions(strangers_max=3))
    alice = desk.log_in(Device("alice"))
    strangers = [desk.open(Device("eve")) for _ in range(4)]
    assert [line.code for line in strangers] == [RefusalCode.UNAVAILABLE, None, None, None]
    assert alice.closed is None


def test_a_closing_says_what_to_do_and_repeats_nothing_of_the_client() -> None:
    desk = Desk()
    line = desk.open(alice := Device("alice"))
    line.send(alice.login(line.connection.nonce, name="a-name-to-look-for.example:1"))
    assert isinstance(line.closed, Closing)
    assert line.closed.explanation
    assert "a-name-to-look-for" not in line.closed.explanation
