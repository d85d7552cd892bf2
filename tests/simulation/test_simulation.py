"""Seeded runs of clients, relay and stores under faults: nothing that must hold is violated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from e2ee.events import DirectMessage
from e2ee.frames import EnvelopeKind
from e2ee.ids import MessageId, UserId
from ratchet import OwnSenderKey

from . import world as world_module
from .faults import Troubles
from .groups import GroupRecord
from .judge import Account, Judge
from .run import run
from .schedule import Schedule
from .world import World

FAST: Final = range(20)
SLOW_BATCH: Final = 25  # some 10 s: so batches spread evenly over the processes that run tests
SLOW: Final = range(1_000, 3_000, SLOW_BATCH)
REPLAYED: Final = (12, 15, 18, 23)  # groups with restores, devices, identities, relay restores
ROOT: Final = Path(__file__).parents[2]
PAIR: Final = (("alice", 1), ("bob", 1))


def check(seed: int) -> None:
    report = run(seed)
    assert report.violations == [], f"seed {seed}: run `python -m tests.simulation --seed {seed} --trace`"
    assert report.messages


@pytest.mark.parametrize("seed", FAST)
def test_nothing_is_lost_doubled_or_sealed_twice(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", SLOW)
def test_nothing_is_lost_doubled_or_sealed_twice_in_many_more_worlds(first: int) -> None:
    for seed in range(first, first + SLOW_BATCH):
        check(seed)


def test_a_seed_replays_exactly_whatever_ran_before() -> None:
    first = run(7, trace=True)
    run(8)
    assert run(7, trace=True) == first
    assert len(first.trace) > first.messages


DIGEST: Final = """
import hashlib, json
from tests.simulation.run import run
reports = [run(seed, trace=True) for seed in {seeds}]
digests = [hashlib.sha256("\\n".join(one.trace).encode()).hexdigest() for one in reports]
print(json.dumps([digests, sorted(set().union(*(one.faults for one in reports)))]))
"""


@pytest.mark.slow
def test_seeds_replay_exactly_in_processes_whose_sets_have_another_order() -> None:
    code = DIGEST.format(seeds=REPLAYED)
    told = []
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
        )
        told.append(json.loads(done.stdout))
    assert told[0] == told[1]
    assert {"group: send", "another identity", "restore", "restore the relay", "link a device"} <= set(told[0][1])


def test_runs_leave_no_folder_behind_nor_do_those_that_are_interrupted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(world_module, "folder_in_memory", lambda: Path(tempfile.mkdtemp(dir=tmp_path)))
    world_module._template.cache_clear()
    run(3)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(Troubles, "begin", lambda _: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(3)
    assert not list(tmp_path.iterdir())


# The judge itself.


def test_a_message_that_the_relay_drops_is_seen_to_be_missing() -> None:
    world = World.of("drop", PAIR)
    world.relay.meddle = lambda _to, frame: [replace(frame, deliveries=())]
    world.run_until(lambda: all(device.is_ready() for device in world.devices), 60.0)
    world.send(world.devices[0], "bob", "hello")
    assert not world.run_until(world.everything_arrived, 60.0)
    assert world.missing() == ["'hello' at ('bob', 1)"]
    world.remove()


def test_a_device_whose_announcement_the_relay_drops_is_seen_not_to_be_known() -> None:
    world = World.of("announce", PAIR)
    world.run_until(lambda: all(device.is_ready() for device in world.devices), 60.0)
    world.relay.meddle = lambda to, frame: [frame] if to != ("alice", 1) else [replace(frame, deliveries=())]
    world.link(world.devices[0])
    assert not world.run_until(world.is_at_rest, 60.0)
    assert world.not_made_known() == ["('alice', 2) has not made itself known to ('alice', 1)"]
    world.remove()


def message(number: int, name: str, conversation_number: int, *, late: bool = False) -> DirectMessage:
    return DirectMessage(
        number=number,
        sender=UserId("alice"),
        sender_device=1,
        message_id=MessageId(name),
        conversation_number=conversation_number,
        sent_at_ms=0,
        text=name,
        data=name.encode(),
        late=late,
    )


@pytest.mark.parametrize(
    ("events", "holds"),
    [
        ([message(1, "a", 1), message(1, "a", 1), message(2, "b", 2)], True),  # given again after a crash
        ([message(1, "a", 1), message(2, "a", 1)], False),
        ([message(1, "b", 2), message(2, "a", 1)], False),
        ([message(1, "b", 2), message(2, "a", 1, late=True)], True),
    ],
)
def test_repetitions_and_disorder_are_seen(events: list[DirectMessage], holds: bool) -> None:  # noqa: FBT001
    judge, account = Judge(Schedule(), GroupRecord(lambda _: Path())), Account()
    for event in events:
        judge.told(("bob", 1), account, event)
    assert (judge.found == []) is holds


def test_a_key_that_seals_two_texts_is_seen() -> None:
    key = OwnSenderKey.create(uuid.UUID(int=1))
    copy = OwnSenderKey.from_bytes(key.to_bytes())
    judge = Judge(Schedule(), GroupRecord(lambda _: Path()))
    first = key.encrypt(b"one")
    for body in (first, first, key.encrypt(b"two")):
        judge.overhear(("alice", 1), ("team", 0), EnvelopeKind.SENDER_KEY, body)
    assert not judge.found
    judge.overhear(("alice", 1), ("team", 0), EnvelopeKind.SENDER_KEY, copy.encrypt(b"another"))
    assert judge.found == ["a key of ('alice', 1) has sealed two texts for ('team', 0)"]
