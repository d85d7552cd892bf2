"""What goes wrong, drawn from the seed; and what applications do meanwhile."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from e2ee.engine import account
from e2ee.options import ClientOptions
from e2ee.trust import IdentityPolicy

from .files import copy_database
from .group_faults import GroupLife

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2ee.frames import Deliver
    from e2ee.groups import Membership

    from .device import Device
    from .files import Backup
    from .world import World

__all__ = ["Extra", "Troubles"]

CALLS_MAX: Final = 120  # storage calls of a few steps: where a crash may come
PARTITION_MAX_S: Final = 40.0
POLICIES: Final = (IdentityPolicy.TRUST_ON_FIRST_USE, IdentityPolicy.ALWAYS)
DEVICES_MAX: Final = 4  # of one user, those included that were removed
REPEAT: Final = 0.3  # of the deliveries, while the relay repeats some
PAUSE_MAX_S: Final = 2.0  # between two things that happen


class Extra(Enum):
    """What goes wrong in some runs only."""

    GROUPS = "groups"
    RESTORES = "restores"
    RELAY_RESTORES = "relay restores"
    IDENTITIES = "identities"
    DEVICES = "devices"


class Troubles:
    """Draws one thing after the other until it is told to end. *counts* says how often each came."""

    def __init__(self, world: World, *, things: int, extras: frozenset[Extra]) -> None:
        self._world = world
        self._dice = world.dice
        self._left = things
        self._texts = 0
        self.counts: Counter[str] = Counter()
        self._kinds: list[tuple[int, str, Callable[[], None]]] = [
            (40, "send", self._send),
            (20, "read", self._read),
            (12, "cut", self._cut),
            (6, "partition", self._partition),
            (6, "crash", self._crash),
            (10, "crash at a storage call", self._crash_at_call),
            (3, "relay killed", self._kill_relay),
            (3, "relay reorders", self._reorder),
            (3, "relay repeats", self._repeat),
        ]

        self.groups = GroupLife(world, self._dice)
        self._with_groups = Extra.GROUPS in extras
        if Extra.GROUPS in extras:
            self._kinds += [
                (25, "group: send", self.groups.send),
                (6, "group: create", self.groups.create),
                (10, "group: join", self.groups.join),
                (16, "group: change", self.groups.act),
            ]

        if Extra.RESTORES in extras:
            self._kinds += [(5, "back up", self._back_up), (5, "restore", self._restore)]
        if Extra.RELAY_RESTORES in extras:
            self._kinds += [
                (4, "back up the relay", self._back_up_relay),
                (3, "restore the relay", self._restore_relay),
            ]
        if Extra.IDENTITIES in extras:
            self._kinds += [(8, "another identity", self._begin_anew)]
            for device in world.devices:
                device.choose(ClientOptions(one_time_prekeys=3, identities=self._dice.choice(POLICIES)))
        if Extra.DEVICES in extras:
            self._kinds += [(6, "link a device", self._link), (4, "remove a device", self._remove)]
        self._backups: list[tuple[Device, Backup]] = []
        self._relay_backup: tuple[Path, dict[bytes, Membership]] | None = None

    def begin(self) -> None:
        """Plan the first thing."""
        if self._with_groups:
            self.groups.begin()
        self._world.schedule.after(self._dice.uniform(0.0, PAUSE_MAX_S), self._next)

    @property
    def is_over(self) -> bool:
        """Whether everything has happened."""
        return self._left == 0

    def end(self) -> None:
        """Take back what lasts: partitions, a lying relay, crashes that wait for a storage call."""
        self._world.relay.meddle = None
        for device in self._world.devices:
            device.cut_off = False
            device.crash_at_call(None)

    def _next(self) -> None:
        if not self._left:
            return
        self._left -= 1
        (_, name, act) = self._dice.choices(self._kinds, [weight for weight, _, _ in self._kinds])[0]
        self.counts[name] += 1
        self._world.schedule.note(f"--- {name}")
        act()
        self._world.schedule.after(self._dice.uniform(0.0, PAUSE_MAX_S), self._next)

    def _device(self) -> Device:
        return self._dice.choice(self._world.devices)

    def _send(self) -> None:
        device = self._device()
        others = [user for user in self._world.users() if user != device.name[0]]
        for _ in range(self._dice.randint(1, 4)):
            self._texts += 1
            self._world.send(device, self._dice.choice(others), f"text {self._texts} of {device.name}")

    def _read(self) -> None:
        self._device().read()

    def _cut(self) -> None:
        self._device().cut()

    def _partition(self) -> None:
        device = self._device()
        device.cut_off = True
        device.cut()

        def mend() -> None:
            device.cut_off = False

        self._world.schedule.after(self._dice.uniform(1.0, PARTITION_MAX_S), mend)

    def _crash(self) -> None:
        self._device().crash()

    def _crash_at_call(self) -> None:
        self._device().crash_at_call(self._dice.randrange(CALLS_MAX))

    def _kill_relay(self) -> None:
        self._world.relay.kill()

    def _back_up(self) -> None:
        device = self._device()
        self._backups.append((device, device.back_up(self._world.folder / f"backup-{len(self._backups)}.db")))

    def _restore(self) -> None:
        """Let a device go on from an older copy; the present one is a copy to come back to, as clones do."""
        if not self._backups:
            return
        device, backup = self._dice.choice(self._backups)
        self._backups.append((device, device.back_up(self._world.folder / f"backup-{len(self._backups)}.db")))
        device.put_back(backup)

    def _back_up_relay(self) -> None:
        path = self._world.folder / "relay-backup.db"
        copy_database(self._world.relay.path, path)
        self._relay_backup = (path, dict(self._world.judge.groups.states))

    def _restore_relay(self) -> None:
        if self._relay_backup is not None:
            self._world.judge.relay_rolled_back(device.name for device in self._world.devices)
            path, groups = self._relay_backup
            self._world.relay.kill(path)
            self._world.judge.groups.relay_rolled_back(groups)

    def _begin_anew(self) -> None:
        """Let a user with one device come back without any of what it had."""
        device = self._device()
        if len(self._world.of_user(device.name[0])) == 1:
            device.begin_anew()

    def _link(self) -> None:
        """Let a user take up another device, with the identity that one of the others exports."""
        device = self._device()
        if len(self._world.of_user(device.name[0])) < DEVICES_MAX:
            self._world.link(device)

    def _remove(self) -> None:
        """Let a device ask the relay to remove another one of its user."""
        device = self._device()
        others = [one for one in self._world.of_user(device.name[0]) if one is not device and one.is_ready()]
        if others and device.is_connected():
            (_, number) = self._dice.choice(others).name
            device.ask(lambda engine: engine.do(partial(account.ask_for_removal, device_id=number)))

    def _reorder(self) -> None:
        """Let the relay mix up, for a while, what it delivers at once: bodies change places, numbers rise."""

        def meddle(_to: tuple[str, int], frame: Deliver) -> list[Deliver]:
            mixed = list(frame.deliveries)
            self._dice.shuffle(mixed)
            numbers = [one.number for one in frame.deliveries]
            renumbered = [one._replace(number=number) for one, number in zip(mixed, numbers, strict=True)]
            return [replace(frame, deliveries=tuple(renumbered))]

        self._meddle(meddle)

    def _repeat(self) -> None:
        """Let the relay deliver again, for a while, what it has delivered: under its number, or under a later one."""
        before: dict[tuple[str, int], list[Deliver]] = {}  # another's would be acknowledged in the place of its own

        def meddle(to: tuple[str, int], frame: Deliver) -> list[Deliver]:
            told = [frame]
            if self._dice.random() < REPEAT:
                told.append(frame)
            known = before.setdefault(to, [])
            if known and self._dice.random() < REPEAT:
                told.insert(0, self._dice.choice(known))
            known.append(frame)
            return told

        self._meddle(meddle)

    def _meddle(self, meddle: Callable[[tuple[str, int], Deliver], list[Deliver]]) -> None:
        def stop() -> None:
            self._world.relay.meddle = None

        self._world.relay.meddle = meddle
        self._world.schedule.after(self._dice.uniform(1.0, 20.0), stop)
