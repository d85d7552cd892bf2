"""A member of a group in a process of its own, with its application: as `roles`, whose relay it talks to.

A member that stays sends numbered messages. One that comes and goes joins, sends a few, waits until the relay has
them, leaves, and begins again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from e2ee import Client, ClientOptions, DeliveryState, DurableEvent, GroupMessage, MessageState
from e2ee.errors import GroupTimeout
from e2ee.events import (
    GroupCreated,
    GroupJoined,
    GroupLeft,
    GroupMemberJoined,
    GroupMemberLeft,
)
from e2ee.shell import Surroundings

from .journal import Journal, read_journal
from .roles import Hasty, commands

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from e2ee.events import GroupEvent

__all__ = ["GROUP", "MemberSettings", "live_as_member"]

GROUP: Final = "team"
AHEAD_MAX: Final = 10  # messages that a member sends before it has had as many from each other member
TOGETHER: Final = 3  # messages that one who comes and goes sends while it is there, and the others when it is not


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """A member's process. The *founder* makes the group; all others join it.

    It sends *count* messages. If it is *restless*, it leaves after every three and joins again; if it stays, it sends
    the last three when it has read the *last_word* of one who is restless and has seen it go.
    """

    folder: Path
    port: int
    user_id: str
    staying: tuple[str, ...]  # the members that stay
    count: int
    last_word: str
    founder: bool = False
    restless: bool = False

    @property
    def name(self) -> str:
        """In messages and files."""
        return self.user_id

    @property
    def others(self) -> int:
        """How many other members stay."""
        return len(self.staying) - (self.user_id in self.staying)

    @property
    def store(self) -> str:
        """Where its store is."""
        return f"sqlite:///{self.folder}/{self.name}.db"

    @property
    def journal(self) -> Path:
        """Where its application notes what it sends and sees."""
        return self.folder / f"{self.name}.journal"


class _Member:
    """Sends its messages, and notes what it sees before it acknowledges it."""

    def __init__(self, settings: MemberSettings, client: Client, pipe: Connection) -> None:
        self._settings = settings
        self._client = client
        self._pipe = pipe
        before = read_journal(settings.journal)
        self._life = 1 + sum(line[0] == "life" for line in before)
        self._queued = {line[1]: line[2] for line in before if line[0] == "queued"}
        self._begun = {line[1] for line in before if line[0] == "intended"}
        self._seen = {line[1] for line in before if line[0] == "seen"}
        self._stored = {line[1] for line in before if line[0] == "stored"}
        self._texts = {line[3] for line in before if line[0] == "seen"}
        self._moves = [line[0] for line in before if line[0] in ("came", "went") and line[1] not in settings.staying]
        self._journal = Journal(settings.journal)
        self._journal.write("life", self._life)
        self._more = asyncio.Event()

    def _note(self, *line: object) -> None:
        self._journal.write(*line, sync=True)
        self._pipe.send(line)

    async def live(self) -> None:
        """Send what is not queued yet; what may be or not is sent again, under another id."""
        for number in range(1, self._settings.count + 1):
            if number not in self._queued:
                await self._be_there()
                while not self._may_send(number):
                    await self._next()
                self._note("intended", number)
                message_id = await self._client.send_group(GROUP, f"{self._settings.name} {number}")
                self._queued[number] = message_id
                self._note("queued", number, message_id)
            # In an earlier life it may have gone after this one and be back.
            if self._settings.restless and number % TOGETHER == 0 and number + 1 not in self._begun:
                await self._go()
        self._note("done")

    def _may_send(self, number: int) -> bool:
        settings = self._settings
        if not settings.restless and number > settings.count - TOGETHER:
            return settings.last_word in self._texts and self._moves[-1:] == ["went"]
        return number <= len(self._seen) / settings.others + AHEAD_MAX

    async def _next(self) -> None:
        """Wait until something has come since this was last called."""
        await self._more.wait()
        self._more.clear()

    async def _be_there(self) -> None:
        """Be a member, by whatever is left to do; what was begun before a kill goes on by itself."""
        while not await self._is_member():
            with suppress(GroupTimeout):
                if self._settings.founder:
                    await self._client.create_group(GROUP)
                else:
                    await self._client.join_group(GROUP)
        while not set(self._settings.staying) <= (await self._client.group(GROUP)).members.keys():
            await self._next()  # who comes later reads nothing of before

    async def _is_member(self) -> bool:
        return any(group.name == GROUP and group.is_member for group in await self._client.groups())

    async def _go(self) -> None:
        """Leave, once the relay has all of our messages."""
        while not self._stored.issuperset(self._queued.values()):
            await self._next()
        while await self._is_member():
            with suppress(GroupTimeout):
                await self._client.leave_group(GROUP)

    async def read_all(self) -> None:
        """Read until there is nothing more, which is never."""
        async for event in self._client.events(acknowledge="manual"):
            if not isinstance(event, DurableEvent):
                continue
            self._see(event)
            await self._client.acknowledge(event)
            self._more.set()

    def _see(self, event: DurableEvent) -> None:
        match event:
            case GroupMessage(message_id=message_id, text=text, late=late, redelivered=again):
                number = event.conversation_number
                self._note("seen", message_id, event.sender, text, number, late, again, self._life)
                self._seen.add(message_id)
                self._texts.add(text)
            case MessageState(message_id=message_id, state=state, reason=reason):
                if state in (DeliveryState.FAILED, DeliveryState.EXPIRED):
                    self._note("trouble", state.name, reason)
                elif state is DeliveryState.SENT:
                    self._note("stored", message_id)
                    self._stored.add(message_id)
            case GroupMemberJoined(user=user) | GroupMemberLeft(user=user):
                what = "came" if isinstance(event, GroupMemberJoined) else "went"
                self._note(what, user)
                if user not in self._settings.staying:
                    self._moves.append(what)
            case GroupCreated() | GroupJoined() | GroupLeft():
                self._note(*_own(event))
            case _:
                self._note("trouble", type(event).__name__, str(event))


def _own(event: GroupEvent) -> tuple[object, ...]:
    return ("own", type(event).__name__)


def live_as_member(settings: MemberSettings, pipe: Connection) -> None:
    """Be a client whose application sends and reads until told to stop."""
    asyncio.run(_live(settings, pipe))


async def _live(settings: MemberSettings, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    with commands(pipe) as events:
        async with Client(
            settings.user_id,
            relay=f"ws://127.0.0.1:{settings.port}",
            store=settings.store,
            options=ClientOptions(one_time_prekeys=20),
            surroundings=Surroundings(timers=Hasty(loop)),
        ) as client:
            member = _Member(settings, client, pipe)
            reading = loop.create_task(member.read_all())
            pipe.send(("ready",))
            await events["go"].wait()
            living = loop.create_task(member.live())
            stop = loop.create_task(events["stop"].wait())
            await asyncio.wait((reading, living), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()  # what ended it
            await living
            await asyncio.wait((reading, stop), return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
