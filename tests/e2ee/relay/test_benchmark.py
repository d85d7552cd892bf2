"""The suite that loads a relay runs to its end with right results, and its targets name what it measures."""

from __future__ import annotations

import pytest

from benchmarks.harness import Outcome, Settings
from benchmarks.peer import Bench
from benchmarks.relay import CLIENTS_SMOKE, ECHO, FRAMES, label, run
from benchmarks.targets import TARGETS, judge

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Everything that a smoke run gives, by key."""
    return {outcome.key: outcome for outcome in run(Bench(Settings(smoke=True), ()))}


def test_every_size_of_frame_is_measured_beside_the_echo_with_every_number_of_clients(
    outcomes: dict[str, Outcome],
) -> None:
    loaded = [outcome for key, outcome in outcomes.items() if key.startswith("relay.throughput")]
    assert len(loaded) == len(CLIENTS_SMOKE)
    for outcome in loaded:
        assert [series.name for series in outcome.series] == [*map(label, FRAMES), ECHO]
        assert [failure.reason for failure in outcome.failures] == []


def test_every_target_of_the_relay_is_judged(outcomes: dict[str, Outcome]) -> None:
    verdicts = judge(outcomes, [target for target in TARGETS if target.key.startswith("relay.")])
    assert [verdict.target.key for verdict in verdicts if verdict.reached is None] == []
