"""A world with its relay, and two people in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.engines import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.engines import Device


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, seed=1)
    yield made
    made.close()


@pytest.fixture
def alice(world: World) -> Device:
    return world.device("alice")


@pytest.fixture
def bob(world: World) -> Device:
    return world.device("bob")
