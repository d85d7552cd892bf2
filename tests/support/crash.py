"""A conversation of three in which one may die at any storage call, and everything else is remembered.

Alice has a store. Bob and Carol are plain sessions that never fail, and the relay is a list: what it was
handed stays, what was not acknowledged it delivers again. Whatever happens to Alice, at the end each message
must have arrived once, and no message key may have sealed two texts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ratchet import Account, Ciphertext, CiphertextKind, Session
from ratchet.messages import PreKeyMessage, SignalMessage
from tests.support.conversation import account, seeded
from tests.support.messenger import ID_SIZE, Delivery, Messenger, bundle, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from store import ClientStore, Envelope

PEERS: Final = ("bob", "carol")
BATCHES: Final = 2
Step = tuple[str, int]  # "receive" and the number of a batch, or the name of a peer and how many to have sent by then


@dataclass(slots=True)
class Peer:
    """A device that never fails."""

    name: str
    account: Account
    session: Session
    opened: list[bytes] = field(default_factory=list)  # contents, in order of arrival


class Relay:
    """What it was handed, it has: by envelope id, the first bytes."""

    def __init__(self) -> None:
        self.stored: dict[bytes, tuple[str, int, bytes]] = {}
        self.acknowledged = 0

    def submit(self, envelope_id: bytes, user_id: str, kind: int, ciphertext: bytes) -> None:
        """Take an envelope; the same id again must be the same bytes."""
        before = self.stored.setdefault(envelope_id, (user_id, kind, ciphertext))
        assert before == (user_id, kind, ciphertext), "an envelope was made again instead of being sent again"

    def acknowledge(self, number: int) -> None:
        """Forget deliveries up to *number*."""
        self.acknowledged = max(self.acknowledged, number)


class Script:
    """What happens, made from a seed: who writes what, in which batches, and when Alice answers."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"script {seed}")
        self.seed = seed
        self.deliveries: list[Delivery] = []
        self.bodies: list[bytes] = []  # of the deliveries
        self.peers: dict[str, Peer] = {}
        self.steps: list[Step] = []

    def copy(self) -> Script:
        """The same script with peers of its own: those of the other will go on."""
        other = Script(self.seed)
        other.deliveries, other.bodies, other.steps = self.deliveries, self.bodies, self.steps
        for name, peer in self.peers.items():
            state = Account.from_bytes(peer.account.to_bytes()), Session.from_bytes(peer.session.to_bytes())
            other.peers[name] = Peer(name, *state)
        return other

    def prepare(self, store: ClientStore) -> None:
        """Fill Alice's store: an account, a conversation with Carol under way; Bob will be new to her."""
        alice = Messenger(store, entropy=seeded(f"alice {self.seed}"))
        alice.create("alice", one_time_prekeys=2)
        carol = account(f"carol {self.seed}")
        alice.initiate("carol", carol.bundle())
        with store.begin() as unit:
            published = unit.prekeys.unpublished()
            loaded = unit.sessions.load("carol", 1)
            assert loaded is not None
            first = loaded.session.encrypt(packed(bytes(ID_SIZE), 0, b"first"), entropy=seeded("first"))
            carols, _ = Session.accept(carol, first, entropy=seeded(f"carols {self.seed}"))
            unit.sessions.save(loaded)
        bob = account(f"bob {self.seed}")
        bobs = Session.initiate(bob, bundle(published), entropy=seeded(f"bobs {self.seed}"))
        self.peers = {"bob": Peer("bob", bob, bobs), "carol": Peer("carol", carol, carols)}
        for _ in range(self.dice.randint(4, 8)):
            self._write(self.dice.choice(PEERS))
        self._write("bob")  # who is new to Alice
        self.steps = [("receive", 0), ("carol", 2), ("receive", 1), ("bob", 2), ("carol", 3)]

    def _write(self, name: str) -> None:
        number = len(self.deliveries) + 1
        body = b"%d from %s" % (number, name.encode())
        content = packed(self.dice.randbytes(ID_SIZE), number, body)
        ciphertext = self.peers[name].session.encrypt(content, entropy=self.dice.randbytes)
        envelope_id = self.dice.randbytes(ID_SIZE)
        self.deliveries.append(Delivery(number, envelope_id, name, 1, int(ciphertext.kind), ciphertext.body))
        self.bodies.append(body)

    def batch(self, number: int) -> list[Delivery]:
        """The deliveries of a batch: the first or the second half."""
        middle = len(self.deliveries) // BATCHES
        return self.deliveries[:middle] if number == 0 else self.deliveries[middle:]

    def run(
        self,
        store: ClientStore,
        relay: Relay,
        *,
        entropy: Callable[[int], bytes],
        boundary: Callable[[], None] = lambda: None,
    ) -> None:
        """Do every step, beginning wherever the store and the relay are. It may end at any call."""
        alice = Messenger(store, entropy=entropy, boundary=boundary)
        for what, number in self.steps:
            if what == "receive":
                due = [one for one in self.batch(number) if one.number > relay.acknowledged]
                if due:
                    relay.acknowledge(alice.receive(due))
            else:
                with store.begin() as unit:
                    queued = unit.conversations.last_number(what.encode())
                for missing in range(queued, number):
                    alice.queue(what, b"%d to %s" % (missing + 1, what.encode()))
                self._send(alice, relay, what)

    def _send(self, alice: Messenger, relay: Relay, name: str) -> None:
        envelopes: Sequence[Envelope] = alice.encrypt(name)
        for one in envelopes:
            relay.submit(one.envelope_id, one.user_id, one.kind, one.ciphertext)
            alice.boundary()
        if envelopes:
            alice.confirm(envelopes)

    def judge(self, store: ClientStore, relay: Relay) -> None:
        """Fail unless each message arrived once, both ways, and each message key sealed one text."""
        assert sorted(Messenger(store).inbox()) == sorted(self.bodies)
        keys: dict[tuple[bytes, int], bytes] = {}
        for name, kind, ciphertext in relay.stored.values():
            one = PreKeyMessage.parse(ciphertext).message if kind == CiphertextKind.PREKEY else None
            message = one or SignalMessage.parse(ciphertext)
            assert keys.setdefault((message.ratchet_key, message.counter), ciphertext) == ciphertext, "a key used twice"
            peer = self.peers[name]
            peer.opened.append(peer.session.decrypt(peer.account, Ciphertext(CiphertextKind(kind), ciphertext)))
        for name, count in (("bob", 2), ("carol", 3)):
            opened = [content[ID_SIZE + 8 :] for content in self.peers[name].opened]
            assert opened == [b"%d to %s" % (number + 1, name.encode()) for number in range(count)]
        with store.begin() as unit:
            assert unit.envelopes.lanes() == []
            assert unit.outgoing.lanes("encrypted") == []
            assert unit.counters.delivery_number == len(self.deliveries)
        assert store.check() == ()
