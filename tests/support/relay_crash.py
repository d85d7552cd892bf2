"""What a relay's store is asked for, in steps made from a seed, and what its clients know of it afterwards.

Each step is one unit of work with an outcome. Whoever asked has the outcome or does not know; who does not know asks
again, which is always allowed. At the end every reader must have had every envelope that was confirmed once and in
order, no one-time key may have been given under two requests, and every count must be true.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from store.relay import Device, Envelope, Outcome, Wanted
from tests.store.relay.world import LONG_LIVED, MESSAGE, envelope_id, one_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from store.relay import RelayUnit
    from tests.store.relay.world import World

PREKEYS: Final = 3  # of each kind and device, at first
STEPS: Final = 26

Told = tuple[object, ...]


@dataclass(slots=True)
class Step:
    """One unit of work."""

    what: str
    device: int  # that asks, reads or sends, by its place
    others: list[int] = field(default_factory=list)
    number: int = 0  # of the first envelope, of the request, or of the first key


class RelayScript:
    """Four devices of three users, and what they ask for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        dice = random.Random(f"relay script {seed}")
        self.devices: list[Device] = []
        self.steps: list[Step] = []
        for number in range(STEPS):
            device = dice.randrange(4)
            others = dice.sample(range(4), dice.randint(1, 3))
            what = dice.choice(["append", "append", "fan out", "read", "acknowledge", "hand out", "hand out", "upload"])
            self.steps.append(Step(what, device, others, (number + 1) * 100))
        repeated = [step for step in self.steps if step.what == "hand out"]
        self.steps += repeated  # under the same request ids
        for device in range(4):
            self.steps += [Step("read", device), Step("acknowledge", device), Step("read", device)]

    def prepare(self, world: World) -> None:
        """Register everybody."""
        names = (("alice", 1), ("bob", 1), ("bob", 2), ("carol", 1))
        self.devices = [world.device(*name, prekeys=PREKEYS) for name in names]

    def run(self, world: World, told: list[Told], tell: Callable[[Told], None]) -> None:
        """Do every step of which *told* does not have the outcome, and tell it. It may end at any call."""
        for step in self.steps[len(told) :]:
            with world.store.begin() as unit:
                outcome = self._do(unit, step, told)
            told.append(outcome)
            tell(outcome)

    def _do(self, unit: RelayUnit, step: Step, told: Sequence[Told]) -> Told:
        device = self.devices[step.device]
        others = [self.devices[other] for other in step.others]
        match step.what:
            case "append":
                ids = [envelope_id(step.number + place) for place in range(len(others))]
                envelopes = [
                    Envelope(device, other.key, one, MESSAGE, one) for other, one in zip(others, ids, strict=True)
                ]
                unit.devices.advance(device.key, submission_number=step.number)
                return tuple(unit.mailboxes.append(envelopes))
            case "fan out":
                one = envelope_id(step.number)
                keys = [other.key for other in others]
                return tuple(unit.mailboxes.fan_out(device, keys, envelope_id=one, kind=MESSAGE, body=one))
            case "read":
                after = max((number for number, _ in self.read(step.device, told)), default=0)
                found = unit.mailboxes.deliveries(device.key, after=after)
                return tuple((one.number, one.envelope_id) for one in found if one.content == one.envelope_id)
            case "acknowledge":
                number = max((number for number, _ in self.read(step.device, told)), default=0)
                unit.mailboxes.acknowledge({device.key: number})
                return (number,)
            case "hand out":
                bundles = unit.prekeys.hand_out(device, envelope_id(step.number), [Wanted(one) for one in others])
                return tuple(
                    (bundle.device.key, kind, None if key is None else key.key_id)
                    for bundle in bundles
                    for kind, key in (("ec", bundle.one_time_ec), ("kem", bundle.one_time_kem))
                )
            case _:
                unit.devices.advance(device.key, upload_number=step.number)
                return (unit.prekeys.upload(device.key, LONG_LIVED, one_time(2, first=step.number)),)

    def read(self, device: int, told: Sequence[Told]) -> list[tuple[int, bytes]]:
        """What a device has read so far: numbers and envelope ids."""
        return [
            one  # type: ignore[misc]
            for step, outcome in zip(self.steps, told, strict=False)
            if step.what == "read" and step.device == device
            for one in outcome
        ]

    def judge(self, world: World, told: Sequence[Told]) -> None:
        """Fail unless nothing was lost, doubled or handed out twice, and every count is true."""
        done = list(zip(self.steps, told, strict=True))
        for place, device in enumerate(self.devices):
            sent = [
                envelope_id(step.number + position * (step.what == "append"))
                for step, outcome in done
                if step.what in ("append", "fan out")
                for position, (other, stored) in enumerate(zip(step.others, outcome, strict=True))
                if other == place and stored in (Outcome.STORED, Outcome.DUPLICATE)
            ]
            assert self.read(place, told) == list(enumerate(sent, 1)), "lost, doubled or out of order"
            state = world.state(device)
            assert state.counters.delivery_number == len(sent)
            ours = [step for step in self.steps if step.device == place]
            numbers = [max((s.number for s in ours if s.what == what), default=0) for what in ("append", "upload")]
            assert [state.counters.submission_number, state.counters.upload_number] == numbers
        self._judge_keys(world, done)
        assert world.kept_counts() == world.real_counts()
        assert world.count("mail") == 0

    def _judge_keys(self, world: World, done: Sequence[tuple[Step, Told]]) -> None:
        answers: dict[int, Told] = {}
        for step, outcome in done:
            if step.what == "hand out":
                assert answers.setdefault(step.number, outcome) == outcome, "one request had two answers"
        handed = [key for answer in answers.values() for key in answer if key[2] is not None]  # type: ignore[index]
        assert len(set(handed)) == len(handed), "a one-time key was handed out twice"
        uploads = sum(step.what == "upload" for step, _ in done)
        assert world.count("handed_prekeys") == len(handed)
        assert world.count("one_time_prekeys") == 2 * (4 * PREKEYS + 2 * uploads) - len(handed), "keys were lost"
