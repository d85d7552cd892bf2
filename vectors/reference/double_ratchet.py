"""One ratchet with one peer: the Diffie-Hellman ratchet, its chains, and the post-quantum ratchet beside it."""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vectors.reference import chains, messages, protobuf
from vectors.reference.faults import Fault, Refused
from vectors.reference.handshake import Agreement, KeyPair
from vectors.reference.primitives import aes_cbc_decrypt, aes_cbc_encrypt, clamp, hmac_sha256, x25519
from vectors.reference.spqr import PostQuantumRatchet

if TYPE_CHECKING:
    from collections.abc import Callable

    from vectors.reference.messages import SignalMessage

FORWARD_JUMP_MAX: Final = 25_000
SKIPPED_KEYS_MAX: Final = 2_000
RECEIVING_CHAINS_MAX: Final = 5
MAC_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class Address:
    """A name and a device id."""

    name: str
    device_id: int

    def binding(self) -> bytes | None:
        """Return 18 bytes: the fixed-width service id and the device id; None if the name is no service id."""
        kind, text = (1, self.name[4:]) if self.name.startswith("PNI:") else (0, self.name)
        try:
            service_id = uuid.UUID(text)
        except ValueError:
            return None
        if str(service_id) != text:
            return None
        return bytes([kind]) + service_id.bytes + bytes([self.device_id])


@dataclass(frozen=True, slots=True)
class Parties:
    """The two ends as one of them sees them. Identity keys are raw."""

    local_identity: bytes
    remote_identity: bytes
    local_address: Address | None = None
    remote_address: Address | None = None

    @property
    def is_self(self) -> bool:
        """Tell whether both ends are devices of one user."""
        local = self.local_address and self.local_address.binding()
        remote = self.remote_address and self.remote_address.binding()
        return (
            self.local_identity == self.remote_identity
            and bool(local and remote)
            and (local or b"")[:17] == (remote or b"")[:17]
        )

    def binding(self, *, sending: bool) -> bytes | None:
        """Return the 36 bytes of field 6, sender first, or None if a name is no service id."""
        local = self.local_address and self.local_address.binding()
        remote = self.remote_address and self.remote_address.binding()
        if not local or not remote:
            return None
        return local + remote if sending else remote + local

    def mac_prefix(self, *, sending: bool) -> bytes:
        """Return what the tag covers before the message: both identity keys, the sender's first."""
        local, remote = messages.serialise_key(self.local_identity), messages.serialise_key(self.remote_identity)
        return local + remote if sending else remote + local


@dataclass(slots=True)
class ReceivingChain:
    """A chain of the peer's, known by the ratchet key it was made with."""

    ratchet_key: bytes
    chain_key: bytes
    index: int = 0  # seeds derived so far
    skipped: dict[int, bytes] = field(default_factory=dict)  # message seeds, oldest first

    def seed_at(self, counter: int, *, unlimited: bool) -> bytes:
        """Return the message seed with this counter, once. Raises Refused."""
        if counter < self.index:
            if counter not in self.skipped:
                raise Refused(Fault.KEY_GONE, f"the chain is at {self.index}, the message has {counter}")
            return self.skipped.pop(counter)
        if counter - self.index > FORWARD_JUMP_MAX and not unlimited:
            raise Refused(Fault.TOO_FAR_AHEAD)
        while True:
            seed, self.chain_key = chains.chain_step(self.chain_key)
            self.index += 1
            if self.index > counter:
                return seed
            self.skipped[self.index - 1] = seed
            if len(self.skipped) > SKIPPED_KEYS_MAX:
                del self.skipped[next(iter(self.skipped))]


