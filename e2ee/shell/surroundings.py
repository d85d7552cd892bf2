"""Clocks and dice of a client, as arguments."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Timers

__all__ = ["Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Clocks and dice of a client; tests bring their own."""

    timers: Timers | None = None  # None: the event loop
    wall_clock: Callable[[], float] = time.time  # seconds since 1970
    dice: Callable[[], float] = SystemRandom().random  # from 0 to 1
