"""A user's identity as a sealed file: for a new device, or to register an old one again.

It holds the identity key pair and the user id. It never holds a session, a prekey or a message: a
ratchet that is brought back would use its keys a second time.

The form is the msgpack array [1, passphrase parameters, nonce, sealed]; *sealed* is AES-256-GCM under
the key of the passphrase (Argon2id), bound to the label below and the parameters' bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .accounts import pack_identity, require_device, take_identity
from .errors import ExportRefused, StoreCorrupt, StoreNewer
from .limits import USER_ID_SIZE_MAX
from .packing import pack, take_bytes, take_text, unpack
from .vault import INTERACTIVE, NONCE_SIZE, SALT_SIZE, Entropy, PassphraseProfile, derive

if TYPE_CHECKING:
    from ratchet import IdentityKeyPair

__all__ = ["ExportedIdentity", "open_identity", "seal_identity"]

_VERSION: Final = 1
_LABEL: Final = b"e2ee identity export v1\x00"


@dataclass(frozen=True, slots=True, eq=False)
class ExportedIdentity:
    """What an export holds."""

    user_id: str
    identity: IdentityKeyPair


def seal_identity(
    user_id: str,
    identity: IdentityKeyPair,
    passphrase: str,
    *,
    profile: PassphraseProfile = INTERACTIVE,
    entropy: Entropy = os.urandom,
) -> bytes:
    """Seal an identity under a *passphrase* of its own; about 150 bytes."""
    require_device(user_id, 1)
    salt, nonce = entropy(SALT_SIZE), entropy(NONCE_SIZE)
    parameters = profile.to_bytes(salt)
    cipher = AESGCM(derive(passphrase, salt, profile))
    sealed = cipher.encrypt(nonce, pack(_VERSION, user_id, pack_identity(identity)), _LABEL + parameters)
    return pack(_VERSION, parameters, nonce, sealed)


def open_identity(data: bytes, passphrase: str) -> ExportedIdentity:
    """Undo `seal_identity`. Raises ExportRefused: a wrong passphrase and damage cannot be told apart."""
    try:
        packed, nonce, sealed = unpack(data, version=_VERSION, length=3, what="identity export")
        parameters = take_bytes(packed, "parameters")
        profile, salt = PassphraseProfile.from_bytes(parameters)
        cipher = AESGCM(derive(passphrase, salt, profile))
        opened = cipher.decrypt(
            take_bytes(nonce, "nonce", size=NONCE_SIZE), take_bytes(sealed, "sealed identity"), _LABEL + parameters
        )
        user_id, identity = unpack(opened, version=_VERSION, length=2, what="exported identity")
        return ExportedIdentity(
            take_text(user_id, "user id", size_max=USER_ID_SIZE_MAX), take_identity(take_bytes(identity, "identity"))
        )
    except InvalidTag as cause:
        raise ExportRefused("the passphrase is wrong, or the export is damaged") from cause
    except StoreNewer as cause:
        raise ExportRefused("a newer release made the export: update this one") from cause
    except StoreCorrupt as cause:
        raise ExportRefused("the bytes are not an identity export, or are damaged") from cause
