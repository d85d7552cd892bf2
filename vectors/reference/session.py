"""Everything shared with one peer device: the current ratchet, archived ones, and how messages choose among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vectors.reference import handshake
from vectors.reference.double_ratchet import Address, Draft, Parties, Ratchet
from vectors.reference.faults import Fault, Refused
from vectors.reference.handshake import Bundle, KeyPair, PreKeys
from vectors.reference.messages import PreKeyMessage, SignalMessage
from vectors.reference.primitives import clamp

if TYPE_CHECKING:
    from collections.abc import Callable

    Entropy = Callable[[int], bytes]

SIGNAL: Final = 2  # message types, as on Signal's envelopes
PREKEY: Final = 3
ARCHIVED_MAX: Final = 40
UNANSWERED_AGE_MAX: Final = 30 * 24 * 60 * 60  # seconds


@dataclass(frozen=True, slots=True)
class Pending:
    """What every message repeats until the peer has answered."""

    one_time_prekey_id: int | None
    signed_prekey_id: int
    kem_prekey_id: int | None
    kem_ciphertext: bytes | None
    created: float  # seconds


@dataclass(frozen=True, slots=True)
class Held:
    """A ratchet in a session."""

    ratchet: Ratchet
    pending: Pending | None


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """What the initiator's KEM gave."""

    ciphertext: bytes  # 1,568
    secret: bytes  # 32


