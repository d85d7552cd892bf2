"""Where the people of ``e2ee demo`` stand: their clients, what they say, and what each of them sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from e2ee import Client, DeliveryState, DirectMessage, DurableEvent, MessageState

from .output import OUT, fail
from .words import content

if TYPE_CHECKING:
    from pathlib import Path

    from e2ee import Relay

__all__ = ["Stage"]

_Event = TypeVar("_Event", bound=DurableEvent)


class Stage:
    """Where the people stand: their clients, and what was said, to be looked for afterwards."""

    def __init__(self, relay: Relay, folder: Path) -> None:
        self._relay = relay
        self._folder = folder
        self.said: list[str] = []

    def client(self, user: str) -> Client:
        """A client of that user; the same store each time."""
        return Client(user, relay=self._relay.url, store=f"sqlite:///{self._folder / user}.db")

    async def say(self, client: Client, to: str, text: str) -> str:
        """Send a text, and show it."""
        self.said.append(text)
        OUT.print(f"  {client.user_id:>6} → {to}: {text}", markup=False)
        return await client.send(to, text)

    def show(self, client: Client, words: str) -> None:
        """Show what somebody sees."""
        OUT.print(f"  {client.user_id:>6} sees {words}", style="green", markup=False)

    async def read(self, client: Client) -> DirectMessage:
        """Wait for a message, show it, and let the sender know that it was read."""
        message = await self.take(client, DirectMessage)
        self.show(client, f"{message.sender}: {content(message.text, message.data)}")
        await client.mark_read(message)
        return message

    async def reached(self, client: Client, message_id: str, wanted: DeliveryState) -> None:
        """Wait until a message is so far, and show it."""
        while True:
            event = await self.take(client, MessageState)
            if event.message_id == message_id and event.state >= wanted:
                self.show(client, f"that it is {event.state.name.lower()}")
                return

    async def take(self, client: Client, kind: type[_Event]) -> _Event:
        """Wait for an event of a kind, and acknowledge it."""
        async for event in client.events(acknowledge="manual"):
            if isinstance(event, DurableEvent):
                await client.acknowledge(event)
            if isinstance(event, kind):
                return event
        raise fail("a client was closed")
