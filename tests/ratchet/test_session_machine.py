"""Two sessions against a model: whatever is done in whatever order, it says what opens, and how the rest is refused.

The model knows nothing of keys: which ratchets each end has, which of them it sends with, and which messages of which
chains it has opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ratchet import (
    Account,
    Address,
    Ciphertext,
    CiphertextKind,
    IdentityChanged,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    RatchetError,
    Session,
    UnknownPreKey,
)
from ratchet.limits import RECEIVING_CHAINS_MAX
from tests.support.adversary import inner
from tests.support.conversation import ALICE, BOB, account, in_use, seeded


@cache
def fresh(name: str) -> bytes:
    return account(name, one_time_prekeys=2).to_bytes()


@dataclass
class Ratchet:
    """What one end knows of a ratchet that both made of one handshake."""

    initiated: bool
    answered: bool = False  # something was opened in it
    chains: list[bytes] = field(default_factory=list)  # of the other end, the newest first
    dropped: set[bytes] = field(default_factory=set)
    opened: set[int] = field(default_factory=set)  # messages


@dataclass
class End:
    """One end: the real thing and the model of it."""

    name: str
    address: Address
    account: Account
    session: Session | None = None
    ratchets: dict[bytes, Ratchet] = field(default_factory=dict)  # by base key
    active: bytes | None = None
    accepted: dict[bytes, bool] = field(default_factory=dict)  # handshakes, ever; whether a one-time key went with it


@dataclass(frozen=True)
class Sent:
    """A message under way."""

    number: int
    by: End
    ratchet: bytes
    one_time: bool  # its handshake names a one-time prekey
    ciphertext: Ciphertext
    plaintext: bytes


ends = st.sampled_from([0, 1])
agos = st.integers(0, 3) | st.integers(0, 40)  # messages ago


class Sessions(RuleBasedStateMachine):
    """Everything that two ends can do to each other, and a carrier to their messages."""

    def __init__(self) -> None:
        super().__init__()
        self.entropy = seeded("machine")
        self.ends = [
            End("alice", ALICE, Account.from_bytes(fresh("alice"))),
            End("bob", BOB, Account.from_bytes(fresh("bob"))),
        ]
        self.sent: list[Sent] = []

    def other(self, end: End) -> End:
        return self.ends[1 - self.ends.index(end)]

    @rule(which=ends, count=st.integers(1, 3), one_time=st.booleans())
    def sends(self, which: int, count: int, one_time: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        self.encrypt(self.ends[which], count, one_time=one_time)

    @precondition(lambda self: self.sent)
    @rule(ago=agos)
    def delivers(self, ago: int) -> None:
        """Deliver a message: in order or late, for the first time or again. Those that never are get lost."""
        self.deliver(self.sent[-1 - ago % len(self.sent)])

    @rule(rounds=st.integers(1, 4))
    def talk(self, rounds: int) -> None:
        """Send and deliver in turn, so that chains follow each other."""
        for _ in range(rounds):
            for end in self.ends:
                self.encrypt(end, 2, one_time=False)
                self.deliver(self.sent[-1])

    def encrypt(self, end: End, count: int, *, one_time: bool) -> None:
        """Encrypt; whoever has nothing to encrypt with starts afresh first."""
        if end.active is None:
            if end.session is not None:
                with pytest.raises(NoActiveSession):
                    end.session.encrypt(b"", now=0, entropy=self.entropy)
            self.start(end, one_time=one_time)
        assert end.session is not None
        assert end.active is not None
        ratchet = end.ratchets[end.active]
        for _ in range(count):
            plaintext = b"message %d" % len(self.sent)
            ciphertext = end.session.encrypt(plaintext, now=0, entropy=self.entropy)
            awaiting = ratchet.initiated and not ratchet.answered
            assert ciphertext.kind is (CiphertextKind.PREKEY if awaiting else CiphertextKind.SIGNAL)
            with_one_time = end.session.one_time_prekey_used
            self.sent.append(Sent(len(self.sent), end, end.active, with_one_time, ciphertext, plaintext))

    def deliver(self, message: Sent) -> None:
        end = self.other(message.by)
        expected = self.expected(end, message)
        if expected is None:
            assert self.receive(end, message.ciphertext) == message.plaintext
            self.opened(end, message)
        else:
            self.refuses(end, message.ciphertext, expected)

    @precondition(lambda self: self.sent)
    @rule(ago=agos, bit=st.integers(0, 63), back=st.booleans())
    def delivers_wrongly(self, ago: int, bit: int, back: bool) -> None:  # noqa: FBT001
        """Deliver a message with another tag, or to its own sender."""
        message = self.sent[-1 - ago % len(self.sent)]
        if back:
            self.refuses(message.by, message.ciphertext, RatchetError)
            return
        body = bytearray(message.ciphertext.body)
        at = bytes(body).rindex(inner(message.ciphertext).tag)  # of a first message the tag inside is not the last
        body[at + bit // 8] ^= 1 << bit % 8
        end = self.other(message.by)
        expected = self.expected(end, message)
        self.refuses(end, Ciphertext(message.ciphertext.kind, bytes(body)), expected or NotAuthentic)

    @rule(which=ends, what=st.sampled_from(["renew", "archive", "store", "stranger", "forget"]))
    def changes(self, which: int, what: str) -> None:
        """Do something to one end."""
        end = self.ends[which]
        match what:
            case "renew":
                self.start(end, one_time=False)
            case "archive" if end.session is not None:
                end.session.archive()
                end.active = None
            case "store":
                end.account = Account.from_bytes(end.account.to_bytes())
                end.session = None if end.session is None else Session.from_bytes(end.session.to_bytes())
            case "stranger" if end.session is not None:
                self.refuses(end, self.from_a_stranger(end), IdentityChanged)
            case "forget":
                end.session, end.ratchets, end.active = None, {}, None

    def start(self, end: End, *, one_time: bool) -> None:
        bundle = self.other(end).account.bundle(1, one_time=one_time)
        if end.session is None:
            end.session = Session.initiate(
                end.account, bundle, local=end.address, remote=self.other(end).address, now=0, entropy=self.entropy
            )
        else:
            end.session.renew(end.account, bundle, now=0, entropy=self.entropy)
        end.active = in_use(end.session)[1]
        end.ratchets[end.active] = Ratchet(initiated=True)

    def from_a_stranger(self, end: End) -> Ciphertext:
        """A first message, valid in itself, in the name of the other end."""
        bundle = Account.from_bytes(fresh(end.name)).bundle(1, one_time=False)
        stranger = account("stranger", one_time_prekeys=0)
        session = Session.initiate(
            stranger, bundle, local=self.other(end).address, remote=end.address, now=0, entropy=self.entropy
        )
        return session.encrypt(b"x", now=0, entropy=self.entropy)

    # The model.

    def expected(self, end: End, message: Sent) -> type[RatchetError] | None:
        """What delivering *message* raises; None: it opens."""
        ratchet = end.ratchets.get(message.ratchet)
        if ratchet is None:
            return self.expected_of_unknown(end, message)
        if inner(message.ciphertext).ratchet_key in ratchet.dropped:
            return NotAuthentic  # it looks like the first of a new chain
        return MessageKeyGone if message.number in ratchet.opened else None

    def expected_of_unknown(self, end: End, message: Sent) -> type[RatchetError] | None:
        if message.ciphertext.kind is CiphertextKind.PREKEY:
            if message.ratchet not in end.accepted:
                return None
            return UnknownPreKey if end.accepted[message.ratchet] else MessageKeyGone
        return NotAuthentic if end.ratchets else NoActiveSession

    def opened(self, end: End, message: Sent) -> None:
        if message.ratchet not in end.ratchets:
            end.ratchets[message.ratchet] = Ratchet(initiated=False)
            end.accepted[message.ratchet] = message.one_time
        ratchet = end.ratchets[message.ratchet]
        chain = inner(message.ciphertext).ratchet_key
        if chain not in ratchet.chains:
            ratchet.chains.insert(0, chain)
            ratchet.dropped |= set(ratchet.chains[RECEIVING_CHAINS_MAX:])
            del ratchet.chains[RECEIVING_CHAINS_MAX:]
        ratchet.opened.add(message.number)
        ratchet.answered = True
        end.active = message.ratchet

    @invariant()
    def both_ends_are_as_the_model_says(self) -> None:
        for end in self.ends:
            if end.session is None:
                continue
            assert end.session.can_encrypt == (end.active is not None)
            assert end.session.archived_count == len(end.ratchets) - (end.active is not None)
            if end.active is not None:
                assert in_use(end.session)[1] == end.active
                ratchet = end.ratchets[end.active]
                assert end.session.awaiting_answer == (ratchet.initiated and not ratchet.answered)

    # The real thing.

    def receive(self, end: End, ciphertext: Ciphertext) -> bytes:
        if end.session is None:
            end.session, plaintext = Session.accept(
                end.account,
                ciphertext,
                local=end.address,
                remote=self.other(end).address,
                now=0,
                entropy=self.entropy,
            )
            return plaintext
        return end.session.decrypt(end.account, ciphertext, now=0, entropy=self.entropy)

    def refuses(self, end: End, ciphertext: Ciphertext, expected: type[RatchetError]) -> None:
        states = [one for one in (end.account, end.session) if one is not None]
        before = [state.to_bytes() for state in states]
        with pytest.raises(expected) as caught:
            self.receive(end, ciphertext)
        assert expected is RatchetError or caught.type is expected
        assert [state.to_bytes() for state in states] == before


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=30, stateful_step_count=40)
