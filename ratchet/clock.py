"""The one place where time enters, for callers who do not bring their own."""

from __future__ import annotations

import time
from typing import Final

from .errors import InvalidArgument

__all__ = ["TIME_MAX", "seconds_since_1970"]

TIME_MAX: Final = 2**53  # seconds; the largest whole number of them that a float holds exactly


def seconds_since_1970(now: float | None) -> int:
    """Return *now*, or the present, in whole seconds. Raises InvalidArgument for what is no time."""
    if now is None:
        return int(time.time())
    if type(now) not in (int, float) or not 0 <= now <= TIME_MAX:
        raise InvalidArgument("now is a number of seconds since 1970")
    return int(now)
