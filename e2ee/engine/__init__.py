"""The engine: ratchet, store and policy in synchronous steps; from frames and wishes to frames and events."""

from __future__ import annotations

from .core import Engine
from .step import Output

__all__ = ["Engine", "Output"]