class Session:
    """One device's side of everything with one peer device."""

    def __init__(
        self,
        own: PreKeys,
        local: Address | None,
        remote: Address | None,
        *,
        allow_x3dh: bool,
        allow_without_spqr: bool = False,
    ) -> None:
        self._own = own
        self._local = local
        self._remote = remote
        self._allow_x3dh = allow_x3dh
        self._allow_without_spqr = allow_without_spqr
        self._remote_identity: bytes | None = None  # raw; known from the first handshake on
        self._current: Held | None = None
        self._archived: list[Held] = []  # newest first

    # Starting

    def initiate(
        self,
        bundle: Bundle,
        encapsulation: Encapsulation | None,
        entropy: Entropy,
        now: float,
        *,
        with_pq: bool = True,
    ) -> None:
        """Archive the current ratchet and start another. Entropy: base key 32, ratchet key 32. Raises Refused."""
        bundle.check()
        if bundle.version == 3 and not self._allow_x3dh:
            raise Refused(Fault.X3DH_REFUSED)
        self._check_identity(bundle.identity_key)
        base = KeyPair.from_private(clamp(entropy(32)))
        ratchet_pair = KeyPair.from_private(clamp(entropy(32)))
        secret = None if encapsulation is None else encapsulation.secret
        agreement = handshake.initiate(self._own.identity, base, bundle, secret)
        ratchet = Ratchet.initiate(
            self._parties(bundle.identity_key),
            agreement,
            base_key=base.public,
            signed_prekey=bundle.signed_prekey,
            ratchet_pair=ratchet_pair,
            with_pq=with_pq,
        )
        ciphertext = None if encapsulation is None else encapsulation.ciphertext
        pending = Pending(bundle.one_time_prekey_id, bundle.signed_prekey_id, bundle.kem_prekey_id, ciphertext, now)
        self.archive()
        self._current = Held(ratchet, pending)
        self._remote_identity = bundle.identity_key

    def archive(self) -> None:
        """Keep the current ratchet for reading only."""
        if self._current is not None:
            self._archived = [Held(self._current.ratchet, None), *self._archived][:ARCHIVED_MAX]
            self._current = None

    def forget(self) -> None:
        """Drop everything shared with the peer, as if its record were lost; the own prekeys stay as they are."""
        self._remote_identity = None
        self._current = None
        self._archived = []

    def _check_identity(self, remote_identity: bytes) -> None:
        if self._remote_identity not in (None, remote_identity):
            raise Refused(Fault.IDENTITY_CHANGED)

    def _parties(self, remote_identity: bytes) -> Parties:
        return Parties(self._own.identity.public, remote_identity, self._local, self._remote)

    @property
    def ratchet(self) -> Ratchet:
        """The current ratchet. Raises Refused(NO_SESSION)."""
        if self._current is None:
            raise Refused(Fault.NO_SESSION)
        return self._current.ratchet

    # Sending

    def encrypt(self, plaintext: bytes, entropy: Entropy, now: float) -> tuple[int, bytes]:
        """Return (message type, wire form). Raises Refused(NO_SESSION)."""
        first, draft = self.draft(entropy, now)
        body = draft.encode(plaintext)
        if first is None:
            return SIGNAL, body
        return PREKEY, replace(first, message=body).encode()

    def draft(self, entropy: Entropy, now: float) -> tuple[PreKeyMessage | None, Draft]:
        """Return what the next message is made from: the outer message, if one is due, and the inner one."""
        self._check_age(now)
        ratchet = self.ratchet
        pending = None if self._current is None else self._current.pending
        draft = ratchet.draft(entropy, with_addresses=pending is not None)
        if pending is None:
            return None, draft
        return PreKeyMessage(
            version=ratchet.version,
            registration_id=self._own.registration_id,
            one_time_prekey_id=pending.one_time_prekey_id,
            signed_prekey_id=pending.signed_prekey_id,
            kem_prekey_id=pending.kem_prekey_id,
            kem_ciphertext=pending.kem_ciphertext,
            base_key=ratchet.base_key,
            identity_key=self._own.identity.public,
            message=b"",
        ), draft

    def skip(self, count: int, entropy: Entropy, now: float) -> None:
        """Encrypt *count* (at least 1) messages that are lost. Raises Refused(NO_SESSION)."""
        self._check_age(now)
        self.ratchet.skip(count, entropy)

    def _check_age(self, now: float) -> None:
        pending = None if self._current is None else self._current.pending
        if pending is not None and now - pending.created > UNANSWERED_AGE_MAX:
            raise Refused(Fault.NO_SESSION)

    # Receiving

    def decrypt(self, message_type: int, body: bytes, entropy: Entropy) -> bytes:
        """Return the plaintext. Raises Refused, and is then unchanged."""
        if message_type == PREKEY:
            return self._decrypt_first(PreKeyMessage.decode(body), entropy)
        message = SignalMessage.decode(body)
        refusal = None
        for candidate in [self._current, *self._archived]:
            if candidate is None or candidate.ratchet.version != message.version:
                continue
            try:
                after, plaintext = candidate.ratchet.decrypt(message, entropy)
            except Refused as error:
                if error.fault is Fault.KEY_GONE:
                    # Only the ratchet that the message belongs to knows its chain: this is a duplicate.
                    raise
                # What the current ratchet says is what the caller should know.
                refusal = refusal or error
                continue
            self._promote(candidate, Held(after, None))
            return plaintext
        raise refusal or Refused(Fault.NO_SESSION)

    def _promote(self, before: Held, after: Held) -> None:
        if before is not self._current:
            self._archived = [held for held in self._archived if held is not before]
            self.archive()
        self._current = after

    def _decrypt_first(self, first: PreKeyMessage, entropy: Entropy) -> bytes:
        message = SignalMessage.decode(first.message)
        self._check_identity(first.identity_key)
        if message.version != first.version:
            raise Refused(Fault.VERSION_OTHER)
        for held in [self._current, *self._archived]:
            if held and (held.ratchet.version, held.ratchet.base_key) == (first.version, first.base_key):
                after, plaintext = held.ratchet.decrypt(message, entropy)
                self._promote(held, Held(after, None))
                return plaintext
        if first.version == 3 and not self._allow_x3dh:
            raise Refused(Fault.X3DH_REFUSED)
        with_pq = bool(message.pq_ratchet)
        if first.version == 4 and not with_pq and not self._allow_without_spqr:
            raise Refused(Fault.PQ_VERSION)
        agreement, signed = self._own.respond(first)
        parties = self._parties(first.identity_key)
        ratchet = Ratchet.accept(parties, agreement, base_key=first.base_key, signed_pair=signed, with_pq=with_pq)
        after, plaintext = ratchet.decrypt(message, entropy)
        self.archive()
        self._current = Held(after, None)
        self._remote_identity = first.identity_key
        self._own.consume(first)
        return plaintext
