"""Mailboxes and their window: rules R4.12, R4.13 and R4.17 of docs/protocol.md, on the core; and a store that fails."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import Acknowledge, Deliver, Drained, Ping, Pong, Submitted, Welcome
from e2ee.relay.connection import Ended, Stopping, Sweep, Tick, TooSlow
from e2ee.relay.limits import RelayOptions
from store.errors import StoreUnavailable
from store.relay import RelayStore
from store.relay import limits as stored
from tests.support.relay_device import Device
from tests.support.relay_talk import Desk, Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from store.relay import Envelope, Outcome, RelayUnit


def fill(line: Line, to: Device, count: int, size: int = 1) -> None:
    """Send *count* numbered messages."""
    bodies = [number.to_bytes(2, "big").ljust(size, b".") for number in range(count)]
    for start in range(0, count, 64):
        part = bodies[start : start + 64] if size < 1000 else bodies[start : start + 3]
        assert line.submitted(to, *part).refusal is None


def test_r4_13_mail_waits_for_a_device_that_is_offline_and_drained_follows_it() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    bob.end()
    alice.submitted(bob.device, b"1", b"2")
    again = desk.log_in(bob.device)
    assert [type(frame) for frame in again.received] == [Welcome, Deliver, Drained]
    assert again.one(Drained).number == again.mail()[-1].number


def test_r4_13_what_is_not_acknowledged_comes_again_with_the_same_numbers() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"1", b"2", b"3")
    first = bob.mail()
    bob.send(Acknowledge(first[0].number)).end()
    assert desk.log_in(bob.device).mail() == first[1:]


def test_r4_13_what_is_acknowledged_is_gone_from_the_store() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"1", b"2")
    bob.send(Acknowledge(bob.mail()[-1].number)).end()
    assert desk.log_in(bob.device).mail() == []


def test_an_acknowledgement_rides_on_any_frame() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"1")
    bob.send(Ping(bob.mail()[-1].number, 9)).one(Pong)
    bob.end()
    assert desk.log_in(bob.device).mail() == []


def test_an_acknowledgement_that_comes_again_costs_no_transaction() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"1")
    bob.send(Acknowledge(1))
    units = CountedStore(desk)
    bob.send(*[Acknowledge(1)] * 50)
    assert units.begun == 0


def test_r4_17_the_claim_of_a_login_acknowledges_nothing_and_what_is_unacknowledged_comes_once_more() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"1", b"2")
    bob.device.delivery_number = bob.mail()[0].number  # committed; then the line was cut
    bob.end()
    again = desk.log_in(bob.device)
    assert again.one(Welcome).delivery_number == 0
    assert again.bodies() == [b"1", b"2"]


def test_r4_17_an_acknowledgement_beyond_what_was_pushed_here_swallows_nothing() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    bob.send(Acknowledge(1_000))
    alice.submitted(bob.device, b"1")
    bob.send(Acknowledge(2**63 - 1)).end()
    bob.device.delivery_number = 5_000  # as after the relay lost its data
    again = desk.log_in(bob.device)
    assert again.one(Welcome).delivery_number == 0
    assert again.bodies() == [b"1"]


def test_r4_13_no_more_than_the_window_is_pushed_and_an_acknowledgement_opens_it() -> None:
    desk = Desk(options=RelayOptions(window=64))
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    fill(alice, bob.device, 150)
    assert bob.take(Drained) == []
    first = bob.bodies()
    assert len(first) == 64
    second = bob.send(Acknowledge(64)).bodies()
    third = bob.send(Acknowledge(128)).bodies()
    assert (len(second), len(third)) == (64, 22)
    assert first + second + third == [number.to_bytes(2, "big") for number in range(150)]
    assert bob.one(Drained).number == 150


def test_the_window_is_also_one_of_bytes_so_that_large_messages_do_not_fill_our_memory() -> None:
    desk = Desk(options=RelayOptions(window_size=500_000))
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    bob.end()
    fill(alice, bob.device, 3, 200_000)
    fill(alice, bob.device, 3, 200_000)
    fill(alice, bob.device, 3, 200_000)
    again = desk.log_in(bob.device)
    pushed = again.mail()
    assert 3 <= len(pushed) < 9
    while pushed[-1].number < 9:
        pushed += again.send(Acknowledge(pushed[-1].number)).mail()
    assert [one.number for one in pushed] == list(range(1, 10))


def test_a_window_full_for_too_long_ends_the_connection_and_keeps_the_mail() -> None:
    desk = Desk(options=RelayOptions(window=64, silence_max_s=10_000.0))
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    fill(alice, bob.device, 70)
    desk.now += 299
    desk.handle(Tick())
    assert bob.closed is None
    desk.now += 2
    desk.handle(Tick())
    assert bob.code is RefusalCode.TOO_SLOW
    assert alice.closed is None
    assert len(desk.log_in(bob.device).bodies()) == 64


def test_who_says_nothing_for_three_heartbeats_is_taken_for_gone() -> None:
    desk = Desk()
    line, lively = desk.log_in(Device("alice")), desk.log_in(Device("bob"))
    desk.now += 89
    desk.handle(Tick())
    assert line.closed is None
    lively.send(Ping(0, 1))
    desk.now += 2
    desk.handle(Tick())
    assert (line.code, lively.code) == (RefusalCode.TOO_SLOW, None)


def test_a_carrier_that_takes_nothing_more_is_closed_and_its_mail_kept() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    alice.submitted(bob.device, b"1")
    desk.handle(TooSlow(bob.connection))
    assert bob.code is RefusalCode.TOO_SLOW
    assert desk.log_in(bob.device).bodies() == [b"1"]


def test_nothing_follows_the_last_frame_of_a_connection_that_is_closed_in_the_same_batch() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    # The desk asserts it of everything; and what was asked before the end is done all the same.
    desk.handle(alice.arrival(alice.device.submit(bob.device, b"1")), TooSlow(alice.connection))
    assert (alice.code, alice.received, bob.bodies()) == (RefusalCode.TOO_SLOW, [], [b"1"])


def test_many_frames_of_many_connections_are_one_transaction() -> None:
    desk = Desk()
    bob = desk.join(Device("bob"))
    senders = [desk.join(Device(f"sender{number}")) for number in range(10)]
    units = CountedStore(desk)
    desk.handle(*(line.arrival(line.device.submit(bob.device, b"x")) for line in senders for _ in range(3)))
    assert units.begun == 1
    assert len(bob.bodies()) == 30


def test_frames_that_came_before_the_line_was_cut_are_stored() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    desk.handle(alice.arrival(alice.device.submit(bob.device, b"last words")), Ended(alice.connection))
    assert bob.bodies() == [b"last words"]


def test_r4_12_when_the_commit_fails_nobody_is_told_that_anything_is_stored_and_all_connect_again() -> None:
    desk = Desk()
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    store = CountedStore(desk, fail=True)
    frame = alice.device.submit(bob.device, b"hello")
    alice.send(frame)
    assert (alice.code, alice.take(Submitted)) == (RefusalCode.UNAVAILABLE, [])
    assert (bob.closed, bob.bodies()) == (None, [])
    store.fail = False
    assert desk.log_in(alice.device).send(frame).one(Submitted).refusal is None
    assert bob.bodies() == [b"hello"]


def test_one_step_that_fails_costs_its_own_connection_and_no_other() -> None:
    desk = Desk()
    alice, bob, eve = (desk.join(Device(name)) for name in ("alice", "bob", "eve"))
    CountedStore(desk, poison=b"poison")
    desk.handle(
        eve.arrival(eve.device.submit(bob.device, b"poison")), alice.arrival(alice.device.submit(bob.device, b"fine"))
    )
    assert (eve.code, alice.closed) == (RefusalCode.UNAVAILABLE, None)
    assert alice.one(Submitted).refusal is None
    assert bob.bodies() == [b"fine"]


def test_at_the_end_every_connection_is_told_that_the_relay_shuts_down() -> None:
    desk = Desk()
    lines = [desk.join(Device("alice")), desk.open(Device("bob"))]
    desk.handle(Stopping())
    assert [line.code for line in lines] == [RefusalCode.SHUTTING_DOWN] * 2


def test_after_a_restart_on_the_same_file_mail_counters_and_listings_are_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'relay.db'}"
    with RelayStore.open(url) as store:
        desk = Desk(store=store)
        alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
        bob.end()
        alice.submitted(bob.device, b"kept")
    with RelayStore.open(url) as store:
        desk = Desk(store=store)
        assert desk.log_in(bob.device).bodies() == [b"kept"]
        again = desk.log_in(alice.device)
        assert again.one(Welcome).submission_number == 1
        assert again.submitted(bob.device, b"more").refusal is None


def test_mail_that_nobody_fetched_for_thirty_days_is_swept_away() -> None:
    desk = Desk(options=RelayOptions(silence_max_s=1e9))
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    bob.end()
    alice.submitted(bob.device, b"old")
    desk.now += stored.MAIL_AGE_S + 1
    desk.handle(Sweep())
    assert desk.log_in(bob.device).bodies() == []


def test_a_device_not_seen_for_sixty_days_is_removed_and_one_that_is_connected_is_not() -> None:
    desk = Desk(options=RelayOptions(silence_max_s=1e9))
    alice, bob = desk.join(Device("alice")), desk.join(Device("bob"))
    bob.end()
    desk.now += stored.DEVICE_IDLE_S + 1
    desk.handle(Tick(), Sweep())
    assert alice.closed is None
    assert alice.submitted(bob.device, b"?").refusal == RefusalCode.DEVICES_CHANGED


class CountedStore:
    """Stands before the desk's store: counts units, and makes them fail as a database does."""

    def __init__(self, desk: Desk, *, fail: bool = False, poison: bytes | None = None) -> None:
        self._begin = desk.store.begin
        self.begun = 0
        self.fail = fail
        self.poison = poison
        desk.core._store = self  # type: ignore[assignment]

    def begin(self) -> AbstractContextManager[RelayUnit]:
        @contextmanager
        def unit() -> Iterator[RelayUnit]:
            self.begun += 1
            with self._begin() as inner:
                append = inner.mailboxes.append

                def poisoned(envelopes: Sequence[Envelope]) -> list[Outcome]:
                    if any(one.content == self.poison for one in envelopes):
                        raise RuntimeError("a bug")
                    return append(envelopes)

                inner.mailboxes.append = poisoned  # type: ignore[method-assign]
                yield inner
                if self.fail:
                    raise StoreUnavailable("disk full")

        return unit()


@pytest.mark.parametrize(
    "options", [{"window": 1}, {"names": ("example.org",)}, {"drain_s": 0}, {"envelopes_burst": 5}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"is above 0|is at least|is host:port"):
        RelayOptions(**options)  # type: ignore[arg-type]
