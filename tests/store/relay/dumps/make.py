"""Make the dumps of the present schema: ``python -m tests.store.relay.dumps.make``, once for each version.

A dump is what a release wrote, kept as it is: later releases must open it.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from store.relay import Seat, Wanted
from store.relay.schema import RELAY
from tests.store.relay.world import World, entry, envelope_id, identity
from tests.support import postgres

NOW: Final = 1_700_000_000.0  # seconds since 1970: the time of everything in a dump
FOLDER: Final = Path(__file__).parent


def fill(world: World) -> None:
    """Put something into every table."""
    alice, bob, carol = (world.device(name, prekeys=2) for name in ("alice", "bob", "carol"))
    head = world.group("team", alice, bob)
    world.send(alice, bob, 1, 2, content=b"direct")
    world.fan_out(bob, [alice, carol], 3, body=b"to all")
    world.acknowledge(bob, 2)
    with world.store.begin() as unit:
        unit.prekeys.hand_out(alice, envelope_id(1), [Wanted(bob)])
        unit.devices.advance(alice.key, submission_number=7)
        unit.devices.record_upload(alice.key, 3, b"digest of upload")
        unit.submissions.record({(alice.key, 7): b"digest of number"})
        unit.devices.connect(alice.key)
        unit.devices.remove([carol])
        gone = Seat("dave", identity("dave"), 1)
        unit.groups.append(head.group_id, entry(2), epoch=2, actor=alice, kind=2, seats=[gone])
        unit.groups.append(head.group_id, entry(3), epoch=3, actor=alice, kind=2, removed=["dave"])


def contents(world: World) -> dict[str, object]:
    """What a store that was filled holds, in the words of the present release."""
    with world.store.begin() as unit:
        alice, bob = unit.devices.find("alice", 1), unit.devices.find("bob", 1)
        assert alice is not None
        assert bob is not None
        head = unit.groups.named("team")
        assert head is not None
        (again,) = unit.prekeys.hand_out(alice.device, envelope_id(1), [Wanted(bob.device)])
        user = unit.users.find("carol")
        return {
            "alice": (alice.counters.submission_number, alice.counters.upload_number, alice.connection_number),
            "alice's numbers": (alice.upload_digest, unit.submissions.known(alice.device.key, [6, 7])),
            "bob's mail": [one.content for one in unit.mailboxes.deliveries(bob.device.key, after=0)],
            "bob's acknowledged": bob.counters.delivery_number,
            "alice's mail": [one.content for one in unit.mailboxes.deliveries(alice.device.key, after=0)],
            "stock": (unit.prekeys.stock(bob.device.key).ec, unit.prekeys.stock(alice.device.key).kem),
            "handed out before": again.one_time_ec.key_id if again.one_time_ec else None,
            "roster": [seat.user_id for seat in unit.groups.roster(head.group_id)],
            "log": [one.number for one in unit.groups.entries(head.group_id)],
            "left": unit.groups.left_at(head.group_id, "dave", identity("dave")),
            "carol": user.identity_key if user else None,
            "listed": [device.user_id for device in unit.devices.of_users(["alice", "bob", "carol"])],
        }


def expected(version: int) -> dict[str, object]:
    """What `contents` finds in the dump of a version."""
    entries = [b"entry 2", b"entry 3"] if version > 2 else []
    return {
        "alice": (7, 3, 1),
        "alice's numbers": (b"digest of upload", {7: b"digest of number"}) if version > 1 else (None, {}),
        "bob's mail": [b"direct", *entries],
        "bob's acknowledged": 2,
        "alice's mail": [b"team 1", b"to all", *entries],
        "stock": (1, 2),
        "handed out before": 0,
        "roster": ["alice", "bob"],
        "log": [0, 1, 2, 3] if version > 2 else [0, 1],
        "left": 3 if version > 2 else None,
        "carol": identity("carol"),
        "listed": ["alice", "bob"],
    }


def main() -> None:
    """Write both dumps of the present version, unless they are there."""
    for kind in ("sqlite", "postgresql"):
        path = FOLDER / f"relay_{RELAY.version}_{kind}.sql"
        if path.exists():
            print(f"{path.name} is there and stays as it is")  # noqa: T201 - a program
        else:
            path.write_text(sqlite_dump() if kind == "sqlite" else postgresql_dump(), "utf-8")


def sqlite_dump() -> str:
    with tempfile.TemporaryDirectory() as folder:
        with World(f"sqlite:///{folder}/relay.db", lambda: NOW) as world:
            fill(world)
        with closing(sqlite3.connect(f"{folder}/relay.db")) as connection:
            return "PRAGMA journal_mode=WAL;\n" + "\n".join(connection.iterdump()) + "\n"


def postgresql_dump() -> str:
    with postgres.server() as url:
        with World(f"{url}&schema=dumped", lambda: NOW) as world:
            fill(world)
        command = ("-h", url.partition("host=")[2], "-U", "postgres", "-n", "dumped", "--no-owner", "--inserts")
        ran = subprocess.run(
            [str(postgres.binaries() / "pg_dump"), *command, "postgres"], check=True, capture_output=True, text=True
        )
    # The test says into which schema; what the server's own version adds is left out.
    lines = [
        line
        for line in ran.stdout.splitlines()
        if line and not line.startswith(("--", "\\", "SET ", "SELECT pg_catalog.set_config", "CREATE SCHEMA"))
    ]
    return re.sub(r"\bdumped\.", "", "\n".join(lines)) + "\n"


if __name__ == "__main__":
    main()
