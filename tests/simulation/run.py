"""One run from its seed: troubles, then peace, then a last message between every pair; and what did not hold."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Final

from e2ee.errors import NotAuthorized

from .faults import Extra, Troubles
from .world import Cast, World

__all__ = ["Report", "run"]

CASTS: Final[tuple[Cast, ...]] = (
    (("alice", 1), ("bob", 1)),
    (("alice", 1), ("bob", 1), ("carol", 1)),
    (("alice", 2), ("bob", 1)),
    (("alice", 2), ("bob", 2), ("carol", 1)),
)
THINGS: Final = (5, 40)  # that happen in one run: at least, at most
EXTRAS: Final[tuple[frozenset[Extra], ...]] = (
    frozenset(),
    frozenset({Extra.GROUPS, Extra.DEVICES}),
    frozenset({Extra.GROUPS}),
    frozenset({Extra.GROUPS}),
    frozenset({Extra.RESTORES}),
    frozenset({Extra.RELAY_RESTORES}),
    frozenset({Extra.IDENTITIES}),
    frozenset({Extra.GROUPS, Extra.RESTORES}),
    frozenset({Extra.GROUPS, Extra.RESTORES}),
    frozenset({Extra.GROUPS, Extra.IDENTITIES}),
    frozenset({Extra.GROUPS, Extra.IDENTITIES}),
    frozenset({Extra.DEVICES}),
    frozenset({Extra.GROUPS, Extra.RELAY_RESTORES}),
    frozenset(),
)
TROUBLE_MAX_S: Final = 600.0  # simulated; the things that happen end long before
PEACE_S: Final = 3_600.0  # simulated seconds in which everything must have arrived


@dataclass(slots=True)
class Report:
    """What one run came to."""

    seed: int
    messages: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    steps: int = 0
    violations: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)  # if it was asked for


def run(seed: int, *, trace: bool = False) -> Report:
    """Run one world to its end."""
    dice = Random(f"cast {seed}")
    world = World.of(f"world {seed}", dice.choice(CASTS))
    troubles = Troubles(world, things=dice.randint(*THINGS), extras=dice.choice(EXTRAS))
    violations = []
    try:
        _live(world, troubles)
    except Exception:  # noqa: BLE001 - whatever it is, it must not happen: the seed goes with it
        violations = [traceback.format_exc()]
    finally:
        world.remove()
    return Report(
        seed,
        len(world.judge.sent),
        troubles.counts,
        sum(device.crashes for device in world.devices),
        world.steps,
        world.judge.found + violations,
        world.schedule.trace if trace else [],
    )


def _live(world: World, troubles: Troubles) -> None:
    troubles.begin()
    world.run_until(lambda: troubles.is_over, TROUBLE_MAX_S)
    troubles.end()
    world.run_until(world.is_at_rest, PEACE_S)
    world.judge.blame_all(world.not_made_known())
    for device in world.devices:
        for user in world.users():
            if user != device.name[0]:
                world.send(device, user, f"{device.name} to {user}: are we well?")
        for group in troubles.groups.names:
            world.send_group(device, group, f"{device.name} to {group}: are we well?")
    world.run_until(world.is_at_rest, PEACE_S)
    for device in world.devices:
        if device.name in world.judge.removed:
            if not isinstance(device.ended, NotAuthorized):
                world.judge.blame(f"{device.name} was removed, and has not ended so: {device.ended!r}")
        elif device.ended is not None:
            world.judge.blame(f"{device.name} has ended: {device.ended!r}")
    if not world.judge.found:
        world.judge.blame_all(f"lost: {missing}" for missing in world.missing() + world.forgotten_in_silence())
