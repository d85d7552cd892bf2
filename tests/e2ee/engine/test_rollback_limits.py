"""What each counter tells, how often a rollback is recovered from by itself, and what a relay that lies can force."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2ee.engine.rollback import COUNTER_TOLD_MAX, RECOVERY_INTERVAL_S
from e2ee.errors import RefusalCode, Refused, StoreRolledBack
from e2ee.events import Connected, Disconnected, HistoryGap
from e2ee.frames import Challenge, RefusedRequest, Submit, Submitted, UploadPreKeys, Welcome
from tests.support.core_office import CoreOffice
from tests.support.engines import World
from tests.support.rolling_back import COUNTERS, numbers, registration, roll_back, talk

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


# --- the counters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counter", COUNTERS)
def test_each_of_the_three_counters_tells_a_rollback(alice: Device, counter: str) -> None:
    alice.lose_connection()
    ours = numbers(alice)
    output = alice.engine.connected(replace(Welcome(1, 0, 0, 0, 3, 3, 0), **{counter: ours[counter] + 1}))
    assert (output.reconnect, output.requests, output.durable) == (True, (), 1)
    assert Connected() not in output.events
    assert numbers(alice) == {**ours, counter: ours[counter] + 1}


def test_a_relay_that_has_seen_as_much_as_the_store_is_no_rollback(alice: Device) -> None:
    alice.lose_connection()
    output = alice.engine.connected(replace(Welcome(1, 0, 0, 0, 3, 3, 0), **numbers(alice)))
    assert (output.requests, output.reconnect, output.events) == ((), False, (Connected(),))


@pytest.mark.parametrize("counter", COUNTERS)
def test_a_relay_that_tells_the_highest_number_there_is_leaves_numbers_to_go_on_with(
    world: World, alice: Device, bob: Device, counter: str
) -> None:
    alice.lose_connection()
    lie = replace(Welcome(1, 0, 0, 0, 3, 3, 0), **{counter: 2**63 - 1})
    assert alice.engine.connected(lie).reconnect
    assert numbers(alice)[counter] == COUNTER_TOLD_MAX
    with pytest.raises(StoreRolledBack):
        alice.engine.connected(lie)  # it gains nothing by saying it again
    alice.connect()
    talk(world, (alice, bob), (bob, alice))
    assert bob.texts() != []
    assert alice.texts() != []


def test_a_new_installation_of_a_device_counts_on_from_what_the_relay_has_seen_of_it(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "1")
    world.settle()
    alice.lose_connection()
    with alice.store.begin() as unit:
        identity = unit.account.require().identity
    again = world.device("alice", identity=identity)
    again.send("bob", "2")
    world.settle()
    assert bob.texts() == ["1", "2"]
    assert again.of(HistoryGap) == []


# --- once a day ---------------------------------------------------------------------------------------------------


def test_the_second_time_within_a_day_ends_the_client_and_changes_nothing(
    world: World, alice: Device, bob: Device
) -> None:
    roll_back(world, alice, bob)
    alice.connect()
    world.settle()
    talk(world, (alice, bob))
    noticed = roll_back(world, alice, bob)
    before, counters = registration(alice), numbers(alice)
    with pytest.raises(StoreRolledBack, match=r"accept_rollback\(\)"):
        alice.connect()
    alice.connected = False
    assert (registration(alice), numbers(alice)) == (before, counters)
    assert len(world.relay.overheard) == noticed


def test_what_the_application_accepts_is_recovered_from_once(world: World, alice: Device, bob: Device) -> None:
    roll_back(world, alice, bob)
    alice.connect()
    world.settle()
    for _ in range(2):
        noticed = roll_back(world, alice, bob)
        with pytest.raises(StoreRolledBack):
            alice.connect()
        alice.engine.accept_rollback()
        alice.connect()
        talk(world, (alice, bob), (bob, alice))
        assert world.keys_used_twice(since=noticed) == []
    assert len(alice.of(HistoryGap)) == 3


def test_the_next_day_it_is_recovered_from_by_itself_again(world: World, alice: Device, bob: Device) -> None:
    roll_back(world, alice, bob)
    alice.connect()
    world.settle()
    roll_back(world, alice, bob)
    world.clock.now += RECOVERY_INTERVAL_S
    alice.connect()
    talk(world, (alice, bob))


# --- a number that stood for something else -----------------------------------------------------------------------


def first_request(device: Device, kind: type[Submit | UploadPreKeys]) -> Submit | UploadPreKeys:
    (request,) = [frame for frame in device.outgoing if isinstance(frame, kind)]
    return request


def test_a_submission_number_that_stood_for_something_else_is_a_rollback(
    world: World, alice: Device, bob: Device
) -> None:
    talk(world, (alice, bob), (bob, alice))
    backup = alice.back_up()
    alice.send("bob", "of one copy, which never left it")
    with_unsent = alice.back_up()
    alice.put_back(backup)
    alice.connect()
    alice.send("bob", "of the other copy")
    alice.relay_takes_one()
    alice.put_back(with_unsent)
    noticed = len(world.relay.overheard)
    alice.connect()  # its counters are the relay's: nothing to be noticed yet
    assert alice.of(HistoryGap) == []
    alice.relay_takes_one()
    alice.take_reply()  # before Bob's receipt: his of the other copy's message has the number of this one's
    world.settle()
    (event,) = alice.of(HistoryGap)
    assert (event.received, event.sent) == (0, 0)
    assert Disconnected() in alice.live
    assert [text for text in bob.texts() if text and text.startswith("of ")] == [
        "of the other copy",
        "of one copy, which never left it",
    ]
    # The frame that made it known is the last under old keys.
    assert world.keys_used_twice(since=noticed + 1) == []


def test_an_upload_number_that_stood_for_something_else_is_a_rollback(world: World, alice: Device) -> None:
    backup = alice.back_up()
    alice.rotate_prekeys()
    with_unsent = alice.back_up()
    alice.put_back(backup)
    alice.connect()
    alice.rotate_prekeys()
    alice.relay_takes_one()
    alice.put_back(with_unsent)
    alice.connect()
    world.settle()
    assert alice.of(HistoryGap) == []  # what was not confirmed goes under a new number, with the same keys
    alice.rotate_prekeys()
    request = first_request(alice, UploadPreKeys)
    alice.outgoing.clear()
    alice.take(alice.engine.reply(request, RefusedRequest(0, RefusalCode.ROLLED_BACK, None)))
    world.settle()
    assert len(alice.of(HistoryGap)) == 1


def test_a_relay_that_refuses_every_number_forces_one_recovery_a_day(world: World, alice: Device, bob: Device) -> None:
    for expected in (1, None):
        alice.send("bob", "hello")
        while not any(isinstance(frame, Submit) for frame in alice.outgoing):
            (alice.relay_takes_one if alice.outgoing else alice.take_reply)()
        request = first_request(alice, Submit)
        alice.outgoing.clear()
        refusal = Submitted(0, (), RefusalCode.ROLLED_BACK, None, None)
        if expected is None:
            with pytest.raises(StoreRolledBack):
                alice.engine.reply(request, refusal)
            alice.connected = False
        else:
            alice.take(alice.engine.reply(request, refusal))
            world.settle()
            assert bob.texts() == ["hello"]


def test_a_relay_that_knows_no_prekeys_of_a_device_gets_them_again(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "hello")
    while not any(isinstance(frame, Submit) for frame in alice.outgoing):
        (alice.relay_takes_one if alice.outgoing else alice.take_reply)()
    request = first_request(alice, Submit)
    alice.outgoing.clear()
    alice.take(alice.engine.reply(request, Submitted(0, (), RefusalCode.NOT_REGISTERED, None, None)))
    upload = first_request(alice, UploadPreKeys)
    assert isinstance(upload, UploadPreKeys)
    assert upload.signed_prekey is not None
    world.settle()
    assert bob.texts() == ["hello"]


def test_a_relay_of_another_version_is_refused(alice: Device) -> None:
    with pytest.raises(Refused) as refused:
        alice.engine.login(Challenge((2,), bytes(32), ()))
    assert refused.value.code is RefusalCode.UNSUPPORTED_VERSION
