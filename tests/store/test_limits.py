"""Each limit by count, size and age, at the limit and one beyond it: the oldest goes, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import pytest

from ratchet import Session
from store import ClientStore, Received, TooLarge, inbox, limits, retention, sender_keys, trouble
from store.tallied import TalliedTable
from tests.support.conversation import account, seeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from store import Unit

    from .conftest import Clock

DAY: Final = 24 * 3600.0
SESSIONS: Final = 64  # read together: as many as a frame has envelopes
DISTRIBUTION: Final = UUID(bytes=bytes(16))


def identifier(number: int) -> bytes:
    return number.to_bytes(16, "big")


def quarantine(unit: Unit, number: int) -> None:
    unit.quarantine.add("bob", 1, identifier(number), b"ciphertext", "ZeroDivisionError")


def quarantined(unit: Unit) -> list[int]:
    return [int.from_bytes(one.envelope_id, "big") for one in unit.quarantine.all()]


def erase(unit: Unit, number: int) -> None:
    unit.erased_chains.add("bob", 1, DISTRIBUTION, number)


def erased(unit: Unit) -> list[int]:
    return [number for number in range(20) if unit.erased_chains.contains("bob", 1, DISTRIBUTION, number)]


def owe(unit: Unit, number: int) -> None:
    unit.receipts.add("bob", 1, b"bob", number, "delivered")


def owed(unit: Unit) -> list[int]:
    return [one.conversation_number for one in unit.receipts.due("bob", 1, limit=100)]


FORGETTING: Final = [
    pytest.param("quarantine", quarantine, quarantined, id="quarantine"),
    pytest.param("receipts", owe, owed, id="receipts due"),
    pytest.param("erased_chains", erase, erased, id="erased chains"),
]


def make_small(name: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the table *name* hold *count* rows."""
    small = {
        "quarantine": TalliedTable("quarantine", "quarantined_at", count, age_s=limits.QUARANTINE_AGE_S),
        "receipts": TalliedTable("receipts", "due_at", count),
        "erased_chains": TalliedTable("erased_chains", "erased_at", count, age_s=limits.ERASED_CHAINS_AGE_S),
    }[name]
    for module in (inbox, retention, sender_keys, trouble):
        if hasattr(module, name.upper()):
            monkeypatch.setattr(module, name.upper(), small)


