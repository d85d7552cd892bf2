"""X3DH (version 3) and PQXDH (version 4): the secrets of both roles, and the prekeys that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vectors.reference import chains, edwards, kem
from vectors.reference.faults import Fault, Refused
from vectors.reference.messages import KYBER_TYPE, serialise_key
from vectors.reference.primitives import x25519, x25519_public

if TYPE_CHECKING:
    from vectors.reference.messages import PreKeyMessage

DISCONTINUITY: Final = b"\xff" * 32  # before the secrets: no other use of an X25519 key hashes these bytes first


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair, raw."""

    private: bytes
    public: bytes

    @classmethod
    def from_private(cls, private: bytes) -> KeyPair:
        """Compute the public half of a clamped private key."""
        return cls(private, x25519_public(private))


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the initiator knows of the other device; raw keys."""

    registration_id: int
    device_id: int
    identity_key: bytes
    signed_prekey_id: int
    signed_prekey: bytes
    signed_prekey_signature: bytes
    kem_prekey_id: int | None = None
    kem_prekey: bytes | None = None
    kem_prekey_signature: bytes | None = None
    one_time_prekey_id: int | None = None
    one_time_prekey: bytes | None = None

    @property
    def version(self) -> int:
        """4 with a KEM prekey, else 3."""
        return 3 if self.kem_prekey is None else 4

    def check(self) -> None:
        """Verify the identity's signatures. Raises Refused(SIGNATURE)."""
        edwards.verify(self.identity_key, serialise_key(self.signed_prekey), self.signed_prekey_signature)
        if self.kem_prekey is not None:
            signature = self.kem_prekey_signature or b""
            edwards.verify(self.identity_key, bytes([KYBER_TYPE]) + self.kem_prekey, signature)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Every intermediate value of one handshake."""

    diffie_hellman: tuple[bytes, ...]  # three or four, in the order in which they are concatenated
    kem_secret: bytes | None
    root_key: bytes
    chain_key: bytes
    pq_auth_key: bytes | None

    @classmethod
    def derive(cls, diffie_hellman: tuple[bytes, ...], kem_secret: bytes | None) -> Agreement:
        """Concatenate and hash."""
        secret_input = DISCONTINUITY + b"".join(diffie_hellman) + (kem_secret or b"")
        root_key, chain_key, pq_auth_key = chains.handshake_keys(3 if kem_secret is None else 4, secret_input)
        return cls(diffie_hellman, kem_secret, root_key, chain_key, pq_auth_key)


def initiate(identity: KeyPair, base: KeyPair, bundle: Bundle, kem_secret: bytes | None) -> Agreement:
    """Compute the initiator's side; *kem_secret* is Kyber1024's shared secret for the bundle's KEM prekey."""
    diffie_hellman = [
        x25519(identity.private, bundle.signed_prekey),
        x25519(base.private, bundle.identity_key),
        x25519(base.private, bundle.signed_prekey),
    ]
    if bundle.one_time_prekey is not None:
        diffie_hellman.append(x25519(base.private, bundle.one_time_prekey))
    return Agreement.derive(tuple(diffie_hellman), kem_secret)


def respond(
    identity: KeyPair, signed: KeyPair, one_time: KeyPair | None, kem_seed: bytes | None, message: PreKeyMessage
) -> Agreement:
    """Compute the responder's side of a first message. Raises Refused."""
    edwards.check_base_key(message.base_key)
    diffie_hellman = [
        x25519(signed.private, message.identity_key),
        x25519(identity.private, message.base_key),
        x25519(signed.private, message.base_key),
    ]
    if one_time is not None:
        diffie_hellman.append(x25519(one_time.private, message.base_key))
    kem_secret = None
    if kem_seed is not None and message.kem_ciphertext is not None:
        kem_secret = kem.kyber1024_decapsulate(kem_seed, message.kem_ciphertext)
    return Agreement.derive(tuple(diffie_hellman), kem_secret)


class PreKeys:
    """One device's own keys, as a session needs them."""

    def __init__(
        self,
        *,
        identity: KeyPair,
        registration_id: int,
        signed: dict[int, KeyPair],
        one_time: dict[int, KeyPair],
        kem_seeds: dict[int, bytes],
        last_resort: frozenset[int] = frozenset(),
    ) -> None:
        self.identity = identity
        self.registration_id = registration_id
        self.signed = signed
        self.one_time = one_time
        self.kem_seeds = kem_seeds
        self.last_resort = last_resort  # ids of KEM prekeys that are not deleted when used
        self._used: set[tuple[int, int, bytes]] = set()  # (KEM id, signed id, base key) of last-resort keys

    def respond(self, message: PreKeyMessage) -> tuple[Agreement, KeyPair]:
        """Return (agreement, signed prekey). Raises Refused; changes nothing."""
        try:
            signed = self.signed[message.signed_prekey_id]
            one_time = None if message.one_time_prekey_id is None else self.one_time[message.one_time_prekey_id]
            kem_seed = None if message.kem_prekey_id is None else self.kem_seeds[message.kem_prekey_id]
        except KeyError as error:
            raise Refused(Fault.PRE_KEY_UNKNOWN) from error
        if self._use_of(message) in self._used:
            raise Refused(Fault.BASE_KEY_REUSED)
        return respond(self.identity, signed, one_time, kem_seed, message), signed

    def consume(self, message: PreKeyMessage) -> None:
        """Delete what a verified first message used up, or remember its use."""
        if message.one_time_prekey_id is not None:
            del self.one_time[message.one_time_prekey_id]
        if message.kem_prekey_id is None:
            return
        if message.kem_prekey_id in self.last_resort:
            self._used.add(self._use_of(message))
        else:
            del self.kem_seeds[message.kem_prekey_id]

    def _use_of(self, message: PreKeyMessage) -> tuple[int, int, bytes]:
        return message.kem_prekey_id or 0, message.signed_prekey_id, message.base_key
