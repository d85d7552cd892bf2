"""Two of our own devices in conversation, seeded, with every message in hand.

`Conversation` tells of one session that Alice initiates: messages are numbered in the order in which they
were sent, whoever sent them, and are delivered when a test says so: in order, late, twice, never.
`Device` is one end only, for what needs two equal ends: initiating at once, starting afresh, other devices.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

from ratchet import Account, Address, CiphertextKind, RatchetError, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ratchet import Ciphertext, IdentityKeyPair
    from ratchet.triple_ratchet import Ratchet

ALICE = Address("d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01", 1)
BOB = Address("3f5b1a08-1c58-4d0e-9a2e-7e1f6a9b2b02", 1)


def seeded(seed: int | str) -> Callable[[int], bytes]:
    """Entropy that repeats itself; for tests only."""
    return random.Random(seed).randbytes


def account(seed: int | str, *, one_time_prekeys: int = 3, identity: IdentityKeyPair | None = None) -> Account:
    """A device from a seed, at time 0."""
    return Account.create(
        identity=identity, one_time_prekeys=one_time_prekeys, registration_id=42, entropy=seeded(seed), now=0
    )


class Stored(Protocol):
    """What has a stored form: accounts, sessions, sender keys."""

    def to_bytes(self) -> bytes: ...


@contextmanager
def refused(error: type[RatchetError], *untouched: Stored) -> Iterator[pytest.ExceptionInfo[RatchetError]]:
    """Expect *error* itself, not a subclass, and *untouched* to be the same to the byte afterwards."""
    before = [one.to_bytes() for one in untouched]
    with pytest.raises(error) as caught:
        yield caught
    assert caught.type is error
    assert [one.to_bytes() for one in untouched] == before


def active_ratchet(session: Session | None) -> Ratchet:
    """The ratchet that a session sends with, for what the public interface does not tell."""
    assert session is not None
    return session._ratchets.require_active()


def lose(session: Session, count: int) -> None:
    """Let *session* send *count* messages that nobody will ever see: only their keys are derived.

    What the session and its peer go through is the same, at a third of the time of encrypting them.
    """
    ratchet = active_ratchet(session)
    for _ in range(count):
        _seed, chain_key = ratchet.double.plan_send()
        ratchet.double.commit_send(chain_key)
    if ratchet.post_quantum is not None and count:
        step = ratchet.post_quantum.plan_send(seeded(count))  # enters the state that sends
        ratchet.post_quantum.commit_send(step)
        chains, epoch = ratchet.post_quantum.chains, step.state.epoch - 1
        for _ in range(count - 1):
            index, _key, following = chains.plan_send(epoch)
            chains.commit_send(epoch, index, following)


def in_use(session: Session | None) -> tuple[int, bytes]:
    """Which ratchet a session sends with: two ends agree if theirs are equal."""
    ratchet = active_ratchet(session)
    return ratchet.version, ratchet.base_key


@dataclass(frozen=True, slots=True)
class Sent:
    """A message under way."""

    by_alice: bool
    ciphertext: Ciphertext
    plaintext: bytes


class Conversation:
    """Alice initiates; Bob's session starts with the first message that he receives."""

    def __init__(
        self,
        seed: int = 0,
        *,
        kem: bool = True,
        one_time: bool = True,
        spqr: bool = True,
        addresses: bool = True,
    ) -> None:
        self.dice = random.Random(seed)
        self.entropy = self.dice.randbytes
        self.alice_account = account(f"alice {seed}")
        self.bob_account = account(f"bob {seed}")
        self.x3dh = not kem
        self.without_spqr = not spqr
        self.addresses = addresses
        self.alice = Session.initiate(
            self.alice_account,
            self.bob_account.bundle(one_time=one_time, kem=kem),
            local=ALICE if addresses else None,
            remote=BOB if addresses else None,
            allow_x3dh=self.x3dh,
            without_spqr=self.without_spqr,
            now=0,
            entropy=self.entropy,
        )
        self.bob: Session | None = None
        self.sent: list[Sent] = []

    @property
    def bobs(self) -> Session:
        """Bob's session, which must have started."""
        assert self.bob is not None
        return self.bob

    @property
    def plaintexts(self) -> list[bytes]:
        """What each message says, by its number."""
        return [message.plaintext for message in self.sent]

    def alice_sends(self, count: int = 1) -> Conversation:
        """Alice encrypts *count* further messages."""
        for _ in range(count):
            plaintext = b"%d from alice" % len(self.sent)
            self.sent.append(
                Sent(
                    by_alice=True,
                    ciphertext=self.alice.encrypt(plaintext, now=0, entropy=self.entropy),
                    plaintext=plaintext,
                )
            )
        return self

    def bob_sends(self, count: int = 1) -> Conversation:
        """Bob encrypts *count* further messages; the first message must have been delivered."""
        for _ in range(count):
            plaintext = b"%d from bob" % len(self.sent)
            self.sent.append(
                Sent(
                    by_alice=False,
                    ciphertext=self.bobs.encrypt(plaintext, now=0, entropy=self.entropy),
                    plaintext=plaintext,
                )
            )
        return self

    def deliver(self, number: int) -> bytes:
        """Deliver message *number* to its recipient and return what it reads."""
        message = self.sent[number]
        if message.by_alice:
            if self.bob is None:
                return self._bob_accepts(message.ciphertext)
            session, recipient = self.bob, self.bob_account
        else:
            session, recipient = self.alice, self.alice_account
        return session.decrypt(
            recipient,
            message.ciphertext,
            allow_x3dh=self.x3dh,
            allow_without_spqr=self.without_spqr,
            now=0,
            entropy=self.entropy,
        )

    def _bob_accepts(self, ciphertext: Ciphertext) -> bytes:
        self.bob, plaintext = Session.accept(
            self.bob_account,
            ciphertext,
            local=BOB if self.addresses else None,
            remote=ALICE if self.addresses else None,
            allow_x3dh=self.x3dh,
            allow_without_spqr=self.without_spqr,
            now=0,
            entropy=self.entropy,
        )
        return plaintext

    def deliver_last(self) -> bytes:
        """Deliver the message sent last."""
        return self.deliver(len(self.sent) - 1)

    def established(self) -> Conversation:
        """Exchange one message each way, so that nothing is pending."""
        self.alice_sends().deliver_last()
        self.bob_sends().deliver_last()
        return self

    def ping_pong(self, rounds: int) -> Conversation:
        """Exchange and deliver one message each way, *rounds* times."""
        for _ in range(rounds):
            self.alice_sends().deliver_last()
            self.bob_sends().deliver_last()
        return self

    def reload(self) -> Conversation:
        """Store and load everything."""
        self.alice_account = Account.from_bytes(self.alice_account.to_bytes())
        self.bob_account = Account.from_bytes(self.bob_account.to_bytes())
        self.alice = Session.from_bytes(self.alice.to_bytes())
        self.bob = None if self.bob is None else Session.from_bytes(self.bob.to_bytes())
        return self


