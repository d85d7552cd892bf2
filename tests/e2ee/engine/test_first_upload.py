"""A new device: what its application sends before its first upload waits for it, and is not refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.events import DeliveryState
from e2ee.frames import Submit, UploadPreKeys

if TYPE_CHECKING:
    from tests.support.engines import World


def test_nothing_is_submitted_before_the_relay_has_the_device_s_prekeys(world: World) -> None:
    world.device("bob")
    alice = world.device("alice", online=False)
    sent = alice.send("bob", "written before the first connection")
    alice.connect()
    asked: list[type[object]] = []
    while alice.possible():
        if alice.outgoing:
            asked.append(type(alice.outgoing[0]))
        alice.possible()[0]()
    assert asked.index(UploadPreKeys) < asked.index(Submit)
    assert alice.states(sent)[0] is DeliveryState.SENT
