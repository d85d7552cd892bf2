"""Sender keys: one chain per sender and group, read by every member that was given it (`signal-protocol` section 5).

A message is encrypted once, under the next key of its sender's chain, and signed by the chain's
signing key. Nothing in it names the group or the sender; who calls binds both by what is inside.
"""

from __future__ import annotations

import os
from typing import Final
from uuid import UUID

from . import primitives
from .chains import chain_step
from .errors import (
    CorruptSnapshot,
    InvalidArgument,
    MalformedMessage,
    NoActiveSession,
    TooFarAhead,
    UnknownSenderKey,
)
from .keys import PUBLIC_KEY_SIZE, Entropy, SigningKeyPair, draw
from .labels import SENDER_MESSAGE_KEYS
from .limits import (
    COUNTER_MAX,
    FORWARD_JUMP_MAX,
    PLAINTEXT_SIZE_MAX,
    SENDER_KEY_SIZE_MAX,
    SENDER_KEY_STATES_MAX,
)
from .messages import DistributionMessage, SenderKeyMessage, encode_sender_key_message
from .packing import pack, take_bool, take_bytes, take_int, take_list, unpack, unpack_versions
from .receiving_chain import ReceivingChain
from .secret import NotCopied

__all__ = ["OwnSenderKey", "PeerSenderKey"]

_VERSION: Final = 1
_PEER_VERSION: Final = 2  # 1 did not say where a chain begins
_CHAIN_ID_MASK: Final = 0x7FFFFFFF  # 31 bits, as libsignal makes them


def _message_keys(seed: bytes) -> tuple[bytes, bytes]:
    """Return IV (16 bytes) and cipher key (32), in that order unlike everywhere else (section 5.2)."""
    derived = primitives.hkdf_sha256(None, seed, SENDER_MESSAGE_KEYS, 48)
    return derived[:16], derived[16:]


