"""The post-quantum ratchet of one side: the braid's epochs, and the chains of message keys that hang from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vectors.reference import chains
from vectors.reference.braid import Braid, EpochSecret
from vectors.reference.faults import Fault, Refused
from vectors.reference.messages import PqMessage

if TYPE_CHECKING:
    from collections.abc import Callable

FORWARD_JUMP_MAX: Final = 25_000
LATE_MAX: Final = 2_000


@dataclass(slots=True)
class Chain:
    """The keys of one chain epoch in one direction."""

    state: bytes
    index: int = 0  # of the last key made
    skipped: dict[int, bytes] = field(default_factory=dict)

    def next_key(self) -> tuple[int, bytes]:
        """Make the next key; return (its index, the key)."""
        self.index += 1
        self.state, key = chains.pq_chain_next(self.state, self.index)
        return self.index, key

    def key_at(self, index: int, *, unlimited: bool) -> bytes:
        """Return the key with this index, once. Raises Refused."""
        if index <= self.index:
            if self.index - index > LATE_MAX or index not in self.skipped:
                raise Refused(Fault.PQ_KEY_GONE)
            return self.skipped.pop(index)
        if index - self.index > FORWARD_JUMP_MAX and not unlimited:
            raise Refused(Fault.PQ_TOO_FAR_AHEAD)
        while True:
            made, key = self.next_key()
            if made == index:
                return key
            self.skipped[made] = key
            self.skipped.pop(made - LATE_MAX - 1, None)


class EpochChains:
    """Chains of both directions, by chain epoch."""

    def __init__(self, auth_key: bytes, *, is_a: bool) -> None:
        self._is_a = is_a
        self._sending: dict[int, Chain] = {}
        self._receiving: dict[int, Chain] = {}
        self.epoch = -1
        self.sending_epoch = 0
        self._add(chains.pq_chain_start(auth_key))

    def _add(self, made: tuple[bytes, bytes, bytes]) -> None:
        self._next_root, a_to_b, b_to_a = made
        self.epoch += 1
        self._sending[self.epoch] = Chain(a_to_b if self._is_a else b_to_a)
        self._receiving[self.epoch] = Chain(b_to_a if self._is_a else a_to_b)

    def add_epoch(self, emitted: EpochSecret) -> None:
        """Start the chains of the next epoch."""
        if emitted.epoch != self.epoch + 1:
            raise RuntimeError("epochs follow each other")
        self._add(chains.pq_chain_add_epoch(self._next_root, emitted.secret))

    def sending_key(self, epoch: int) -> tuple[int, bytes]:
        """Return (index, key) of the next message that is sent in *epoch*; forget what this makes old."""
        self.sending_epoch = epoch
        self._sending = {kept: chain for kept, chain in self._sending.items() if kept >= epoch}
        self._receiving = {kept: chain for kept, chain in self._receiving.items() if kept >= epoch - 1}
        return self._sending[epoch].next_key()

    def receiving_key(self, epoch: int, index: int, *, unlimited: bool) -> bytes:
        """Return the key of a received message. Raises Refused."""
        if epoch > self.epoch:
            raise Refused(Fault.PQ_EPOCH_AHEAD)
        if epoch not in self._receiving:
            raise Refused(Fault.PQ_KEY_GONE, "of an epoch that is no longer kept")
        return self._receiving[epoch].key_at(index, unlimited=unlimited)


class PostQuantumRatchet:
    """What makes field 5 of a message and the salt of its keys."""

    def __init__(self, auth_key: bytes, *, is_a: bool, unlimited: bool = False) -> None:
        self.braid = Braid(auth_key, is_a=is_a)
        self.chains = EpochChains(auth_key, is_a=is_a)
        self.emitted: EpochSecret | None = None  # by the last message
        self._unlimited = unlimited  # a session with oneself has no limit on lost messages

    def send(self, entropy: Callable[[int], bytes]) -> tuple[bytes, bytes]:
        """Return (bytes for field 5, 32-byte key)."""
        epoch = self.braid.epoch
        message_type, chunk, self.emitted = self.braid.send(entropy)
        if self.emitted is not None:
            self.chains.add_epoch(self.emitted)
        index, key = self.chains.sending_key(epoch - 1)
        return PqMessage(epoch, index, message_type, chunk).encode(), key

    def skip(self, count: int, entropy: Callable[[int], bytes]) -> None:
        """Send *count* (at least 1) messages that are lost. Only the first can draw entropy."""
        self.send(entropy)
        self.braid.skip(count - 1)
        for _ in range(count - 1):
            self.chains.sending_key(self.braid.epoch - 1)

    def receive(self, data: bytes) -> bytes:
        """Return the 32-byte key for a message with this field 5. Raises Refused, and is then of no more use."""
        message = PqMessage.decode(data)
        key = self.chains.receiving_key(message.epoch - 1, message.index, unlimited=self._unlimited)
        self.emitted = self.braid.receive(message.epoch, message.type, message.chunk)
        if self.emitted is not None:
            self.chains.add_epoch(self.emitted)
        return key
