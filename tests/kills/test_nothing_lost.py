"""Nothing lost: relay and clients are killed again and again while two people exchange numbered messages.

Real relay, real clients, real sockets on a fixed port, real SQLite files; SIGKILL at moments counted in progress. In
the end each application has seen each message, once by its id and in order, and no message key was used twice.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from e2ee import Client
from e2ee.frames import EnvelopeKind
from store import TESTING, ClientStore
from tests.support.key_use import keys_used_twice
from tests.support.processes import ClientProcess, RelayProcess, free_port, wait_for_news
from tests.support.roles import ClientSettings, RelaySettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Line = list[Any]  # of a journal

PEERS: Final = {"alice": "bob", "bob": "alice"}


class Exchange:
    """The relay and the devices of two users, each of whom sends *count* messages in all, under *seed*'s kills."""

    def __init__(self, folder: Path, seed: int, *, count: int, devices: int = 1) -> None:
        self.dice = random.Random(f"nothing lost {seed}")
        port = free_port()
        self.relay = RelayProcess(RelaySettings(folder, port))
        self.clients = [
            ClientProcess(ClientSettings(folder, port, user_id, device_id, peer, devices, count // devices, identity))
            for user_id, peer in PEERS.items()
            for identity in [identity_of(folder, user_id) if devices > 1 else None]
            for device_id in range(1, devices + 1)
        ]
        self.roles: list[RelayProcess | ClientProcess] = [self.relay, *self.clients]
        self.messages = sum(one.settings.count for one in self.clients)
        self.seen: dict[str, set[str]] = {one.settings.name: set() for one in self.clients}  # texts
        self.copied: dict[str, set[str]] = {one.settings.name: set() for one in self.clients}  # ids, as below
        self.queued: dict[str, set[str]] = {one.settings.name: set() for one in self.clients}
        self.kills = 0
        self.progress = 0

    def run(self, kills: int) -> None:
        """Exchange all messages, killing one or two of the processes *kills* times."""
        try:
            for role in self.roles:
                role.start()
            self._meet()
            moments = sorted(self.dice.sample(range(self.messages), kills))  # by how many were seen
            while not self._is_complete():
                self._listen()
                if self.kills < kills and self.progress >= moments[self.kills]:
                    self._kill()
            for client in self.clients:
                client.stop()
            self.relay.stop()
        finally:
            for role in self.roles:
                if role.running:
                    role.kill()

    def _meet(self) -> None:
        """Wait until each device is listed at the relay: who is not is sent nothing."""
        uploaded: set[str] = set()
        while len(uploaded) < len(self.clients):
            for role in wait_for_news(self.roles):
                what, *values = role.news()
                if what == "uploaded":
                    uploaded.add(values[0])
        for client in self.clients:
            client.tell("go")

    def _listen(self) -> None:
        for role in wait_for_news(self.roles):
            what, *values = role.news()
            if isinstance(role, ClientProcess):
                self._count(role.settings.name, what, values)

    def _count(self, name: str, what: str, values: list[Any]) -> None:
        assert what != "trouble", f"{name}: {values}"
        match what:
            case "seen":
                self.progress += values[2] not in self.seen[name]
                self.seen[name].add(values[2])
            case "copied":
                self.copied[name].add(values[0])
            case "queued":
                self.queued[name].add(values[1])

    def _is_complete(self) -> bool:
        return all(self._has_all(one.settings) for one in self.clients)

    def _has_all(self, device: ClientSettings) -> bool:
        others = [one.settings for one in self.clients if one.settings is not device]
        expected = sum(one.count for one in others if one.user_id == device.peer)
        copies = [self.queued[one.name] for one in others if one.user_id == device.user_id]
        return len(self.seen[device.name]) == expected and all(ids <= self.copied[device.name] for ids in copies)

    def _kill(self) -> None:
        for victim in self.dice.sample(self.roles, self.dice.choice([1, 1, 2])):
            victim.kill()
            if isinstance(victim, ClientProcess):  # what it had noted and could not tell any more
                for what, *values in victim.journal():
                    self._count(victim.settings.name, what, values)
            victim.start()
            if isinstance(victim, ClientProcess):
                victim.tell("go")
        self.kills += 1

    # What must be so in the end.

    def judge(self) -> None:
        """Fail unless each application has seen each message once by id, in order, and no key was used twice."""
        sent = {one.settings.name: ids_sent(one) for one in self.clients}
        for one in self.clients:
            settings = one.settings
            senders = [other.settings for other in self.clients if other.settings.user_id == settings.peer]
            for sender in senders:
                lines = [line for line in one.journal() if line[0] == "seen" and line[2] == sender.name]
                judge_seen(sender.name, lines, sent[sender.name], sender.count)
            for own in self.clients:
                if own.settings.user_id == settings.user_id and own is not one:
                    copies = [
                        line for line in one.journal() if line[0] == "copied" and line[3].startswith(own.settings.name)
                    ]
                    judge_repetitions(copies, life=5, again=4)
                    assert set(sent[own.settings.name]) <= {line[1] for line in copies}
            with ClientStore.open(settings.store) as store:
                assert store.check() == ()
        record = self.relay.record()
        bodies: dict[tuple[Any, ...], str] = {}
        for _, sender_, recipient, envelope_id, _, body in record:
            key = (tuple(sender_), tuple(recipient), envelope_id)
            assert bodies.setdefault(key, body) == body, "an envelope was made again instead of being sent again"
        overheard = [
            (tuple(sender_), tuple(recipient), EnvelopeKind(kind), bytes.fromhex(body))
            for _, sender_, recipient, _, kind, body in record
        ]
        assert len(overheard) >= 2 * self.messages
        assert keys_used_twice(overheard) == [], "a key has sealed twice"


def ids_sent(client: ClientProcess) -> dict[str, int]:
    """The ids of the messages that `send` had returned from, with their numbers."""
    return {line[2]: line[1] for line in client.journal() if line[0] == "queued"}


def judge_seen(sender: str, lines: list[Line], sent: dict[str, int], count: int) -> None:
    """Judge what one application has seen of one device: [seen, id, sender, text, number, late, again, life]."""
    judge_repetitions(lines, life=7, again=6)
    first = list({line[1]: line for line in reversed(lines)}.values())[::-1]  # each id where it was seen first
    assert {f"{sender} {number}" for number in range(1, count + 1)} == {line[3] for line in first}, "lost"
    assert set(sent) <= {line[1] for line in first}, "a message that was queued was lost"
    # A message may have two ids if its application was killed before it knew that it was queued.
    unknown = [line for line in first if line[1] not in sent]
    assert len(first) == len(sent) + len(unknown)
    in_order = [line[4] for line in first if not line[5]]
    assert in_order == sorted(set(in_order)), "out of order"


def judge_repetitions(lines: list[Line], *, life: int, again: int) -> None:
    """An id comes again only in another life, and says so."""
    lives: dict[str, int] = {}
    for line in lines:
        before = lives.get(line[1])
        assert before is None or (line[life] > before and line[again] > 0), "a message was shown twice"
        lives[line[1]] = line[life]


def identity_of(folder: Path, user_id: str) -> bytes:
    """Make the first device of a user, and export its identity for the others."""
    url = f"sqlite:///{folder}/{user_id}-1.db"

    async def make() -> None:
        async with Client(user_id, relay="ws://127.0.0.1:9", store=url, drain_s=0):
            pass

    asyncio.run(make())
    with ClientStore.open(url) as store:
        return store.export_identity("identity", profile=TESTING)


def test_sixty_messages_survive_four_kills(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, 1, count=30)
    exchange.run(kills=4)
    exchange.judge()
    assert exchange.kills == 4


def test_the_same_judgement_finds_what_is_lost_doubled_out_of_order_or_sealed_twice(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, 5, count=20)
    exchange.run(kills=1)
    exchange.judge()
    bob, record = exchange.clients[1].settings.journal, exchange.relay.settings.record
    faults: dict[str, tuple[Path, Callable[[list[Line]], list[Line]]]] = {
        "lost": (bob, lambda lines: lines[:-1]),
        "shown twice": (bob, lambda lines: [*lines, lines[-1]]),
        "out of order": (bob, lambda lines: [*lines[:-2], lines[-1], lines[-2]]),
        "made again": (record, lambda lines: [*lines, [*lines[-1][:-1], lines[-1][-1] + "00"]]),
        "has sealed twice": (record, sealed_twice),
    }
    find_faults(exchange.judge, record, faults)


def find_faults(
    judge: Callable[[], None], record: Path, faults: dict[str, tuple[Path, Callable[[list[Line]], list[Line]]]]
) -> None:
    """Tamper with each journal in turn, with what its client has seen or the relay's *record* has let out."""
    for fault, (path, tamper) in faults.items():
        whole = path.read_text("utf-8")
        lines = [json.loads(line) for line in whole.splitlines()]
        what = "out" if path == record else "seen"
        others = [line for line in lines if line[0] != what]
        changed = others + tamper([line for line in lines if line[0] == what])
        path.write_text("".join(f"{json.dumps(line)}\n" for line in changed), "utf-8")
        with pytest.raises(AssertionError, match=fault):
            judge()
        path.write_text(whole, "utf-8")


def sealed_twice(lines: list[Line]) -> list[Line]:
    """Add another text under the key of the last message: one byte before the MAC differs."""
    *line, body = lines[-1]
    changed = bytearray.fromhex(body)
    changed[-9] ^= 1
    return [*lines, [*line[:3], "ff" * 16, line[4], changed.hex()]]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_two_thousand_messages_survive_a_hundred_kills(seed: int, tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, seed, count=1_000)
    exchange.run(kills=100)
    exchange.judge()
    assert min(role.lives for role in exchange.roles) > 20


@pytest.mark.slow
def test_with_two_devices_for_each_of_the_two_it_is_the_same(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, 4, count=200, devices=2)
    exchange.run(kills=40)
    exchange.judge()
