"""A client's link and engine, on a real store, with a relay that says whatever it likes in whatever order.

An input is a story: each of its bytes decides what happens next (`Choices`). The relay has everything that an honest
one has seen (mail, bundles, logs), and alters, repeats, withholds and invents; it has no private keys.
"""

from __future__ import annotations

import copy
import shutil
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from e2ee.engine import Engine
from e2ee.engine.groups.state import membership
from e2ee.errors import ClientEnded, GroupError
from e2ee.events import DirectMessage, GroupMessage
from e2ee.frames import (
    Bundles,
    Challenge,
    Closing,
    Deliver,
    Drained,
    EnvelopeKind,
    GetBundles,
    Login,
    LowPreKeys,
    Submit,
    SubmitGroup,
    UserBundles,
    Welcome,
)
from e2ee.groups import GroupKind, Operation, Role
from e2ee.link import Challenged, Link, LinkDown, LinkUp, Pushed, Replied
from e2ee.wire import decode_client_frame, encode_frame
from store import ClientStore, Full
from tests.support.engines import FEW_PREKEYS, START
from tests.support.key_use import keys_used_twice

from .client_world import ALICE, STRANGER, template
from .frame_seeds import FROM_RELAY
from .mutation import EDIT_KINDS, edited
from .target import Choices, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.engine import Output
    from e2ee.frames import ClientFrame, RelayFrame
    from e2ee.link import LinkEvent

__all__ = ["TARGET"]

ACTIONS_MAX: Final = 48  # of one story
TURNS_MAX: Final = 200  # until a client has nothing more to say of its own accord
FULL_OR_REFUSED: Final = (Full, GroupError)  # what the application is told of its own calls


