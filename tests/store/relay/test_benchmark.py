"""The suite that measures the relay's store runs to its end with right results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import Settings
from benchmarks.peer import Bench
from benchmarks.relay_store import run
from benchmarks.targets import TARGETS

if TYPE_CHECKING:
    import pytest


def test_every_contest_runs_on_both_databases(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2EE_BENCH_POSTGRES", postgres_server)
    outcomes = list(run(Bench(Settings(smoke=True), ())))
    assert [failure.reason for outcome in outcomes for failure in outcome.failures] == []
    assert len(outcomes) == 14
    assert {"relay.group fan-out"} < {outcome.key for outcome in outcomes}
    assert any(target.key == "relay.group fan-out" for target in TARGETS)
