"""Connections that end between any two steps, restarts, mail that comes again: nothing lost, nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from e2ee.events import DirectMessage
from tests.support.engines import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Device

MESSAGES: Final = 25  # of each device
BOTH_WAYS: Final = {"alice": "bob", "bob": "alice"}  # who writes to whom


def disturb(
    world: World,
    people: dict[str, Device],
    *,
    restarts: bool,
    messages: int = MESSAGES,
    to: dict[str, str] = BOTH_WAYS,
) -> None:
    """Let all write to each other while connections end and, perhaps, stores are closed and opened again."""
    left = {name: list(range(messages)) for name in people}
    while any(left.values()):
        for name, device in people.items():
            if left[name] and world.dice.random() < 0.2:
                device.send(to[name], f"{name} {left[name].pop(0)}")
            if not device.connected and world.dice.random() < 0.3:
                device.connect()
            if device.connected and world.dice.random() < 0.05:
                device.lose_connection()
            if restarts and world.dice.random() < 0.03:
                device.restart()
        steps = [step for device in people.values() for step in device.possible()]
        if steps:
            world.dice.choice(steps)()
    for device in people.values():
        if not device.connected:
            device.connect()
    world.settle()


def said_by(name: str, messages: int = MESSAGES) -> list[str | None]:
    return [f"{name} {number}" for number in range(messages)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("restarts", [False, True], ids=["losses", "restarts"])
def test_every_message_arrives_once_and_in_order_and_no_key_is_used_twice(
    tmp_path: Path, *, seed: int, restarts: bool
) -> None:
    world = World(tmp_path, seed)
    alice, bob = world.device("alice"), world.device("bob")
    disturb(world, {"alice": alice, "bob": bob}, restarts=restarts)
    assert bob.texts() == said_by("alice")
    assert alice.texts() == said_by("bob")
    assert not any(message.late for message in bob.of(DirectMessage))
    assert world.keys_used_twice() == []
    world.close()


def test_two_devices_that_lose_connections_and_restart_lose_no_message(tmp_path: Path) -> None:
    world = World(tmp_path, seed=7)
    alice, bob = world.device("alice"), world.device("bob")
    disturb(world, {"alice": alice, "bob": bob}, restarts=True, messages=6)
    assert bob.texts() == said_by("alice", 6)
    assert alice.texts() == said_by("bob", 6)
    assert world.keys_used_twice() == []
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_three_devices_of_two_users_lose_nothing_and_copies_arrive_once(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed)
    alice, bob = world.device("alice"), world.device("bob")
    with alice.store.begin() as unit:
        identity = unit.account.require().identity
    people = {"one": alice, "two": world.device("alice", 2, identity=identity), "bob": bob}
    disturb(world, people, restarts=True, messages=10, to={"one": "bob", "two": "bob", "bob": "alice"})
    two = people["two"]
    received = bob.texts()
    assert [text for text in received if text in said_by("one", 10)] == said_by("one", 10)
    assert [text for text in received if text in said_by("two", 10)] == said_by("two", 10)
    assert len(received) == 20
    assert alice.texts() == two.texts() == said_by("bob", 10)
    assert (alice.copies(), two.copies()) == (said_by("two", 10), said_by("one", 10))
    assert world.keys_used_twice() == []
    world.close()


def test_mail_that_was_committed_but_not_acknowledged_comes_again_and_is_told_once(
    world: World, alice: Device, bob: Device
) -> None:
    alice.send("bob", "once")
    while not world.relay.boxes["bob", 1].mail:
        world.dice.choice(alice.possible())()
    frame = world.relay.push(("bob", 1))
    assert frame is not None
    bob.push(frame)
    bob.restart()  # before the acknowledgement left
    bob.connect()
    bob.push(frame)
    world.settle()
    assert bob.texts() == ["once"]
    assert world.relay.boxes["bob", 1].mail == []


def test_an_envelope_of_unknown_fate_goes_again_byte_for_byte(world: World, alice: Device, bob: Device) -> None:
    alice.send("bob", "first")
    world.settle()
    before = len(world.relay.overheard)
    alice.send("bob", "second")
    while len(world.relay.overheard) == before:
        alice.relay_takes_one()
    (second,) = world.relay.overheard[before:]
    alice.restart()  # the relay has it, and its reply is lost
    alice.connect()
    world.settle()
    assert world.relay.overheard.count(second) == 2
    assert bob.texts() == ["first", "second"]
    assert world.keys_used_twice() == []
