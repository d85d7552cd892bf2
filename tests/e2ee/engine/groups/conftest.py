"""A world with its relay, three people in it, and their group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.group_talk import Three
from tests.support.group_world import Team

if TYPE_CHECKING:
    from tests.support.engines import Device, World


@pytest.fixture
def carol(world: World) -> Device:
    return world.device("carol")


@pytest.fixture
def team(world: World, alice: Device, bob: Device, carol: Device) -> Team:
    made = Team(world, alice, bob, carol)
    world.settle()
    return made


@pytest.fixture
def three(world: World) -> Three:
    """The three before they have any group."""
    return Three(world)
