"""Nothing lost in groups: relay and members are killed again and again while they write, and one comes and goes.

Real relay, real clients, real sockets on a fixed port, real SQLite files; SIGKILL at moments counted in progress. In
the end each application of a member that stays has seen each message of every other, once by its id and in order; who
comes and goes has seen none that was written by somebody who knew that it was away; no message key was used twice.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from e2ee.frames import EnvelopeKind
from e2ee.relay import RelayOptions
from store import ClientStore
from tests.support.group_role import TOGETHER, MemberSettings
from tests.support.key_use import keys_used_twice
from tests.support.processes import MemberProcess, RelayProcess, free_port, wait_for_news
from tests.support.roles import RelaySettings

from .test_nothing_lost import find_faults, judge_repetitions, judge_seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Line = list[Any]  # of a journal

STAYING: Final = ("alice", "bob", "carol")
RESTLESS: Final = "dave"
SIGNATURE_SIZE: Final = 64  # bytes at the end of a message to a group
OPTIONS: Final = RelayOptions(group_joins_per_minute=1_000)


class GroupExchange:
    """The relay, three members that stay and send *count* messages each, and one that comes and goes *visits* times."""

    def __init__(self, folder: Path, seed: int, *, count: int, visits: int) -> None:
        self.dice = random.Random(f"groups {seed}")
        port = free_port()
        self.relay = RelayProcess(RelaySettings(folder, port, OPTIONS))
        last_word = f"{RESTLESS} {visits * TOGETHER}"
        self.staying = [
            MemberProcess(MemberSettings(folder, port, name, STAYING, count, last_word, founder=name == STAYING[0]))
            for name in STAYING
        ]
        self.restless = MemberProcess(
            MemberSettings(folder, port, RESTLESS, STAYING, visits * TOGETHER, last_word, restless=True)
        )
        self.members = [*self.staying, self.restless]
        self.roles: list[RelayProcess | MemberProcess] = [self.relay, *self.members]
        self.seen: dict[str, set[str]] = {one.settings.name: set() for one in self.members}  # texts
        self.done: set[str] = set()
        self.founded = False
        self.kills = 0

    @property
    def expected(self) -> dict[str, set[str]]:
        """What each member that stays has to see."""
        texts = {
            one.settings.name: {f"{one.settings.name} {number}" for number in range(1, one.settings.count + 1)}
            for one in self.members
        }
        return {name: set().union(*(own for other, own in texts.items() if other != name)) for name in STAYING}

    @property
    def progress(self) -> int:
        """How many messages were seen by those that stay."""
        return sum(len(self.seen[name]) for name in STAYING)

    def run(self, kills: int) -> None:
        """Let everybody send everything, killing one or two of the processes *kills* times."""
        try:
            for role in self.roles:
                role.start()
            self._found()
            end = sum(len(texts) for texts in self.expected.values())
            moments = sorted(self.dice.sample(range(end), kills))
            while not self._is_complete():
                self._listen()
                if self.kills < kills and self.progress >= moments[self.kills]:
                    self._kill()
            for member in self.members:
                member.stop()
            self.relay.stop()
        finally:
            for role in self.roles:
                if role.running:
                    role.kill()

    def _found(self) -> None:
        """Let the group be made before anybody joins it."""
        self.staying[0].tell("go")
        while not self.founded:
            self._listen()
        for member in self.members[1:]:
            member.tell("go")

    def _listen(self) -> None:
        for role in wait_for_news(self.roles):
            what, *values = role.news()
            if isinstance(role, MemberProcess):
                self._count(role.settings.name, what, values)

    def _count(self, name: str, what: str, values: list[Any]) -> None:
        assert what != "trouble", f"{name}: {values}"
        match what:
            case "seen":
                self.seen[name].add(values[2])
            case "done":
                self.done.add(name)
            case "own":
                self.founded |= values[0] == "GroupCreated"

    def _is_complete(self) -> bool:
        everybody = {one.settings.name for one in self.members}
        return self.done == everybody and all(texts <= self.seen[name] for name, texts in self.expected.items())

    def _kill(self) -> None:
        for victim in self.dice.sample(self.roles, self.dice.choice([1, 1, 2])):
            victim.kill()
            if isinstance(victim, MemberProcess):
                self.done.discard(victim.settings.name)  # it looks again whether it has done everything
                for what, *values in victim.journal():  # what it had noted and could not tell any more
                    self._count(victim.settings.name, what, values)
                self.done.discard(victim.settings.name)
            victim.start()
            if isinstance(victim, MemberProcess):
                victim.tell("go")
        self.kills += 1

    # What must be so in the end.

    def judge(self) -> None:
        """Fail unless nothing was lost, doubled, out of order, shown to who was away, or sealed twice with a key."""
        sent = {one.settings.name: ids_sent(one) for one in self.members}
        for one in self.staying:
            for other in self.members:
                if other is not one:
                    name, count = other.settings.name, other.settings.count
                    judge_seen(name, _seen(one, name), sent[name], count)
        for one in self.staying:
            lines = _seen(self.restless, one.settings.name)
            judge_repetitions(lines, life=7, again=6)
            first = list({line[1]: line for line in reversed(lines)}.values())[::-1]
            in_order = [line[4] for line in first if not line[5]]
            assert in_order == sorted(set(in_order)), "out of order"
            hidden = written_while_away(one.journal(), RESTLESS)
            assert len(hidden) >= TOGETHER
            assert not hidden & {line[1] for line in lines}, "shown to who was away"
        for one in self.members:
            with ClientStore.open(one.settings.store) as store:
                assert store.check() == ()
        self._judge_record()

    def _judge_record(self) -> None:
        record = self.relay.record()
        bodies: dict[tuple[Any, ...], str] = {}
        for direction, sender, recipient, envelope_id, _, body in record:
            to = direction if direction == "in" else tuple(recipient)  # a group's message comes in once for all
            key = (tuple(sender), to, tuple(recipient), envelope_id)
            assert bodies.setdefault(key, body) == body, "an envelope was made again instead of being sent again"
        overheard = [
            (tuple(sender), tuple(recipient), EnvelopeKind(kind), bytes.fromhex(body))
            for _, sender, recipient, _, kind, body in record
        ]
        assert keys_used_twice(overheard) == [], "a key has sealed twice"
        assert sum(kind == EnvelopeKind.SENDER_KEY for _, _, kind, _ in overheard) > self.progress


def ids_sent(member: MemberProcess) -> dict[str, int]:
    """The ids of the messages that `send_group` had returned from, with their numbers."""
    return {line[2]: line[1] for line in member.journal() if line[0] == "queued"}


def _seen(member: MemberProcess, sender: str) -> list[Line]:
    return [line for line in member.journal() if line[0] == "seen" and line[2] == sender]


def written_while_away(lines: list[Line], user: str) -> set[str]:
    """The ids of the messages that a member began to write after it knew that *user* was gone, and before it was back.

    One that was queued while it was away and went out when it was back is not among them.
    """
    away = begun_away = False
    hidden: set[str] = set()
    waiting: set[str] = set()  # of these, not known to be stored
    for line in lines:
        match line:
            case ["went", whom] if whom == user:  # perhaps told again
                away = True
            case ["came", whom] if whom == user:
                away = False
                hidden -= waiting
                waiting.clear()
            case ["intended", _]:
                begun_away = away
            case ["queued", _, message_id] if away and begun_away:
                hidden.add(message_id)
                waiting.add(message_id)
            case ["stored", message_id]:
                waiting.discard(message_id)
    return hidden


def test_a_group_survives_five_kills_while_one_comes_and_goes(tmp_path: Path) -> None:
    exchange = GroupExchange(tmp_path, 1, count=12, visits=3)
    exchange.run(kills=5)
    exchange.judge()
    assert exchange.kills == 5


def test_the_same_judgement_finds_what_is_lost_doubled_sealed_twice_or_read_by_who_was_away(
    tmp_path: Path,
) -> None:
    exchange = GroupExchange(tmp_path, 4, count=6, visits=1)
    exchange.run(kills=1)
    exchange.judge()
    bob, dave = exchange.staying[1].settings.journal, exchange.restless.settings.journal
    record = exchange.relay.settings.record
    secret = next(iter(written_while_away(exchange.staying[0].journal(), RESTLESS)))
    faults: dict[str, tuple[Path, Callable[[list[Line]], list[Line]]]] = {
        "lost": (bob, lambda lines: lines[:-1]),
        "shown twice": (bob, lambda lines: [*lines, lines[-1]]),
        "shown to who was away": (dave, lambda lines: [*lines, ["seen", secret, "alice", "alice 9", 99, False, 0, 99]]),
        "made again": (record, lambda lines: [*lines, [*lines[-1][:-1], lines[-1][-1] + "00"]]),
        "has sealed twice": (record, sealed_twice),
    }
    find_faults(exchange.judge, record, faults)


def sealed_twice(lines: list[Line]) -> list[Line]:
    """Add another text under the key of the last message to the group: one byte before its signature differs."""
    *line, body = next(line for line in reversed(lines) if line[4] == EnvelopeKind.SENDER_KEY)
    changed = bytearray.fromhex(body)
    changed[-SIGNATURE_SIZE - 1] ^= 1
    return [*lines, [*line[:3], "ff" * 16, line[4], changed.hex()]]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_a_group_survives_sixty_kills_while_one_comes_and_goes(seed: int, tmp_path: Path) -> None:
    exchange = GroupExchange(tmp_path, seed, count=200, visits=20)
    exchange.run(kills=60)
    exchange.judge()
    assert min(role.lives for role in exchange.roles) > 8
