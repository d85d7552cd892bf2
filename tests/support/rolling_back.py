"""Devices that lose what they have done since a backup, and what is asked of them afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engines import Device, World

COUNTERS = ["submission_number", "delivery_number", "upload_number"]


def talk(world: World, *pairs: tuple[Device, Device]) -> None:
    """Everybody says something, until the world has come to rest."""
    for sender, recipient in pairs:
        sender.send(recipient.name[0], f"{sender.name[0]} {world.relay.nonces} {len(world.relay.overheard)}")
        world.settle()


def roll_back(world: World, device: Device, peer: Device) -> int:
    """Let *device* lose what it has done since a backup; return how much the relay has overheard by then."""
    backup = device.back_up()
    talk(world, (device, peer), (peer, device), (device, peer))
    device.put_back(backup)
    return len(world.relay.overheard)


def registration(device: Device) -> int:
    with device.store.begin() as unit:
        return unit.account.require().registration_id


def numbers(device: Device) -> dict[str, int]:
    with device.store.begin() as unit:
        return {name: getattr(unit.counters, name) for name in COUNTERS}
