"""The relay is blind: no plaintext and no private key is anywhere in it, while and after it carries messages.

A relay in a process of its own, real clients beside it. Searched are its memory (as the operating system shows it),
its objects, its database, its log at the level DEBUG, its metrics and every message that came and went. That the
search can find something is shown by what the relay may know, and by a text that is planted there in the clear.
"""

from __future__ import annotations

import asyncio
import io
import random
import sys
import urllib.request
from collections import deque
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgpack
import pytest

from e2ee import Client, ClientOptions, DirectMessage
from store import ClientStore
from tests.support.processes import RelayProcess, free_port, wait_for_news
from tests.support.relay_client import wire
from tests.support.relay_device import Device
from tests.support.roles import RelaySettings

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S: Final = 60.0  # for one of three conversations
MEMORY_IS_SHOWN: Final = Path("/proc/self/mem").exists()  # elsewhere its objects alone are searched
WORD: Final = 8  # bytes
# What fields of accounts and sessions are called that hold a secret of 32 or 64 bytes.
SECRET_FIELDS: Final = frozenset(
    ("private", "seed", "key", "chain_key", "root_key", "receiving_key", "sending_key", "next_root", "root", "mac")
)


def secrets_in(value: object, name: str = "") -> Iterator[tuple[str, bytes]]:
    """Find the secrets of an account or a session, with the names of their fields."""
    if isinstance(value, bytes):
        if name.lstrip("_") in SECRET_FIELDS and len(value) in (32, 64):
            yield name, value
    elif isinstance(value, dict):
        for one in value.values():
            yield from secrets_in(one, name)
    elif isinstance(value, list | tuple | deque):
        for one in value:
            yield from secrets_in(one, name)
    elif is_dataclass(value):
        for field in fields(value):
            yield from secrets_in(getattr(value, field.name), field.name)
    else:
        names = [*getattr(type(value), "__slots__", ()), *getattr(value, "__dict__", ())]
        for one in names:
            yield from secrets_in(getattr(value, one, None), one)


def secrets_of(url: str) -> dict[str, set[bytes]]:
    """Every private key that a client's store holds now, by what it is."""
    found: dict[str, set[bytes]] = {"identity": set(), "prekey": set()}
    with ClientStore.open(url) as store:
        with store.engine.connect() as connection:
            prekeys = connection.exec_driver_sql("SELECT kind, private FROM prekeys").fetchall()
            peers = connection.exec_driver_sql("SELECT user_id, device_id FROM sessions").fetchall()
        with store.begin() as unit:
            identity = unit.account.require().identity
            sessions = unit.sessions.load_many([(user_id, device_id) for user_id, device_id in peers])
        found["identity"] |= {secret for _, secret in secrets_in(identity)}
        for kind, packed in prekeys:
            assert packed[0] == 0, "the store is not sealed, to be read here"
            form = msgpack.unpackb(packed[1:])
            found["prekey"].add(form[1] if kind in (2, 4) else form[2])  # a KEM key's seed, an EC key's private half
        for loaded in sessions.values():
            for name, secret in secrets_in(loaded.session):
                found.setdefault(name, set()).add(secret)
    return found


def identity_key_of(url: str) -> bytes:
    """The public one."""
    with ClientStore.open(url) as store, store.begin() as unit:
        return unit.account.require().identity.public_key


def memory_of(pid: int) -> bytes:
    """The writable memory of a process, one mapping after the other. Raises OSError where it is not shown."""
    parts = []
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            place, permissions, *_ = line.split()
            if not permissions.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in place.split("-"))
            memory.seek(start)
            parts.append(memory.read(end - start))
    return b"\x00".join(parts)


