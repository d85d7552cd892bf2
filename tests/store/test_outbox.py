"""What is to be sent, on both databases: order, states, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from store import (
    ClientStore,
    Envelope,
    Full,
    TooLarge,
    limits,
)
from store import outbox as outbox_module
from store import send_log as send_log_module
from store.tallied import TalliedTable

if TYPE_CHECKING:
    from .conftest import Clock

DAY = 24 * 3600.0
GROUP = bytes(range(32))
DISTRIBUTION = UUID(bytes=bytes(16))
KEY = b"\x05" + bytes(32)


def identifier(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_a_lane_keeps_its_order_and_its_states(store: ClientStore) -> None:
    with store.begin() as unit:
        for number, lane in enumerate(["bob", "carol", "bob", "bob"]):
            unit.outgoing.add(identifier(number), lane, b"%d" % number, state="queued")
        unit.outgoing.set_state(identifier(0), "held", reason="offline")
        assert unit.outgoing.lanes("queued") == ["carol", "bob"]
        assert [one.content for one in unit.outgoing.next_in("bob", "queued", limit=9)] == [b"2", b"3"]
        held = unit.outgoing.get(identifier(0))
        assert held is not None
        assert (held.state, held.reason) == ("held", "offline")
        assert unit.outgoing.take_out(identifier(0)) == ("bob", b"0")
        assert unit.outgoing.take_out(identifier(0)) is None
        assert unit.outgoing.get(identifier(0)) is None


def test_the_outbox_refuses_what_is_beyond_its_limits(store: ClientStore, monkeypatch: pytest.MonkeyPatch) -> None:
    small = TalliedTable("outgoing", "created_at", 3, 100, item_size_max=60)
    monkeypatch.setattr(outbox_module, "OUTGOING", small)
    with store.begin() as unit:
        unit.outgoing.add(identifier(1), "bob", bytes(50), state="queued")
        unit.outgoing.add(identifier(2), "bob", bytes(50), state="queued")
        with pytest.raises(Full):
            unit.outgoing.add(identifier(3), "bob", b"x", state="queued")
        with pytest.raises(TooLarge):
            unit.outgoing.add(identifier(3), "bob", bytes(61), state="queued")
        unit.outgoing.take_out(identifier(1))
        unit.outgoing.add(identifier(3), "bob", b"x", state="queued")


def envelope(number: int, message: int, user_id: str = "bob") -> Envelope:
    return Envelope(
        envelope_id=identifier(number),
        message_id=identifier(message),
        lane=user_id,
        user_id=user_id,
        device_id=1,
        registration_id=7,
        identity_key=KEY,
        kind=2,
        ciphertext=b"ciphertext %d" % number,
    )


def test_envelopes_go_out_as_they_were_stored_in_their_order(store: ClientStore) -> None:
    with store.begin() as unit:
        for number in (5, 3, 4):
            unit.envelopes.add(envelope(number, 1))
        unit.envelopes.add(envelope(6, 2, "carol"))
    with store.begin() as unit:
        assert unit.envelopes.in_lane("bob", limit=2) == [envelope(5, 1), envelope(3, 1)]
        assert len(unit.envelopes.of_message(identifier(1))) == 3
        assert unit.envelopes.lanes() == ["bob", "carol"]
        assert [unit.envelopes.submit(identifier(number)) for number in (5, 3)] == [1, 2]
        assert unit.envelopes.in_lane("bob", limit=1)[0].submission_number == 1
        assert (unit.envelopes.delete(identifier(5)), unit.envelopes.delete(identifier(5))) == (True, False)
        assert unit.envelopes.delete_for_others("bob", 1, envelope(3, 1).registration_id) == 0
        assert unit.envelopes.delete_for_others("bob", 2, 1 + envelope(3, 1).registration_id) == 0
        assert unit.envelopes.delete_for("bob", 1) == 2
        assert unit.counters.submission_number == 2


def test_the_send_log_forgets_by_count_size_and_age(
    store: ClientStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = TalliedTable("send_log", "logged_at", 3, 100, limits.SEND_LOG_AGE_S, 60)
    monkeypatch.setattr(send_log_module, "SEND_LOG", small)
    with store.begin() as unit:
        for number in range(4):
            unit.send_log.add(identifier(number), "bob", b"x")
        assert [unit.send_log.get(identifier(number)) is None for number in range(4)] == [True, False, False, False]
        unit.send_log.add(identifier(9), "bob", bytes(60))
        unit.send_log.add(identifier(10), "bob", bytes(60))
        assert unit.send_log.get(identifier(9)) is None
        logged = unit.send_log.get(identifier(10))
        assert logged is not None
        assert (logged.lane, logged.content) == ("bob", bytes(60))
    clock.now += limits.SEND_LOG_AGE_S + 1
    with store.begin() as unit:
        assert unit.send_log.get(identifier(10)) is None


def test_recipients_are_kept_while_the_message_is_in_the_outbox_or_the_log(store: ClientStore, clock: Clock) -> None:
    with store.begin() as unit:
        unit.outgoing.add(identifier(1), "bob", b"x", state="queued")
        for message in (1, 2):
            unit.recipients.put(identifier(message), "bob", 1, KEY, "sent")
            unit.recipients.put(identifier(message), "bob", 2, KEY, "sent")
        unit.recipients.put(identifier(1), "bob", 2, KEY, "delivered")
        assert [one.state for one in unit.recipients.of(identifier(1))] == ["sent", "delivered"]
    clock.now += limits.SWEEP_INTERVAL_S
    with store.begin():
        pass
    with store.begin() as unit:
        assert len(unit.recipients.of(identifier(1))) == 2
        assert unit.recipients.of(identifier(2)) == []
        assert unit.recipients.delete(identifier(1)) == 2


def test_attempts_to_send_again_are_counted_per_device(store: ClientStore) -> None:
    with store.begin() as unit:
        assert [unit.retry_attempts.count(identifier(1), "bob", device) for device in (1, 1, 2, 1)] == [1, 2, 1, 3]
