"""A device as the relay sees it, written from docs/protocol.md: it signs claims and fills in frames, and opens nothing.

Bodies of envelopes are plain bytes here: the relay cannot tell.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from e2ee.codec import encode_array
from e2ee.frames import (
    DeviceRef,
    EnvelopeFor,
    EnvelopeKind,
    GetBundles,
    KemPreKey,
    Login,
    OneTimePreKey,
    SignedPreKey,
    Submission,
    Submit,
    UploadPreKeys,
    WantedDevices,
)
from ratchet import Account
from ratchet.labels import SIGN_LOGIN

if TYPE_CHECKING:
    from e2ee.frames import Welcome
    from ratchet.prekeys import PublishedPreKeys

NAME = "127.0.0.1:8443"
_dice = Random("relay devices")


class Device:
    """One device of a user. What it remembers of the conversation are its three counters and a request number."""

    def __init__(
        self, user_id: str, device_id: int = 1, *, of: Device | None = None, registration_id: int | None = None
    ) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.account: Account = Account.create(
            identity=None if of is None else of.account.identity,
            registration_id=registration_id,
            one_time_prekeys=2,
            entropy=_dice.randbytes,
        )
        self.submission_number = 0
        self.delivery_number = 0
        self.upload_number = 0
        self.request = 0

    @property
    def ref(self) -> DeviceRef:
        """As others name it."""
        return DeviceRef(self.device_id, self.account.registration_id)

    def claim(self, nonce: bytes, *, name: str = NAME, version: int = 1) -> bytes:
        return encode_array(
            [
                version,
                name,
                nonce,
                self.user_id,
                self.device_id,
                self.account.registration_id,
                self.submission_number,
                self.delivery_number,
                self.upload_number,
            ]
        )

    def login(self, nonce: bytes, *, name: str = NAME, version: int = 1, token: bytes | None = None) -> Login:
        claim = self.claim(nonce, name=name, version=version)
        return Login(claim, self.account.identity_key, self.account.sign(SIGN_LOGIN, claim), token, ())

    def count_on(self, welcome: Welcome) -> None:
        """Take numbers above those that the relay has seen of an earlier registration."""
        self.submission_number = max(self.submission_number, welcome.submission_number)
        self.upload_number = max(self.upload_number, welcome.upload_number)

    def next_request(self) -> int:
        self.request += 1
        return self.request

    def upload(self, published: PublishedPreKeys | None = None, *, purge: bool = False) -> UploadPreKeys:
        """All prekeys of the account, or those given, under the next upload number."""
        keys = published or self.account.published_prekeys()
        self.upload_number += 1
        signed, kem = keys.signed_prekey, keys.last_resort_kem_prekey
        return UploadPreKeys(
            self.delivery_number,
            self.next_request(),
            self.upload_number,
            purge,
            None if signed is None else SignedPreKey(signed.id, signed.public_key, signed.signature),
            None if kem is None else KemPreKey(kem.id, kem.public_key, kem.signature),
            tuple(OneTimePreKey(key.id, key.public_key) for key in keys.one_time_prekeys),
            tuple(KemPreKey(key.id, key.public_key, key.signature) for key in keys.one_time_kem_prekeys),
        )

    def submission(self, bodies: dict[int, bytes]) -> Submission:
        """One message: a body for each device id, under the next submission number."""
        self.submission_number += 1
        return Submission(
            self.submission_number,
            tuple(
                EnvelopeFor(device_id, _dice.randbytes(16), EnvelopeKind.SIGNAL, body)
                for device_id, body in bodies.items()
            ),
        )

    def submit(self, to: Device | list[Device], *bodies: bytes) -> Submit:
        """A frame with a submission for each of *bodies*, to all devices given."""
        devices = to if isinstance(to, list) else [to]
        return Submit(
            self.delivery_number,
            self.next_request(),
            devices[0].user_id,
            tuple(device.ref for device in devices),
            tuple(self.submission(dict.fromkeys([device.device_id for device in devices], body)) for body in bodies),
        )

    def bundles(self, *user_ids: str, request_id: bytes | None = None) -> GetBundles:
        return GetBundles(
            self.delivery_number,
            self.next_request(),
            request_id or _dice.randbytes(16),
            tuple(WantedDevices(user_id, None) for user_id in user_ids),
        )
