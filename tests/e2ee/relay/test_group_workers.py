"""Groups at several workers on one PostgreSQL schema: entries and messages that meet, and rules on that database."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Final

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import AppendEntry, EnvelopeKind, GroupLog, GroupSubmitted
from e2ee.groups import GroupKind, Operation, take_entry
from store.relay import RelayStore
from tests.support import postgres
from tests.support.relay_device import Device
from tests.support.relay_group import Group, append, genesis, read
from tests.support.relay_talk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.relay_talk import Line

pytestmark = pytest.mark.slow  # starts a server

SCHEMA_NUMBERS: Final = itertools.count(1)
ROUNDS: Final = 20


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture
def desks(server: str) -> Iterator[tuple[Desk, Desk]]:
    """Two workers of one relay."""
    url = f"{server}&schema=groups_{next(SCHEMA_NUMBERS)}"
    with RelayStore.open(url) as one, RelayStore.open(url) as other:
        yield Desk(store=one), Desk(store=other)


def waiting(line: Line) -> list[tuple[EnvelopeKind, bytes]]:
    """All mail of a device, in the order of its numbers."""
    session = line.connection.session
    assert session is not None
    found: list[tuple[EnvelopeKind, bytes]] = []
    last = 0
    while True:
        with line.desk.store.begin() as unit:
            mail = unit.mailboxes.deliveries(session.device.key, after=last)
        if not mail:
            return found
        found += [(EnvelopeKind(one.kind), one.content) for one in mail]
        last = mail[-1].number


def test_a_group_lives_at_two_workers_as_at_one(desks: tuple[Desk, Desk]) -> None:
    here, there = desks
    alice, bob, carol = here.join(Device("alice")), there.join(Device("bob")), there.join(Device("carol"))
    group = Group(alice, "Überblick \U0001f511")
    group.bring_in(alice, bob, carol)
    assert group.send(bob, b"one").accepted == group.send(alice, b"two").accepted == 1
    group.do(alice, Operation.PROMOTE, bob.device)
    group.do(bob, Operation.REMOVE, carol.device)
    assert group.send(alice, b"three").accepted == 1
    assert [body for kind, body in waiting(alice) if kind is EnvelopeKind.GROUP_ENTRY] == group.log
    assert [body[32:] for kind, body in waiting(bob) if kind is EnvelopeKind.SENDER_KEY] == [b"two", b"three"]
    assert waiting(carol)[-1] == (EnvelopeKind.GROUP_ENTRY, group.log[-1])
    assert list(read(carol, group.id).entries) == group.log
    group.do(bob, Operation.DELETE)
    assert list(read(alice, group.id).entries) == group.log
    assert append(carol, genesis(carol.device, "Überblick \U0001f511")).refusal is None


def test_a_name_that_the_database_cannot_hold_costs_no_connection(desks: tuple[Desk, Desk]) -> None:
    alice = desks[0].join(Device("alice"))
    assert append(alice, genesis(alice.device, "te\x00am")).refusal == RefusalCode.NOT_AUTHENTIC
    assert alice.closed is None


def test_of_two_entries_at_once_one_is_stored_and_the_other_gets_it(desks: tuple[Desk, Desk]) -> None:
    here, there = desks
    alice, bob = here.join(Device("alice")), there.join(Device("bob"))
    guests = [Device(f"guest{number}") for number in range(2)]
    group = Group(alice)
    group.bring_in(alice, bob)
    group.do(alice, Operation.PROMOTE, bob.device)
    barrier = Barrier(2)

    def send(line: Line, data: bytes) -> GroupLog:
        barrier.wait()
        return append(line, data)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            entries = [
                group.entry(line.device, Operation.INVITE, guest)
                for line, guest in zip((alice, bob), guests, strict=True)
            ]
            answers = list(pool.map(send, (alice, bob), entries))
            (won,) = [data for data, answer in zip(entries, answers, strict=True) if answer.refusal is None]
            (lost,) = [answer for answer in answers if answer.refusal is not None]
            assert (lost.refusal, lost.entries) == (RefusalCode.GROUP_CHANGED, (won,))
            group.take(won)
    assert [body for _, body in waiting(alice)] == group.log
    assert [body for _, body in waiting(bob)] == group.log[1:]


def test_no_message_of_an_epoch_stands_behind_the_entry_that_ended_it(desks: tuple[Desk, Desk]) -> None:
    here, there = desks
    alice, bob, carol = here.join(Device("alice")), there.join(Device("bob")), here.join(Device("carol"))
    group = Group(alice, kind=GroupKind.OPEN)
    group.do(bob, Operation.JOIN)
    barrier = Barrier(2)

    def change() -> None:
        barrier.wait()
        group_of_carol = Operation.LEAVE if carol.device.user_id in group.state.members else Operation.JOIN
        group.do(carol, group_of_carol)

    def send(epoch: int) -> GroupSubmitted:
        barrier.wait()
        frame = group.frame(bob, *[epoch.to_bytes(4, "big")] * 3, epoch=epoch)
        return bob.send(frame).one(GroupSubmitted)

    refused = 0
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            changed = pool.submit(change)
            answer = send(group.state.epoch)
            changed.result()
            refused += answer.refusal == RefusalCode.GROUP_CHANGED
            assert answer.accepted == (3 if answer.refusal is None else 0)
    epoch = 0
    messages = 0
    for kind, body in waiting(alice):
        if kind is EnvelopeKind.GROUP_ENTRY:
            epoch = take_entry(body).epoch
        else:
            messages += 1
            assert int.from_bytes(body[32:], "big") == epoch
    assert messages == 3 * (ROUNDS - refused)


def test_an_entry_that_comes_again_at_another_worker_is_accepted_again(desks: tuple[Desk, Desk]) -> None:
    here, there = desks
    device = Device("alice")
    alice = here.join(device)
    group = Group(alice)
    frames = [AppendEntry(0, device.next_request(), group.log[0]) for _ in range(2)]
    again = there.log_in(device).send(*frames)
    assert [one.refusal for one in again.take(GroupLog)] == [None, None]
    assert [body for _, body in waiting(again)] == group.log
