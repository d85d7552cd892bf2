"""Sessions lost at either end, damaged mail, connections and processes that end: all of it comes to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2ee.events import DirectMessage, MessageLost, MessagesMissing
from e2ee.recovery import GAP_AGE_S, HEALS_PER_HOUR_MAX
from tests.support.engines import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Device

MESSAGES = 20  # of each device
ROUNDS_MAX = 60  # of ten minutes, until everything has come to rest


def damage_mail(world: World, device: Device) -> None:
    """Flip a bit in something that waits for *device*."""
    mail = world.relay.boxes[device.name].mail
    if mail:
        at = world.dice.randrange(len(mail))
        body = bytearray(mail[at].body)
        body[world.dice.randrange(len(body))] ^= 1
        mail[at] = mail[at]._replace(body=bytes(body))


def lose_session(device: Device, peer: str) -> None:
    with device.store.begin() as unit:
        unit.sessions.delete(peer, 1)


def hit(world: World, device: Device, peer: str) -> None:
    """Let something go wrong at a device, now and then."""
    if world.dice.random() < 0.02:
        lose_session(device, peer)
    if world.dice.random() < 0.02:
        damage_mail(world, device)
    if device.connected and world.dice.random() < 0.03:
        device.lose_connection()
    if world.dice.random() < 0.01:
        device.restart()
    if not device.connected and world.dice.random() < 0.4:
        device.connect()


def storm(world: World, people: dict[str, Device]) -> None:
    """Let both write to each other while sessions, mail, connections and processes are hit."""
    left = {name: list(range(MESSAGES)) for name in people}
    while any(left.values()):
        for name, device in people.items():
            peer = "bob" if name == "alice" else "alice"
            if left[name] and world.dice.random() < 0.2:
                device.send(peer, f"{name} {left[name].pop(0)}")
            hit(world, device, peer)
        steps = [step for device in people.values() for step in device.possible()]
        if steps:
            world.dice.choice(steps)()
        if world.dice.random() < 0.1:
            world.clock.now += 5


def come_to_rest(world: World, people: dict[str, Device]) -> None:
    for _ in range(ROUNDS_MAX):
        for device in people.values():
            if not device.connected:
                device.connect()
        world.settle()
        if not any(device.engine.report().waiting_to_be_opened for device in people.values()):
            return
        world.clock.now += 600
        for name, device in people.items():  # a sign of life: what was asked for in vain is asked for again
            device.send("bob" if name == "alice" else "alice", "ping")
    raise AssertionError("something waits for ever")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_every_message_arrives_once_or_is_told_lost_or_missing_and_no_key_is_used_twice(
    tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path, seed)
    people = {"alice": world.device("alice"), "bob": world.device("bob")}
    storm(world, people)
    come_to_rest(world, people)
    for name, device in people.items():
        device.send("bob" if name == "alice" else "alice", "at last")
    world.settle()
    world.clock.now += GAP_AGE_S
    world.settle()
    for name, device in people.items():
        messages = device.of(DirectMessage)
        assert messages[-1].text == "at last"
        arrived = [str(one.text) for one in messages if one.text not in ("ping", "at last")]
        assert len(set(arrived)) == len(arrived)
        numbers = [one.conversation_number for one in messages if not one.late]
        assert numbers == sorted(numbers)
        # A flipped bit may make a duplicate of a message, which nobody asks for: its number is missing.
        missing = sum(last - first + 1 for event in device.of(MessagesMissing) for first, last in event.numbers)
        lost = sum(event.count for event in device.of(MessageLost))
        sent = {f"{'bob' if name == 'alice' else 'alice'} {number}" for number in range(MESSAGES)}
        assert len(sent - set(arrived)) <= lost + missing
        assert device.engine.report().heals_in_last_hour <= HEALS_PER_HOUR_MAX
    assert world.keys_used_twice() == []
    world.close()
