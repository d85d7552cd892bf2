"""The ML-KEM braid: both sides agree on one epoch secret after the other (`signal-protocol` 4.5).

The key holder sends a header and a key vector, the encapsulator two ciphertext parts, each as an
erasure-coded stream of 32-byte chunks, one per message. Roles swap with every epoch.

    key holder                                   encapsulator
    KeysUnsampled                                NoHeaderReceived
      │ samples keys, sends Hdr                    │ Hdr complete
    KeysSampled        ──── header ────▶         HeaderReceived
      │ a Ct1 chunk                                │ samples, emits the epoch secret, sends Ct1
    HeaderSent         ◀─── ct1 ────────         Ct1Sampled ───────────────┐
      │ Ct1 complete   ──── vector ────▶           │ vector complete        │ acknowledgement first
    Ct1Received        ──── vector, ack ▶        EkReceivedCt1Sampled    Ct1Acknowledged
      │ a Ct2 chunk                                │ acknowledgement        │ vector complete
    EkSentCt1Received  ◀─── ct2 ────────         Ct2Sampled ◀──────────────┘
      │ Ct2 complete, emits the epoch secret       │ a message of the next epoch
    NoHeaderReceived (epoch + 1)                 KeysUnsampled (epoch + 1)

States are immutable; a transition returns the next one, so nothing changes until the caller keeps it.
A message type that a state has no use for changes nothing and is not an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from ratchet.errors import NotAuthentic
from ratchet.keys import Entropy, draw
from ratchet.labels import BRAID_AUTHENTICATOR, BRAID_CIPHERTEXT, BRAID_EPOCH_SECRET, BRAID_HEADER
from ratchet.primitives import KEM_SEED_SIZE, equal, hkdf_sha256, hmac_sha256, kem_768_decapsulate, kem_768_public

from .erasure import Decoder
from .kem import (
    CIPHERTEXT_1_SIZE,
    CIPHERTEXT_2_SIZE,
    HEADER_SIZE,
    VECTOR_SIZE,
    check_vector,
    encapsulate_1,
    encapsulate_2,
    split_key,
)
from .wire import CT1, CT1_ACK, CT2, EK, EK_CT1_ACK, HEADER, NONE, BraidMessage

__all__ = ["Authenticator", "BraidState", "first_state"]

TAG_SIZE: Final = 32  # bytes; the braid's own MACs are not truncated
SIGNED_HEADER_SIZE: Final = HEADER_SIZE + TAG_SIZE
SIGNED_CIPHERTEXT_2_SIZE: Final = CIPHERTEXT_2_SIZE + TAG_SIZE


@dataclass(frozen=True, slots=True, eq=False)
class Authenticator:
    """The ratcheting MAC key that ties every epoch to all before it."""

    root: bytes = field(repr=False)  # 32 bytes, secret
    mac: bytes = field(repr=False)  # 32 bytes, secret

    @classmethod
    def start(cls, authentication_key: bytes) -> Authenticator:
        """Start with the 32-byte key of the handshake."""
        return cls(bytes(32), bytes(32)).update(1, authentication_key)

    def update(self, epoch: int, secret: bytes) -> Authenticator:
        """Mix in the secret of *epoch*."""
        derived = hkdf_sha256(None, self.root + secret, BRAID_AUTHENTICATOR + epoch.to_bytes(8, "big"), 64)
        return Authenticator(derived[:32], derived[32:])

    def header_tag(self, epoch: int, header: bytes) -> bytes:
        """Return the tag, 32 bytes, of the key holder's header."""
        return hmac_sha256(self.mac, BRAID_HEADER + epoch.to_bytes(8, "big") + header)

    def ciphertext_tag(self, epoch: int, ciphertext: bytes) -> bytes:
        """Return the tag, 32 bytes, of both ciphertext parts; made after this epoch's `update`."""
        return hmac_sha256(self.mac, BRAID_CIPHERTEXT + epoch.to_bytes(8, "big") + ciphertext)