class Relay:
    """The relay's process, and everything that can be seen of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = RelayProcess(RelaySettings(folder, free_port(), shows_everything=True))
        self.process.start()
        self.until("ready")
        self.url = f"ws://127.0.0.1:{self.process.settings.port}"

    def until(self, what: str) -> None:
        while wait_for_news([self.process]) and self.process.news() != (what,):
            pass

    def seen(self) -> dict[str, bytes]:
        """What can be seen now, by where."""
        # The log beside it included: which of them a page is in is the database's affair.
        places = {"database": b"".join(path.read_bytes() for path in sorted(self.folder.glob("relay.db*")))}
        places["log"] = self.process.settings.log.read_bytes()
        places["frames"] = self.process.settings.frames.read_bytes()
        with urllib.request.urlopen(f"http{self.url[2:]}/metrics", timeout=LIMIT_S) as answer:  # noqa: S310 - our own
            places["metrics"] = answer.read()
        if MEMORY_IS_SHOWN:
            places["memory"] = memory_of(self.process.pid)
        return places

    def objects(self) -> bytes:
        """The texts and byte strings in its objects; asked for once, at the end."""
        self.process.tell("objects")
        self.until("objects")
        return self.process.settings.objects.read_bytes()


def found_in(places: dict[str, bytes], needles: dict[str, bytes]) -> set[tuple[str, str]]:
    """Tell which needles, of 15 bytes or more, are where.

    Wherever one lies, one of its first eight words is a whole word of the place: so each place is read once.
    """
    words: dict[int, list[str]] = {}
    for what, needle in needles.items():
        assert len(needle) >= 2 * WORD - 1
        for offset in range(WORD):
            words.setdefault(int.from_bytes(needle[offset : offset + WORD], sys.byteorder), []).append(what)
    found: set[tuple[str, str]] = set()
    for where, content in places.items():
        hay = content + bytes(-len(content) % WORD)
        for word in set(words).intersection(memoryview(hay).cast("Q")):
            found |= {(where, what) for what in words[word] if needles[what] in hay}
    return found


async def receive(client: Client, count: int) -> list[bytes]:
    """The contents of the next messages."""
    contents = []
    async for event in client.events():
        if isinstance(event, DirectMessage):
            contents.append(event.data)
            if len(contents) == count:
                await client.acknowledge(event)
                break
    return contents


async def converse(relay: Relay, urls: tuple[str, str], canary: str, file: bytes) -> dict[str, bytes]:
    """Exchange both several times; return what can be seen of the relay while both are connected."""
    options = ClientOptions(one_time_prekeys=3)
    async with (
        asyncio.timeout(LIMIT_S),
        Client("alice", relay=relay.url, store=urls[0], options=options) as alice,
        Client("bob", relay=relay.url, store=urls[1], options=options) as bob,
    ):
        await bob.connected()
        for _ in range(3):
            await alice.send("bob", canary)
            await alice.send("bob", io.BytesIO(file))
            assert await receive(bob, 2) == [canary.encode(), file]
            await bob.send("alice", f"{canary} {canary}")
            await receive(alice, 1)
        return await asyncio.to_thread(relay.seen)


async def plant(relay: Relay, text: bytes) -> tuple[dict[str, bytes], bytes]:
    """Have the relay carry a text in the clear, as no client of ours does; return what is seen meanwhile."""
    alice, bob = Device("careless"), Device("somebody-who-is-connected")
    async with wire(relay.url) as a, wire(relay.url) as b:
        await b.join(bob)
        await a.join(alice)
        await a.submitted(alice, bob, text)
        return await asyncio.to_thread(relay.seen), await asyncio.to_thread(relay.objects)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    folder = tmp_path / "relay"
    folder.mkdir()
    relay = Relay(folder)
    yield relay
    if relay.process.running:
        relay.process.kill()


@pytest.mark.slow
def test_no_plaintext_and_no_private_key_is_anywhere_in_the_relay(relay: Relay, tmp_path: Path) -> None:
    dice = random.SystemRandom()  # what is the same in every run could be in a file that the relay loads
    canary, file = f"a canary that sings {dice.randbytes(16).hex()}", dice.randbytes(20_000)
    urls = (f"sqlite:///{tmp_path}/alice.db", f"sqlite:///{tmp_path}/bob.db")
    needles = {"text": canary.encode(), "file, its middle": file[10_000:10_064]}
    sightings: list[dict[str, bytes]] = []
    for life in range(3):
        sightings.append(asyncio.run(converse(relay, urls, canary, file)))
        for url in urls:
            for kind, secrets in secrets_of(url).items():
                needles |= {f"{kind} {secret[:4].hex()}": secret for secret in secrets}
        assert life or len(needles) > 50
    kinds = {name.partition(" ")[0] for name in needles}
    assert {"identity", "prekey", "private", "root_key", "chain_key", "key", "next_root", "mac"} <= kinds
    sightings.append(relay.seen())
    for seen in sightings:
        assert found_in(seen, needles) == set()

    # The same search finds what the relay may know, in each place where it should be.
    known = {
        "public key": identity_key_of(urls[0]),
        "log": b"INFO:e2ee.relay:relay open",
        "metrics": b"e2ee_relay_acknowledged",
    }
    expected = {("database", "public key"), ("frames", "public key"), ("log", "log"), ("metrics", "metrics")}
    if MEMORY_IS_SHOWN:
        expected.add(("memory", "public key"))
    assert expected <= found_in(sightings[-1], known)

    # And it finds a canary that is planted.
    planted = b"a planted canary " + dice.randbytes(16).hex().encode()
    seen, objects = asyncio.run(plant(relay, planted))
    places = {where for where, _ in found_in(seen, needles | {"planted": planted})}
    assert {"frames", "database"} <= places
    assert "memory" in places or not MEMORY_IS_SHOWN

    # In its objects are those who are connected. They were listed last: to list them is to have them in memory.
    found = found_in({"objects": objects}, needles | {"connected": b"somebody-who-is-connected"})
    assert found == {("objects", "connected")}
    relay.process.stop()
