"""The group of ``e2ee demo``: three people, one leaves, and why the leaver cannot read on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from e2ee import GroupMemberJoined, GroupMemberLeft, GroupMessage

from .output import OUT
from .words import content

if TYPE_CHECKING:
    from e2ee import Client

    from .stage import Stage

__all__ = ["show"]

_WHY: Final = """\
  Carol's keys open what was sent while she was in. The chains that the
  others send on now were made after she left, and handed to each remaining
  device through its own session: the relay could give her every ciphertext,
  and she has no key for it."""


async def show(stage: Stage, alice: Client) -> None:
    """Make a group, talk in it, let one leave, talk on."""
    async with stage.client("bob") as bob, stage.client("carol") as carol:
        OUT.print("\nAlice makes a group; Bob and Carol join", style="bold", markup=False)
        await asyncio.gather(bob.connected(), carol.connected())
        made = await alice.create_group("team")
        for one in (bob, carol):
            await one.join_group("team")
            joined = await stage.take(alice, GroupMemberJoined)
            stage.show(alice, f"that {joined.user} has joined")
        await _say(stage, alice, (bob, carol), "welcome, both: encrypted once, readable by us three")
        await _say(stage, carol, (alice, bob), "hello team")
        group = await alice.group(made)
        stage.show(
            alice, f"{len(group.members)} members in epoch {group.epoch}, fingerprint {group.fingerprint[:15]} …"
        )

        OUT.print("\nCarol leaves; the others take new keys before they send again", style="bold", markup=False)
        await carol.leave_group("team")
        for one in (alice, bob):
            left = await stage.take(one, GroupMemberLeft)
            stage.show(one, f"that {left.user} has left")
        await _say(stage, alice, (bob,), "this chain carol was never given")
        group = await alice.group(made)
        keyed = await alice.group_keys(made)
        who = ", ".join(f"{one.user}: {one.state.name.lower()}" for one in keyed)
        stage.show(alice, f"epoch {group.epoch}, her new key is with {who}")
        OUT.print(_WHY, style="dim", markup=False)


async def _say(stage: Stage, sender: Client, readers: tuple[Client, ...], text: str) -> None:
    stage.said.append(text)
    OUT.print(f"  {sender.user_id:>6} → team: {text}", markup=False)
    await sender.send_group("team", text)
    for one in readers:
        message = await stage.take(one, GroupMessage)
        stage.show(one, f"{message.sender} in {message.name}: {content(message.text, message.data)}")
