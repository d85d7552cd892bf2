"""``e2ee chat``: talk in a terminal, with one person or in a group."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Annotated, Final

import typer

from e2ee import Client, DirectMessage, E2eeError, GroupMessage, IdentityChanged, OwnMessage
from store.errors import StoreError

from .account import Account, takes_account
from .output import OUT, plain, run
from .words import line

__all__ = ["chat"]

HELP: Final = """\
/to USER           write to somebody else
/create NAME       make an open group and write to it
/join NAME         join an open group and write to it
/group NAME        write to a group that you are in
/leave NAME        leave a group
/members NAME      who is in a group
/safety USER       the safety number, to compare
/trust USER        go on with a new identity key
/events            show every event, or only messages again
/quit              end; what is not sent yet goes at the next start"""
_SHOWN: Final = (DirectMessage, GroupMessage, OwnMessage, IdentityChanged)


@takes_account
def chat(
    account: Account,
    to: Annotated[str, typer.Argument(metavar="USER", help="Whom to write to; /to changes it.")],
) -> None:
    """Talk in the terminal: every line is a message, lines that begin with / are commands (/help)."""
    run(_chat(account, to))


async def _chat(account: Account, to: str) -> None:
    async with account.client() as client:
        talk = _Talk(client, to)
        OUT.print(f"you are {account.user}, writing to {plain(to)}; /help for commands", markup=False, style="dim")
        reading = asyncio.create_task(talk.read_events())
        try:
            await talk.read_lines()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


class _Talk:
    def __init__(self, client: Client, to: str) -> None:
        self._client = client
        self._to = to
        self._in_group = False
        self._everything = False

    async def read_events(self) -> None:
        async for event in self._client.events():
            if self._everything or isinstance(event, _SHOWN):
                OUT.print(line(event), markup=False, soft_wrap=True)
            if isinstance(event, DirectMessage | GroupMessage):
                await self._client.mark_read(event)

    async def read_lines(self) -> None:
        while True:
            # A thread of its own, not the pool's: a read that nobody answers would keep the program from ending.
            text = await asyncio.to_thread(sys.stdin.readline)
            if not text or text.strip() == "/quit":
                return
            try:
                await self._take(text.rstrip("\n"))
            except (E2eeError, StoreError, TimeoutError) as error:
                OUT.print(
                    f"error: {plain(str(error) or 'it took too long')}", style="red", markup=False, soft_wrap=True
                )

    async def _take(self, text: str) -> None:
        if not text.strip():
            return
        if not text.startswith("/"):
            if self._in_group:
                await self._client.send_group(self._to, text)
            else:
                await self._client.send(self._to, text)
            return
        command, _, argument = text.partition(" ")
        await self._command(command, argument.strip())

    async def _command(self, command: str, argument: str) -> None:
        client = self._client
        match command, argument:
            case "/to", str(name) if name:
                self._write_to(name, group=False)
            case "/create", str(name) if name:
                await client.create_group(name)
                self._write_to(name, group=True)
            case "/join", str(name) if name:
                await client.join_group(name)
                self._write_to(name, group=True)
            case "/group", str(name) if name:
                await client.group(name)
                self._write_to(name, group=True)
            case "/leave", str(name) if name:
                await client.leave_group(name)
                OUT.print(f"you have left {plain(name)}", markup=False, style="dim")
            case "/members", str(name) if name:
                group = await client.group(name)
                OUT.print(
                    "  ".join(f"{one} ({role.name.lower()})" for one, role in group.members.items()), markup=False
                )
            case "/safety", str(name) if name:
                OUT.print((await client.safety_number(name)).digits, markup=False)
            case "/trust", str(name) if name:
                await client.trust(name)
            case "/events", _:
                self._everything = not self._everything
            case _:
                OUT.print(HELP, markup=False, style="dim")

    def _write_to(self, name: str, *, group: bool) -> None:
        self._to, self._in_group = name, group
        OUT.print(f"writing to {'the group ' if group else ''}{plain(name)}", markup=False, style="dim")
