"""A sender and the members of a group against a model: which chains each member has, from where, and what it opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ratchet import MalformedMessage, MessageKeyGone, NotAuthentic, OwnSenderKey, PeerSenderKey, UnknownSenderKey
from ratchet.limits import SENDER_KEY_STATES_MAX
from tests.support.conversation import refused, seeded

GROUP, OTHER_GROUP = UUID(int=7), UUID(int=8)


@dataclass
class Chain:
    """A chain as a member has it."""

    number: int  # among the sender's
    start: int  # the first iteration that it can read
    opened: set[int] = field(default_factory=set)


@dataclass
class Member:
    """A member: the real thing, and the model of it."""

    key: PeerSenderKey | None = None
    chains: list[Chain] = field(default_factory=list)  # the newest first


@dataclass(frozen=True)
class Made:
    """A message or a distribution message: what it is of, and its bytes."""

    chain: int
    iteration: int
    data: bytes
    plaintext: bytes = b""


members = st.integers(0, 2)


class SenderKeys(RuleBasedStateMachine):
    """One sender, three members, and a carrier that keeps no order."""

    messages = Bundle("messages")
    distributions = Bundle("distributions")

    def __init__(self) -> None:
        super().__init__()
        self.entropy = seeded("sender key machine")
        self.own = OwnSenderKey.create(GROUP, entropy=self.entropy)
        self.chain, self.iteration = 0, 0
        self.members = [Member() for _ in range(3)]

    @rule()
    def begins_a_chain(self) -> None:
        self.own = OwnSenderKey.create(GROUP, entropy=self.entropy)
        self.chain, self.iteration = self.chain + 1, 0

    @rule(target=distributions)
    def distributes(self) -> Made:
        return Made(self.chain, self.iteration, self.own.distribution_message())

    @rule(target=messages)
    def sends(self) -> Made:
        plaintext = b"%d of %d" % (self.iteration, self.chain)
        self.iteration += 1
        return Made(self.chain, self.iteration - 1, self.own.encrypt(plaintext, entropy=self.entropy), plaintext)

    @rule(who=members, distribution=distributions)
    def learns_a_chain(self, who: int, distribution: Made) -> None:
        member = self.members[who]
        if member.key is None:
            member.key = PeerSenderKey.from_distribution_message(distribution.data)
        else:
            member.key.add_distribution_message(distribution.data)
        known = [one for one in member.chains if one.number == distribution.chain]
        front = known or [Chain(distribution.chain, distribution.iteration)]
        member.chains = [*front, *(one for one in member.chains if one not in known)][:SENDER_KEY_STATES_MAX]

    @rule(who=members, message=messages)
    def receives(self, who: int, message: Made) -> None:
        member = self.members[who]
        if member.key is None:
            return
        chain = next((one for one in member.chains if one.number == message.chain), None)
        if chain is None:
            with refused(UnknownSenderKey, member.key):
                member.key.decrypt(message.data)
        elif message.iteration < chain.start or message.iteration in chain.opened:
            with refused(MessageKeyGone, member.key):
                member.key.decrypt(message.data)
        else:
            assert member.key.decrypt(message.data) == message.plaintext
            chain.opened.add(message.iteration)

    @rule(message=consumes(messages))
    def loses(self, message: Made) -> None:
        """Nobody will ever see it."""

    @rule(who=members, message=messages, bit=st.integers(0, 8 * 64 - 8))
    def receives_a_forgery(self, who: int, message: Made, bit: int) -> None:
        """The signature stands last; whatever is changed in it, the chain is told first."""
        member = self.members[who]
        if member.key is None:
            return
        forged = bytearray(message.data)
        forged[-64 + bit // 8] ^= 1 << bit % 8
        known = any(one.number == message.chain for one in member.chains)
        with refused(NotAuthentic if known else UnknownSenderKey, member.key):
            member.key.decrypt(bytes(forged))

    @rule(who=members)
    def receives_of_another_group(self, who: int) -> None:
        member = self.members[who]
        if member.key is None:
            return
        other = OwnSenderKey.create(OTHER_GROUP, entropy=self.entropy)
        with refused(MalformedMessage, member.key):
            member.key.add_distribution_message(other.distribution_message())
        with refused(UnknownSenderKey, member.key):
            member.key.decrypt(other.encrypt(b"", entropy=self.entropy))

    @rule()
    def all_are_stored_and_loaded(self) -> None:
        self.own = OwnSenderKey.from_bytes(self.own.to_bytes())
        for member in self.members:
            if member.key is not None:
                member.key = PeerSenderKey.from_bytes(member.key.to_bytes())

    @invariant()
    def every_member_has_the_chains_that_the_model_says(self) -> None:
        for member in self.members:
            if member.key is not None:
                assert len(member.key.chain_ids) == len(member.chains)
                assert len(set(member.key.chain_ids)) == len(member.chains)


TestSenderKeys = SenderKeys.TestCase
TestSenderKeys.settings = settings(max_examples=40, stateful_step_count=40)
