"""`e2ee.Client` without ``await``, for programs that have no event loop (messaging section 12)."""

from __future__ import annotations

from .client import Client

__all__ = ["Client"]
