"""A relay's store and short words for what the tests do with it."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from sqlalchemy import func, select, text

from store.relay import (
    Appended,
    Delivery,
    Device,
    DeviceState,
    Entry,
    Envelope,
    GroupHead,
    LongLivedPreKeys,
    OneTimePreKey,
    Outcome,
    PreKeyKind,
    RelayStore,
    RelayUnit,
    Seat,
    User,
)
from store.relay.schema import RELAY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

LONG_LIVED = LongLivedPreKeys(1, b"signed key", b"signed signature", 2, b"kem key", b"kem signature")
MESSAGE = 1  # a kind of envelope
ENTRY = 2  # another


# What is kept, behind what it should be.
COUNTED = (
    "SELECT device_key, count(*), sum(size) FROM mail GROUP BY device_key ORDER BY 1",
    "SELECT device_key, count, size FROM mailboxes WHERE count <> 0 OR size <> 0 ORDER BY 1",
    "SELECT device_key, sender_user_key, count(*), sum(size) FROM mail GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT device_key, sender_user_key, count, size FROM mailbox_shares ORDER BY 1, 2",
    "SELECT body_key, count(*) FROM mail WHERE body_key IS NOT NULL GROUP BY 1 ORDER BY 1",
    "SELECT body_key, count FROM body_references ORDER BY 1",
    "SELECT DISTINCT body_key, 1 FROM mail WHERE body_key IS NOT NULL ORDER BY 1",
    "SELECT body_key, 1 FROM bodies ORDER BY 1",
)


def identity(name: str) -> bytes:
    """A public identity key: 33 bytes that nobody else has."""
    return b"\x05" + sha256(name.encode()).digest()


def envelope_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def one_time(count: int, *, first: int = 0, label: str = "") -> list[OneTimePreKey]:
    """*count* one-time keys of each kind."""
    numbers = range(first, first + count)
    ec = [OneTimePreKey(PreKeyKind.EC, n, f"ec {label}{n}".encode()) for n in numbers]
    return ec + [OneTimePreKey(PreKeyKind.KEM, n, f"kem {label}{n}".encode(), b"signature") for n in numbers]


def entry(number: int, label: str = "entry") -> Entry:
    data = f"{label} {number}".encode()
    return Entry(number, data, sha256(data).digest())


def seat(device: Device, role: int = 1) -> Seat:
    return Seat(device.user_id, identity(device.user_id), role)


def _register(unit: RelayUnit, name: str, device_id: int, prekeys: int, registration_id: int) -> Device:
    unit.users.register(name, identity(name))
    user = unit.users.find(name)
    assert user is not None
    device = unit.devices.register(user, device_id, registration_id)
    unit.prekeys.upload(device.key, LONG_LIVED, one_time(prekeys))
    return device


class World:
    """An open store. What a word changes is committed when it returns."""

    def __init__(self, url: str, clock: Callable[[], float], dbapi: ModuleType | None = None) -> None:
        self.url = url
        self.clock = clock
        self.store = RelayStore.open(url, clock=clock, dbapi=dbapi)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def user(self, name: str) -> User:
        with self.store.begin() as unit:
            unit.users.register(name, identity(name))
            user = unit.users.find(name)
        assert user is not None
        return user

    def device(self, name: str, device_id: int = 1, *, prekeys: int = 0, registration_id: int = 1) -> Device:
        """A device that has uploaded its prekeys, and so is listed."""
        with self.store.begin() as unit:
            return _register(unit, name, device_id, prekeys, registration_id)

    def devices(self, count: int, name: str = "user") -> list[Device]:
        """As many users with a device each, in one unit: a commit waits for the disk."""
        with self.store.begin() as unit:
            return [_register(unit, f"{name} {number}", 1, 0, 1) for number in range(count)]

    def send(self, sender: Device, recipient: Device, *ids: int, content: bytes = b"content") -> list[Outcome]:
        """One envelope for each of *ids*, in one unit."""
        with self.store.begin() as unit:
            return unit.mailboxes.append(
                [Envelope(sender, recipient.key, envelope_id(number), MESSAGE, content) for number in ids]
            )

    def fan_out(
        self, sender: Device, recipients: Sequence[Device], number: int, body: bytes = b"body"
    ) -> list[Outcome]:
        with self.store.begin() as unit:
            keys = [device.key for device in recipients]
            return unit.mailboxes.fan_out(sender, keys, envelope_id=envelope_id(number), kind=MESSAGE, body=body)

    def mail(self, device: Device, after: int = 0) -> list[Delivery]:
        with self.store.begin() as unit:
            return unit.mailboxes.deliveries(device.key, after=after)

    def contents(self, device: Device, after: int = 0) -> list[bytes]:
        return [delivery.content for delivery in self.mail(device, after)]

    def acknowledge(self, device: Device, number: int) -> int:
        with self.store.begin() as unit:
            return unit.mailboxes.acknowledge({device.key: number})

    def group(self, name: str, *members: Device) -> GroupHead:
        """A group in which all *members* have seats: the first made it, one entry let the others in."""
        genesis, first, others = entry(0, name), members[0], members[1:]
        with self.store.begin() as unit:
            made = unit.groups.create(genesis.hash, name, 1, genesis.entry, genesis.hash, creator=seat(first))
            assert isinstance(made, GroupHead)
            joined = unit.groups.append(
                made.group_id, entry(1, name), epoch=1, actor=first, kind=ENTRY, seats=[seat(one) for one in others]
            )
            assert isinstance(joined, Appended)
        return joined.head

    def state(self, device: Device) -> DeviceState:
        with self.store.begin() as unit:
            state = unit.devices.find(device.user_id, device.device_id)
        assert state is not None
        return state

    def count(self, table: str) -> int:
        with self.store._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(RELAY.metadata.tables[table])).scalar_one()

    def has(self, table: str, column: str, value: object) -> bool:
        """Whether a table has a row with this value."""
        wanted = RELAY.metadata.tables[table].columns[column] == value
        with self.store._engine.connect() as connection:
            return connection.execute(select(wanted).where(wanted)).first() is not None

    def until_somebody_waits(self) -> None:
        """Return when a transaction waits for a lock of another one; fail if none does within 5 seconds."""
        end = time.monotonic() + 5
        with self.store._engine.connect() as connection:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while not connection.execute(waiting).scalar_one():
                assert time.monotonic() < end, "nobody waits"

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What the tables hold."""
        with self.store._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def real_counts(self) -> list[list[tuple[object, ...]]]:
        """What there is of mail and bodies, counted."""
        return [self.rows(query) for query in COUNTED[::2]]

    def kept_counts(self) -> list[list[tuple[object, ...]]]:
        """What is kept beside them, which is to say the same."""
        return [self.rows(query) for query in COUNTED[1::2]]
