"""The same databases as the tests of the store."""

from __future__ import annotations

from tests.store.conftest import database_url, postgres_server, postgres_url, sqlite_url

__all__ = ["database_url", "postgres_server", "postgres_url", "sqlite_url"]
