"""What was received, on both databases: order, ids seen, receipts, numbers, and what did not open."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from store import (
    ASKED_FOR,
    ClientStore,
    Full,
    Received,
    StaleWriter,
    TooLarge,
    limits,
    seen_envelope,
    seen_message,
)
from store import inbox as inbox_module
from store.tallied import TalliedTable

if TYPE_CHECKING:
    from .conftest import Clock

DAY = 24 * 3600.0
GROUP = bytes(range(32))
DISTRIBUTION = UUID(bytes=bytes(16))
KEY = b"\x05" + bytes(32)


def identifier(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_events_come_in_order_are_counted_and_acknowledged(store: ClientStore) -> None:
    with store.begin() as unit:
        numbers = [unit.inbox.add("direct", b"%d" % number) for number in range(3)]
    with store.begin() as unit:
        unit.inbox.delivered(numbers[1])
        assert [(event.body, event.deliveries) for event in unit.inbox.after(0, limit=9)] == [
            (b"0", 0),
            (b"1", 1),
            (b"2", 0),
        ]
        assert [event.number for event in unit.inbox.after(numbers[0], limit=1)] == [numbers[1]]
        assert (unit.inbox.acknowledge(numbers[0]), unit.inbox.acknowledge(numbers[0])) == (True, False)
        assert unit.inbox.count() == 2


def test_a_number_is_not_given_twice_even_when_the_last_event_is_gone(store: ClientStore) -> None:
    with store.begin() as unit:
        first = unit.inbox.add("direct", b"one")
        unit.inbox.acknowledge(first)
    with store.begin() as unit:
        assert unit.inbox.add("direct", b"two") > first


def test_a_full_inbox_says_so_before_and_when_it_is_full(store: ClientStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "INBOX", TalliedTable("inbox", "created_at", 2, 10_000))
    monkeypatch.setattr(inbox_module, "INBOX_MAX", 2)
    with store.begin() as unit:
        assert unit.inbox.room() == 2
        number = unit.inbox.add("direct", b"one")
        unit.inbox.add("direct", b"two")
        assert unit.inbox.room() == 0
        with pytest.raises(Full):
            unit.inbox.add("direct", b"three")
        unit.inbox.acknowledge(number)
        assert unit.inbox.room() == 1


def test_ids_are_seen_per_sender_so_that_nobody_spends_anothers(store: ClientStore) -> None:
    keys = [
        seen_envelope("alice", 1, identifier(1)),
        seen_envelope("alice", 2, identifier(1)),
        seen_envelope("eve", 1, identifier(1)),
        seen_message("alice", identifier(1)),
        seen_message("eve", identifier(1)),
    ]
    assert len(set(keys)) == 5
    with store.begin() as unit:
        unit.seen.add(keys[0])
    with store.begin() as unit:
        assert unit.seen.known(keys) == {keys[0]}
        assert unit.seen.known(keys[:1]) == {keys[0]}
        assert unit.seen.known([]) == set()


def test_an_id_is_added_once_and_one_of_a_unit_that_failed_is_not_seen(store: ClientStore) -> None:
    def add_and_fail() -> None:
        with store.begin() as unit:
            unit.seen.add(identifier(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        add_and_fail()
    with store.begin() as unit:
        assert unit.seen.known([identifier(1)]) == set()
        unit.seen.add(identifier(1))
        with pytest.raises(StaleWriter):
            unit.seen.add(identifier(1))


def test_ids_are_known_after_the_store_was_opened_again(database_url: str) -> None:
    with ClientStore.open(database_url) as store:
        for number in range(3):
            with store.begin() as unit:
                unit.seen.add(identifier(number))
                unit.seen.add(identifier(100 + number))
    with ClientStore.open(database_url) as store, store.begin() as unit:
        assert len(unit.seen.known(map(identifier, range(200)))) == 6


def test_the_oldest_ids_are_forgotten_by_count_and_by_age(
    store: ClientStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "SEEN_MAX", 10)
    for number in range(15):
        with store.begin() as unit:
            unit.seen.add(identifier(number))
    with store.begin() as unit:
        assert unit.seen.known(map(identifier, range(15))) == {identifier(number) for number in range(5, 15)}
    clock.now += 30 * DAY + 1
    with store.begin():
        pass
    with store.begin() as unit:
        assert unit.seen.known(map(identifier, range(15))) == set()


def test_receipts_wait_until_they_are_given(store: ClientStore) -> None:
    with store.begin() as unit:
        for number in (1, 2, 3):
            unit.receipts.add("bob", 1, b"bob", number, "delivered")
        unit.receipts.add("carol", 2, b"carol", 9, "read")
    with store.begin() as unit:
        assert [(user, device, count) for user, device, count, _ in unit.receipts.devices()] == [
            ("bob", 1, 3),
            ("carol", 2, 1),
        ]
        due = unit.receipts.due("bob", 1, limit=2)
        assert [one.conversation_number for one in due] == [1, 2]
        assert unit.receipts.given("bob", 1, due[-1].number) == 2
        assert [one.conversation_number for one in unit.receipts.due("bob", 1, limit=9)] == [3]


def test_conversations_count_what_is_sent_and_remember_what_is_missing(store: ClientStore, clock: Clock) -> None:
    gaps = Received(9, ((2, 3), (5, 8)), clock.now)
    with store.begin() as unit:
        assert [unit.conversations.next_number(b"bob") for _ in range(3)] == [1, 2, 3]
        assert unit.conversations.next_number(b"carol") == 1
        unit.conversations.save_received(b"bob", "bob", 1, gaps)
        assert unit.conversations.received(b"bob", "bob", 1) == gaps
        assert unit.conversations.received(b"bob", "bob", 2) == Received(0)
        assert unit.conversations.open_gaps(600) == []
    clock.now += 601
    with store.begin() as unit:
        assert unit.conversations.open_gaps(600) == [(b"bob", "bob", 1, gaps)]
        with pytest.raises(TooLarge):
            unit.conversations.save_received(b"bob", "bob", 1, Received(999, ((1, 1),) * 201, 0.0))


def test_pending_messages_are_found_by_key_and_by_device(store: ClientStore) -> None:
    with store.begin() as unit:
        assert unit.pending.add("bob", 1, identifier(1), 7, b"one", reason="no key", waits_for=b"chain") == []
        unit.pending.add("bob", 1, identifier(2), 2, b"two", reason="not opened")
        assert [one.ciphertext for one in unit.pending.waiting_for(b"chain")] == [b"one"]
        found = unit.pending.from_device("bob", 1)
        assert [one.reason for one in found] == ["no key", "not opened"]
        unit.pending.take_out(found[0])
        assert unit.pending.waiting_for(b"chain") == []


def test_what_waits_under_a_name_can_be_asked_for_too_and_then_counts_as_asked_for(store: ClientStore) -> None:
    with store.begin() as unit:
        for number in (1, 2):
            unit.pending.add("bob", 1, identifier(number), 7, b"m", reason="no key", waits_for=b"member:bob")
        unit.pending.add("carol", 1, identifier(3), 7, b"m", reason="no key", waits_for=b"member:carol")
    with store.begin() as unit:
        assert unit.pending.devices() == []
        assert unit.pending.rename(b"member:bob", ASKED_FOR + b"bob") == [("bob", 1)]
        first, second = unit.pending.from_device("bob", 1)
        assert first.is_asked_for
        assert second.is_asked_for
        assert not unit.pending.from_device("carol", 1)[0].is_asked_for
        unit.pending.asked([first, second])
        assert unit.pending.devices() == [("bob", 1, 1)]
        assert unit.pending.not_asked("bob", 1) == 2
        assert unit.pending.devices() == [("bob", 1, 0)]
        unit.pending.asked([first])
        unit.pending.wait_for(first, b"log:", "the log is behind")
    with store.begin() as unit:
        (waits,) = unit.pending.waiting_for(b"log:")
        assert (waits.envelope_id, waits.reason, waits.requests) == (identifier(1), "the log is behind", 0)
        assert [one.envelope_id for one in unit.pending.waiting_for(ASKED_FOR + b"bob")] == [identifier(2)]


def test_a_device_that_fills_the_pending_messages_loses_its_own(
    store: ClientStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.trouble.PENDING_PER_DEVICE_MAX", 3)
    with store.begin() as unit:
        unit.pending.add("carol", 1, identifier(99), 2, b"c", reason="r")
        lost = [unit.pending.add("bob", 1, identifier(number), 2, b"b", reason="r") for number in range(5)]
        assert [[one.envelope_id for one in some] for some in lost] == [[], [], [], [identifier(0)], [identifier(1)]]
        assert len(unit.pending.from_device("carol", 1)) == 1


def test_pending_messages_older_than_14_days_are_handed_out_to_be_reported(store: ClientStore, clock: Clock) -> None:
    with store.begin() as unit:
        unit.pending.add("bob", 1, identifier(1), 2, b"b", reason="r")
    clock.now += limits.PENDING_AGE_S + 1
    with store.begin() as unit:
        assert [one.envelope_id for one in unit.pending.expire()] == [identifier(1)]
        assert unit.pending.expire() == []


def test_an_envelope_is_quarantined_after_its_attempts_were_counted(store: ClientStore) -> None:
    with store.begin() as unit:
        assert [unit.delivery_attempts.count("bob", 1, identifier(1)) for _ in range(3)] == [1, 2, 3]
        unit.delivery_attempts.forget("bob", 1, identifier(1))
        assert unit.delivery_attempts.count("bob", 1, identifier(1)) == 1
        unit.quarantine.add("bob", 1, identifier(1), b"ciphertext", "ZeroDivisionError")
        assert [(one.ciphertext, one.cause) for one in unit.quarantine.all()] == [(b"ciphertext", "ZeroDivisionError")]
