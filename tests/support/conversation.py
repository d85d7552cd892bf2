"""Two of our own devices in conversation, seeded, with every message in hand.

Messages are numbered in the order in which they were sent, whoever sent them, and are delivered when a
test says so: in order, late, twice, never.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ratchet import Account, Address, Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratchet import Ciphertext

ALICE = Address("d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01", 1)
BOB = Address("3f5b1a08-1c58-4d0e-9a2e-7e1f6a9b2b02", 1)


def seeded(seed: int | str) -> Callable[[int], bytes]:
    """Entropy that repeats itself; for tests only."""
    return random.Random(seed).randbytes


def account(seed: int | str, *, one_time_prekeys: int = 3) -> Account:
    """A device from a seed, at time 0."""
    return Account.create(one_time_prekeys=one_time_prekeys, registration_id=42, entropy=seeded(seed), now=0)


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
