"""The asyncio shell around engine, link and carrier: it runs their steps, keeps connected, and decides nothing."""

from __future__ import annotations

from .core import Shell
from .surroundings import Surroundings

__all__ = ["Shell", "Surroundings"]
