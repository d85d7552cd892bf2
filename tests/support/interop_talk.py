"""A conversation between our session and libsignal's, over a network that loses and reorders."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ratchet import Account, Address, Ciphertext, CiphertextKind, PreKeyBundle, Session
from tests.support.oracle import CURRENT
from tests.support.oracle_device import OracleDevice

if TYPE_CHECKING:
    from tests.support.oracle import Oracle
    from tests.support.oracle_values import OracleBundle, OracleMessage

OURS = Address("9d0652a3-dcc3-4d11-975f-74d61598733f", 1)
THEIRS = Address("796abedb-ca4e-4f18-8803-1fde5b921f9f", 1)


def our_bundle(bundle: OracleBundle) -> PreKeyBundle:
    """The bundle that a libsignal device published, as a value of ours."""
    return PreKeyBundle(**asdict(bundle))


def our_ciphertext(message: OracleMessage) -> Ciphertext:
    """A libsignal message as a value of ours."""
    return Ciphertext(CiphertextKind(message.kind), message.body)


def their_device(oracle: Oracle, *, release: str = CURRENT) -> OracleDevice:
    """A device that libsignal runs, under a service id."""
    return OracleDevice.create(oracle, THEIRS.name, registration_id=77, release=release)


@dataclass
class InteropTalk:
    """Both ends of one session, and the messages under way in each direction."""

    account: Account
    session: Session
    device: OracleDevice
    seed: int
    loss: float = 0.3
    window: int = 20  # messages that may overtake each other
    delivered: int = 0
    lost: int = 0
    to_them: list[tuple[Ciphertext, bytes]] = field(default_factory=list)
    to_us: list[tuple[Ciphertext, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def we_send(self) -> None:
        """Encrypt a message of ours."""
        plaintext = self.dice.randbytes(self.dice.randrange(60))
        self.to_them.append((self.session.encrypt(plaintext), plaintext))

    def they_send(self, count: int = 1) -> None:
        """Let libsignal encrypt messages."""
        plaintexts = [self.dice.randbytes(self.dice.randrange(60)) for _ in range(count)]
        for message, plaintext in zip(self.device.encrypt_all(OURS, plaintexts), plaintexts, strict=True):
            self.to_us.append((our_ciphertext(message), plaintext))

    def deliver(self) -> None:
        """Deliver what is under way in both directions, out of order, losing some."""
        arriving = self._arrivals(self.to_them)
        plaintexts = self.device.decrypt_all(OURS, [message for message, _ in arriving])
        assert plaintexts == [plaintext for _, plaintext in arriving]
        for message, plaintext in self._arrivals(self.to_us):
            assert self.session.decrypt(self.account, message) == plaintext

    def _arrivals(self, queue: list[tuple[Ciphertext, bytes]]) -> list[tuple[Ciphertext, bytes]]:
        arriving, late = [], []
        order = sorted(range(len(queue)), key=lambda number: number + self.dice.randrange(self.window))
        for number in order:
            fate = self.dice.random()
            if fate < self.loss:
                self.lost += 1
            elif fate < self.loss + 0.1:
                late.append(queue[number])
            else:
                arriving.append(queue[number])
        queue[:] = late
        self.delivered += len(arriving)
        return arriving

    def run(self, messages: int) -> None:
        """Send until *messages* have been delivered, in bursts of either side; restore snapshots now and then."""
        while self.delivered < messages:
            for _ in range(self.dice.randrange(1, 6)):
                if self.dice.random() < 0.5:
                    self.we_send()
                else:
                    self.they_send(self.dice.randrange(1, 3))
            self.deliver()
            if self.dice.random() < 0.1:
                self.session = Session.from_bytes(self.session.to_bytes())
                self.account = Account.from_bytes(self.account.to_bytes())
            if self.dice.random() < 0.05:
                self.device.import_session(OURS, self.device.export_session(OURS))
