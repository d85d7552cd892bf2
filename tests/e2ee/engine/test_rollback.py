"""A store that is older than what the relay has seen of it: restored, or a copy of it was used (messaging section 4).

The relay is the real core on a real store; what it overhears tells whether a key has sealed two things.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from e2ee.engine import step
from e2ee.events import DeliveryState, HistoryGap
from e2ee.frames import UploadPreKeys
from e2ee.options import InboxMode
from ratchet import OwnSenderKey
from store import inbox
from tests.support.core_office import CoreOffice
from tests.support.engines import FEW_PREKEYS, World
from tests.support.key_use import message_of
from tests.support.rolling_back import registration, roll_back, talk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.engines import Clock, Device


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    def relay(clock: Clock) -> CoreOffice:
        return CoreOffice(tmp_path / "relay.db", clock)

    made = World(tmp_path, seed=1, make_relay=relay)
    yield made
    made.close()


# --- noticing, and what follows ----------------------------------------------------------------------------------


def test_a_restored_store_is_noticed_before_it_sends_and_everybody_can_talk_again(
    world: World, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    noticed = roll_back(world, alice, bob)
    before = registration(alice)
    alice.send("bob", "after the rollback")
    alice.connect()
    assert registration(alice) != before
    world.settle()
    bob.send("alice", "hello again")
    alice.send("bob", "and again")
    world.settle()
    assert bob.texts()[-2:] == ["after the rollback", "and again"]
    assert alice.texts()[-1] == "hello again"
    assert world.keys_used_twice(since=noticed) == []


def test_what_may_be_missing_is_told_and_stays_until_it_is_acknowledged(
    world: World, alice: Device, bob: Device
) -> None:
    roll_back(world, alice, bob)
    alice.connect()
    world.settle()
    alice.restart()
    (event,) = alice.of(HistoryGap)
    # Taken meanwhile: bob's message and two receipts; made: two messages and a receipt.
    assert (event.received, event.sent) == (3, 3)
    assert alice.of(HistoryGap) == [event]


def test_both_ends_of_a_conversation_may_be_restored_at_once(world: World, alice: Device, bob: Device) -> None:
    talk(world, (alice, bob), (bob, alice))
    backups = [(device, device.back_up()) for device in (alice, bob)]
    talk(world, (alice, bob), (bob, alice), (alice, bob))
    for device, backup in backups:
        device.put_back(backup)
    noticed = len(world.relay.overheard)
    for device in (alice, bob):
        device.connect()
    talk(world, (alice, bob), (bob, alice), (alice, bob), (bob, alice))
    assert len(alice.of(HistoryGap)) == len(bob.of(HistoryGap)) == 1
    assert [device.texts()[-2:] != [] for device in (alice, bob)] == [True, True]
    assert world.keys_used_twice(since=noticed) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_backup_made_in_the_middle_of_everything_comes_back_without_a_key_used_twice(
    tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path, seed, make_relay=lambda clock: CoreOffice(tmp_path / "relay.db", clock))
    alice, bob = world.device("alice"), world.device("bob")
    texts = iter(f"text {number}" for number in range(1_000))
    backup = alice.back_up()
    for _ in range(60):
        steps = [step for device in world.every for step in device.possible()]
        if not steps or world.dice.random() < 0.3:
            one, other = world.dice.choice([(alice, "bob"), (bob, "alice")])
            one.send(other, next(texts))
        else:
            world.dice.choice(steps)()
        if world.dice.random() < 0.05:
            backup = alice.back_up()
    alice.put_back(backup)
    noticed = len(world.relay.overheard)
    alice.connect()
    world.settle()
    talk(world, (alice, bob), (bob, alice))
    final_bob, final_alice = alice.send("bob", "last of alice"), bob.send("alice", "last of bob")
    world.settle()
    assert (bob.texts()[-1], alice.texts()[-1]) == ("last of alice", "last of bob")
    assert DeliveryState.DELIVERED in alice.states(final_bob)
    assert DeliveryState.DELIVERED in bob.states(final_alice)
    assert world.keys_used_twice(since=noticed) == []
    world.close()


def test_a_message_without_a_reply_is_sealed_anew_and_arrives_once(world: World, alice: Device, bob: Device) -> None:
    talk(world, (alice, bob), (bob, alice))
    alice.send("bob", "under way")
    backup = alice.back_up()
    world.settle()
    assert bob.texts()[-1] == "under way"
    alice.put_back(backup)
    noticed = len(world.relay.overheard)
    alice.connect()
    world.settle()
    assert bob.texts().count("under way") == 1
    assert len(world.relay.overheard) > noticed  # it went once more, under another key
    assert world.keys_used_twice(since=noticed) == []


def ratchet_keys(world: World, sender: Device, first: int, end: int | None) -> set[bytes]:
    """The ratchet keys that a device's messages carried, of those overheard from *first* to *end*."""
    return {
        message_of(envelope.kind, envelope.body).ratchet_key
        for name, _, envelope in world.relay.overheard[first:end]
        if name == sender.name
    }