class OwnSenderKey(NotCopied):
    """Our chain in one group: encrypts, and tells members how to read on from here. Not thread-safe."""

    __slots__ = ("_chain_id", "_chain_key", "_distribution_id", "_iteration", "_signing")

    def __init__(
        self, distribution_id: UUID, chain_id: int, chain_key: bytes, iteration: int, signing: SigningKeyPair
    ) -> None:
        self._distribution_id = distribution_id
        self._chain_id = chain_id
        self._chain_key = chain_key  # 32 bytes, secret
        self._iteration = iteration  # messages encrypted so far
        self._signing = signing

    @classmethod
    def create(cls, distribution_id: UUID, *, entropy: Entropy = os.urandom) -> OwnSenderKey:
        """Make a new chain. Draws *entropy*: 4 bytes for its id, 32 for its key, 32 for the signing key."""
        if not isinstance(distribution_id, UUID):
            raise InvalidArgument("a distribution id is a UUID")
        chain_id = int.from_bytes(draw(entropy, 4), "big") & _CHAIN_ID_MASK
        chain_key = draw(entropy, 32)
        return cls(distribution_id, chain_id, chain_key, 0, SigningKeyPair.from_seed(draw(entropy, 32)))

    @property
    def distribution_id(self) -> UUID:
        """Names this sender's chains in this group; kept when a new chain replaces one."""
        return self._distribution_id

    @property
    def chain_id(self) -> int:
        """Names this chain among the sender's, 31 bits."""
        return self._chain_id

    @property
    def iteration(self) -> int:
        """How many messages have been encrypted."""
        return self._iteration

    def __repr__(self) -> str:
        return f"OwnSenderKey({self._distribution_id}, chain_id={self._chain_id}, iteration={self._iteration})"

    def distribution_message(self) -> bytes:
        """Return what lets a member read the messages from here on, not the earlier ones.

        It holds the chain key in clear: send it in an encrypted session only.
        """
        return DistributionMessage(
            self._distribution_id, self._chain_id, self._iteration, self._chain_key, self._signing.public
        ).encode()

    def encrypt(self, plaintext: bytes, *, entropy: Entropy = os.urandom) -> bytes:
        """Seal and sign *plaintext* (at most 16 MiB) for everybody who has the chain.

        *entropy* (64 bytes) is drawn only if the signing key was loaded from another implementation.
        Raises InvalidArgument, or NoActiveSession when the chain is used up (2^32 messages).
        """
        if type(plaintext) is not bytes:
            raise InvalidArgument("a plaintext must be bytes")
        if len(plaintext) > PLAINTEXT_SIZE_MAX:
            raise InvalidArgument(f"a plaintext of {len(plaintext)} bytes is larger than {PLAINTEXT_SIZE_MAX}")
        if self._iteration >= COUNTER_MAX:
            raise NoActiveSession("the sender key is used up: create and distribute a new one")
        seed, following = chain_step(self._chain_key)
        initialization_vector, key = _message_keys(seed)
        encoded = encode_sender_key_message(
            self._distribution_id.bytes,
            self._chain_id,
            self._iteration,
            primitives.aes_cbc_encrypt(key, initialization_vector, plaintext),
        )
        message = encoded + self._signing.sign(encoded, entropy)
        self._chain_key = following
        self._iteration += 1
        return message

    def to_bytes(self) -> bytes:
        """Pack the chain, keys included; version 1. Seal it before it is stored."""
        return pack(
            [
                _VERSION,
                self._distribution_id.bytes,
                self._chain_id,
                self._iteration,
                self._chain_key,
                *self._signing.secret(),
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> OwnSenderKey:
        """Undo `to_bytes`. Raises CorruptSnapshot, or UnsupportedVersion if a newer release wrote it."""
        distribution_id, chain_id, iteration, chain_key, is_seed, secret = unpack(
            data, version=_VERSION, length=6, size_max=SENDER_KEY_SIZE_MAX, what="sender key"
        )
        return cls(
            UUID(bytes=take_bytes(distribution_id, 16, "distribution id")),
            take_int(chain_id, COUNTER_MAX, "chain id"),
            take_bytes(chain_key, 32, "chain key"),
            take_int(iteration, COUNTER_MAX, "iteration"),
            SigningKeyPair.from_secret(take_bool(is_seed, "signing key"), take_bytes(secret, 32, "signing key")),
        )


class _PeerChain:
    """One chain of the sender's, as far as we have read it."""

    __slots__ = ("_edwards", "chain", "chain_id", "first", "signing_key")

    def __init__(self, chain_id: int, first: int, signing_key: bytes, chain: ReceivingChain) -> None:
        self.chain_id = chain_id
        self.first = first  # the iteration that it was given at
        self.signing_key = signing_key  # 33 bytes, public
        self.chain = chain
        self._edwards: bytes | None = None  # the signing key's Ed25519 form, found when first needed

    def verify(self, message: SenderKeyMessage) -> None:
        """Raise NotAuthentic unless the chain's signing key made the message."""
        if self._edwards is None:
            self._edwards = primitives.edwards_public(self.signing_key[1:])
        primitives.xeddsa_verify_edwards(self._edwards, message.signed, message.signature)


class PeerSenderKey(NotCopied):
    """A sender's chains in one group, up to five: decrypts its messages. Not thread-safe.

    Whatever a method raises, the object is exactly as it was.
    """

    __slots__ = ("_chains", "_distribution_id")

    def __init__(self, distribution_id: UUID, chains: list[_PeerChain]) -> None:
        self._distribution_id = distribution_id
        self._chains = chains  # newest first

    @classmethod
    def from_distribution_message(cls, data: bytes) -> PeerSenderKey:
        """Start from a distribution message that arrived in an encrypted session with its sender.

        Raises MalformedMessage or UnsupportedVersion.
        """
        message = DistributionMessage.parse(data)
        sender_key = cls(message.distribution_id, [])
        sender_key._add(message)
        return sender_key

    @property
    def distribution_id(self) -> UUID:
        """Names the sender's chains in this group."""
        return self._distribution_id

    @property
    def chain_ids(self) -> tuple[int, ...]:
        """The chains that can be read, the newest first."""
        return tuple(chain.chain_id for chain in self._chains)

    def __repr__(self) -> str:
        return f"PeerSenderKey({self._distribution_id}, chain_ids={self.chain_ids})"

    def add_distribution_message(self, data: bytes) -> None:
        """Add a further chain of the same sender and group; the oldest beyond five goes.

        A chain that is known already is never rewound, only moved to the front.
        Raises MalformedMessage (also for another distribution id) or UnsupportedVersion.
        """
        message = DistributionMessage.parse(data)
        if message.distribution_id != self._distribution_id:
            raise MalformedMessage("the distribution message is of another distribution id")
        self._add(message)

    def _add(self, message: DistributionMessage) -> None:
        known = next((chain for chain in self._chains if chain.chain_id == message.chain_id), None)
        if known is None or known.signing_key != message.signing_key:
            chain = ReceivingChain(message.chain_key, message.iteration, {})
            front = _PeerChain(message.chain_id, message.iteration, message.signing_key, chain)
        else:
            front = known
        self._chains = [front, *(chain for chain in self._chains if chain is not known)][:SENDER_KEY_STATES_MAX]

    def first_iteration(self, chain_id: int) -> int:
        """Return the iteration that a chain was given to us at: nothing earlier of it has ever been readable here.

        So `MessageKeyGone` for an earlier message is no duplicate: its sender can only send it again. 0 for a chain
        that was packed in version 1, which does not say. Raises UnknownSenderKey.
        """
        return self._chain(chain_id).first

    def _chain(self, chain_id: int) -> _PeerChain:
        found = next((one for one in self._chains if one.chain_id == chain_id), None)
        if found is None:
            raise UnknownSenderKey(f"chain {chain_id} was not distributed to us")
        return found

    def forget(self, chain_id: int) -> bool:
        """Erase a chain, with the keys kept for late messages of it; False if it is not known.

        Without a chain the key is of no more use: `to_bytes` packs one that `from_bytes` refuses.
        """
        kept = [chain for chain in self._chains if chain.chain_id != chain_id]
        found = len(kept) < len(self._chains)
        self._chains = kept
        return found

    def decrypt(self, body: bytes) -> bytes:
        """Verify and open a message of this sender.

        Raises UnknownSenderKey for a chain that was not distributed, NotAuthentic, MessageKeyGone (a
        duplicate, or too late), TooFarAhead, MalformedMessage or UnsupportedVersion.
        """
        message = SenderKeyMessage.parse(body)
        if message.distribution_id != self._distribution_id:
            raise UnknownSenderKey("the message is of another distribution id")
        sender = self._chain(message.chain_id)
        sender.verify(message)  # before any derivation, so that a forged iteration costs us nothing
        if message.iteration >= COUNTER_MAX:
            raise TooFarAhead("the sender's chain is used up: nothing can follow this message")
        step = sender.chain.plan(message.iteration, FORWARD_JUMP_MAX)
        initialization_vector, key = _message_keys(step.seed)
        plaintext = primitives.aes_cbc_decrypt(key, initialization_vector, message.ciphertext)
        sender.chain.commit(step)
        return plaintext

    def to_bytes(self) -> bytes:
        """Pack all chains, keys included; version 2. Seal it before it is stored."""
        chains = [[one.chain_id, one.first, one.signing_key, *one.chain.to_packed()] for one in self._chains]
        return pack([_PEER_VERSION, self._distribution_id.bytes, chains])

    @classmethod
    def from_bytes(cls, data: bytes) -> PeerSenderKey:
        """Undo `to_bytes`, also of version 1.

        Raises CorruptSnapshot, or UnsupportedVersion if a newer release wrote it.
        """
        version, (distribution_id, packed) = unpack_versions(
            data, oldest=1, newest=_PEER_VERSION, length=2, size_max=SENDER_KEY_SIZE_MAX, what="peer's sender key"
        )
        chains = []
        for one in take_list(packed, "sender key chains", length_max=SENDER_KEY_STATES_MAX):
            if version == 1:
                chain_id, signing_key, *chain = take_list(one, "sender key chain", length=6)
                first = 0
            else:
                chain_id, first, signing_key, *chain = take_list(one, "sender key chain", length=7)
            reading = ReceivingChain.from_packed(chain)
            chains.append(
                _PeerChain(
                    take_int(chain_id, COUNTER_MAX, "chain id"),
                    take_int(first, reading.number, "first iteration"),
                    take_bytes(signing_key, PUBLIC_KEY_SIZE, "signing key"),
                    reading,
                )
            )
        if not chains:
            raise CorruptSnapshot("peer's sender key: no chain")
        return cls(UUID(bytes=take_bytes(distribution_id, 16, "distribution id")), chains)
