"""Prekeys: what a device publishes so that others can start a session while it is away."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from . import primitives
from .errors import CorruptSnapshot, InvalidArgument, MalformedMessage
from .keys import (
    KEM_PUBLIC_KEY_SIZE,
    KYBER_1024_TYPE,
    PUBLIC_KEY_SIZE,
    Entropy,
    IdentityKeyPair,
    KeyPair,
    draw,
    parse_kem_public_key,
    parse_public_key,
)
from .limits import BUNDLE_SIZE_MAX, COUNTER_MAX, DEVICE_ID_MAX, ONE_TIME_PREKEYS_MAX, PREKEY_ID_MAX
from .packing import pack, take_bytes, take_int, take_optional_bytes, unpack

__all__ = [
    "KemPreKey",
    "OneTimePreKey",
    "PreKeyBundle",
    "PreKeySource",
    "PreKeyUse",
    "PublishedKemPreKey",
    "PublishedOneTimePreKey",
    "PublishedPreKeys",
    "PublishedSignedPreKey",
    "SignedPreKey",
]

_BUNDLE_VERSION: Final = 1

_Published = TypeVar("_Published")


@dataclass(frozen=True, slots=True, eq=False)
class OneTimePreKey:
    """A one-time X25519 prekey with its private half."""

    id: int
    pair: KeyPair


@dataclass(frozen=True, slots=True, eq=False)
class SignedPreKey:
    """A signed X25519 prekey with its private half."""

    id: int
    pair: KeyPair
    signature: bytes  # 64 bytes, by the identity key over the 33 public bytes
    created_at: int  # seconds since 1970

    @classmethod
    def generate(cls, identity: IdentityKeyPair, prekey_id: int, entropy: Entropy, created_at: int) -> SignedPreKey:
        """Make a key pair (32 bytes of entropy) and sign it."""
        pair = KeyPair.generate(entropy)
        return cls(prekey_id, pair, identity.pair.sign(pair.public, entropy), created_at)


@dataclass(frozen=True, slots=True, eq=False)
class KemPreKey:
    """A signed Kyber1024 prekey with its private half: one-time, or of last resort."""

    id: int
    seed: bytes = field(repr=False)  # 64 bytes, secret
    signature: bytes  # 64 bytes, by the identity key over the 1,569 public bytes
    created_at: int  # seconds since 1970
    last_resort: bool
    _public: bytes | None = field(default=None, repr=False)  # kept by the process that made the key

    @classmethod
    def generate(
        cls, identity: IdentityKeyPair, prekey_id: int, entropy: Entropy, created_at: int, *, last_resort: bool
    ) -> KemPreKey:
        """Make a key pair (64 bytes of entropy) and sign it."""
        seed = draw(entropy, primitives.KEM_SEED_SIZE)
        public = KYBER_1024_TYPE + primitives.kem_1024_public(seed)
        return cls(prekey_id, seed, identity.pair.sign(public, entropy), created_at, last_resort, public)

    @property
    def public(self) -> bytes:
        """The public key, 1,569 bytes; of a loaded key computed from the seed (0.1 ms), since opening needs it not."""
        if self._public is not None:
            return self._public
        return KYBER_1024_TYPE + primitives.kem_1024_public(self.seed)

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the shared secret, 32 bytes, of a serialised ciphertext (1,569 bytes)."""
        return primitives.kem_1024_decapsulate(self.seed, ciphertext[1:])


@dataclass(frozen=True, slots=True)
class PreKeyUse:
    """What a first message used up, told to the account once all of it has verified."""

    signed_prekey_id: int
    one_time_prekey_id: int | None
    kem_prekey_id: int | None
    base_key: bytes  # 33 bytes


class PreKeySource(Protocol):
    """Where `Session.accept` and `Session.decrypt` find the account's keys; `Account` is one.

    A store can load single keys instead of all of them. The three look-ups raise UnknownPreKey.
    """

    @property
    def identity(self) -> IdentityKeyPair:
        """The account's identity key pair."""

    @property
    def registration_id(self) -> int:
        """The device's registration id."""

    def signed_prekey(self, prekey_id: int) -> SignedPreKey:
        """Find a current signed prekey, or a replaced one that is still kept."""

    def one_time_prekey(self, prekey_id: int) -> OneTimePreKey:
        """Find an unused one-time prekey."""

    def kem_prekey(self, prekey_id: int) -> KemPreKey:
        """Find an unused one-time KEM prekey, or one of last resort."""

    def base_key_used(self, use: PreKeyUse) -> bool:
        """Tell whether `consume` has seen these ids with this base key, for keys that it does not delete.

        Raises UnknownPreKey if the keys have been used so often that nothing more could be remembered.
        """

    def consume(self, use: PreKeyUse) -> None:
        """Delete the one-time keys of *use*; remember its base key for as long as the other keys live.

        Called after the whole first message verified, before its session is returned.
        """


