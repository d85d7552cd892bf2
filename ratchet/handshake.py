"""X3DH and PQXDH: from a bundle, or from a first message, to a ratchet's starting secrets.

No session is made here: the initiator gets a message header and secrets, the responder the same
secrets. (X3DH revision 1; PQXDH revision 3; `signal-protocol` section 2.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from . import primitives
from .errors import MessageKeyGone, UnsupportedVersion
from .keys import KYBER_1024_TYPE, Entropy, IdentityKeyPair, KeyPair
from .labels import HANDSHAKE_PQXDH, HANDSHAKE_X3DH
from .messages import VERSION_PQXDH, VERSION_X3DH, PendingPreKey, PreKeyMessage
from .prekeys import PreKeyBundle, PreKeySource, PreKeyUse

__all__ = ["Accepted", "Encapsulate", "Initiated", "Secrets", "accept", "initiate"]

Encapsulate = Callable[[bytes], tuple[bytes, bytes]]
"""From a raw KEM public key (1,568 bytes) to Kyber1024 shared secret (32) and ciphertext (1,568).

`cryptography` takes no randomness for it, so a test that must be repeatable passes its own.
"""

# Keeps the input apart from an Ed25519 or X448 one (X3DH section 3.3, F).
_DISCONTINUITY = b"\xff" * 32


@dataclass(frozen=True, slots=True, eq=False)
class Secrets:
    """What the ratchets start from, 32 bytes each."""

    root_key: bytes = field(repr=False)  # SK
    chain_key: bytes = field(repr=False)
    post_quantum_key: bytes | None = field(repr=False)  # None in version 3


@dataclass(frozen=True, slots=True, eq=False)
class Initiated:
    """The initiator's side: what the first messages carry, and the secrets."""

    version: int
    secrets: Secrets
    pending: PendingPreKey


@dataclass(frozen=True, slots=True, eq=False)
class Accepted:
    """The responder's side: the secrets, the prekey that becomes its first ratchet key, and what was used up."""

    secrets: Secrets
    signed_prekey: KeyPair
    use: PreKeyUse


def initiate(
    identity: IdentityKeyPair,
    registration_id: int,
    bundle: PreKeyBundle,
    *,
    allow_x3dh: bool,
    entropy: Entropy,
    encapsulate: Encapsulate = primitives.kem_1024_encapsulate,
) -> Initiated:
    """Verify *bundle* and do the initiator's half (PQXDH section 3.3). Draws 32 bytes of entropy.

    Raises MalformedMessage, NotAuthentic, or UnsupportedVersion for a bundle without KEM prekey unless *allow_x3dh*.
    """
    bundle.verify()
    if bundle.kem_prekey is None and not allow_x3dh:
        raise UnsupportedVersion("the bundle has no KEM prekey, and X3DH was not allowed: ask the peer to update")
    base = KeyPair.generate(entropy)
    agreements = [
        identity.agree(bundle.signed_prekey),
        base.agree(bundle.identity_key),
        base.agree(bundle.signed_prekey),
    ]
    if bundle.one_time_prekey is not None:
        agreements.append(base.agree(bundle.one_time_prekey))
    kem_ciphertext = None
    shared_secret = None
    if bundle.kem_prekey is not None:
        shared_secret, raw = encapsulate(bundle.kem_prekey[1:])
        kem_ciphertext = KYBER_1024_TYPE + raw
    pending = PendingPreKey(
        registration_id,
        bundle.one_time_prekey_id,
        bundle.signed_prekey_id,
        bundle.kem_prekey_id,
        kem_ciphertext,
        base.public,
        identity.public_key,
    )
    version = VERSION_X3DH if shared_secret is None else VERSION_PQXDH
    return Initiated(version, _derive(agreements, shared_secret), pending)


def accept(source: PreKeySource, message: PreKeyMessage, *, allow_x3dh: bool) -> Accepted:
    """Do the responder's half (PQXDH section 3.4). Changes nothing in *source*: the first message is not verified yet.

    Raises UnsupportedVersion, NotAuthentic, UnknownPreKey, or MessageKeyGone for a replay.
    """
    if message.version == VERSION_X3DH and not allow_x3dh:
        raise UnsupportedVersion("a first message of version 3 (X3DH), which was not allowed")
    # Of two encodings of one key the account would remember only one.
    primitives.require_canonical(message.base_key[1:])
    # Version 3 has no use for KEM fields, whatever the message carries.
    kem_prekey_id = None if message.version == VERSION_X3DH else message.kem_prekey_id
    use = PreKeyUse(message.signed_prekey_id, message.one_time_prekey_id, kem_prekey_id, message.base_key)
    signed = source.signed_prekey(message.signed_prekey_id).pair
    one_time = None if message.one_time_prekey_id is None else source.one_time_prekey(message.one_time_prekey_id).pair
    kem = None if kem_prekey_id is None else source.kem_prekey(kem_prekey_id)
    if source.base_key_used(use):
        raise MessageKeyGone("a first message with this base key was accepted before")
    agreements = [
        signed.agree(message.identity_key),
        source.identity.agree(message.base_key),
        signed.agree(message.base_key),
    ]
    if one_time is not None:
        agreements.append(one_time.agree(message.base_key))
    shared_secret = None
    if kem is not None and message.kem_ciphertext is not None:
        shared_secret = kem.decapsulate(message.kem_ciphertext)
    return Accepted(_derive(agreements, shared_secret), signed, use)


def _derive(agreements: list[bytes], shared_secret: bytes | None) -> Secrets:
    secret = b"".join((_DISCONTINUITY, *agreements))
    if shared_secret is None:
        derived = primitives.hkdf_sha256(None, secret, HANDSHAKE_X3DH, 64)
        return Secrets(derived[:32], derived[32:], None)
    derived = primitives.hkdf_sha256(None, secret + shared_secret, HANDSHAKE_PQXDH, 96)
    return Secrets(derived[:32], derived[32:64], derived[64:])
