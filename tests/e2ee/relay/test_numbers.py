"""Numbers that a clone uses again, on later connections and after restarts: rules R4.4, R4.11, R4.16 and R4.17."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

from e2ee.errors import RefusalCode
from e2ee.frames import Acknowledge, Outcome, RefusedRequest, Submitted, Uploaded, Welcome
from store.relay import RelayStore
from store.relay.limits import SUBMISSIONS_REMEMBERED
from tests.support.relay_device import Device
from tests.support.relay_talk import Desk

if TYPE_CHECKING:
    from pathlib import Path

    from e2ee.frames import ClientFrame

STORED, DUPLICATE = (Outcome.STORED,), (Outcome.DUPLICATE,)


def test_r4_11_a_clone_that_uses_a_number_again_is_refused_on_a_later_connection() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    unsent = alice.device.submit(bob.device, b"one clone's, which never arrived")
    alice.device.submission_number -= 1
    alice.submitted(bob.device, b"the other clone's")
    again = desk.log_in(alice.device)  # its counters are those that the relay has seen
    assert again.send(unsent).one(Submitted).refusal == RefusalCode.ROLLED_BACK
    assert bob.bodies() == [b"the other clone's"]


def test_r4_11_a_number_is_remembered_after_the_relay_was_closed_and_opened(tmp_path: Path) -> None:
    store = RelayStore.open(f"sqlite:///{tmp_path}/relay.db")
    desk = Desk(store=store)
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    frame = alice.device.submit(bob.device, b"one")
    alice.send(frame)
    store.close()
    with RelayStore.open(f"sqlite:///{tmp_path}/relay.db") as store:
        line = Desk(store=store).log_in(alice.device)
        assert line.send(frame).one(Submitted).outcomes == (DUPLICATE,)
        other = replace(frame, submissions=(alice.device.submission({1: b"x"})._replace(number=1),))
        assert line.send(other).one(Submitted).refusal == RefusalCode.ROLLED_BACK


def test_r4_11_a_number_is_remembered_within_the_batch_that_used_it() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    first = alice.device.submit(bob.device, b"one")
    alice.device.submission_number -= 1
    alice.send(first, alice.device.submit(bob.device, b"another"))
    assert [reply.refusal for reply in alice.take(Submitted)] == [None, RefusalCode.ROLLED_BACK]


def test_r4_4_what_another_connection_submits_in_the_batch_of_a_login_is_told_by_its_welcome() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    clone = replace_counters(alice.device)
    line = desk.open(clone)
    desk.handle(
        alice.arrival(alice.device.submit(bob.device, b"one clone's")),
        line.arrival(clone.login(line.connection.nonce)),
    )
    assert line.one(Welcome).submission_number == 1
    assert line.submitted(bob.device, b"the other clone's").refusal == RefusalCode.ROLLED_BACK


def test_a_number_that_waited_while_many_later_ones_went_is_still_taken() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    waited = alice.device.submit(bob.device, b"waited")
    for _ in range(SUBMISSIONS_REMEMBERED // 64 + 1):
        assert alice.submitted(bob.device, *[b"x"] * 64).refusal is None
    assert alice.send(waited, waited).take(Submitted)[-1].outcomes == (DUPLICATE,)
    again = desk.log_in(alice.device)
    assert again.send(waited).one(Submitted).outcomes == (DUPLICATE,)


def test_a_number_out_of_turn_is_remembered_too() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    earlier, later = (alice.device.submit(bob.device, body) for body in (b"1", b"2"))
    assert [one.outcomes for one in alice.send(later).send(earlier).take(Submitted)] == [(STORED,), (STORED,)]
    alice.device.submission_number = 0
    other = alice.device.submit(bob.device, b"other")
    assert alice.send(other).one(Submitted).refusal == RefusalCode.ROLLED_BACK


def test_the_store_is_not_asked_about_numbers_that_are_new() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    asked: list[str] = []

    def note(statement: str) -> None:
        if "FROM submissions" in statement:
            asked.append(statement)

    with desk.store._engine.connect() as connection:  # the only one to a database in memory
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(note)
    frames: list[ClientFrame] = [alice.device.submit(bob.device, b"1", b"2") for _ in range(3)]
    alice.send(*frames)
    assert asked == []
    alice.send(frames[0])
    assert len(asked) == 1


def test_r4_16_the_same_number_with_another_upload_is_rolled_back_on_a_later_connection() -> None:
    desk = Desk()
    alice = desk.join(Device("alice"))
    clone = Device("alice", of=alice.device, registration_id=alice.device.account.registration_id)
    clone.upload_number = alice.device.upload_number
    alice.device.account.rotate_signed_prekey()
    clone.account.rotate_signed_prekey()
    mine, theirs = alice.device.upload(), clone.upload()
    assert alice.send(mine).take(Uploaded)
    line = desk.log_in(clone)
    assert line.send(mine).take(Uploaded)  # a repetition
    assert line.send(theirs).one(RefusedRequest).code == RefusalCode.ROLLED_BACK


def test_r4_4_an_older_copy_meets_the_counters_also_after_another_registration_of_the_device() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    copy = replace_counters(alice.device)
    alice.submitted(bob.device, b"1", b"2")
    recovered = Device("alice", of=alice.device)
    desk.join(recovered)
    welcome = desk.log_in(copy).one(Welcome)
    assert welcome.submission_number == 2 > copy.submission_number


def replace_counters(device: Device) -> Device:
    """A copy of a device with its counters as they are now."""
    copy = Device(device.user_id, of=device)
    copy.account = device.account
    copy.submission_number, copy.upload_number = device.submission_number, device.upload_number
    return copy


def test_r4_17_a_relay_restored_from_a_backup_swallows_no_mail_under_numbers_that_were_acknowledged(
    tmp_path: Path,
) -> None:
    path = tmp_path / "relay.db"
    store = RelayStore.open(f"sqlite:///{path}")
    desk = Desk(store=store)
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    store.checkpoint()
    shutil.copy(path, tmp_path / "backup.db")
    alice.submitted(bob.device, *[b"before"] * 5)
    bob.device.delivery_number = bob.mail()[-1].number
    bob.send(Acknowledge(5))
    store.close()
    shutil.copy(tmp_path / "backup.db", path)
    with RelayStore.open(f"sqlite:///{path}") as store:
        desk = Desk(store=store)
        sender = desk.log_in(alice.device)
        sender.submitted(bob.device, *[b"after"] * 7)  # more than bob has acknowledged of the mail that was lost
        assert desk.log_in(bob.device).bodies() == [b"after"] * 7
