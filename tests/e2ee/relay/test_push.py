"""Mail pushed in the transaction that stores it: without being read back, in order, and not before the commit."""

from __future__ import annotations

import sqlite3

from e2ee.frames import Acknowledge, Deliver, Drained
from e2ee.relay.limits import RelayOptions
from tests.support.relay_device import Device
from tests.support.relay_talk import Desk


def statements(desk: Desk, table: str = "mail") -> list[str]:
    """What reads *table* from now on."""
    seen: list[str] = []

    def note(statement: str) -> None:
        if f"FROM {table} " in statement and statement.startswith("SELECT"):
            seen.append(statement)

    with desk.store._engine.connect() as connection:  # the only one to a database in memory
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(note)
    return seen


def test_mail_for_a_connected_device_that_has_everything_is_not_read_back() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    read = statements(desk)
    alice.send(alice.device.submit(bob.device, b"1", b"2"), alice.device.submit(bob.device, b"3"))
    assert bob.bodies() == [b"1", b"2", b"3"]
    assert bob.one(Drained).number == 3
    bob.send(Acknowledge(3))
    alice.send(alice.device.submit(bob.device, b"4"))
    assert bob.bodies() == [b"4"]
    assert read == []


def test_mail_that_waits_goes_before_mail_that_has_just_come() -> None:
    desk = Desk(options=RelayOptions(window=64))
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    bodies = [bytes([number]) for number in range(70)]
    for body in bodies[:66]:
        alice.submitted(bob.device, body)
    assert bob.bodies() == bodies[:64]
    # Room and new mail in one batch: two wait, four come.
    desk.handle(bob.arrival(Acknowledge(64)), alice.arrival(alice.device.submit(bob.device, *bodies[66:])))
    assert bob.bodies() == bodies[64:]
    assert bob.take(Drained)[-1].number == 70


def test_one_batch_beyond_the_window_is_pushed_as_far_as_there_is_room() -> None:
    desk = Desk(options=RelayOptions(window=64))
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    bodies = [bytes([number]) for number in range(100)]
    alice.send(alice.device.submit(bob.device, *bodies[:50]), alice.device.submit(bob.device, *bodies[50:]))
    assert bob.bodies() == bodies[:64]
    assert bob.take(Drained) == []
    bob.send(Acknowledge(64))
    assert bob.bodies() == bodies[64:]
    assert bob.one(Drained).number == 100


def test_frames_of_what_was_just_stored_stay_within_the_limit_of_their_size() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    large = bytes(200_000)
    alice.send(*[alice.device.submit(bob.device, large) for _ in range(7)])
    frames = bob.take(Deliver)
    assert [len(frame.deliveries) for frame in frames] == [5, 2]
    assert [one.number for frame in frames for one in frame.deliveries] == list(range(1, 8))


def test_an_acknowledgement_of_everything_asks_the_store_for_nothing_more() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"1")
    read = statements(desk, "mailboxes")
    bob.received.clear()
    bob.send(Acknowledge(1))
    assert (bob.received, read) == ([], [])
