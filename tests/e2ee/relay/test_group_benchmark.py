"""The suite that measures messages to groups through a relay's process runs to its end with right results."""

from __future__ import annotations

import pytest

from benchmarks.harness import Settings
from benchmarks.peer import Bench
from benchmarks.relay_groups import PER_FRAME, run


@pytest.mark.slow  # starts a process
def test_every_message_is_stored_for_every_device() -> None:
    outcomes = list(run(Bench(Settings(smoke=True), ())))
    assert [outcome.key for outcome in outcomes] == [f"relay.group.10.{per_frame}" for per_frame in PER_FRAME]
    assert all(outcome.series[0].median > 0 for outcome in outcomes)