@dataclass(frozen=True, slots=True)
class Trace:
    """The secrets behind one message."""

    root_key: bytes  # after the message
    message_seed: bytes
    pq_key: bytes | None
    keys: chains.MessageKeys


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that the next message is made from."""

    version: int
    ratchet_key: bytes  # 32
    counter: int
    previous_counter: int
    pq_ratchet: bytes  # empty: no post-quantum ratchet
    addresses: bytes | None
    keys: chains.MessageKeys
    mac_prefix: bytes

    def fields(self, plaintext: bytes) -> dict[int, int | bytes | None]:
        """Return the fields of the protobuf."""
        return {
            1: messages.serialise_key(self.ratchet_key),
            2: self.counter,
            3: self.previous_counter,
            4: aes_cbc_encrypt(self.keys.cipher_key, self.keys.initial_vector, plaintext),
            5: self.pq_ratchet or None,
            6: self.addresses,
        }

    def tagged(self, protobuf_bytes: bytes, version_byte: int | None = None) -> bytes:
        """Return the wire form around an encoded protobuf."""
        if version_byte is None:
            version_byte = self.version << 4 | messages.VERSION_LOW_NIBBLE
        authenticated = bytes([version_byte]) + protobuf_bytes
        return authenticated + hmac_sha256(self.keys.mac_key, self.mac_prefix + authenticated)[:MAC_SIZE]

    def encode(self, plaintext: bytes) -> bytes:
        """Return the wire form."""
        return self.tagged(protobuf.encode(self.fields(plaintext)))


class Ratchet:
    """Both directions, from one side."""

    def __init__(
        self, parties: Parties, agreement: Agreement, base_key: bytes, *, is_initiator: bool, with_pq: bool = True
    ) -> None:
        self.version = 3 if agreement.pq_auth_key is None else 4
        self.base_key = base_key
        self._parties = parties
        self._root_key = agreement.root_key
        self._previous_counter = 0
        self._receiving: list[ReceivingChain] = []  # oldest first
        self._sending_counter = 0
        self.post_quantum = None
        if agreement.pq_auth_key is not None and with_pq:
            self.post_quantum = PostQuantumRatchet(agreement.pq_auth_key, is_a=is_initiator, unlimited=parties.is_self)
        self.trace: Trace | None = None
        self._sending_pair: KeyPair
        self._sending_chain_key: bytes

    @classmethod
    def initiate(
        cls,
        parties: Parties,
        agreement: Agreement,
        *,
        base_key: bytes,
        signed_prekey: bytes,
        ratchet_pair: KeyPair,
        with_pq: bool,
    ) -> Ratchet:
        """Make the initiator's ratchet."""
        ratchet = cls(parties, agreement, base_key, is_initiator=True, with_pq=with_pq)
        ratchet._receiving.append(ReceivingChain(signed_prekey, agreement.chain_key))
        ratchet._start_sending(ratchet_pair, signed_prekey)
        return ratchet

    @classmethod
    def accept(
        cls, parties: Parties, agreement: Agreement, *, base_key: bytes, signed_pair: KeyPair, with_pq: bool
    ) -> Ratchet:
        """Make the responder's ratchet; its first sending chain is the handshake's."""
        ratchet = cls(parties, agreement, base_key, is_initiator=False, with_pq=with_pq)
        ratchet._sending_pair, ratchet._sending_chain_key = signed_pair, agreement.chain_key
        return ratchet

    @property
    def ratchet_key(self) -> bytes:
        """The current own ratchet public key, raw."""
        return self._sending_pair.public

    def _start_sending(self, pair: KeyPair, their_key: bytes) -> None:
        self._sending_pair = pair
        self._sending_counter = 0
        shared = x25519(pair.private, their_key)
        self._root_key, self._sending_chain_key = chains.root_step(self._root_key, shared)

    def draft(self, entropy: Callable[[int], bytes], *, with_addresses: bool) -> Draft:
        """Move on by one message and return what it is made from. Entropy: what the post-quantum ratchet needs."""
        pq_bytes, pq_key = (b"", None) if self.post_quantum is None else self.post_quantum.send(entropy)
        seed, self._sending_chain_key = chains.chain_step(self._sending_chain_key)
        keys = chains.message_keys(seed, pq_key)
        draft = Draft(
            version=self.version,
            ratchet_key=self._sending_pair.public,
            counter=self._sending_counter,
            previous_counter=self._previous_counter,
            pq_ratchet=pq_bytes,
            addresses=self._parties.binding(sending=True) if with_addresses else None,
            keys=keys,
            mac_prefix=self._parties.mac_prefix(sending=True),
        )
        self._sending_counter += 1
        self.trace = Trace(self._root_key, seed, pq_key, keys)
        return draft

    def skip(self, count: int, entropy: Callable[[int], bytes]) -> None:
        """Encrypt *count* (at least 1) messages that are lost. Only the first can draw entropy."""
        if self.post_quantum is not None:
            self.post_quantum.skip(count, entropy)
        for _ in range(count):
            self._sending_chain_key = chains.chain_step(self._sending_chain_key)[1]
        self._sending_counter += count

    def decrypt(self, message: SignalMessage, entropy: Callable[[int], bytes]) -> tuple[Ratchet, bytes]:
        """Return (the ratchet afterwards, plaintext); this one is left as it is. Raises Refused.

        Entropy: 32 bytes for the next own ratchet key if the message brings a new ratchet key.
        """
        after = copy.deepcopy(self)
        plaintext = after.decrypt_in_place(message, entropy)
        return after, plaintext

    def decrypt_in_place(self, message: SignalMessage, entropy: Callable[[int], bytes]) -> bytes:
        """Return the plaintext. Raises Refused, and this ratchet is then of no more use."""
        chain, is_new = self._chain_for(message.ratchet_key)
        seed = chain.seed_at(message.counter, unlimited=self._parties.is_self)
        pq_key = None
        if self.post_quantum is not None:
            pq_key = self.post_quantum.receive(message.pq_ratchet)
        elif message.pq_ratchet:
            raise Refused(Fault.PQ_VERSION)
        keys = chains.message_keys(seed, pq_key)
        mac = hmac_sha256(keys.mac_key, self._parties.mac_prefix(sending=False) + message.authenticated)
        if mac[:MAC_SIZE] != message.mac:
            raise Refused(Fault.MAC)
        if message.addresses is not None and message.addresses != self._parties.binding(sending=False):
            raise Refused(Fault.ADDRESSES)
        plaintext = aes_cbc_decrypt(keys.cipher_key, keys.initial_vector, message.ciphertext)
        if is_new:
            # Nothing above depends on the new own key, so that only a genuine message costs entropy.
            self._previous_counter = max(self._sending_counter - 1, 0)
            self._start_sending(KeyPair.from_private(clamp(entropy(32))), message.ratchet_key)
        self.trace = Trace(self._root_key, seed, pq_key, keys)
        return plaintext

    def _chain_for(self, ratchet_key: bytes) -> tuple[ReceivingChain, bool]:
        for chain in self._receiving:
            if chain.ratchet_key == ratchet_key:
                return chain, False
        shared = x25519(self._sending_pair.private, ratchet_key)
        self._root_key, chain_key = chains.root_step(self._root_key, shared)
        chain = ReceivingChain(ratchet_key, chain_key)
        self._receiving = [*self._receiving, chain][-RECEIVING_CHAINS_MAX:]
        return chain, True
