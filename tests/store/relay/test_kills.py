"""A worker that is killed: what it committed is there, what it had begun is not, and nobody waits for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from store.relay import Outcome

from .world import World

if TYPE_CHECKING:
    from tests.store.conftest import Clock

ROOT: Final = Path(__file__).parents[3]
WORKER: Final = """
import os, signal, sys
from store.relay import Envelope
from tests.store.relay.world import MESSAGE, World, envelope_id

world = World(sys.argv[1], lambda: 1_000_000.0)
alice, bob = world.devices(2)
world.send(alice, bob, 1, content=b"committed")
with world.store.begin() as unit:
    unit.mailboxes.append([Envelope(alice, bob.key, envelope_id(2), MESSAGE, b"begun")])
    unit.prekeys.purge(alice.key)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_worker_leaves_what_it_committed_and_nothing_else(database_url: str, clock: Clock) -> None:
    killed = subprocess.run([sys.executable, "-c", WORKER, database_url], cwd=ROOT, check=False)
    assert killed.returncode < 0
    with World(database_url, clock) as world:
        alice, bob = world.devices(2)
        assert world.contents(bob) == [b"committed"]
        # Neither lock is held by the dead, and the id of what was lost is new.
        assert world.send(alice, bob, 1, 2, content=b"again") == [Outcome.DUPLICATE, Outcome.STORED]
        assert [delivery.number for delivery in world.mail(bob)] == [1, 2]
