"""The post-quantum ratchet of one session: braid and chains together, planned and committed like the rest.

Receiving is split. The key of a message never depends on what the message brings (it is of an older
epoch), so the caller takes the key, checks the tag, decrypts, and only then lets the braid see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ratchet.errors import CorruptSnapshot, MalformedMessage, UnsupportedVersion
from ratchet.limits import CHUNK_INDEX_MAX
from ratchet.packing import take_int, take_list

from .braid import BraidState, Ct2Sampled, first_state
from .chain import EpochChains, Link, ReceivingStep
from .erasure import encode_chunk
from .snapshot import pack_state, state_from_packed
from .wire import BraidMessage, encode_braid_message

if TYPE_CHECKING:
    from ratchet.keys import Entropy

__all__ = ["PostQuantumRatchet"]

_PlannedEpoch = tuple[bytes, Link]


class SendingStep:
    """One message's part and key, and what sending it will change."""

    __slots__ = ("chain_key", "encoded", "index", "key", "next_chunk", "planned_epoch", "state")

    def __init__(
        self,
        encoded: bytes,
        key: bytes,
        state: BraidState,
        next_chunk: int,
        index: int,
        chain_key: bytes,
        planned_epoch: _PlannedEpoch | None,
    ) -> None:
        self.encoded = encoded  # field 5 of the message
        self.key = key  # 32 bytes, secret
        self.state = state
        self.next_chunk = next_chunk
        self.index = index
        self.chain_key = chain_key
        self.planned_epoch = planned_epoch


class BraidStep:
    """What the braid makes of one authenticated message."""

    __slots__ = ("planned_epoch", "state")

    def __init__(self, state: BraidState, planned_epoch: _PlannedEpoch | None) -> None:
        self.state = state
        self.planned_epoch = planned_epoch


class PostQuantumRatchet:
    """State of one session's SPQR."""

    __slots__ = ("chains", "next_chunk", "state")

    def __init__(self, chains: EpochChains, state: BraidState, next_chunk: int) -> None:
        self.chains = chains
        self.state = state
        self.next_chunk = next_chunk  # of the state's blob

    @classmethod
    def start(cls, authentication_key: bytes, *, initiator: bool, forward_max: int) -> PostQuantumRatchet:
        """Start with the 32-byte key of the handshake."""
        chains = EpochChains.start(authentication_key, initiator=initiator, forward_max=forward_max)
        return cls(chains, first_state(authentication_key, initiator=initiator), 0)

    def plan_send(self, entropy: Entropy) -> SendingStep:
        """Make the next message's part and key. Once per epoch it draws 64 or 32 bytes of entropy."""
        before = self.state
        state, secret = before.sample(entropy)
        chunk_index = self.next_chunk if state is before else 0
        blob = state.blob
        chunk = encode_chunk(blob, chunk_index) if blob else b""
        epoch = state.epoch
        index, key, chain_key = self.chains.plan_send(epoch - 1)
        return SendingStep(
            encode_braid_message(epoch, index, state.TYPE, chunk_index, chunk),
            key,
            state,
            (chunk_index + 1) & CHUNK_INDEX_MAX,
            index,
            chain_key,
            None if secret is None else self.chains.plan_epoch(epoch, secret),
        )

    def commit_send(self, step: SendingStep) -> None:
        """Make *step* the state."""
        self.chains.commit_send(step.state.epoch - 1, step.index, step.chain_key)
        if step.planned_epoch is not None:
            self.chains.commit_epoch(step.planned_epoch)
        self.state = step.state
        self.next_chunk = step.next_chunk

    def require_near(self, encoded: bytes, forward_max: int) -> None:
        """Raise what `plan_key` would for a message that is not *forward_max* or fewer ahead, without deriving keys."""
        if encoded:
            message = BraidMessage.parse(encoded)
            self.chains.require_near(message.epoch - 1, message.index, forward_max)

    def plan_key(self, encoded: bytes) -> tuple[BraidMessage, ReceivingStep]:
        """Find the key of a message from its field 5, before the message is authenticated.

        Raises MalformedMessage, UnsupportedVersion, MessageKeyGone or TooFarAhead.
        """
        if not encoded:
            raise UnsupportedVersion("the peer sends no post-quantum ratchet (SPQR), which this session requires")
        message = BraidMessage.parse(encoded)
        return message, self.chains.plan_receive(message.epoch - 1, message.index)

    def plan_braid(self, message: BraidMessage) -> BraidStep | None:
        """Let the braid see an authenticated message; None if nothing of it changes.

        Raises MalformedMessage or NotAuthentic if the peer breaks the braid's rules.
        """
        state = self.state
        if message.epoch < state.epoch:
            return None
        if message.epoch > state.epoch:
            if isinstance(state, Ct2Sampled) and message.epoch == state.epoch + 1:
                return BraidStep(state.next_epoch(), None)
            raise MalformedMessage(f"a braid message of epoch {message.epoch} in epoch {state.epoch}")
        following, secret = state.receive(message)
        if following is state:
            return None
        return BraidStep(following, None if secret is None else self.chains.plan_epoch(state.epoch, secret))

    def commit_receive(self, key_step: ReceivingStep, braid_step: BraidStep | None) -> None:
        """Make both steps of one received message the state."""
        self.chains.commit_receive(key_step)
        if braid_step is None:
            return
        if braid_step.planned_epoch is not None:
            self.chains.commit_epoch(braid_step.planned_epoch)
        if braid_step.state.blob is not self.state.blob:
            self.next_chunk = 0  # a new stream of chunks
        self.state = braid_step.state

    def to_packed(self) -> list[Any]:
        """Return the state as plain values for `packing`."""
        return [self.chains.to_packed(), pack_state(self.state), self.next_chunk]

    @classmethod
    def from_packed(cls, value: object) -> PostQuantumRatchet:
        """Undo `to_packed`. Raises CorruptSnapshot."""
        packed_chains, packed_state, next_chunk = take_list(value, "SPQR", length=3)
        chains, state = EpochChains.from_packed(packed_chains), state_from_packed(packed_state)
        # Messages are sent under the chain epoch before the braid's; an encapsulator has the braid's own already.
        expected = state.epoch if state.SECRET_EMITTED else state.epoch - 1
        if chains.current_epoch != expected or state.epoch - 1 not in chains.links:
            raise CorruptSnapshot("SPQR: braid and chains are of different epochs")
        return cls(chains, state, take_int(next_chunk, CHUNK_INDEX_MAX, "SPQR next chunk"))