def test_mail_from_before_is_still_opened_and_what_opened_it_does_not_send(
    world: World, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    alice.lose_connection()
    bob.send("alice", "for the ratchet of before")
    world.settle()
    backup = alice.back_up()
    alice.connect()
    alice.send("bob", "1")
    alice.relay_takes_one()
    alice.put_back(backup)
    noticed = len(world.relay.overheard)
    alice.connect()
    world.settle()
    assert alice.texts()[-1] == "for the ratchet of before"
    alice.send("bob", "2")
    world.settle()
    assert bob.texts()[-1] == "2"
    before, after = ratchet_keys(world, alice, 0, noticed), ratchet_keys(world, alice, noticed, None)
    assert after
    assert not before & after
    assert world.keys_used_twice(since=noticed) == []


class _Undo(Exception):
    """Ends a unit of work that was only for looking."""


def one_time_keys(device: Device) -> set[bytes]:
    found: set[bytes] = set()
    with suppress(_Undo), device.store.begin() as unit:
        unit.prekeys.publish_again()
        keys = unit.prekeys.unpublished()
        found |= {key.public_key for key in keys.one_time_prekeys}
        found |= {key.public_key for key in keys.one_time_kem_prekeys}
        raise _Undo
    return found


def test_one_time_prekeys_of_before_are_gone_and_the_relay_hands_out_new_ones(
    world: World, alice: Device, bob: Device
) -> None:
    roll_back(world, alice, bob)
    before = one_time_keys(alice)
    alice.connect()
    assert not one_time_keys(alice) & before
    while not (uploads := [frame for frame in alice.outgoing if isinstance(frame, UploadPreKeys)]):
        assert alice.wake_at is not None
        world.clock.now = max(world.clock.now, alice.wake_at)
        alice.tick()
    (upload,) = uploads
    assert upload.purge
    assert upload.signed_prekey is not None
    uploaded = {key.public_key for key in upload.one_time_prekeys}
    uploaded |= {key.public_key for key in upload.one_time_kem_prekeys}
    assert uploaded == one_time_keys(alice)
    assert len(uploaded) == 2 * FEW_PREKEYS.one_time_prekeys
    assert not uploaded & before


def test_own_sender_keys_are_erased(world: World, alice: Device, bob: Device) -> None:
    with alice.store.begin() as unit:
        unit.sender_keys.put_own(bytes(32), OwnSenderKey.create(UUID(int=1)))
    roll_back(world, alice, bob)
    alice.connect()
    with alice.store.begin() as unit:
        assert unit.sender_keys.load_own(bytes(32)) is None


def test_every_session_is_retired_however_many_there_are(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "RETIRED_AT_ONCE", 2)
    others = [world.device(f"user{number}") for number in range(5)]
    for other in others:
        talk(world, (alice, other))
    roll_back(world, alice, bob)
    alice.connect()
    with alice.store.begin() as unit:
        devices = unit.sessions.everyone()
        assert len(devices) == len(others)
        assert not any(one.session.can_encrypt for one in unit.sessions.load_many(devices).values())


def test_a_crash_right_after_giving_up_the_old_keys_loses_nothing(world: World, alice: Device, bob: Device) -> None:
    roll_back(world, alice, bob)
    alice.send("bob", "queued before")
    challenge = world.relay.challenge()
    _name, welcome = world.relay.login(alice.engine.login(challenge), challenge)
    assert alice.engine.connected(welcome).reconnect
    alice.restart()
    alice.connect()
    world.settle()
    assert bob.texts()[-1] == "queued before"
    assert len(alice.of(HistoryGap)) == 1


def test_a_full_inbox_does_not_hide_what_may_be_missing(
    world: World, alice: Device, bob: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    roll_back(world, alice, bob)
    with alice.store.begin() as unit:
        count = unit.inbox.count()
    monkeypatch.setattr(inbox, "INBOX", replace(inbox.INBOX, count_max=count))
    alice.connect()
    assert len(alice.of(HistoryGap)) == 1


def test_a_program_that_only_sends_keeps_no_event_of_it(world: World, bob: Device) -> None:
    alice = world.device("alice", options=replace(FEW_PREKEYS, inbox=InboxMode.DISCARD))
    roll_back(world, alice, bob)
    alice.connect()
    world.settle()
    assert alice.of(HistoryGap) == []
    talk(world, (alice, bob))
    assert bob.texts()[-1] is not None
