"""A relay's store on either database, with users, devices and envelopes made by one word each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.store.conftest import Clock


@pytest.fixture
def world(database_url: str, clock: Clock) -> Iterator[World]:
    """On SQLite and on PostgreSQL."""
    with World(database_url, clock) as opened:
        yield opened


@pytest.fixture
def postgres_world(postgres_url: str, clock: Clock) -> Iterator[World]:
    """On PostgreSQL, where there may be several workers."""
    with World(postgres_url, clock) as opened:
        yield opened
