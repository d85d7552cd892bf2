"""``e2ee demo``: three people and a relay on this machine, what each of them sees, and what the relay sees."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.table import Table

from e2ee import Client, DeliveryState, Relay, RelayHooks
from e2ee.frames import Submit, SubmitGroup
from e2ee.relay import Verdict

from . import demo_group
from .output import OUT, fail, run
from .stage import Stage

if TYPE_CHECKING:
    from e2ee.frames import ClientFrame, UnknownFrame
    from e2ee.relay import Peer

__all__ = ["demo"]

_PATIENCE_S: Final = 60.0  # for the whole demonstration, on a slow machine
_SHOWN: Final = 6  # bytes of a ciphertext


def demo() -> None:
    """Watch people exchange encrypted messages, one of them offline for a while, then in a group."""
    run(_demo())


@dataclass(slots=True)
class Seen:
    """What the relay was given: everything that it could ever read."""

    rows: list[tuple[str, str, str, bytes]] = field(default_factory=list)  # from, to, what, ciphertext

    def note(self, peer: Peer, frame: ClientFrame | UnknownFrame) -> Verdict:
        """Be the hook `on_inbound`."""
        sender = str(peer.user_id)
        if isinstance(frame, Submit):
            for submission in frame.submissions:
                for envelope in submission.envelopes:
                    self.rows.append((sender, frame.user_id, envelope.kind.name.lower(), envelope.body))
        elif isinstance(frame, SubmitGroup):
            for message in frame.messages:
                self.rows.append((sender, f"group {frame.group_id.hex()[:8]}", "sender key", message.body))
        return Verdict.PASS


async def _demo() -> None:
    seen = Seen()
    with TemporaryDirectory(prefix="e2ee-demo-") as name:
        folder = Path(name)
        async with (
            asyncio.timeout(_PATIENCE_S),
            Relay(store=f"sqlite:///{folder / 'relay.db'}", hooks=RelayHooks(on_inbound=seen.note)) as relay,
        ):
            stage = Stage(relay, folder)
            _heading(f"A relay at {relay.url}, stores in {folder}")
            async with stage.client("alice") as alice:
                await _direct(stage, alice)
                await demo_group.show(stage, alice)
            await asyncio.to_thread(_what_the_relay_sees, stage, seen, folder)


async def _direct(stage: Stage, alice: Client) -> None:
    async with stage.client("bob") as bob:
        _heading("Alice and Bob write to each other")
        await asyncio.gather(alice.connected(), bob.connected())
        first = await stage.say(alice, "bob", "hello bob, can anybody else read this?")
        await stage.read(bob)
        await stage.reached(alice, first, DeliveryState.READ)
        await stage.say(bob, "alice", "nobody. compare our safety numbers:")
        await stage.read(alice)
        numbers = [(await one.safety_number(other)).digits for one, other in ((alice, "bob"), (bob, "alice"))]
        for one, digits in zip((alice, bob), numbers, strict=True):
            stage.show(one, " ".join(digits[at : at + 5] for at in range(0, 30, 5)) + " …")
    _heading("Bob is away; Alice writes on, and the relay keeps the mail")
    waiting = [await stage.say(alice, "bob", text) for text in ("are you there?", "then read this when you are back")]
    await stage.reached(alice, waiting[-1], DeliveryState.SENT)
    async with stage.client("bob") as bob:
        OUT.print("     bob is back", style="dim", markup=False)
        for _ in waiting:
            await stage.read(bob)
        await stage.reached(alice, waiting[-1], DeliveryState.DELIVERED)


def _what_the_relay_sees(stage: Stage, seen: Seen, folder: Path) -> None:
    _heading("What the relay has seen")
    table = Table("from", "to", "kind", "bytes", "begins with", box=SIMPLE)
    for sender, to, kind, body in seen.rows:
        table.add_row(sender, to, kind, str(len(body)), body[:_SHOWN].hex(" ") + " …")
    OUT.print(table)
    kinds = Counter(kind for _, _, kind, _ in seen.rows)
    OUT.print("  " + ", ".join(f"{count} × {kind}" for kind, count in kinds.items()), markup=False, style="dim")
    files = [path.read_bytes() for path in sorted(folder.glob("relay.db*")) if path.suffix != ".lock"]
    for text in stage.said:
        if any(text.encode() in data for data in (*files, *(body for *_, body in seen.rows))):
            raise fail("the relay has a text in the clear: please report this")
    OUT.print(
        f"  {len(stage.said)} texts looked for in {sum(map(len, files))} bytes of the relay's files "
        "and in every frame: none is there",
        style="green",
        markup=False,
    )


def _heading(text: str) -> None:
    OUT.print(f"\n{text}", style="bold", markup=False)
