"""Everything around one run: the time, the relay, the devices, and what their applications have done."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from e2ee.errors import GroupError
from store import seen_envelope

from .device import Device
from .groups import GroupRecord
from .judge import Judge, Sent
from .relay import SimulatedRelay
from .schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2ee.engine.step import Step

__all__ = ["Cast", "World", "folder_in_memory"]

Cast = tuple[tuple[str, int], ...]
"""The devices of a world: user and how many."""

STEPS_MAX: Final = 200_000  # of one run: a loop without end is a fault too


def folder_in_memory() -> Path:
    """A new folder, in memory where the system has such: a commit then costs no disk."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder with a name of its own is made in it
    return Path(tempfile.mkdtemp(prefix="e2ee-simulation-", dir=shared if shared.is_dir() else None))


@cache
def _template(cast: Cast) -> dict[str, bytes]:
    """The closed stores of a cast that has registered, by their files' names: what every run begins with.

    They are held here, not in a folder: a worker of a pool ends without the leave that would delete one.
    """
    folder = folder_in_memory()
    try:
        world = World(Random("template"), folder, cast)
        world.run_until(lambda: all(one.is_ready() for one in world.devices), 60.0)
        world.close()
        return {path.name: path.read_bytes() for path in folder.iterdir()}
    finally:
        shutil.rmtree(folder)