def _epoch_secret(epoch: int, shared_secret: bytes) -> bytes:
    return hkdf_sha256(None, shared_secret, BRAID_EPOCH_SECRET + epoch.to_bytes(8, "big"), 32)


@dataclass(frozen=True, slots=True, eq=False)
class BraidState:
    """What every state has: the epoch being agreed on, and the authenticator.

    `TYPE` is the message type it sends, `blob` what that type's chunks are cut from (empty: none).
    """

    TYPE: ClassVar[int] = NONE
    SECRET_EMITTED: ClassVar[bool] = False  # whether this epoch's secret is in the chains already

    epoch: int
    authenticator: Authenticator

    @property
    def blob(self) -> bytes:
        """What this state's chunks encode; the same object while one stream of chunks runs on."""
        return b""

    def sample(self, entropy: Entropy) -> tuple[BraidState, bytes | None]:  # noqa: ARG002 - two states draw
        """Return the state that sends, and the epoch secret if this step emits it."""
        return self, None

    def receive(self, message: BraidMessage) -> tuple[BraidState, bytes | None]:  # noqa: ARG002 - most states read it
        """Take a message of this epoch; return the next state, and the epoch secret if this step emits it.

        Raises NotAuthentic or MalformedMessage if the peer's key or tag is wrong.
        """
        return self, None


# The key holder's five states.


@dataclass(frozen=True, slots=True, eq=False)
class KeysUnsampled(BraidState):
    """The epoch's key pair is made with the next message sent."""

    def sample(self, entropy: Entropy) -> tuple[BraidState, bytes | None]:
        """Generate the key pair (64 bytes of entropy) and its header."""
        seed = draw(entropy, KEM_SEED_SIZE)
        header, _vector = split_key(kem_768_public(seed))
        tag = self.authenticator.header_tag(self.epoch, header)
        return KeysSampled(self.epoch, self.authenticator, seed, header + tag), None


@dataclass(frozen=True, slots=True, eq=False)
class KeysSampled(BraidState):
    """The header is being sent; the peer has shown no sign of it yet."""

    TYPE: ClassVar[int] = HEADER

    seed: bytes = field(repr=False)  # 64 bytes, secret
    signed_header: bytes  # 96 bytes

    @property
    def blob(self) -> bytes:
        return self.signed_header

    def receive(self, message: BraidMessage) -> tuple[BraidState, bytes | None]:
        """Take the first part of ct1 as the sign that the header has arrived."""
        if message.type != CT1:
            return self, None
        _header, vector = split_key(kem_768_public(self.seed))
        sent = HeaderSent(self.epoch, self.authenticator, self.seed, vector, Decoder(CIPHERTEXT_1_SIZE, {}))
        return sent.receive(message)


@dataclass(frozen=True, slots=True, eq=False)
class HeaderSent(BraidState):
    """The vector is being sent, ct1 is coming in."""

    TYPE: ClassVar[int] = EK

    seed: bytes = field(repr=False)  # 64 bytes, secret
    vector: bytes  # 1,152 bytes
    ciphertext_1: Decoder

    @property
    def blob(self) -> bytes:
        return self.vector

    def receive(self, message: BraidMessage) -> tuple[BraidState, bytes | None]:
        """Collect ct1."""
        if message.type != CT1:
            return self, None
        decoder = self.ciphertext_1.add(message.chunk_index, message.chunk)
        if decoder.complete:
            return Ct1Received(self.epoch, self.authenticator, self.seed, self.vector, decoder.blob()), None
        return HeaderSent(self.epoch, self.authenticator, self.seed, self.vector, decoder), None


@dataclass(frozen=True, slots=True, eq=False)
class Ct1Received(BraidState):
    """ct1 is complete and acknowledged with every further chunk of the vector."""

    TYPE: ClassVar[int] = EK_CT1_ACK

    seed: bytes = field(repr=False)  # 64 bytes, secret
    vector: bytes  # 1,152 bytes
    ciphertext_1: bytes  # 960 bytes

    @property
    def blob(self) -> bytes:
        return self.vector

    def receive(self, message: BraidMessage) -> tuple[BraidState, bytes | None]:
        """Take the first part of ct2 as the sign that the vector has arrived."""
        if message.type != CT2:
            return self, None
        decoder = Decoder(SIGNED_CIPHERTEXT_2_SIZE, {})
        sent = EkSentCt1Received(self.epoch, self.authenticator, self.seed, self.ciphertext_1, decoder)
        return sent.receive(message)


