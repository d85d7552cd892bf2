"""A world with its relay, and two people in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.content import Content, decode_content
from e2ee.engine import receiving
from tests.support.core_office import CoreOffice
from tests.support.engines import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.engines import Clock, Device
    from tests.support.post_office import PostOffice


@pytest.fixture
def make_relay() -> Callable[[Clock], PostOffice] | None:
    """What makes the relay of `world`; None: the simplest one. Modules that need another have their own."""
    return None


@pytest.fixture
def world(tmp_path: Path, make_relay: Callable[[Clock], PostOffice] | None) -> Iterator[World]:
    made = World(tmp_path, seed=1, make_relay=make_relay)
    yield made
    made.close()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Content]:
    """Every content that any device opens from now on."""
    found: list[Content] = []

    def listening(plaintext: bytes) -> Content:
        found.append(decode_content(plaintext))
        return found[-1]

    monkeypatch.setattr(receiving, "decode_content", listening)
    return found


@pytest.fixture
def office(world: World) -> CoreOffice:
    """The relay of `world`, in modules whose `make_relay` makes the real core."""
    assert isinstance(world.relay, CoreOffice)
    return world.relay


@pytest.fixture
def alice(world: World) -> Device:
    return world.device("alice")


@pytest.fixture
def bob(world: World) -> Device:
    return world.device("bob")
