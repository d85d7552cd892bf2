"""Engines against each other through a relay in memory: one step at a time, in an order drawn from a seed.

A connection can end between any two steps, taking with it what is under way in either direction, and a
device can be closed and opened again from its file.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
from collections import deque
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from e2ee.engine import Engine, Output, decisions
from e2ee.events import DirectMessage, DurableEvent, Event, MessageState, OwnMessage
from e2ee.frames import Acknowledge, ClientFrame, Deliver, Drained, LowPreKeys, RelayFrame
from e2ee.options import ClientOptions
from store import ClientStore

from .key_use import keys_used_twice
from .post_office import DeviceName, PostOffice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2ee.engine.step import Step
    from e2ee.errors import GroupError
    from e2ee.events import DeliveryState
    from e2ee.ids import MessageId
    from ratchet import IdentityKeyPair

START: Final = 1_700_000_000.0  # seconds since 1970
STEPS_MAX: Final = 20_000  # until a world must have come to rest
EVENTS: Final = 50  # taken out of the inbox at once
FEW_PREKEYS: Final = ClientOptions(one_time_prekeys=3)

Kind = TypeVar("Kind", bound=DurableEvent)
Answer = TypeVar("Answer")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Device:
    """One engine, its store, and one end of a connection."""

    def __init__(
        self,
        world: World,
        user_id: str,
        device_id: int,
        options: ClientOptions,
        identity: IdentityKeyPair | None,
    ) -> None:
        self.world = world
        self.name: DeviceName = (user_id, device_id)
        self.options = options
        self.identity = identity
        self.url = f"sqlite:///{world.folder / f'{user_id}-{device_id}-{next(world.numbers)}.db'}"
        self.outgoing: deque[ClientFrame] = deque()
        self.incoming: deque[tuple[ClientFrame, RelayFrame]] = deque()
        self.connected = False
        self.wake_at: float | None = None
        self.live: list[Event] = []
        self.taken: list[DurableEvent] = []  # out of the inbox
        self.outcomes: dict[bytes, GroupError | None] = {}  # of operations on groups, by id
        self.open()

    # Its life.

    def open(self) -> None:
        self.store = ClientStore.open(self.url, clock=self.world.clock)
        self.engine = Engine.open(
            self.store, *self.name, relay="127.0.0.1:1", identity=self.identity, options=self.options
        )

    def restart(self) -> None:
        """Close the store and open it again, as after a crash: what was in memory and under way is gone."""
        self.lose_connection()
        self.engine.close()
        self.open()

    def back_up(self) -> Path:
        """Copy the store as it is, open or not (SQLite's backup of a file in use); return where to."""
        target = self.world.folder / f"backup-{next(self.world.numbers)}.db"
        with (
            closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
        return target

    def put_back(self, backup: Path) -> None:
        """Close, put a copy in the place of the store, open it."""
        self.lose_connection()
        self.engine.close()
        shutil.copy(backup, self.url.removeprefix("sqlite:///"))
        self.open()

    def connect(self) -> None:
        challenge = self.world.relay.challenge()
        name, welcome = self.world.relay.login(self.engine.login(challenge), challenge)
        assert name == self.name
        self.connected = True
        self.take(self.engine.connected(welcome))

    def lose_connection(self) -> None:
        self.outgoing.clear()
        self.incoming.clear()
        self.connected = False
        self.take(self.engine.disconnected())

    # Its steps.

    def take(self, output: Output) -> None:
        self.live += output.events
        self.outcomes.update({one.operation_id: one.error for one in output.outcomes})
        if self.connected:
            self.outgoing.extend(output.requests)
            if output.acknowledge is not None:
                self.outgoing.append(Acknowledge(output.acknowledge))
        self.wake_at = output.wake_at
        if output.reconnect and self.connected:
            self.lose_connection()
            self.connect()

    def send(self, to: str, content: str | bytes) -> MessageId:
        message_id, output = self.engine.send(to, content)
        self.take(output)
        return message_id

    def possible(self) -> list[Callable[[], None]]:
        """What can happen next at this device."""
        steps: list[Callable[[], None]] = []
        if not self.connected:
            return steps
        if self.outgoing:
            steps.append(self.relay_takes_one)
        if self.incoming:
            steps.append(self.take_reply)
        if self.world.relay.has_news(self.name):
            steps.append(self.take_push)
        if self.wake_at is not None and self.wake_at <= self.world.clock.now:
            steps.append(self.tick)
        return steps

    def relay_takes_one(self) -> None:
        frame = self.outgoing.popleft()
        reply = self.world.relay.handle(self.name, frame)
        if reply is not None:
            self.incoming.append((frame, reply))

    def take_reply(self) -> None:
        self.take(self.engine.reply(*self.incoming.popleft()))

    def take_push(self) -> None:
        frame = self.world.relay.push(self.name)
        if frame is not None:
            self.push(frame)

    def push(self, frame: Deliver | Drained | LowPreKeys) -> None:
        self.take(self.engine.push(frame))

    def tick(self) -> None:
        self.take(self.engine.tick(self.world.clock.now))

    def do(self, work: Callable[[Step], Answer]) -> Answer:
        """Let the application want something of the engine."""
        answer, output = self.engine.do(work)
        self.take(output)
        return answer

    def trust(self, user: str, identity_key: bytes | None = None, verification: str = "") -> None:
        self.do(lambda step: decisions.trust(step, user, identity_key, verification))

    def rotate_prekeys(self) -> None:
        """Replace the signed and the last-resort prekey; the old ones open first messages for 30 days more."""
        self.do(lambda step: step.unit.prekeys.rotate())

    def distrust(self, user: str, identity_key: bytes | None = None) -> None:
        self.do(lambda step: decisions.distrust(step, user, identity_key))

    @property
    def key(self) -> bytes:
        """The user's identity key."""
        with self.store.begin() as unit:
            return unit.account.require().identity.public_key

    # Its application.

    def read_inbox(self) -> list[DurableEvent]:
        """Take everything out of the inbox, acknowledging each event; return it."""
        found: list[DurableEvent] = []
        while events := self.engine.next_events(EVENTS):
            for event in events:
                found.append(event)
                self.take(replace(self.engine.acknowledge_event(event)))
        self.taken += found
        return found

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Events of one kind that came out of the inbox so far, what is in it now included."""
        self.read_inbox()
        return [event for event in self.taken if isinstance(event, kind)]

    def texts(self) -> list[str | None]:
        return [message.text for message in self.of(DirectMessage)]

    def copies(self) -> list[str | None]:
        return [message.text for message in self.of(OwnMessage)]

    def states(self, message_id: MessageId) -> list[DeliveryState]:
        return [event.state for event in self.of(MessageState) if event.message_id == message_id]


class World:
    """A relay and the devices around it."""

    def __init__(self, folder: Path, seed: int = 0, make_relay: Callable[[Clock], PostOffice] | None = None) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.clock = Clock()
        self.relay = PostOffice() if make_relay is None else make_relay(self.clock)
        self.every: list[Device] = []
        self.numbers = itertools.count()

    def device(
        self,
        user_id: str,
        device_id: int = 1,
        *,
        options: ClientOptions = FEW_PREKEYS,
        identity: IdentityKeyPair | None = None,
        online: bool = True,
    ) -> Device:
        """Open a device; if it is *online*, connect it and let it upload its prekeys."""
        device = Device(self, user_id, device_id, options, identity)
        self.every.append(device)
        if online:
            device.connect()
            self.settle()
        return device

    def settle(self) -> None:
        """Let everything happen that can, in an order drawn from the seed, until nothing is left."""
        for _ in range(STEPS_MAX):
            steps = [step for device in self.every for step in device.possible()]
            if steps:
                self.dice.choice(steps)()
            elif not self._wait():
                return
        raise AssertionError("the world does not come to rest")

    def _wait(self) -> bool:
        """Let the time pass until somebody has something to do soon; tell whether there is."""
        soon = [
            device.wake_at
            for device in self.every
            if device.connected and device.wake_at is not None and device.wake_at <= self.clock.now + 60
        ]
        if soon:
            self.clock.now = max(self.clock.now, min(soon))
        return bool(soon)

    def close(self) -> None:
        for device in self.every:
            device.engine.close()

    def keys_used_twice(self, since: int = 0) -> list[tuple[DeviceName, DeviceName | None, bytes, int]]:
        """Message keys with two different ciphertexts, ever; with *since*, one of them from this number on."""
        return keys_used_twice(
            ((sender, recipient, envelope.kind, envelope.body) for sender, recipient, envelope in self.relay.overheard),
            since,
        )
