"""``e2ee send`` and ``e2ee listen``: one message out, messages in."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from e2ee import Client, DeliveryState, DirectMessage, DurableEvent, Event, GroupMessage, MessageState, OwnMessage

from .account import Account, takes_account
from .output import OUT, fail, run
from .words import line

__all__ = ["listen", "send"]

_PATIENCE_S: Final = 30.0
_MESSAGES: Final = (DirectMessage, GroupMessage, OwnMessage)
_FINAL: Final = (DeliveryState.FAILED, DeliveryState.EXPIRED)


class Wait(Enum):
    """How long ``send`` waits."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"


_REACHED: Final = {
    Wait.SENT: DeliveryState.SENT,
    Wait.DELIVERED: DeliveryState.DELIVERED,
    Wait.READ: DeliveryState.READ,
}


@takes_account
def send(
    account: Account,
    to: Annotated[str, typer.Argument(metavar="USER", help="Who gets it.")],
    text: Annotated[
        str | None, typer.Argument(help="What to send; without it and --file, standard input is read.")
    ] = None,
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Send the bytes of a file.")] = None,
    wait: Annotated[Wait, typer.Option(help="When to return.")] = Wait.SENT,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for it.")] = _PATIENCE_S,
) -> None:
    """Send one message, end-to-end encrypted."""
    if text is not None and file is not None:
        raise fail("give a text or a file, not both")
    run(_send(account, to, text, file, wait, timeout))


async def _send(account: Account, to: str, text: str | None, file: Path | None, wait: Wait, timeout_s: float) -> None:
    content: str | bytes
    if file is not None:
        content = await asyncio.to_thread(file.read_bytes)
    else:
        content = await asyncio.to_thread(sys.stdin.read) if text is None else text
    async with account.client() as client:
        message_id = await client.send(to, content)
        if wait is Wait.QUEUED:
            OUT.print(f"{message_id} queued", markup=False)
            return
        with OUT.status(f"waiting until it is {wait.value}"):
            async with asyncio.timeout(timeout_s):
                state = await _state(client, message_id, _REACHED[wait])
    OUT.print(f"{message_id} {state.state.name.lower()}", markup=False)


async def _state(client: Client, message_id: str, wanted: DeliveryState) -> MessageState:
    """Wait until the message is so far; other events stay where they are."""
    async for event in client.events(acknowledge="manual"):
        if not isinstance(event, MessageState) or event.message_id != message_id:
            continue
        await client.acknowledge(event)
        if event.state is DeliveryState.HELD and event.reason:
            raise fail(
                f"kept in the store as {message_id}, not sent yet ({event.reason}): it goes when that is over, "
                "at your next listen, send or chat; do not send it again"
            )
        if event.state in _FINAL:
            raise fail(f"the message is {event.state.name.lower()}: {event.reason or 'nobody confirmed it'}")
        if event.state >= wanted:
            return event
    raise fail("the client was closed")


@takes_account
def listen(
    account: Account,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many messages.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="End when nothing has come for so many seconds.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, every event.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show every event, not only messages.")] = False,
) -> None:
    """Print messages as they come; each is taken out of the store once it is printed."""
    run(_listen(account, count, timeout, as_json=as_json, everything=everything))


async def _listen(
    account: Account, count: int | None, timeout_s: float | None, *, as_json: bool, everything: bool
) -> None:
    async with account.client() as client:
        await client.connected(_PATIENCE_S if timeout_s is not None else None)
        events = client.events()
        while (event := await _next(events, timeout_s)) is not None:
            message = isinstance(event, _MESSAGES)
            if as_json:
                sys.stdout.write(json.dumps(_values(event)) + "\n")
                sys.stdout.flush()
            elif message or everything:
                OUT.print(line(event), markup=False, soft_wrap=True)
            if message and count is not None:
                count -= 1
                if not count:
                    await client.acknowledge(event)
                    return


async def _next(events: AsyncIterator[Event], timeout_s: float | None) -> Event | None:
    try:
        async with asyncio.timeout(timeout_s):
            return await anext(events, None)
    except TimeoutError:
        return None


def _values(event: Event) -> dict[str, Any]:
    values = {"event": type(event).__name__, **asdict(event)}
    if isinstance(event, DurableEvent):
        values.pop("number")
    return {name: _jsonable(value) for name, value in values.items()}


def _jsonable(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value.name.lower() if isinstance(value, Enum) else value
