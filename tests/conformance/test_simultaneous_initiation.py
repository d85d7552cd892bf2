"""libsignal's session.rs: both ends start a session at once. No rule says who wins; a delivered message decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratchet import CiphertextKind
from tests.support.conversation import ALICE, BOB, Device, talk_plainly

if TYPE_CHECKING:
    from ratchet import Ciphertext

RACES = 15
CROSSINGS = 50


@pytest.fixture
def alice() -> Device:
    return Device("alice", ALICE, one_time_prekeys=RACES)


@pytest.fixture
def bob() -> Device:
    return Device("bob", BOB, one_time_prekeys=RACES)


def race(alice: Device, bob: Device) -> tuple[Ciphertext, Ciphertext]:
    """Let both start a session, and return their first messages."""
    alice.start(bob)
    bob.start(alice)
    return alice.send(b"alice first"), bob.send(b"bob first")


def cross(alice: Device, bob: Device) -> None:
    """Let both send at once, and both read."""
    from_alice, from_bob = alice.send(b"from alice"), bob.send(b"from bob")
    assert bob.receive(alice, from_alice) == b"from alice"
    assert alice.receive(bob, from_bob) == b"from bob"


def repeated_races(alice: Device, bob: Device) -> None:
    """Race 15 times, then cross 50 times; nobody ever reads before having sent, so the ends never agree."""
    for _ in range(RACES):
        from_alice, from_bob = race(alice, bob)
        assert bob.receive(alice, from_alice) == b"alice first"
        assert alice.receive(bob, from_bob) == b"bob first"
        assert not alice.agrees_with(bob)
    for _ in range(CROSSINGS):
        cross(alice, bob)
        assert not alice.agrees_with(bob)


def test_after_crossing_first_messages_one_delivered_message_brings_agreement(alice: Device, bob: Device) -> None:
    from_alice, from_bob = race(alice, bob)
    assert from_alice.kind is from_bob.kind is CiphertextKind.PREKEY
    assert bob.receive(alice, from_alice) == b"alice first"
    assert alice.receive(bob, from_bob) == b"bob first"
    assert not alice.agrees_with(bob)
    assert (alice.shared.archived_count, bob.shared.archived_count) == (1, 1)

    assert bob.receive(alice, alice.send(b"settle")) == b"settle"

    assert alice.agrees_with(bob)
    talk_plainly(bob, alice)


def test_when_one_first_message_is_lost_the_other_ones_session_is_used(alice: Device, bob: Device) -> None:
    from_alice, _lost = race(alice, bob)

    assert bob.receive(alice, from_alice) == b"alice first"

    assert alice.agrees_with(bob)
    talk_plainly(bob, alice)


def test_when_a_later_message_is_lost_the_next_one_brings_agreement(alice: Device, bob: Device) -> None:
    from_alice, from_bob = race(alice, bob)
    bob.receive(alice, from_alice)
    alice.receive(bob, from_bob)
    alice.send(b"lost")
    assert not alice.agrees_with(bob)

    assert alice.receive(bob, bob.send(b"settle")) == b"settle"

    assert alice.agrees_with(bob)
    talk_plainly(alice, bob)


def test_fifteen_races_and_fifty_crossings_end_with_the_first_message_that_is_answered(
    alice: Device, bob: Device
) -> None:
    repeated_races(alice, bob)

    assert bob.receive(alice, alice.send(b"settle")) == b"settle"

    assert alice.agrees_with(bob)
    talk_plainly(bob, alice)


def test_a_very_late_first_message_switches_back_for_a_moment_only(alice: Device, bob: Device) -> None:
    very_late, _lost = race(alice, bob)
    repeated_races(alice, bob)
    bob.receive(alice, alice.send(b"settle"))
    talk_plainly(bob, alice)

    assert bob.receive(alice, very_late) == b"alice first"
    assert not alice.agrees_with(bob)

    assert alice.receive(bob, bob.send(b"on the old one")) == b"on the old one"
    assert alice.agrees_with(bob)
    talk_plainly(alice, bob)
