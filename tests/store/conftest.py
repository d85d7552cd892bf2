"""Databases for the tests of the store: a SQLite file each, and schemas of one real PostgreSQL server.

A test that takes `database_url` runs on both. Each test process (pytest-xdist) starts a server of
its own, when it first needs one: that takes 0.4 s, less than it would to agree on a shared one.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import pytest

from store import TESTING, ClientStore
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_NUMBERS: Final = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a running server's database; append ``&schema=name``."""
    with postgres.server() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A schema that is not there yet."""
    return f"{postgres_server}&schema=test_{next(SCHEMA_NUMBERS)}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Either; the server is started only if a test for it runs."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Time stands still until the test moves it."""
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[ClientStore]:
    """A sealed store with Alice's account in it."""
    with ClientStore.open(database_url, passphrase="correct horse", profile=TESTING, clock=clock) as opened:
        with opened.begin() as unit:
            unit.account.create("alice")
        yield opened