@dataclass(frozen=True, slots=True, eq=False)
class EkSentCt1Received(BraidState):
    """ct2 is coming in."""

    TYPE: ClassVar[int] = CT1_ACK

    seed: bytes = field(repr=False)  # 64 bytes, secret
    ciphertext_1: bytes  # 960 bytes
    ciphertext_2: Decoder

    def receive(self, message: BraidMessage) -> tuple[BraidState, bytes | None]:
        """Collect ct2; when it is complete, decapsulate, check its tag and emit the epoch secret."""
        if message.type != CT2:
            return self, None
        decoder = self.ciphertext_2.add(message.chunk_index, message.chunk)
        if not decoder.complete:
            return EkSentCt1Received(self.epoch, self.authenticator, self.seed, self.ciphertext_1, decoder), None
        signed = decoder.blob()
        ciphertext = self.ciphertext_1 + signed[:CIPHERTEXT_2_SIZE]
        secret = _epoch_secret(self.epoch, kem_768_decapsulate(self.seed, ciphertext))
        authenticator = self.authenticator.update(self.epoch, secret)
        if not equal(authenticator.ciphertext_tag(self.epoch, ciphertext), signed[CIPHERTEXT_2_SIZE:]):
            raise NotAuthentic("the tag of the post-quantum ciphertext is wrong")
        following = NoHeaderReceived(self.epoch + 1, authenticator, Decoder(SIGNED_HEADER_SIZE, {}))
        return following, secret


# The encapsulator's six states.


@dataclass(frozen=True, slots=True, eq=False)
class NoHeaderReceived(BraidState):
    """The header is coming in."""

    signed_header: Decoder

    def receive(self, message: BraidMessage) -> tuple[BraidState, bytes | None]:
        """Collect the header; when it is complete, check its tag."""
        if message.type != HEADER:
            return self, None
        decoder = self.signed_header.add(message.chunk_index, message.chunk)
        if not decoder.complete:
            return NoHeaderReceived(self.epoch, self.authenticator, decoder), None
        signed = decoder.blob()
        header = signed[:HEADER_SIZE]
        if not equal(self.authenticator.header_tag(self.epoch, header), signed[HEADER_SIZE:]):
            raise NotAuthentic("the tag of the post-quantum header is wrong")
        return HeaderReceived(self.epoch, self.authenticator, header), None


@dataclass(frozen=True, slots=True, eq=False)
class HeaderReceived(BraidState):
    """The epoch's shared secret is made with the next message sent."""

    header: bytes  # 64 bytes

    def sample(self, entropy: Entropy) -> tuple[BraidState, bytes | None]:
        """Encapsulate the first half (32 bytes of entropy) and emit the epoch secret."""
        randomness = draw(entropy, 32)
        ciphertext_1, shared_secret = encapsulate_1(self.header, randomness)
        secret = _epoch_secret(self.epoch, shared_secret)
        authenticator = self.authenticator.update(self.epoch, secret)
        decoder = Decoder(VECTOR_SIZE, {})
        return Ct1Sampled(self.epoch, authenticator, self.header, randomness, ciphertext_1, decoder), secret


@dataclass(frozen=True, slots=True, eq=False)
class _AwaitingVector(BraidState):
    """What the two states that collect the vector share."""

    SECRET_EMITTED: ClassVar[bool] = True

    header: bytes  # 64 bytes
    randomness: bytes = field(repr=False)  # 32 bytes, secret: m of the encapsulation
    ciphertext_1: bytes  # 960 bytes
    vector: Decoder

    def _signed_ciphertext_2(self, vector: bytes) -> bytes:
        """Check the vector and encapsulate the second half. Raises MalformedMessage for a false vector."""
        check_vector(self.header, vector)
        ciphertext_2 = encapsulate_2(self.header, self.randomness, vector)
        return ciphertext_2 + self.authenticator.ciphertext_tag(self.epoch, self.ciphertext_1 + ciphertext_2)