@pytest.mark.parametrize(("table", "add", "held"), FORGETTING)
@pytest.mark.parametrize("rows_per_unit", [1, 10], ids=lambda rows: f"{rows} rows a unit")
def test_the_oldest_row_goes_when_one_more_comes_than_the_table_holds(
    table: str,
    add: Callable[[Unit, int], None],
    held: Callable[[Unit], list[int]],
    rows_per_unit: int,
    store: ClientStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_small(table, 5, monkeypatch)
    for first in range(0, 10, rows_per_unit):
        last = min(first + rows_per_unit, 10)
        with store.begin() as unit:
            for number in range(first, last):
                add(unit, number)
        with store.begin() as unit:
            assert held(unit) == list(range(max(0, last - 5), last))


@pytest.mark.parametrize(("table", "add", "held"), FORGETTING)
def test_a_unit_that_fails_counts_nothing_towards_a_limit(
    table: str,
    add: Callable[[Unit, int], None],
    held: Callable[[Unit], list[int]],
    store: ClientStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        with store.begin() as unit:
            for number in range(10, 15):
                add(unit, number)
            raise ZeroDivisionError

    make_small(table, 5, monkeypatch)
    with store.begin() as unit:
        for number in range(4):
            add(unit, number)
    with pytest.raises(ZeroDivisionError):
        fail()
    with store.begin() as unit:
        add(unit, 4)
    with store.begin() as unit:
        assert held(unit) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("add", "held", "age_s"),
    [
        pytest.param(quarantine, quarantined, limits.QUARANTINE_AGE_S, id="quarantine"),
        pytest.param(erase, erased, limits.ERASED_CHAINS_AGE_S, id="erased chains"),
    ],
)
def test_a_row_as_old_as_the_limit_stays_and_an_older_one_goes_with_the_next_sweep(
    add: Callable[[Unit, int], None], held: Callable[[Unit], list[int]], age_s: float, store: ClientStore, clock: Clock
) -> None:
    with store.begin() as unit:
        add(unit, 1)
    clock.now += 1
    with store.begin() as unit:
        add(unit, 2)
    clock.now += age_s - 1
    with store.begin():
        pass
    with store.begin() as unit:
        assert held(unit) == [1, 2]
    clock.now += limits.SWEEP_INTERVAL_S - 1
    with store.begin():
        pass
    with store.begin() as unit:
        assert held(unit) == [1, 2], "ages are looked at once an hour"
    clock.now += 1
    with store.begin():
        pass
    with store.begin() as unit:
        assert held(unit) == []


def test_receipts_due_do_not_age(store: ClientStore, clock: Clock) -> None:
    with store.begin() as unit:
        owe(unit, 1)
    clock.now += 1000 * DAY
    with store.begin():
        pass
    with store.begin() as unit:
        assert owed(unit) == [1]


@pytest.mark.parametrize(("count", "size"), [(3, 1000), (1000, 30)], ids=["count", "size"])
def test_pending_messages_of_all_devices_together_push_out_the_oldest(
    count: int, size: int, store: ClientStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "PENDING", TalliedTable("pending", "parked_at", count, size))
    with store.begin() as unit:
        lost = [unit.pending.add(f"user {one}", 1, identifier(one), 2, bytes(10), reason="r") for one in range(5)]
        assert [[one.envelope_id for one in some] for some in lost] == [[], [], [], [identifier(0)], [identifier(1)]]
    with store.begin() as unit:
        assert [bool(unit.pending.from_device(f"user {one}", 1)) for one in range(5)] == [False] * 2 + [True] * 3


def test_a_pending_message_waits_for_14_days_and_not_longer(store: ClientStore, clock: Clock) -> None:
    with store.begin() as unit:
        unit.pending.add("bob", 1, identifier(1), 2, b"b", reason="r")
    clock.now += limits.PENDING_AGE_S
    with store.begin() as unit:
        assert unit.pending.expire() == []
    clock.now += 0.5
    with store.begin() as unit:
        assert [one.envelope_id for one in unit.pending.expire()] == [identifier(1)]


def test_an_id_seen_30_days_ago_is_known_and_an_older_one_is_not(store: ClientStore, clock: Clock) -> None:
    with store.begin() as unit:
        unit.seen.add(identifier(1))
    clock.now += limits.SEEN_AGE_S
    with store.begin():
        pass
    with store.begin() as unit:
        assert unit.seen.known([identifier(1)])
    clock.now += limits.SWEEP_INTERVAL_S
    with store.begin():
        pass
    with store.begin() as unit:
        assert not unit.seen.known([identifier(1)])


@pytest.mark.parametrize(
    ("count", "age_s"),
    [
        pytest.param(lambda unit: unit.retry_attempts.count(identifier(1), "bob", 1), 14 * DAY, id="retries"),
        pytest.param(lambda unit: unit.delivery_attempts.count("bob", 1, identifier(1)), 90 * DAY, id="deliveries"),
    ],
)
def test_attempts_are_counted_until_the_last_one_is_too_old(
    count: Callable[[Unit], int], age_s: float, store: ClientStore, clock: Clock
) -> None:
    with store.begin() as unit:
        assert count(unit) == 1
    clock.now += age_s
    with store.begin() as unit:
        assert count(unit) == 2
    clock.now += age_s + limits.SWEEP_INTERVAL_S
    with store.begin():
        pass
    with store.begin() as unit:
        assert count(unit) == 1


@pytest.mark.parametrize("count", [1, 16, 17, SESSIONS])
def test_as_many_sessions_are_read_together_as_are_asked_for(count: int, store: ClientStore) -> None:
    session = Session.initiate(account("alice"), account("bob").bundle(), entropy=seeded("session"))
    with store.begin() as unit:
        for number in range(SESSIONS):
            unit.sessions.add(f"user {number}", 1, session)
    with store.begin() as unit:
        loaded = unit.sessions.load_many((f"user {number}", 1) for number in range(count))
    assert set(loaded) == {(f"user {number}", 1) for number in range(count)}


def test_200_gaps_are_stored_and_201_are_refused(store: ClientStore) -> None:
    gaps = tuple((3 * number + 1, 3 * number + 2) for number in range(limits.GAPS_MAX + 1))
    with store.begin() as unit:
        unit.conversations.save_received(b"bob", "bob", 1, Received(1000, gaps[:-1], 1.0))
    with store.begin() as unit:
        assert unit.conversations.received(b"bob", "bob", 1).gaps == gaps[:-1]
        with pytest.raises(TooLarge):
            unit.conversations.save_received(b"bob", "bob", 1, Received(1000, gaps, 1.0))


def test_one_time_prekeys_are_made_up_to_their_limit(store: ClientStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.prekeys.ONE_TIME_PREKEYS_MAX", 3)
    with store.begin() as unit:
        unit.prekeys.add_one_time(2, 2)
        unit.prekeys.add_one_time(1, 1)
        with pytest.raises(TooLarge):
            unit.prekeys.add_one_time(1, 0)
