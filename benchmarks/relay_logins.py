"""What a device of a benchmark says to a relay before anything else: who it is, and the keys that list it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2ee.carrier import relay_name
from e2ee.codec import encode_array
from e2ee.frames import KemPreKey, Login, SignedPreKey, UploadPreKeys
from ratchet.labels import SIGN_LOGIN

from .harness import WrongResultError

if TYPE_CHECKING:
    from e2ee.frames import Challenge
    from ratchet import Account

REGISTRATION: Final = 1


def login(account: Account, challenge: Challenge, url: str, user_id: str) -> Login:
    """Answer the challenge of the relay at *url*, as device 1 of the user."""
    claim = encode_array([1, relay_name(url), challenge.nonce, user_id, 1, REGISTRATION, 0, 0, 0])
    return Login(claim, account.identity_key, account.sign(SIGN_LOGIN, claim), None, ())


def upload(account: Account) -> UploadPreKeys:
    """Publish the two keys that every listed device has."""
    keys = account.published_prekeys()
    signed, kem = keys.signed_prekey, keys.last_resort_kem_prekey
    if signed is None or kem is None:
        raise WrongResultError("a new account publishes its prekeys")
    return UploadPreKeys(
        0,
        0,
        1,
        purge=False,
        signed_prekey=SignedPreKey(signed.id, signed.public_key, signed.signature),
        last_resort_kem_prekey=KemPreKey(kem.id, kem.public_key, kem.signature),
        one_time_prekeys=(),
        one_time_kem_prekeys=(),
    )