@dataclass(frozen=True, slots=True)
class PublishedSignedPreKey:
    """The public half of a signed prekey."""

    id: int
    public_key: bytes  # 33 bytes
    signature: bytes  # 64 bytes


@dataclass(frozen=True, slots=True)
class PublishedKemPreKey:
    """The public half of a KEM prekey."""

    id: int
    public_key: bytes  # 1,569 bytes
    signature: bytes  # 64 bytes


@dataclass(frozen=True, slots=True)
class PublishedOneTimePreKey:
    """The public half of a one-time prekey; not signed."""

    id: int
    public_key: bytes  # 33 bytes


@dataclass(frozen=True, slots=True)
class PublishedPreKeys:
    """All public halves that a device uploads at once. `None` and empty: nothing new of that kind."""

    registration_id: int
    identity_key: bytes  # 33 bytes
    signed_prekey: PublishedSignedPreKey | None
    last_resort_kem_prekey: PublishedKemPreKey | None
    one_time_prekeys: tuple[PublishedOneTimePreKey, ...]
    one_time_kem_prekeys: tuple[PublishedKemPreKey, ...]

    def verify(self) -> None:
        """Raise NotAuthentic or MalformedMessage unless every key has its form and its signature verifies."""
        _require_id(self.registration_id, COUNTER_MAX, "registration id")
        edwards = primitives.edwards_public(parse_public_key(self.identity_key)[1:])
        signed = self.signed_prekey
        if signed is not None:
            _require_published(signed, PublishedSignedPreKey)
            _verify_signed(edwards, parse_public_key(signed.public_key), signed.signature)
        last_resort = () if self.last_resort_kem_prekey is None else (self.last_resort_kem_prekey,)
        for kem in (*_require_tuple(self.one_time_kem_prekeys), *last_resort):
            _require_published(kem, PublishedKemPreKey)
            _verify_signed(edwards, parse_kem_public_key(kem.public_key), kem.signature)
        for one_time in _require_tuple(self.one_time_prekeys):
            _require_published(one_time, PublishedOneTimePreKey)
            parse_public_key(one_time.public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreKeyBundle:
    """One device's public keys for one handshake (`signal-protocol` 1.3).

    The three KEM fields are None together for X3DH (version 3); the last two are None together when
    no one-time prekey was left.
    """

    registration_id: int
    device_id: int
    identity_key: bytes  # 33 bytes
    signed_prekey_id: int
    signed_prekey: bytes  # 33 bytes
    signed_prekey_signature: bytes  # 64 bytes
    kem_prekey_id: int | None = None
    kem_prekey: bytes | None = None  # 1,569 bytes
    kem_prekey_signature: bytes | None = None  # 64 bytes
    one_time_prekey_id: int | None = None
    one_time_prekey: bytes | None = None  # 33 bytes

    def verify(self) -> None:
        """Check forms and both signatures. Raises MalformedMessage or NotAuthentic.

        `Session.initiate` does this itself; a relay does it when a bundle is uploaded.
        """
        self._check_forms()
        # Agreements and signatures would hold under another encoding of the key too, and it would look like a change.
        primitives.require_canonical(self.identity_key[1:])
        edwards = primitives.edwards_public(self.identity_key[1:])
        _verify_signed(edwards, self.signed_prekey, self.signed_prekey_signature)
        if self.kem_prekey is not None:
            _verify_signed(edwards, self.kem_prekey, self.kem_prekey_signature)

    def _check_forms(self) -> None:
        _require_id(self.registration_id, COUNTER_MAX, "registration id")
        if type(self.device_id) is not int or not 1 <= self.device_id <= DEVICE_ID_MAX:
            raise MalformedMessage(f"a device id is 1 to {DEVICE_ID_MAX}")
        parse_public_key(self.identity_key)
        _require_id(self.signed_prekey_id, COUNTER_MAX, "signed prekey id")
        parse_public_key(self.signed_prekey)
        _require_signature(self.signed_prekey_signature)
        kem = (self.kem_prekey_id, self.kem_prekey, self.kem_prekey_signature)
        if self.kem_prekey is not None and self.kem_prekey_id is not None:
            _require_id(self.kem_prekey_id, COUNTER_MAX, "KEM prekey id")
            parse_kem_public_key(self.kem_prekey)
            _require_signature(self.kem_prekey_signature)
        elif kem != (None, None, None):
            raise MalformedMessage("the three KEM fields of a bundle come together")
        if self.one_time_prekey is not None and self.one_time_prekey_id is not None:
            _require_id(self.one_time_prekey_id, COUNTER_MAX, "one-time prekey id")
            parse_public_key(self.one_time_prekey)
        elif (self.one_time_prekey_id, self.one_time_prekey) != (None, None):
            raise MalformedMessage("the two one-time fields of a bundle come together")

    def to_bytes(self) -> bytes:
        """Pack the bundle; our own form, for carriers of ours (libsignal has none). Raises MalformedMessage."""
        self._check_forms()
        return pack(
            [
                _BUNDLE_VERSION,
                self.registration_id,
                self.device_id,
                self.identity_key,
                self.signed_prekey_id,
                self.signed_prekey,
                self.signed_prekey_signature,
                self.kem_prekey_id,
                self.kem_prekey,
                self.kem_prekey_signature,
                self.one_time_prekey_id,
                self.one_time_prekey,
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> PreKeyBundle:
        """Undo `to_bytes`. Raises MalformedMessage or UnsupportedVersion; signatures are checked on use."""
        try:
            values: list[Any] = unpack(
                data, version=_BUNDLE_VERSION, length=11, size_max=BUNDLE_SIZE_MAX, what="bundle"
            )
            return cls(
                registration_id=take_int(values[0], COUNTER_MAX, "registration id"),
                device_id=take_int(values[1], DEVICE_ID_MAX, "device id", minimum=1),
                identity_key=take_bytes(values[2], PUBLIC_KEY_SIZE, "identity key"),
                signed_prekey_id=take_int(values[3], COUNTER_MAX, "signed prekey id"),
                signed_prekey=take_bytes(values[4], PUBLIC_KEY_SIZE, "signed prekey"),
                signed_prekey_signature=take_bytes(values[5], primitives.SIGNATURE_SIZE, "signature"),
                kem_prekey_id=None if values[6] is None else take_int(values[6], COUNTER_MAX, "KEM prekey id"),
                kem_prekey=take_optional_bytes(values[7], KEM_PUBLIC_KEY_SIZE, "KEM prekey"),
                kem_prekey_signature=take_optional_bytes(values[8], primitives.SIGNATURE_SIZE, "signature"),
                one_time_prekey_id=None if values[9] is None else take_int(values[9], COUNTER_MAX, "prekey id"),
                one_time_prekey=take_optional_bytes(values[10], PUBLIC_KEY_SIZE, "one-time prekey"),
            )
        except CorruptSnapshot as cause:
            raise MalformedMessage(f"bundle: {cause}") from cause


def _require_id(value: object, maximum: int, what: str) -> None:
    if type(value) is not int or not 0 <= value <= maximum:
        raise MalformedMessage(f"a {what} is 0 to {maximum}")


def _require_tuple(keys: tuple[_Published, ...]) -> tuple[_Published, ...]:
    if type(keys) is not tuple or len(keys) > ONE_TIME_PREKEYS_MAX:
        raise MalformedMessage(f"published keys of one kind are a tuple of at most {ONE_TIME_PREKEYS_MAX}")
    return keys


def _require_published(
    key: object, kind: type[PublishedSignedPreKey | PublishedKemPreKey | PublishedOneTimePreKey]
) -> None:
    if type(key) is not kind:
        raise MalformedMessage(f"a published key must be a {kind.__name__}")
    _require_id(key.id, PREKEY_ID_MAX, "prekey id")


def _require_signature(signature: bytes | None) -> bytes:
    if type(signature) is not bytes or len(signature) != primitives.SIGNATURE_SIZE:
        raise MalformedMessage("a signature has 64 bytes")
    return signature


def _verify_signed(edwards: bytes, public_key: bytes, signature: bytes | None) -> None:
    primitives.xeddsa_verify_edwards(edwards, public_key, _require_signature(signature))


def require_count(value: object, maximum: int, what: str) -> int:
    """Return *value* if it is a count up to *maximum*. Raises InvalidArgument."""
    if type(value) is not int or not 0 <= value <= maximum:
        raise InvalidArgument(f"{what}: not a count of at most {maximum}")
    return value