class _Story:
    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.template = made = template()
        immutable = {id(group.state): group.state for group in made.office.groups.stored.values()}
        self.office = copy.deepcopy(made.office, immutable)
        self.now = START + 100.0
        for old in made.folder.glob("story.db*"):
            old.unlink()
        self.known = choices.below(8) > 0  # else a store that is new
        if self.known:
            shutil.copyfile(made.folder / "template.db", made.folder / "story.db")
        self.store = ClientStore.open(f"sqlite:///{made.folder}/story.db", clock=lambda: self.now)
        self.engine = Engine.open(self.store, *ALICE, relay="127.0.0.1:1", options=FEW_PREKEYS)
        self.link = Link(now=self.now)
        self.asked: deque[ClientFrame] = deque()
        self.sealed: list[tuple[str, str, EnvelopeKind, bytes]] = []
        self.over = False
        self.actions: tuple[Callable[[], None], ...] = (
            self.goes_on, self.goes_on, self.answers, self.answers, self.answers_with_edits, self.answers_at_random,
            self.delivers, self.delivers_with_edits, self.pushes, self.shows_other_keys, self.invents, self.says_bytes,
            self.time_passes, self.application, self.drains, self.ends,
        )  # fmt: skip

    def run(self) -> None:
        for _ in range(ACTIONS_MAX):
            if not self.choices.more or self.over:
                break
            self.actions[self.choices.below(len(self.actions))]()
        self.must_hold()

    # What must hold.

    def must_hold(self) -> None:
        assert self.store.check() == (), "the store is damaged"
        with self.store.begin() as unit:
            assert unit.quarantine.count() == 0, unit.quarantine.all()[0].cause
            if self.known:
                for user in ("bob", "carol"):
                    record = unit.identities.current(user)
                    assert record is not None
                    assert record.identity_key == self.template.keys[user], "another key is on record"
        assert keys_used_twice(self.sealed) == [], "a message key was used twice"
        if self.known:
            state, _output = self.engine.do(lambda step: membership(step, bytes.fromhex(self.template.group)))
            # Nobody is in the group but whom Alice herself has let in.
            assert state is None or state.members.keys() <= self.template.keys.keys() - {STRANGER}

    def committed(self, number: int) -> None:
        with self.store.begin() as unit:
            assert number <= unit.counters.delivery_number, "acknowledged what is not committed"

    # The client, as its shell runs it.

    def turn(self) -> None:
        for _ in range(TURNS_MAX):
            events, data = self.link.take_events(), self.link.take_data()
            for event in events:
                self.happens(event)
            for one in data:
                self.hears(decode_client_frame(one))
            if self.over or not (events or data):
                return
        raise AssertionError("the client does not come to rest")

    def happens(self, event: LinkEvent) -> None:
        match event:
            case Challenged(challenge=challenge):
                self.link.login(self.engine.login(challenge), self.now)
            case LinkUp(welcome=welcome):
                self.step(lambda: self.engine.connected(welcome))
            case Pushed(frame=Deliver() | Drained() | LowPreKeys() as frame):
                self.step(lambda: self.engine.push(frame))
            case Replied(request=request, reply=reply):
                self.step(lambda: self.engine.reply(request, reply))
            case LinkDown():
                self.step(self.engine.disconnected)
                self.link = Link(now=self.now)
                self.asked.clear()
            case _:
                pass  # channels and raw messages go to the application as they are

    def step(self, do: Callable[[], Output]) -> None:
        try:
            output = do()
        except ClientEnded:
            self.over = True
            return
        if output.acknowledge is not None:
            self.committed(output.acknowledge)
            self.link.acknowledge(output.acknowledge, self.now)
        for request in output.requests:
            self.link.request(request, self.now)

    def hears(self, frame: ClientFrame | object) -> None:
        match frame:
            case Submit(user_id=user, submissions=submissions):
                self.sealed += [
                    ("alice", f"{user}/{one.device_id}", one.kind, one.body)
                    for submission in submissions
                    for one in submission.envelopes
                ]
                self.asked.append(frame)
            case SubmitGroup(group_id=group, messages=messages):
                self.sealed += [("alice", group.hex(), EnvelopeKind.SENDER_KEY, one.body) for one in messages]
                self.asked.append(frame)
            case Login():
                pass
            case _ if hasattr(frame, "request"):
                self.asked.append(frame)  # type: ignore[arg-type]

    # The relay.

    def says(self, *frames: RelayFrame) -> None:
        for frame in frames:
            self.says_raw(encode_frame(frame))

    def says_raw(self, data: bytes) -> None:
        if not self.over:
            self.link.receive(data, self.now)
            self.turn()

    def goes_on(self) -> None:
        """Take up a connection, as an honest relay does."""
        box = self.office.boxes[ALICE]
        box.pushed, box.drained = 0, False
        numbers = (box.counters.submission, box.counters.delivery, box.counters.upload)
        if not self.known:
            numbers = (0, 0, 0)
        self.says(Challenge((1,), bytes(32), ()), Welcome(1, *numbers, 3, 3, 1))

    def reply(self) -> RelayFrame | None:
        """What an honest relay says to what was asked first."""
        if not self.asked:
            return None
        frame = self.asked.popleft()
        reply = self.office.handle(ALICE, frame)
        return None if reply is None else _numbered(reply, frame)

    def answers(self) -> None:
        reply = self.reply()
        if reply is not None:
            self.says(reply)

    def answers_with_edits(self) -> None:
        reply = self.reply()
        if reply is not None:
            self.says_raw(self.edited(encode_frame(reply)))

    def answers_at_random(self) -> None:
        """Any frame of a relay, under the number of what was asked first."""
        frame = self.choices.of(FROM_RELAY)
        self.says(_numbered(frame, self.asked.popleft()) if self.asked else frame)

    def pushes(self) -> None:
        frame = self.office.push(ALICE)
        if frame is not None:
            self.says(frame)

    def delivers(self) -> None:
        mail = [self.choices.of(self.template.mail) for _ in range(1 + self.choices.below(4))]
        self.says(Deliver(tuple(mail)))

    def delivers_with_edits(self) -> None:
        one = self.choices.of(self.template.mail)
        match self.choices.below(6):
            case 0:
                one = one._replace(number=self.choices.of((0, 1, one.number + 7, 2**63 - 1)))
            case 1:
                one = one._replace(sender_user_id=self.choices.of(("alice", "bob", "carol", STRANGER, "nobody")))
            case 2:
                one = one._replace(sender_device_id=1 + self.choices.below(127))
            case 3:
                one = one._replace(kind=self.choices.of(tuple(EnvelopeKind)))
            case 4:
                one = one._replace(envelope_id=bytes([self.choices.byte()]) * 16)
            case _:
                one = one._replace(body=self.edited(one.body) or b"x")
        if self.choices.below(2):
            one = one._replace(envelope_id=bytes([self.choices.byte()]) * 16)
        self.says(Deliver((one,)))

    def shows_other_keys(self) -> None:
        """Answer with a stranger's bundles, which verify, in the place of whom they were asked of."""
        if not self.asked or not isinstance(self.asked[0], GetBundles):
            return self.answers()
        asked = self.asked.popleft()
        assert isinstance(asked, GetBundles)
        self.asked.appendleft(replace(asked, wanted=tuple(replace(one, user_id=STRANGER) for one in asked.wanted)))
        reply = self.reply()
        assert isinstance(reply, Bundles)
        keys = (self.template.keys[STRANGER], self.template.keys["bob"])
        return self.says(
            Bundles(
                asked.request,
                tuple(
                    UserBundles(wanted.user_id, self.choices.of(keys), found.bundles)
                    for wanted, found in zip(asked.wanted, reply.users, strict=True)
                ),
            )
        )

    def invents(self) -> None:
        self.says_raw(self.edited(encode_frame(self.choices.of(FROM_RELAY))))

    def says_bytes(self) -> None:
        self.says_raw(self.choices.octets())

    def drains(self) -> None:
        self.says(Drained(self.choices.byte()))

    def ends(self) -> None:
        self.says(Closing(self.choices.byte() or 1, "", None))

    def edited(self, data: bytes) -> bytes:
        where = self.choices.byte() << 8 | self.choices.byte()
        return edited(data, [(self.choices.below(EDIT_KINDS), where, self.choices.octets())])

    # Time and the application.

    def time_passes(self) -> None:
        self.now += self.choices.of((0.1, 2.0, 61.0, 700.0, 90_000.0))
        self.link.tick(self.now)
        self.turn()
        if not self.over:
            self.step(lambda: self.engine.tick(self.now))
            self.turn()

    def application(self) -> None:
        try:
            match self.choices.below(6):
                case 0:
                    _id, output = self.engine.send(self.choices.of(("bob", "carol", STRANGER, "alice")), "hi")
                case 1:
                    _id, output = self.engine.send_group(self.template.group, "hi all")
                case 2:
                    output = self.engine.finish()
                case 3:
                    output = self.wants_of_groups()
                case _:
                    output = self.reads()
        except FULL_OR_REFUSED:
            return
        self.step(lambda: output)
        self.turn()

    def wants_of_groups(self) -> Output:
        groups = self.engine.groups
        match self.choices.below(4):
            case 0:
                return groups.create(self.choices.of(("new", "team")), self.choices.of(tuple(GroupKind)))[1]
            case 1:
                return groups.join(self.choices.of(("new", "team", self.template.group)))[1]
            case _:
                operation = self.choices.of((Operation.LEAVE, Operation.REMOVE, Operation.INVITE, Operation.CLOSE))
                user = self.choices.of(("carol", STRANGER))
                named = user if operation in (Operation.REMOVE, Operation.INVITE) else None
                return groups.act(self.template.group, operation, user=named, role=Role.MEMBER)[1]

    def reads(self) -> Output:
        events = self.engine.next_events(8)
        read = [event for event in events if isinstance(event, DirectMessage | GroupMessage)]
        output = self.engine.mark_read(read)
        for event in events:
            self.step(lambda event=event: self.engine.acknowledge_event(event))  # type: ignore[misc]
        return output


def _numbered(frame: RelayFrame, request: ClientFrame) -> RelayFrame:
    """A reply under the number of *request*; a frame that is no reply as it is."""
    number = getattr(request, "request", None)
    numbered: RelayFrame = replace(frame, request=number) if hasattr(frame, "request") else frame  # type: ignore[arg-type]
    return numbered


def _run(data: bytes) -> None:
    story = _Story(Choices(data))
    try:
        story.run()
    finally:
        story.engine.close()


def _seeds() -> list[bytes]:
    """Honest beginnings, then every action in turn."""
    begun = bytes([1, 0, 2, 2, 2, 2, 8, 2, 2])
    return [begun, *(begun + bytes([action, 1, 2, action, 3, 4, 2, 2, 2, action, 5, 5]) for action in range(16))]


TARGET: Final = Target("client", _run, _seeds, examples=15)
