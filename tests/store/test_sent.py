"""Which message each envelope carried, for whom it is found, how long; and what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store import ClientStore, Heal, limits, retention, sent
from store.tallied import TalliedTable

if TYPE_CHECKING:
    import pytest

    from store import Unit
    from tests.store.conftest import Clock


def identifier(number: int) -> bytes:
    return number.to_bytes(16, "big")


def known(unit: Unit, user: str = "bob") -> list[int]:
    return [number for number in range(20) if unit.sent_envelopes.find(user, [identifier(number)])]


def test_an_envelope_is_found_for_whom_it_went_to_and_for_nobody_else(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.sent_envelopes.add(identifier(1), "bob", b"m" * 16)
        unit.sent_envelopes.add(identifier(2), "bob", None)
        unit.sent_envelopes.add(identifier(3), "", b"g" * 16)
    with store.begin() as unit:
        wanted = [identifier(number) for number in (1, 2, 3, 4, 1)]
        assert unit.sent_envelopes.find("bob", wanted) == {
            identifier(1): b"m" * 16,
            identifier(2): None,
            identifier(3): b"g" * 16,
        }
        assert unit.sent_envelopes.find("eve", wanted) == {identifier(3): b"g" * 16}


def test_the_oldest_envelopes_go_beyond_the_count(store: ClientStore, monkeypatch: pytest.MonkeyPatch) -> None:
    table = TalliedTable("sent_envelopes", "sent_at", 3, age_s=limits.SENT_ENVELOPES_AGE_S)
    monkeypatch.setattr(sent, "SENT_ENVELOPES", table)
    monkeypatch.setattr(retention, "SENT_ENVELOPES", table)
    for number in range(5):
        with store.begin() as unit:
            unit.sent_envelopes.add(identifier(number), "bob", b"m" * 16)
    with store.begin() as unit:
        assert known(unit) == [2, 3, 4]


def test_an_envelope_is_remembered_for_44_days_and_not_longer(store: ClientStore, clock: Clock) -> None:
    with store.begin() as unit:
        unit.sent_envelopes.add(identifier(1), "bob", b"m" * 16)
    clock.now += limits.SENT_ENVELOPES_AGE_S
    with store.begin() as unit:
        assert known(unit) == [1]
    clock.now += limits.SWEEP_INTERVAL_S + 1
    with store.begin():
        pass
    with store.begin() as unit:
        assert known(unit) == []


def test_parked_envelopes_count_how_often_they_were_asked_for(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.pending.add("bob", 1, identifier(1), 2, b"one", reason="r")
        unit.pending.add("bob", 1, identifier(2), 2, b"two", reason="r")
        unit.pending.add("carol", 1, identifier(3), 7, b"three", reason="r", waits_for=b"chain")
        first, _ = unit.pending.from_device("bob", 1)
        unit.pending.asked([first])
        unit.pending.asked([first])
    with store.begin() as unit:
        assert [one.requests for one in unit.pending.from_device("bob", 1)] == [2, 0]
        assert unit.pending.devices() == [("bob", 1, 0)]
        assert unit.pending.count() == 3
        assert unit.pending.not_asked("bob", 1) == 1
        assert [one.requests for one in unit.pending.from_device("bob", 1)] == [1, 0]


def test_heals_that_nothing_has_opened_since_are_found_and_old_rows_are_forgotten(
    store: ClientStore, clock: Clock
) -> None:
    with store.begin() as unit:
        unit.heals.save("bob", 1, Heal(clock.now + 60, 60))
        unit.heals.save("carol", 1, Heal(clock.now + 60, 0))
        assert unit.heals.unproven() == [("bob", 1, Heal(clock.now + 60, 60))]
    clock.now += 100
    with store.begin() as unit:
        unit.heals.forget(40)
        assert unit.heals.load("bob", 1).delay_s == 60
        unit.heals.forget(39)
        assert unit.heals.load("bob", 1) == Heal()
