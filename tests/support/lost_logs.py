"""What tests say of groups whose logs a relay has lost: `CoreOffice` is the relay, its devices are `World`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.engine.waits import WAIT_MAX_S
from e2ee.events import DeliveryState, GroupMessage, MessageState
from e2ee.frames import AppendEntry, GetGroupDevices
from e2ee.groups import Operation, reread_entry

from .group_talk import Member

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from e2ee.frames import ClientFrame, RelayFrame

    from .core_office import CoreOffice
    from .engines import Device, World
    from .post_office import DeviceName

__all__ = [
    "hour_with",
    "invite",
    "log_at",
    "log_of",
    "notice",
    "numbers",
    "reasons",
    "send",
    "settle",
    "texts",
    "watch",
]


def settle(world: World, times: int = 4) -> None:
    """Let lanes that wait go on, too."""
    for _ in range(times):
        world.settle()
        world.clock.now += WAIT_MAX_S
    world.settle()


def send(device: Device, text: str) -> None:
    device.take(device.engine.send_group("team", text)[1])


def texts(device: Device) -> list[str | None]:
    return [event.text for event in device.of(GroupMessage)]


def reasons(device: Device) -> list[str]:
    return [event.reason for event in device.of(MessageState) if event.state is DeliveryState.HELD]


def invite(alice: Device, *others: Device) -> None:
    for device in others:
        Member(alice).act(Operation.INVITE, device.name[0])
        Member(device).join(Member(device).groups()[0].id)


def notice(world: World, *devices: Device) -> None:
    """Let the relay confirm something that a backup of before does not have."""
    for device in devices:
        send(device, f"of {device.name[0]}")
    world.settle()


def log_of(device: Device) -> list[bytes]:
    group_id = bytes.fromhex(Member(device).group().id)
    with device.store.begin() as unit:
        return [one.entry for one in unit.groups.log(group_id, after=-1, limit=1_000)]


def log_at(office: CoreOffice, group_id: str) -> list[bytes]:
    with office.store.begin() as unit:
        return [one.entry for one in unit.groups.entries(bytes.fromhex(group_id))]


def hour_with(
    world: World, device: Device, answer: Callable[[ClientFrame, RelayFrame | None], RelayFrame | None]
) -> tuple[int, int]:
    """Let an hour pass for one device whose relay says *answer* of what it would say.

    Return how often it asked for a group's devices, and how many entries it brought.
    """
    asked = appended = 0
    end = world.clock.now + 3600
    while world.clock.now < end:
        while device.outgoing:
            frame = device.outgoing.popleft()
            asked += isinstance(frame, GetGroupDevices)
            appended += isinstance(frame, AppendEntry)
            reply = answer(frame, world.relay.handle(device.name, frame))
            if reply is not None:
                device.take(device.engine.reply(frame, reply))
        world.clock.now = min(end, max(world.clock.now + 1, device.wake_at or end))
        device.tick()
    return asked, appended


def watch(office: CoreOffice, monkeypatch: pytest.MonkeyPatch) -> list[AppendEntry | GetGroupDevices]:
    """What devices ask of logs from now on: looks at a group, and entries brought."""
    seen: list[AppendEntry | GetGroupDevices] = []
    handle = office.handle

    def watching(sender: DeviceName, frame: ClientFrame) -> RelayFrame | None:
        if isinstance(frame, AppendEntry | GetGroupDevices):
            seen.append(frame)
        return handle(sender, frame)

    monkeypatch.setattr(office, "handle", watching)
    return seen


def numbers(seen: list[AppendEntry | GetGroupDevices]) -> list[int | None]:
    """The number of each entry; None: a look."""
    return [reread_entry(one.entry).number if isinstance(one, AppendEntry) else None for one in seen]
