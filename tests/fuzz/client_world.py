"""What is there before each story of a client: a store that knows people and a group, a relay with mail for it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.engines import World
from tests.support.group_world import Team

if TYPE_CHECKING:
    from e2ee.frames import Delivery
    from e2ee.ids import GroupId
    from tests.support.post_office import PostOffice

__all__ = ["ALICE", "STRANGER", "Template", "template"]

ALICE: Final = ("alice", 1)
STRANGER: Final = "mallory"


@dataclass(frozen=True, slots=True)
class Template:
    """What is there before each story."""

    folder: Path
    office: PostOffice  # the honest relay
    mail: tuple[Delivery, ...]  # for Alice, not yet pushed
    group: GroupId
    log: tuple[bytes, ...]
    keys: dict[str, bytes]  # identity keys of those whom Alice knows, and her own


@cache
def template() -> Template:
    """Alice knows Bob and Carol, and is in a group with both; mail waits for her, a stranger's too."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - a folder of this process's own in it: a disk's syncs take longer
    folder = Path(tempfile.mkdtemp(prefix="fuzz", dir=shared_memory if shared_memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    world = World(folder, seed=1)
    alice, bob, carol, stranger = (world.device(name) for name in ("alice", "bob", "carol", STRANGER))
    team = Team(world, alice, bob, carol)
    world.settle()
    for one, other in ((alice, "bob"), (bob, "alice"), (carol, "alice"), (alice, "carol")):
        one.send(other, "hello")
        world.settle()
    for one in (alice, bob, carol):
        team.send(one, "hello all")
        world.settle()
    alice.lose_connection()
    for text in ("one", "two"):
        bob.send("alice", text)
        team.send(carol, text)
        stranger.send("alice", text)
    team.leave(bob)
    team.send(carol, "after bob")
    world.settle()
    alice.send("bob", "queued")
    mail = tuple(world.relay.boxes[ALICE].mail)
    keys = {one.name[0]: one.key for one in (alice, bob, carol, stranger)}
    alice.engine.close()
    shutil.move(alice.url.removeprefix("sqlite:///"), folder / "template.db")
    for one in (bob, carol, stranger):
        one.engine.close()
    return Template(folder, world.relay, mail, team.id, tuple(team.log), keys)
