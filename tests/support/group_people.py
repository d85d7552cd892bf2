"""People in one group, with real clients, a real relay and real sockets: what each sends, and what each must read."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from e2ee import Client, ClientOptions, DeliveryState, GroupMessage, MessagesMissing, MessageState, Relay
from e2ee.relay import RelayOptions
from e2ee.shell import Surroundings

from .processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2ee import Group, MessageId
    from e2ee.shell.writer import Worker

GROUP: Final = "team"
CONNECT_S: Final = 120.0  # on a machine that does other things too
OPTIONS: Final = ClientOptions(one_time_prekeys=3)


@dataclass(slots=True, eq=False)
class Person:
    """One user with one device, and its application."""

    user_id: str
    store: str
    client: Client | None = None  # None: offline
    reading: asyncio.Task[None] | None = None
    sent: list[str] = field(default_factory=list)  # in order
    read: dict[str, list[GroupMessage]] = field(default_factory=dict)  # by sender, as they came, each once
    troubles: list[object] = field(default_factory=list)
    stored: set[MessageId] = field(default_factory=set)  # our messages that the relay has

    @property
    def here(self) -> Client:
        """The client. Fails if the person is offline."""
        assert self.client is not None
        return self.client

    def texts(self, sender: Person) -> list[str | None]:
        """What was read of another, in order."""
        return [message.text for message in self.read.get(sender.user_id, [])]


class Crowd:
    """A relay, and people around it. An async context manager.

    With a *folder* all stores are files there, and relay and clients can be restarted; without, all is in memory.
    """

    def __init__(self, folder: Path | None = None, *, worker: Worker | None = None) -> None:
        self._folder = folder
        self._worker = worker
        self._port = free_port()
        self._relay: Relay | None = None
        self._changed = asyncio.Event()
        self.people: list[Person] = []

    async def __aenter__(self) -> Self:
        await self.start_relay()
        return self

    async def __aexit__(self, *_error: object) -> None:
        for person in self.people:
            if person.client is not None:
                await self.go_offline(person)
        await self.stop_relay()

    def _url(self, name: str) -> str:
        return "sqlite://" if self._folder is None else f"sqlite:///{self._folder / name}.db"

    async def start_relay(self) -> None:
        options = RelayOptions(group_joins_per_minute=1_000)
        self._relay = await Relay(port=self._port, store=self._url("relay"), options=options).__aenter__()

    async def stop_relay(self) -> None:
        assert self._relay is not None
        await self._relay.__aexit__(None, None, None)

    # People.

    async def add(self, count: int, *, in_memory: bool = False) -> list[Person]:
        """Make people who are online and known to the relay; those whose store is *in_memory* have to stay there."""
        first = len(self.people)
        names = [f"user-{number:03}" for number in range(first, first + count)]
        made = [Person(name, "sqlite://" if in_memory else self._url(name)) for name in names]
        self.people += made
        for person in made:
            await self.go_online(person)
        for person in made:
            await person.here.connected(CONNECT_S)
        return made

    async def go_online(self, person: Person) -> None:
        client = Client(
            person.user_id,
            relay=f"ws://127.0.0.1:{self._port}",
            store=person.store,
            options=OPTIONS,
            worker=self._worker,
            surroundings=Surroundings(dice=lambda: 0.0),  # no pause before the next attempt to connect
            drain_s=0.0,  # what is not sent by then goes at the next opening
        )
        person.client = await client.__aenter__()
        person.reading = asyncio.create_task(self._read(person))

    async def go_offline(self, person: Person) -> None:
        assert person.reading is not None
        person.reading.cancel()
        with suppress(asyncio.CancelledError):
            await person.reading
        client, person.client, person.reading = person.here, None, None
        await client.__aexit__(None, None, None)

    async def _read(self, person: Person) -> None:
        async for event in person.here.events(acknowledge="manual"):
            match event:
                case GroupMessage():
                    before = person.read.setdefault(event.sender, [])
                    if not (event.redelivered and any(one.message_id == event.message_id for one in before)):
                        before.append(event)
                case MessageState(state=DeliveryState.SENT):
                    person.stored.add(event.message_id)
                case MessageState(state=DeliveryState.FAILED | DeliveryState.EXPIRED) | MessagesMissing():
                    person.troubles.append(event)
                case _:
                    pass
            await person.here.acknowledge(event)
            self._changed.set()

    # What they do.

    async def gather(self, *people: Person) -> Group:
        """Let the first make the group and the others join, one after the other."""
        group = await people[0].here.create_group(GROUP, timeout=CONNECT_S)
        for person in people[1:]:
            await person.here.join_group(GROUP, timeout=CONNECT_S)
        return group

    async def say(self, person: Person, text: str) -> MessageId:
        message_id = await person.here.send_group(GROUP, text)
        person.sent.append(text)
        return message_id

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, looking whenever anybody has read anything. The test bounds the time."""
        while not condition():
            await self.next_change()

    async def next_change(self) -> None:
        """Wait until anybody has read anything."""
        self._changed.clear()
        await self._changed.wait()

    async def until_all_is_read(self, *people: Person) -> None:
        """Wait until each of them has as many messages of each other one as were sent; then judge what they have."""
        pairs = [(one, other) for one in people for other in people if one is not other]
        await self.until(lambda: all(len(one.texts(other)) >= len(other.sent) for one, other in pairs))
        judge(*people)


def judge(*people: Person) -> None:
    """Nothing lost, nothing twice, in the order of each sender; what is late says so; nothing failed."""
    for one in people:
        assert one.troubles == []
        for other in people:
            if one is other:
                continue
            messages = one.read.get(other.user_id, [])
            assert sorted(message.text or "" for message in messages) == sorted(other.sent)
            assert len({message.message_id for message in messages}) == len(messages)
            in_order = [message.text for message in messages if not message.late]
            assert in_order == [text for text in other.sent if text in set(in_order)]
