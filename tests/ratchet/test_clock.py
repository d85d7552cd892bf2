"""Time, as callers give it."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from ratchet.clock import TIME_MAX, seconds_since_1970
from ratchet.errors import InvalidArgument
from tests.support.naming import case_name


@pytest.mark.parametrize(
    ("now", "seconds"),
    [(0, 0), (0.0, 0), (-0.0, 0), (0.999, 0), (1.5, 1), (TIME_MAX, TIME_MAX), (float(TIME_MAX), TIME_MAX)],
)
def test_a_time_is_taken_in_whole_seconds(now: float, seconds: int) -> None:
    assert seconds_since_1970(now) == seconds


def test_no_time_is_the_present() -> None:
    before = int(time.time())
    assert before <= seconds_since_1970(None) <= time.time()


@pytest.mark.parametrize(
    "now", [-1, -0.001, math.nan, math.inf, -math.inf, TIME_MAX + 1, 1e300, 10**400, True, "0", b"", []], ids=case_name
)
def test_what_is_no_time_is_an_invalid_argument(now: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        seconds_since_1970(now)
