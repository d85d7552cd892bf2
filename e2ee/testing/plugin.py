"""The pytest plugin: ``pytest_plugins = ["e2ee.testing.plugin"]`` in a ``conftest.py``."""

from __future__ import annotations

import pytest

from .world import World

__all__ = ["e2ee_world"]


@pytest.fixture
def e2ee_world() -> World:
    """A `World` that has not been entered: ``async with e2ee_world as world: …``."""
    return World()
