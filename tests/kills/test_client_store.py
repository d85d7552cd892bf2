"""A client that is killed at its n-th storage call, for every n: nothing is lost, doubled or encrypted twice.

A forked child runs the script and dies by SIGKILL; what it had handed to the relay is read from a pipe. The
parent then opens the store at once, goes on, and looks at everything from the peers' side.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import signal
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

from store import TESTING, ClientStore
from tests.support.counting_driver import counting_driver
from tests.support.crash import Relay, Script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CALLS_MIN = 80
CALLS_MAX = 400  # of one run of the script: a bound for the search, far above the 120 or so that there are


class RecordingRelay(Relay):
    """A relay at the other end of a pipe, which outlives the process that writes to it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def submit(self, envelope_id: bytes, user_id: str, kind: int, ciphertext: bytes) -> None:
        os.write(self._descriptor, pickle.dumps(("submit", envelope_id, user_id, kind, ciphertext)))

    def acknowledge(self, number: int) -> None:
        super().acknowledge(number)
        os.write(self._descriptor, pickle.dumps(("acknowledge", number)))


def die_at(number: int) -> Callable[[], None]:
    """Count calls; at the *number*-th, die without a word."""
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def child(url: str, script: Script, number: int, descriptor: int) -> NoReturn:
    """Open the store, run the script and die at the *number*-th storage call, if there is one."""
    count = die_at(number)
    entropy = random.Random(f"child {number}").randbytes
    status = 1
    try:
        store = ClientStore.open(url, passphrase="right", profile=TESTING, dbapi=counting_driver(url, count))
        script.run(store, RecordingRelay(descriptor), entropy=entropy, boundary=count)
        store.close()
        status = 0
    finally:
        os._exit(status)


def prepared(url: str, seed: int) -> Script:
    """Make the store that a script begins with."""
    script = Script(seed)
    with ClientStore.open(url, passphrase="right", profile=TESTING) as store:
        script.prepare(store)
    return script


def kill_and_judge(url: str, script: Script, number: int) -> bool:
    """Kill at the *number*-th call, go on, and judge; False if there are not that many calls."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        child(url, script, number, writer)
    os.close(writer)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL), f"seed {script.seed}, call {number}: the child failed"
    relay = Relay()
    with os.fdopen(reader, "rb") as pipe:
        while pipe.peek(1):
            what, *values = pickle.load(pipe)  # noqa: S301 - from our own child
            getattr(relay, what)(*values)
    with ClientStore.open(url, passphrase="right", profile=TESTING) as store:
        script.run(store, relay, entropy=random.Random(f"after {number}").randbytes)
        script.judge(store, relay)
    return status != 0


def test_a_client_that_is_not_killed_passes_the_same_judgement(sqlite_url: str, postgres_url: str) -> None:
    for url in (sqlite_url, postgres_url):
        assert not kill_and_judge(url, prepared(url, 1), CALLS_MAX)


SWEEPS: Final = (
    pytest.param(0, 5, 29, id="seven calls"),
    pytest.param(0, 1, 1, id="every call", marks=pytest.mark.slow),
    *(pytest.param(seed, seed, 6, id=f"every sixth call, seed {seed}", marks=pytest.mark.slow) for seed in range(1, 7)),
)


@pytest.mark.parametrize(("seed", "first", "step"), SWEEPS)
def test_a_client_killed_at_any_storage_call_loses_doubles_and_reuses_nothing(
    seed: int, first: int, step: int, tmp_path: Path
) -> None:
    template = tmp_path / "template.db"
    script = prepared(f"sqlite:///{template}", seed)
    number = first
    while True:
        path = tmp_path / f"{number}.db"
        shutil.copyfile(template, path)  # closed, and so without a log beside it
        if not kill_and_judge(f"sqlite:///{path}", script.copy(), number):
            break
        number += step
        assert number < CALLS_MAX
    assert number > CALLS_MIN, "the calls are no longer counted"


@pytest.mark.slow
def test_on_postgresql_too_at_every_tenth_call(postgres_server: str) -> None:
    for number in range(1, CALLS_MAX, 10):
        url = f"{postgres_server}&schema=killed_{number}"
        if not kill_and_judge(url, prepared(url, 7), number):
            assert number > CALLS_MIN, "the calls are no longer counted"
            return
