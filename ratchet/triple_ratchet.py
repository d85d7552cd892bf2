"""One ratchet with a peer device: the double and the post-quantum ratchet combined, cipher and tag.

A message's keys need both ratchets: the double ratchet's seed is the input, the post-quantum key the
salt. `encrypt` and `plan` + `commit` keep the rule of the package: whatever is raised, nothing has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import chains
from .address import Address, address_binding
from .clock import TIME_MAX
from .double_ratchet import DoubleRatchet, ReceivingStep, SendingHalf
from .errors import MessageKeyGone, NotAuthentic
from .keys import KEM_CIPHERTEXT_SIZE, PUBLIC_KEY_SIZE, Entropy
from .limits import COUNTER_MAX
from .messages import (
    VERSION_PQXDH,
    VERSION_X3DH,
    Ciphertext,
    CiphertextKind,
    PendingPreKey,
    SignalMessage,
    encode_signal_message,
)
from .packing import take_bool, take_bytes, take_int, take_list, take_optional_bytes
from .primitives import equal
from .spqr.ratchet import BraidStep, PostQuantumRatchet

if TYPE_CHECKING:
    from .spqr.chain import ReceivingStep as PostQuantumKeyStep

__all__ = ["OpenedMessage", "Peers", "Ratchet"]


class Peers:
    """The two ends of a session, as tags and address bindings cover them."""

    __slots__ = ("receiving", "receiving_binding", "sending", "sending_binding")

    def __init__(
        self, local_identity: bytes, remote_identity: bytes, local: Address | None, remote: Address | None
    ) -> None:
        self.sending = local_identity + remote_identity  # what a tag of ours covers before the message, 66 bytes
        self.receiving = remote_identity + local_identity  # and a tag of the peer's
        self.sending_binding = address_binding(local, remote)  # 36 bytes, or None unless both names are service ids
        self.receiving_binding = address_binding(remote, local)


class OpenedMessage:
    """A plaintext, and what the ratchet will change when it is kept."""

    __slots__ = ("answer", "braid_step", "key_step", "plaintext", "step")

    def __init__(
        self,
        plaintext: bytes,
        step: ReceivingStep,
        answer: SendingHalf | None,
        key_step: PostQuantumKeyStep | None,
        braid_step: BraidStep | None,
    ) -> None:
        self.plaintext = plaintext
        self.step = step
        self.answer = answer
        self.key_step = key_step
        self.braid_step = braid_step


class Ratchet:
    """State of one ratchet, identified by its version and the initiator's base key."""

    __slots__ = (
        "base_key",
        "created_at",
        "double",
        "one_time_prekey_used",
        "pending",
        "post_quantum",
        "remote_registration_id",
        "version",
    )

    def __init__(
        self,
        *,
        version: int,
        base_key: bytes,
        remote_registration_id: int,
        double: DoubleRatchet,
        post_quantum: PostQuantumRatchet | None,
        pending: PendingPreKey | None,
        created_at: int,
        one_time_prekey_used: bool,
    ) -> None:
        self.version = version
        self.base_key = base_key  # 33 bytes
        self.remote_registration_id = remote_registration_id
        self.double = double
        self.post_quantum = post_quantum  # None: version 3, or a version-4 session without SPQR
        self.pending = pending  # what we repeat as initiator until the peer answers
        self.created_at = created_at  # seconds since 1970; tells when an unanswered initiation is too old
        self.one_time_prekey_used = one_time_prekey_used  # without one, a replayed first message is only remembered

    def encrypt(self, plaintext: bytes, peers: Peers, entropy: Entropy) -> Ciphertext:
        """Seal the next message. Raises NoActiveSession if a chain is used up."""
        double = self.double
        seed, chain_key = double.plan_send()
        sending = double.sending
        pending = self.pending
        binding = peers.sending_binding if pending is not None else None
        if self.post_quantum is None:
            post_quantum_step = None
            keys = chains.message_keys(seed, None)
            pq_message = b""
        else:
            post_quantum_step = self.post_quantum.plan_send(entropy)
            keys = chains.message_keys(seed, post_quantum_step.key)
            pq_message = post_quantum_step.encoded
        encoded = encode_signal_message(
            self.version,
            sending.pair.public,
            sending.number,
            sending.previous_number,
            chains.seal_message(keys, plaintext),
            pq_message,
            binding,
        )
        body = encoded + chains.tag(keys, peers.sending, encoded)
        double.commit_send(chain_key)
        if self.post_quantum is not None and post_quantum_step is not None:
            self.post_quantum.commit_send(post_quantum_step)
        if pending is None:
            return Ciphertext(CiphertextKind.SIGNAL, body)
        return Ciphertext(CiphertextKind.PREKEY, pending.wrap(self.version, body))

    def knows(self, message: SignalMessage) -> bool:
        """Whether *message* stands under a ratchet key that this ratchet has received: no other can open it."""
        return message.ratchet_key in self.double.receiving

    def plan(
        self, message: SignalMessage, peers: Peers, entropy: Entropy, *, new_chain_max: int | None = None
    ) -> OpenedMessage:
        """Open *message* without changing anything.

        *new_chain_max* lowers the number of messages that may be missing in a chain that is new.
        Raises NotAuthentic, MessageKeyGone, TooFarAhead, MalformedMessage or UnsupportedVersion.
        """
        post_quantum = self.post_quantum
        braid_message = key_step = None
        self.double.require_near(message.ratchet_key, message.counter)
        if post_quantum is not None:
            try:
                if new_chain_max is not None and not self.knows(message):
                    post_quantum.require_near(message.pq_ratchet, new_chain_max)
                braid_message, key_step = post_quantum.plan_key(message.pq_ratchet)
            except MessageKeyGone as cause:
                if self.knows(message):
                    raise
                # Under a ratchet key never seen here, it is another ratchet's message that looks used.
                raise NotAuthentic("the message does not belong to this ratchet") from cause
        step = self.double.plan_receive(message.ratchet_key, message.counter, new_chain_max)
        keys = chains.message_keys(step.chain_step.seed, None if key_step is None else key_step.key)
        if not equal(chains.tag(keys, peers.receiving, message.authenticated), message.tag):
            raise NotAuthentic("the message's tag is wrong")
        # An absent binding is an old client's; a present one must be ours, whatever its length.
        if message.addresses is not None and (
            peers.receiving_binding is None or not equal(message.addresses, peers.receiving_binding)
        ):
            raise NotAuthentic("the message is bound to other addresses than this session's local and remote")
        plaintext = chains.open_message(keys, message.ciphertext)
        braid_step = None
        if post_quantum is not None and braid_message is not None:
            braid_step = post_quantum.plan_braid(braid_message)
        answer = self.double.answer(step, entropy) if step.new_root_key is not None else None
        return OpenedMessage(plaintext, step, answer, key_step, braid_step)

    def commit(self, opened: OpenedMessage) -> None:
        """Make what `plan` returned the state. The peer has answered: nothing is pending any longer."""
        self.double.commit_receive(opened.step, opened.answer)
        if self.post_quantum is not None and opened.key_step is not None:
            self.post_quantum.commit_receive(opened.key_step, opened.braid_step)
        self.pending = None

    def to_packed(self) -> list[Any]:
        """Return the state as plain values for `packing`."""
        pending = self.pending
        return [
            self.version,
            self.base_key,
            self.remote_registration_id,
            self.created_at,
            self.one_time_prekey_used,
            self.double.to_packed(),
            None if self.post_quantum is None else self.post_quantum.to_packed(),
            None
            if pending is None
            else [
                pending.registration_id,
                pending.one_time_prekey_id,
                pending.signed_prekey_id,
                pending.kem_prekey_id,
                pending.kem_ciphertext,
            ],
        ]

    @classmethod
    def from_packed(cls, value: object, local_identity: bytes) -> Ratchet:
        """Undo `to_packed`. Raises CorruptSnapshot."""
        version, base_key, registration_id, created_at, one_time, double, post_quantum, pending = take_list(
            value, "ratchet", length=8
        )
        base = take_bytes(base_key, PUBLIC_KEY_SIZE, "base key")
        return cls(
            version=take_int(version, VERSION_PQXDH, "session version", minimum=VERSION_X3DH),
            base_key=base,
            remote_registration_id=take_int(registration_id, COUNTER_MAX, "registration id"),
            double=DoubleRatchet.from_packed(double),
            post_quantum=None if post_quantum is None else PostQuantumRatchet.from_packed(post_quantum),
            pending=None if pending is None else _pending(pending, base, local_identity),
            created_at=take_int(created_at, TIME_MAX, "time of creation"),
            one_time_prekey_used=take_bool(one_time, "one-time prekey used"),
        )


def _pending(value: object, base_key: bytes, local_identity: bytes) -> PendingPreKey:
    registration_id, one_time_prekey_id, signed_prekey_id, kem_prekey_id, kem_ciphertext = take_list(
        value, "pending prekey", length=5
    )
    return PendingPreKey(
        take_int(registration_id, COUNTER_MAX, "registration id"),
        None if one_time_prekey_id is None else take_int(one_time_prekey_id, COUNTER_MAX, "one-time prekey id"),
        take_int(signed_prekey_id, COUNTER_MAX, "signed prekey id"),
        None if kem_prekey_id is None else take_int(kem_prekey_id, COUNTER_MAX, "KEM prekey id"),
        take_optional_bytes(kem_ciphertext, KEM_CIPHERTEXT_SIZE, "KEM ciphertext"),
        base_key,
        local_identity,
    )