class Device:
    """One end: an account under an address, and its session with the other end once there is one."""

    def __init__(
        self,
        name: str,
        address: Address | None,
        *,
        one_time_prekeys: int = 3,
        identity: IdentityKeyPair | None = None,
    ) -> None:
        self.account = account(name, one_time_prekeys=one_time_prekeys, identity=identity)
        self.address = address
        self.entropy = seeded(f"{name} at work")
        self.session: Session | None = None

    @property
    def shared(self) -> Session:
        """The session, which must have started."""
        assert self.session is not None
        return self.session

    def start(self, peer: Device, *, one_time: bool = True, now: float = 0) -> Device:
        """Fetch a bundle of *peer* and start a session, or start afresh in the one that there is."""
        device_id = 1 if peer.address is None else peer.address.device_id
        bundle = peer.account.bundle(device_id, one_time=one_time)
        if self.session is None:
            self.session = Session.initiate(
                self.account, bundle, local=self.address, remote=peer.address, now=now, entropy=self.entropy
            )
        else:
            self.session.renew(self.account, bundle, now=now, entropy=self.entropy)
        return self

    def send(self, plaintext: bytes = b"", *, now: float = 0) -> Ciphertext:
        """Encrypt the next message."""
        return self.shared.encrypt(plaintext, now=now, entropy=self.entropy)

    def receive(self, peer: Device, ciphertext: Ciphertext, *, now: float = 0) -> bytes:
        """Open a message that *peer* sent; a first message starts the session."""
        if self.session is None:
            self.session, plaintext = Session.accept(
                self.account, ciphertext, local=self.address, remote=peer.address, now=now, entropy=self.entropy
            )
            return plaintext
        return self.session.decrypt(self.account, ciphertext, now=now, entropy=self.entropy)

    def agrees_with(self, peer: Device) -> bool:
        """Whether both send with the same ratchet."""
        return in_use(self.session) == in_use(peer.session)


def talk_plainly(one: Device, other: Device) -> None:
    """Show that both ends have settled: messages pass both ways, in one ratchet, without handshakes."""
    for sender, recipient in ((one, other), (other, one)):
        ciphertext = sender.send(b"settled")
        assert ciphertext.kind is CiphertextKind.SIGNAL
        assert recipient.receive(sender, ciphertext) == b"settled"
        assert one.agrees_with(other)
