"""Sender keys: one chain per sender and group, signed messages, and what a member keeps of another's chains."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vectors.reference import chains, edwards, messages
from vectors.reference.faults import Fault, Refused
from vectors.reference.messages import DistributionMessage, SenderKeyMessage
from vectors.reference.primitives import aes_cbc_decrypt, aes_cbc_encrypt

if TYPE_CHECKING:
    from collections.abc import Callable

    from vectors.reference.handshake import KeyPair

FORWARD_JUMP_MAX: Final = 25_000
SKIPPED_KEYS_MAX: Final = 2_000
STATES_MAX: Final = 5


class OwnSenderKey:
    """A sender's own chain. *signing_seed* is what the signing key was made from, if that was an Ed25519 seed."""

    def __init__(
        self,
        distribution_id: bytes,
        chain_id: int,
        chain_key: bytes,
        signing: KeyPair,
        signing_seed: bytes | None = None,
    ) -> None:
        self._distribution_id = distribution_id
        self._chain_id = chain_id
        self._chain_key = chain_key
        self._signing = signing
        self._signing_seed = signing_seed
        self._iteration = 0

    def distribution_message(self) -> bytes:
        """Return what a member needs from here on."""
        return DistributionMessage(
            self._distribution_id, self._chain_id, self._iteration, self._chain_key, self._signing.public
        ).encode()

    def skip(self, count: int) -> None:
        """Move on by *count* messages that nobody sees."""
        for _ in range(count):
            self._chain_key = chains.chain_step(self._chain_key)[1]
        self._iteration += count

    def encrypt(self, plaintext: bytes, entropy: Callable[[int], bytes]) -> bytes:
        """Return the wire form of the next message. Entropy: 64 bytes for the signature, none if a seed makes it."""
        seed, self._chain_key = chains.chain_step(self._chain_key)
        initial_vector, cipher_key = chains.sender_message_keys(seed)
        signed = messages.encode_sender_key_message(
            distribution_id=self._distribution_id,
            chain_id=self._chain_id,
            iteration=self._iteration,
            ciphertext=aes_cbc_encrypt(cipher_key, initial_vector, plaintext),
        )
        self._iteration += 1
        if self._signing_seed is not None:
            return signed + edwards.sign_with_seed(self._signing_seed, signed)
        return signed + edwards.sign(self._signing.private, signed, entropy(edwards.SIGNATURE_SIZE))


@dataclass(slots=True)
class State:
    """One chain of a sender, at a member."""

    chain_id: int
    signing_key: bytes
    chain_key: bytes
    iteration: int
    skipped: dict[int, bytes] = field(default_factory=dict)  # message seeds, oldest first

    def seed_at(self, iteration: int) -> bytes:
        """Return the message seed of this iteration, once. Raises Refused."""
        if iteration < self.iteration:
            if iteration not in self.skipped:
                raise Refused(Fault.KEY_GONE)
            return self.skipped.pop(iteration)
        if iteration - self.iteration > FORWARD_JUMP_MAX:
            raise Refused(Fault.TOO_FAR_AHEAD)
        while True:
            seed, self.chain_key = chains.chain_step(self.chain_key)
            self.iteration += 1
            if self.iteration > iteration:
                return seed
            self.skipped[self.iteration - 1] = seed
            if len(self.skipped) > SKIPPED_KEYS_MAX:
                del self.skipped[next(iter(self.skipped))]


class PeerSenderKey:
    """What a member knows of one sender in one group: up to five chains, newest first."""

    def __init__(self) -> None:
        self._states: list[State] = []
        self._distribution_id: bytes | None = None

    def add(self, data: bytes) -> None:
        """Take a distribution message. Raises Refused."""
        message = DistributionMessage.decode(data)
        same_chain = [state for state in self._states if state.chain_id == message.chain_id]
        known = [state for state in same_chain if state.signing_key == message.signing_key]
        # A known chain is not set back: that would make its used keys usable again.
        state = (
            known[0] if known else State(message.chain_id, message.signing_key, message.chain_key, message.iteration)
        )
        others = [state for state in self._states if state.chain_id != message.chain_id]
        self._states = [state, *others][:STATES_MAX]
        self._distribution_id = message.distribution_id

    def decrypt(self, data: bytes) -> bytes:
        """Return the plaintext. Raises Refused, and is then unchanged."""
        message = SenderKeyMessage.decode(data)
        state = next((state for state in self._states if state.chain_id == message.chain_id), None)
        if state is None:
            raise Refused(Fault.SENDER_KEY_UNKNOWN)
        edwards.verify(state.signing_key, message.signed, message.signature)
        after = copy.deepcopy(state)
        initial_vector, cipher_key = chains.sender_message_keys(after.seed_at(message.iteration))
        plaintext = aes_cbc_decrypt(cipher_key, initial_vector, message.ciphertext)
        self._states = [after if other is state else other for other in self._states]
        return plaintext
