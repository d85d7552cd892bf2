"""The same databases as the tests of the store."""

from __future__ import annotations

from tests.store.conftest import postgres_server, postgres_url, sqlite_url

__all__ = ["postgres_server", "postgres_url", "sqlite_url"]
