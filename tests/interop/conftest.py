"""One libsignal process for all tests of a run: starting it costs more than most tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.oracle import Oracle, why_unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRE_VARIABLE = "E2EE_REQUIRE_ORACLE"  # set to 1 where a missing oracle is a fault, as in continuous integration


def stop_without_oracle(reason: str, *, required: bool) -> NoReturn:
    """Skip the test because of *reason*, or fail it where the oracle is required."""
    if required:
        pytest.fail(f"{reason} ({REQUIRE_VARIABLE}=1 forbids skipping)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """Run libsignal; where it is not installed, skip, or fail if E2EE_REQUIRE_ORACLE=1."""
    reason = why_unavailable()
    if reason is not None:
        stop_without_oracle(reason, required=os.environ.get(REQUIRE_VARIABLE) == "1")
    with Oracle() as running:
        yield running