class World:
    """One run. *folder* holds the stores, which may be there already."""

    def __init__(self, dice: Random, folder: Path, cast: Cast) -> None:
        self.dice = dice
        self.folder = folder
        self.schedule = Schedule()
        self.judge = Judge(self.schedule, GroupRecord(self._path_of))
        self.steps = 0
        self.relay = SimulatedRelay(self.schedule, dice, self.judge, folder / "relay.db")
        self.devices: list[Device] = []
        for user_id, count in cast:
            identity = None
            for device_id in range(1, count + 1):
                device = Device(
                    self.schedule,
                    dice,
                    self.relay,
                    self.judge,
                    user_id,
                    device_id,
                    self._path_of((user_id, device_id)),
                    identity=identity,
                )
                self.devices.append(device)
                if count > 1 and identity is None and device.engine is not None:
                    with device.store.begin() as unit:
                        identity = unit.account.require().identity

    def link(self, source: Device) -> None:
        """Give a user another device, from the identity that *source* exports; nothing if it cannot just now."""
        own = source.ask(lambda engine: engine.do(lambda step: step.account))
        if own is None:
            return
        user_id = source.name[0]
        name = (user_id, 1 + max(device.name[1] for device in self.of_user(user_id)))
        self.judge.linked(name)
        path = self._path_of(name)
        device = Device(self.schedule, self.dice, self.relay, self.judge, *name, path, identity=own.identity)
        self.devices.append(device)

    @classmethod
    def of(cls, seed: str, cast: Cast) -> World:
        """A world whose devices have registered, in a folder of its own."""
        files = _template(cast)
        folder = folder_in_memory()
        try:
            for name, content in files.items():
                (folder / name).write_bytes(content)
            return cls(Random(seed), folder, cast)
        except BaseException:
            shutil.rmtree(folder)
            raise

    def close(self) -> None:
        """End every process."""
        for device in self.devices:
            device.stop()
        self.relay.close()

    def remove(self) -> None:
        """Delete the stores."""
        try:
            self.close()
        finally:
            shutil.rmtree(self.folder)

    def _path_of(self, device: tuple[str, int]) -> Path:
        return self.folder / f"{device[0]}-{device[1]}.db"

    def of_user(self, user_id: str) -> list[Device]:
        """The devices of a user."""
        return [device for device in self.devices if device.name[0] == user_id]

    def users(self) -> list[str]:
        """Everybody."""
        return list(dict.fromkeys(device.name[0] for device in self.devices))

    # Time.

    def run_until(self, happened: Callable[[], bool], limit_s: float) -> bool:
        """Let things happen until *happened*, at most for so many simulated seconds; tell whether it did."""
        end = self.schedule.now + limit_s
        look_at = self.schedule.now
        while self.schedule.now < end and not self.judge.found:
            if self.schedule.now >= look_at:
                if happened():
                    return True
                look_at = self.schedule.now + 1.0
            if not self.schedule.step(min(end, look_at)):
                continue
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise AssertionError("the world does not come to rest")
        return happened()

    # What applications do.

    def send(self, device: Device, to: str, text: str) -> None:
        """Send a text; it counts if `send` has returned."""
        unknown = self._need_not_be_known_to(device)
        message_id = device.ask(lambda engine: engine.send(to, text))
        if message_id is not None:
            self.judge.sent.append(Sent(device.name, to, message_id, text, unknown=unknown))

    def _need_not_be_known_to(self, device: Device) -> frozenset[tuple[str, int]]:
        """The devices listed in this run of which *device*, which knows of no other of its user, has opened nothing."""
        wrote = {
            one.name: self.judge.announced[one.name][device.name]
            for one in self.of_user(device.name[0])
            if one is not device and one.name in self.judge.announced
        }
        if not wrote:
            return frozenset()

        def unknown(step: Step) -> frozenset[tuple[str, int]]:
            if step.unit.devices.of(step.user_id):
                return frozenset()  # the relay tells of the others when it is given a list
            seen = step.unit.seen.known([seen_envelope(*name, one) for name, ids in wrote.items() for one in ids])
            return frozenset(
                name for name, ids in wrote.items() if not seen & {seen_envelope(*name, one) for one in ids}
            )

        return device.ask(lambda engine: engine.do(unknown)) or frozenset()

    def send_group(self, device: Device, group: str, text: str) -> None:
        """Send a text to a group; it counts if `send_group` has returned."""
        with suppress(GroupError):
            message_id = device.ask(lambda engine: engine.send_group(group, text))
            if message_id is not None:
                self.judge.sent.append(Sent(device.name, group, message_id, text, to_group=True))

    def read_all(self) -> None:
        """Let every application read what is in its inbox."""
        for device in self.devices:
            device.read()

    def everything_arrived(self) -> bool:
        """Whether every device has what was sent to its user."""
        self.read_all()
        return not self.missing()

    def is_at_rest(self) -> bool:
        """Whether everybody is connected, has what was sent, and knows what it has lost."""
        removed = self.judge.removed
        there = all(one.ended or (one.is_connected() and one.name not in removed) for one in self.devices)
        return there and self.everything_arrived() and not self.forgotten_in_silence() and not self.not_made_known()

    def not_made_known(self) -> list[str]:
        """Devices that have not made themselves known to others of their user."""
        there = [device for device in self.devices if device.name not in self.judge.removed]
        names = {device.name for device in there}
        told = {device.name: self._need_not_be_known_to(device) & names for device in there}
        return [
            f"{one} has not made itself known to {name}" for name, unknown in told.items() for one in sorted(unknown)
        ]

    def missing(self) -> list[str]:
        """What has not arrived."""
        return list(chain.from_iterable(self._missing(number, one) for number, one in enumerate(self.judge.sent)))

    def forgotten_in_silence(self) -> list[str]:
        """What a device has lost with a later state of its store, though it was not told that there was one."""
        silent = [device for device in self.devices if device.name in self.judge.restored and not device.account.gaps]
        known = [one for one in self.judge.sent if one.message_id not in self.judge.unsure and not one.to_group]
        return list(chain.from_iterable(self._undelivered(one, silent) for one in known))

    def _missing(self, number: int, one: Sent) -> Iterator[str]:
        removed = self.judge.removed
        if one.message_id in self.judge.unsure or one.sender in removed:
            return
        known = [device for device in self.devices if device.name not in removed]
        devices = [device for device in known if number >= self.judge.forgotten.get(device.name, 0)]
        if one.to_group:
            yield from self._unread(one, devices)
        else:
            unlisted = self.judge.unlisted
            yield from self._undelivered(one, [one for one in devices if number >= unlisted.get(one.name, 0)])

    def _undelivered(self, one: Sent, devices: list[Device]) -> Iterator[str]:
        for device in devices:
            user_id = device.name[0]
            if user_id == one.to:
                known = device.account.messages
            elif user_id == one.sender[0] and device.name != one.sender:
                if device.name in one.unknown:
                    continue  # it has not made itself known yet
                known = device.account.copies
            else:
                continue
            if one.message_id not in known:
                yield f"{one.text!r} at {device.name}"

    def _is_told_that_it_does_not_go(self, one: Sent) -> bool:
        """Whether the sender was told that a message to a group has failed, or waits for a log that cannot come."""
        accounts = [device.account for device in self.of_user(one.sender[0])]
        waits = self.judge.groups.is_taken(one.to) and any(one.message_id in account.behind for account in accounts)
        return waits or any(one.message_id in account.failed for account in accounts)

    def _unread(self, one: Sent, devices: list[Device]) -> Iterator[str]:
        """Whether a message to a group is with all who were members when it was stored, or given up before."""
        groups = self.judge.groups
        if not groups.was_stored(one.message_id) and not self._is_told_that_it_does_not_go(one):
            yield f"{one.text!r} of {one.sender}, never stored"
        for device in devices:
            has_it = one.message_id in device.account.messages or device.account.lost[one.sender[0]]
            if groups.may_read(device.name[0], one.message_id) and device.name != one.sender and not has_it:
                yield f"{one.text!r} at {device.name}"
