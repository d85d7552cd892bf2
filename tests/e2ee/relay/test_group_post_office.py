"""The relay in memory that engines are tested with answers and delivers as the real one does, whatever is asked."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import AppendEntry, GetGroupDevices, GetGroupLog, GroupDevices, GroupLog, GroupSubmitted, SubmitGroup
from e2ee.groups import EntryRefused, GroupKind, Membership, Operation, Role, sign_entry, take_entry
from e2ee.ids import UserId
from tests.support.post_office import PostOffice
from tests.support.relay_device import Device
from tests.support.relay_group import Group, genesis
from tests.support.relay_talk import Desk

if TYPE_CHECKING:
    from tests.support.relay_talk import Line

    Request = AppendEntry | GetGroupLog | GetGroupDevices | SubmitGroup

STEPS, SEEDS = 60, 12


class Both:
    """One story, told to both relays."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.desk, self.office = Desk(), PostOffice()
        devices = [Device(name) for name in ("alice", "bob", "carol")]
        devices.append(Device("alice", 2, of=devices[0]))
        self.others = [Device("bob"), Device("dave")]  # one under another key, and one who never logs in
        self.lines = [self.desk.join(device) for device in devices]
        for device in devices:
            challenge = self.office.challenge()
            name, _ = self.office.login(device.login(challenge.nonce), challenge)
            self.office.handle(name, device.upload())
        kind = self.dice.choice(list(GroupKind))
        self.group = Group(self.lines[0], kind=kind)
        self.office.handle(("alice", 1), AppendEntry(0, 0, self.group.log[0]))
        self.refusals: set[int] = set()

    def ask(self, line: Line, frame: Request) -> None:
        """Put one request to both, and take what follows from the answer."""
        kind = {AppendEntry: GroupLog, GetGroupLog: GroupLog, GetGroupDevices: GroupDevices}.get(
            type(frame), GroupSubmitted
        )
        real: GroupLog | GroupDevices | GroupSubmitted = line.send(frame).one(kind)
        name = (line.device.user_id, line.device.device_id)
        assert self.office.handle(name, frame) == replace(real, request=0)
        if real.refusal is not None:
            self.refusals.add(real.refusal)
        elif isinstance(frame, AppendEntry):
            entry = take_entry(frame.entry)
            if entry.group_id == self.group.id and entry.number == self.group.state.number + 1:
                self.group.take(frame.entry)

    def step(self) -> None:
        line = self.dice.choice(self.lines)
        number = line.device.next_request()
        state = self.group.state
        match self.dice.randrange(6):
            case 0:
                start = self.dice.randrange(state.number + 2)
                by_name = self.dice.random() < 0.3
                self.ask(line, GetGroupLog(0, number, None if by_name else self.group.id, "team", start))
            case 1:
                self.ask(line, GetGroupDevices(0, number, self.group.id))
            case 2:
                members = self.group.devices(self.lines[0]).members if self.dice.random() < 0.5 else None
                epoch = max(0, state.epoch - self.dice.randrange(2))
                frame = self.group.frame(line, b"one", b"two", members=members, epoch=epoch)
                behind = replace(frame, log_number=self.dice.randrange(state.number + 2))
                self.ask(line, self.dice.choice((frame, frame, behind)))
            case _:
                actors = [*(one.device for one in self.lines), *self.others]
                actor = self.dice.choice(actors) if self.dice.random() < 0.3 else line.device  # the relay asks not who
                self.ask(line, AppendEntry(0, number, self.entry(actor)))

    def entry(self, actor: Device) -> bytes:
        """An entry that may follow, or one that may not, or one that is there already."""
        if self.dice.random() < 0.1:
            return self.dice.choice([*self.group.log, genesis(actor)])
        weighted = [*Operation, Operation.JOIN, Operation.INVITE, Operation.ACCEPT, Operation.ACCEPT]
        operation = self.dice.choice([one for one in weighted if one is not Operation.CREATE])
        if operation is Operation.DELETE and self.dice.random() < 0.9:
            operation = Operation.ACCEPT
        own = operation in (Operation.JOIN, Operation.ACCEPT, Operation.CLOSE, Operation.DELETE)
        subject = actor if own else self.dice.choice(self.lines).device
        try:
            return self.group.entry(actor, operation, subject, self.dice.choice(list(Role)))
        except EntryRefused:
            return forged(self.group.state, actor, operation, subject, self.dice)


def forged(state: Membership, actor: Device, operation: Operation, subject: Device, dice: Random) -> bytes:
    return sign_entry(
        actor.account.identity,
        group_id=state.group_id,
        number=max(1, state.number + dice.choice((0, 1, 1, 1, 2))),
        previous_hash=state.hash,
        epoch=state.epoch + dice.randrange(2),
        time_ms=0,
        operation=operation,
        actor=UserId(actor.user_id),
        subject=UserId(subject.user_id),
        subject_key=subject.account.identity_key,
        entropy=dice.randbytes,
    )


@cache
def told(seed: int) -> Both:
    """A story to its end; every answer was compared on the way."""
    both = Both(seed)
    for _ in range(STEPS):
        both.desk.now += 10
        both.step()
    return both


@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_relays_tell_one_story(seed: int) -> None:
    both = told(seed)
    for line in both.lines:
        device = line.device
        real = [(one.number, one.sender_user_id, one.kind, one.body) for one in line.mail()]
        box = both.office.boxes[device.user_id, device.device_id]
        assert [(one.number, one.sender_user_id, one.kind, one.body) for one in box.mail] == real


def test_the_stories_meet_every_refusal_that_groups_have() -> None:
    met = set().union(*(told(seed).refusals for seed in range(SEEDS)))
    assert met >= {
        RefusalCode.UNKNOWN_GROUP,
        RefusalCode.GROUP_CHANGED,
        RefusalCode.DEVICES_CHANGED,
        RefusalCode.ENTRY_REFUSED,
        RefusalCode.NOT_AUTHENTIC,
        RefusalCode.GROUP_NAME_TAKEN,
    }
