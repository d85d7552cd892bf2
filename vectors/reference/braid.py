"""The braid: a continuous ML-KEM-768 key agreement, its messages cut into chunks of an erasure code.

One object per side, in one of eleven states. In odd epochs A holds the key and B encapsulates, in even ones the
other way round. `SENDS` and the table in
`Braid.receive` are the whole state machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from vectors.reference import chains, kem
from vectors.reference.erasure import Decoder, Encoder
from vectors.reference.faults import Fault, Refused
from vectors.reference.messages import PqType

if TYPE_CHECKING:
    from collections.abc import Callable

    Chunk = tuple[int, bytes] | None  # index and 32 bytes

MAC_SIZE: Final = 32
HEADER_BLOB_SIZE: Final = 64 + MAC_SIZE  # 3 chunks
KEY_BLOB_SIZE: Final = 1152  # 36 chunks
CT1_BLOB_SIZE: Final = 960  # 30 chunks
CT2_BLOB_SIZE: Final = 128 + MAC_SIZE  # 5 chunks


class State(Enum):
    """What this side knows in the current epoch."""

    KEYS_UNSAMPLED = "KeysUnsampled"
    KEYS_SAMPLED = "KeysSampled"
    HEADER_SENT = "HeaderSent"
    CT1_RECEIVED = "Ct1Received"
    EK_SENT_CT1_RECEIVED = "EkSentCt1Received"
    NO_HEADER_RECEIVED = "NoHeaderReceived"
    HEADER_RECEIVED = "HeaderReceived"
    CT1_SAMPLED = "Ct1Sampled"
    EK_RECEIVED_CT1_SAMPLED = "EkReceivedCt1Sampled"
    CT1_ACKNOWLEDGED = "Ct1Acknowledged"
    CT2_SAMPLED = "Ct2Sampled"


SENDS: Final = {
    State.KEYS_SAMPLED: PqType.HEADER,
    State.HEADER_SENT: PqType.KEY,
    State.CT1_RECEIVED: PqType.KEY_AND_CT1_ACK,
    State.EK_SENT_CT1_RECEIVED: PqType.CT1_ACK,
    State.NO_HEADER_RECEIVED: PqType.NONE,
    State.CT1_SAMPLED: PqType.CT1,
    State.EK_RECEIVED_CT1_SAMPLED: PqType.CT1,
    State.CT1_ACKNOWLEDGED: PqType.NONE,
    State.CT2_SAMPLED: PqType.CT2,
}
# The two states missing above draw entropy and go on to one that stands there.


@dataclass(frozen=True, slots=True)
class EpochSecret:
    """The end of one key agreement."""

    epoch: int
    secret: bytes


class Authenticator:
    """Tags headers and ciphertexts with a key that takes in every epoch's secret."""

    def __init__(self, auth_key: bytes) -> None:
        self._root = self._mac_key = bytes(32)
        self.update(1, auth_key)

    def update(self, epoch: int, key: bytes) -> None:
        """Take in the handshake's key (epoch 1) or an epoch's secret."""
        self._root, self._mac_key = chains.pq_authenticator_update(self._root, epoch, key)

    def header_mac(self, epoch: int, header: bytes) -> bytes:
        """Return the tag of a header."""
        return chains.pq_mac(self._mac_key, b"ekheader", epoch, header)

    def ciphertext_mac(self, epoch: int, ciphertext: bytes) -> bytes:
        """Return the tag of a whole ciphertext."""
        return chains.pq_mac(self._mac_key, b"ciphertext", epoch, ciphertext)


