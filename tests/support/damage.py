"""What goes wrong with a device's sessions: lost, or replaced by an old copy, as restores and bugs do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.frames import Delivery, EnvelopeKind
from store import LoadedSession

from .engines import STEPS_MAX

if TYPE_CHECKING:
    from ratchet import Session
    from store import ClientStore

    from .engines import Device, World

__all__ = [
    "act_now",
    "copy_session",
    "forged",
    "forget_session",
    "heals",
    "hold_mail",
    "put_back",
    "signal_only",
    "talked",
]


def copy_session(store: ClientStore, user_id: str, device_id: int = 1) -> Session:
    """The session with a device, as it is now."""
    with store.begin() as unit:
        loaded = unit.sessions.load(user_id, device_id)
        assert loaded is not None
        return loaded.session


def put_back(store: ClientStore, user_id: str, session: Session, device_id: int = 1) -> None:
    """Replace the session with a device by an old copy of it."""
    with store.begin() as unit:
        loaded = unit.sessions.load(user_id, device_id)
        assert loaded is not None
        unit.sessions.save(LoadedSession(user_id, device_id, session, loaded.version))


def forget_session(store: ClientStore, user_id: str, device_id: int = 1) -> None:
    """Delete the session with a device."""
    with store.begin() as unit:
        assert unit.sessions.delete(user_id, device_id)


def act_now(world: World) -> None:
    """Let everything happen that can, without any time passing."""
    for _ in range(STEPS_MAX):
        steps = [step for device in world.every for step in device.possible()]
        if not steps:
            return
        world.dice.choice(steps)()
    raise AssertionError("the world does not come to rest")


def hold_mail(world: World, sender: Device) -> None:
    """Let a device send what it has, so that it waits at the relay."""
    while sender.outgoing or sender.incoming or (sender.wake_at is not None and sender.wake_at <= world.clock.now):
        steps = [step for step in sender.possible() if step != sender.take_push]
        if not steps:
            return
        steps[0]()


def talked(world: World, alice: Device, bob: Device) -> None:
    """Both have written to each other, and everything is settled."""
    alice.send("bob", "hello bob")
    world.settle()
    bob.send("alice", "hello alice")
    world.settle()
    alice.send("bob", "how are you?")
    world.settle()
    assert (alice.texts(), bob.texts()) == (["hello alice"], ["hello bob", "how are you?"])
    alice.taken.clear()
    bob.taken.clear()
    alice.live.clear()
    bob.live.clear()


def heals(device: Device) -> int:
    return device.engine.report().heals


def forged(sender: Device, recipient: Device, number: int) -> Delivery:
    """Noise in the name of a device, as a relay can make it."""
    body = copy_session(sender.store, recipient.name[0]).encrypt(b"noise").body
    damaged = body[:-1] + bytes([body[-1] ^ 1])
    return Delivery(1000 + number, *sender.name, number.to_bytes(16, "big"), EnvelopeKind.SIGNAL, damaged, 0)


def signal_only(world: World, alice: Device, bob: Device) -> None:
    talked(world, alice, bob)
    bob.send("alice", "x")
    world.settle()
    alice.send("bob", "y")
    world.settle()
    bob.read_inbox()
    bob.taken.clear()