@dataclass(frozen=True, slots=True, eq=False)
class Ct1Sampled(_AwaitingVector):
    """ct1 is being sent, the vector is coming in."""

    TYPE: ClassVar[int] = CT1

    @property
    def blob(self) -> bytes:
        return self.ciphertext_1

    def receive(self, message: BraidMessage) -> tuple[BraidState, bytes | None]:
        """Collect the vector; note the acknowledgement of ct1."""
        if message.type not in (EK, EK_CT1_ACK):
            return self, None
        decoder = self.vector.add(message.chunk_index, message.chunk)
        acknowledged = message.type == EK_CT1_ACK
        if decoder.complete:
            signed = self._signed_ciphertext_2(decoder.blob())
            if acknowledged:
                return Ct2Sampled(self.epoch, self.authenticator, signed), None
            return EkReceivedCt1Sampled(self.epoch, self.authenticator, self.ciphertext_1, signed), None
        state = Ct1Acknowledged if acknowledged else Ct1Sampled
        return state(self.epoch, self.authenticator, self.header, self.randomness, self.ciphertext_1, decoder), None


@dataclass(frozen=True, slots=True, eq=False)
class EkReceivedCt1Sampled(BraidState):
    """The vector is complete, ct1 is still being sent."""

    TYPE: ClassVar[int] = CT1
    SECRET_EMITTED: ClassVar[bool] = True

    ciphertext_1: bytes  # 960 bytes
    signed_ciphertext_2: bytes  # 160 bytes

    @property
    def blob(self) -> bytes:
        return self.ciphertext_1

    def receive(self, message: BraidMessage) -> tuple[BraidState, bytes | None]:
        """End the stream of ct1 at either acknowledgement; requiring one of the two kinds could deadlock."""
        if message.type in (CT1_ACK, EK_CT1_ACK):
            return Ct2Sampled(self.epoch, self.authenticator, self.signed_ciphertext_2), None
        return self, None


@dataclass(frozen=True, slots=True, eq=False)
class Ct1Acknowledged(_AwaitingVector):
    """ct1 has arrived, the vector is still coming in."""

    def receive(self, message: BraidMessage) -> tuple[BraidState, bytes | None]:
        """Collect the vector."""
        if message.type not in (EK, EK_CT1_ACK):
            return self, None
        decoder = self.vector.add(message.chunk_index, message.chunk)
        if decoder.complete:
            signed = self._signed_ciphertext_2(decoder.blob())
            return Ct2Sampled(self.epoch, self.authenticator, signed), None
        following = Ct1Acknowledged(
            self.epoch, self.authenticator, self.header, self.randomness, self.ciphertext_1, decoder
        )
        return following, None


@dataclass(frozen=True, slots=True, eq=False)
class Ct2Sampled(BraidState):
    """ct2 is being sent until the peer shows that it has entered the next epoch."""

    TYPE: ClassVar[int] = CT2
    SECRET_EMITTED: ClassVar[bool] = True

    signed_ciphertext_2: bytes  # 160 bytes

    @property
    def blob(self) -> bytes:
        return self.signed_ciphertext_2

    def next_epoch(self) -> KeysUnsampled:
        """Return the state after a message of the next epoch: roles have swapped."""
        return KeysUnsampled(self.epoch + 1, self.authenticator)


def first_state(authentication_key: bytes, *, initiator: bool) -> BraidState:
    """Return the state of epoch 1, whose keys the initiator of the session holds."""
    authenticator = Authenticator.start(authentication_key)
    if initiator:
        return KeysUnsampled(1, authenticator)
    return NoHeaderReceived(1, authenticator, Decoder(SIGNED_HEADER_SIZE, {}))