class Braid:
    """One side of the key agreement."""

    def __init__(self, auth_key: bytes, *, is_a: bool) -> None:
        self.epoch = 1
        self.state = State.KEYS_UNSAMPLED if is_a else State.NO_HEADER_RECEIVED
        self._authenticator = Authenticator(auth_key)
        self._encoders: dict[PqType, Encoder] = {}
        # The key holder's
        self._keys: kem.BraidKeyPair | None = None
        # The encapsulator's
        self._header = b""
        self._key_vector: bytes | None = None
        self._randomness = b""
        # Both
        self._ct1 = b""
        self._decoders = _decoders()

    # Sending

    def send(self, entropy: Callable[[int], bytes]) -> tuple[PqType, Chunk, EpochSecret | None]:
        """Return (type, chunk, secret of the epoch if it is known from now on)."""
        emitted = None
        if self.state is State.KEYS_UNSAMPLED:
            self._sample_keys(entropy(kem.SEED_SIZE))
        elif self.state is State.HEADER_RECEIVED:
            emitted = self._encapsulate(entropy(kem.RANDOMNESS_SIZE))
        message_type = SENDS[self.state]
        encoder = self._encoders.get(message_type)
        return message_type, None if encoder is None else encoder.next_chunk(), emitted

    def skip(self, count: int) -> None:
        """Pass over *count* further messages of the state in which `send` has left this side."""
        encoder = self._encoders.get(SENDS[self.state])
        if encoder is not None:
            encoder.skip(count)

    def _sample_keys(self, seed: bytes) -> None:
        self._keys = kem.braid_key_pair(seed)
        header = self._keys.header
        self._encoders = {PqType.HEADER: Encoder(header + self._authenticator.header_mac(self.epoch, header))}
        self.state = State.KEYS_SAMPLED

    def _encapsulate(self, randomness: bytes) -> EpochSecret:
        shared, self._ct1 = kem.encapsulate_first(self._header, randomness)
        self._randomness = randomness
        self._encoders = {PqType.CT1: Encoder(self._ct1)}
        self.state = State.CT1_SAMPLED
        return self._agree(shared)

    def _agree(self, shared: bytes) -> EpochSecret:
        secret = chains.pq_epoch_secret(shared, self.epoch)
        self._authenticator.update(self.epoch, secret)
        return EpochSecret(self.epoch, secret)

    # Receiving

    def receive(self, epoch: int, message_type: PqType, chunk: Chunk) -> EpochSecret | None:
        """Take one message; return the epoch's secret if it is known from now on. Raises Refused."""
        if epoch < self.epoch:
            return None
        if epoch > self.epoch:
            if self.state is not State.CT2_SAMPLED or epoch != self.epoch + 1:
                raise Refused(Fault.PQ_EPOCH_AHEAD)
            self._begin_epoch(State.KEYS_UNSAMPLED)
            return None
        receives: dict[tuple[State, PqType], Callable[[Chunk], EpochSecret | None]] = {
            (State.KEYS_SAMPLED, PqType.CT1): self._first_ct1,
            (State.HEADER_SENT, PqType.CT1): self._next_ct1,
            (State.CT1_RECEIVED, PqType.CT2): self._first_ct2,
            (State.EK_SENT_CT1_RECEIVED, PqType.CT2): self._next_ct2,
            (State.NO_HEADER_RECEIVED, PqType.HEADER): self._next_header,
            (State.CT1_SAMPLED, PqType.KEY): self._next_key,
            (State.CT1_SAMPLED, PqType.KEY_AND_CT1_ACK): self._next_key_and_ack,
            (State.EK_RECEIVED_CT1_SAMPLED, PqType.KEY_AND_CT1_ACK): self._ack_after_key,
            (State.EK_RECEIVED_CT1_SAMPLED, PqType.CT1_ACK): self._ack_after_key,
            (State.CT1_ACKNOWLEDGED, PqType.KEY): self._key_after_ack,
            (State.CT1_ACKNOWLEDGED, PqType.KEY_AND_CT1_ACK): self._key_after_ack,
        }
        # In every pair that is not here the message changes nothing; its key is delivered all the same.
        handler = receives.get((self.state, message_type))
        return None if handler is None else handler(chunk)

    def _begin_epoch(self, state: State) -> None:
        self.epoch += 1
        self.state = state
        self._encoders = {}
        self._keys = None
        self._header = self._randomness = self._ct1 = b""
        self._key_vector = None
        self._decoders = _decoders()

    def _add(self, blob: PqType, chunk: Chunk) -> bytes | None:
        if chunk is None:
            raise Refused(Fault.PQ_CHUNK)
        return self._decoders[blob].add(chunk)

    # ... by the key holder

    def _first_ct1(self, chunk: Chunk) -> None:
        if self._keys is None:
            raise RuntimeError("this state has keys")
        key = Encoder(self._keys.vector)
        # One stream of chunks under two names: the second also says that ct1 has arrived.
        self._encoders = {PqType.KEY: key, PqType.KEY_AND_CT1_ACK: key}
        self.state = State.HEADER_SENT
        self._next_ct1(chunk)

    def _next_ct1(self, chunk: Chunk) -> None:
        ct1 = self._add(PqType.CT1, chunk)
        if ct1 is not None:
            self._ct1 = ct1
            self.state = State.CT1_RECEIVED

    def _first_ct2(self, chunk: Chunk) -> EpochSecret | None:
        self.state = State.EK_SENT_CT1_RECEIVED
        return self._next_ct2(chunk)

    def _next_ct2(self, chunk: Chunk) -> EpochSecret | None:
        blob = self._add(PqType.CT2, chunk)
        if blob is None:
            return None
        if self._keys is None:
            raise RuntimeError("this state has keys")
        ciphertext, mac = self._ct1 + blob[:-MAC_SIZE], blob[-MAC_SIZE:]
        emitted = self._agree(kem.decapsulate(self._keys, ciphertext))
        if mac != self._authenticator.ciphertext_mac(self.epoch, ciphertext):
            raise Refused(Fault.PQ_CIPHERTEXT_MAC)
        self._begin_epoch(State.NO_HEADER_RECEIVED)
        return emitted

    # ... by the encapsulator

    def _next_header(self, chunk: Chunk) -> None:
        blob = self._add(PqType.HEADER, chunk)
        if blob is None:
            return
        header, mac = blob[:-MAC_SIZE], blob[-MAC_SIZE:]
        if mac != self._authenticator.header_mac(self.epoch, header):
            raise Refused(Fault.PQ_HEADER_MAC)
        self._header = header
        self.state = State.HEADER_RECEIVED

    def _next_key(self, chunk: Chunk) -> None:
        self._key_vector = self._add(PqType.KEY, chunk)
        if self._key_vector is not None:
            # A forged key must be refused when it is complete, not when the acknowledgement comes.
            kem.encapsulate_second(self._header, self._key_vector, self._randomness)
            self.state = State.EK_RECEIVED_CT1_SAMPLED

    def _next_key_and_ack(self, chunk: Chunk) -> None:
        self._next_key(chunk)
        if self._key_vector is None:
            self.state = State.CT1_ACKNOWLEDGED
        else:
            self._send_ct2()

    def _key_after_ack(self, chunk: Chunk) -> None:
        self._next_key(chunk)
        if self._key_vector is not None:
            self._send_ct2()

    def _ack_after_key(self, _chunk: Chunk) -> None:
        self._send_ct2()

    def _send_ct2(self) -> None:
        if self._key_vector is None:
            raise RuntimeError("this state has the key")
        ct2 = kem.encapsulate_second(self._header, self._key_vector, self._randomness)
        mac = self._authenticator.ciphertext_mac(self.epoch, self._ct1 + ct2)
        self._encoders = {PqType.CT2: Encoder(ct2 + mac)}
        self.state = State.CT2_SAMPLED


def _decoders() -> dict[PqType, Decoder]:
    return {
        PqType.HEADER: Decoder(HEADER_BLOB_SIZE),
        PqType.KEY: Decoder(KEY_BLOB_SIZE),
        PqType.CT1: Decoder(CT1_BLOB_SIZE),
        PqType.CT2: Decoder(CT2_BLOB_SIZE),
    }
