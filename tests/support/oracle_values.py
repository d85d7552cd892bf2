"""Values that pass between libsignal's oracle and the tests.

Field names follow `ratchet`, so values pass in both directions without conversion: anything with the fields of a
`ratchet.PreKeyBundle` can be processed, anything with `kind` and `body` decrypted, anything with `name` and `device_id`
is an address. `dataclasses.asdict(OracleBundle)` has exactly a PreKeyBundle's arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from uuid import UUID

PREKEY: Final = 3  # kind of a message that carries a handshake
SIGNAL: Final = 2  # kind of a message in a session that both sides have used
SENDER_KEY: Final = 7  # kind of a group message

KemChoice: TypeAlias = Literal["one_time", "last_resort"] | None


class AddressLike(Protocol):
    """The name of a user (a service id, for addresses to be bound into messages) and a device number, 1 to 127."""

    @property
    def name(self) -> str: ...
    @property
    def device_id(self) -> int: ...


class MessageLike(Protocol):
    """A message on the wire: its kind (PREKEY or SIGNAL) and its bytes."""

    @property
    def kind(self) -> int: ...
    @property
    def body(self) -> bytes: ...


class BundleLike(Protocol):
    """The public prekeys with which a session is started; keys and signatures in Signal's serialised forms."""

    @property
    def registration_id(self) -> int: ...
    @property
    def device_id(self) -> int: ...
    @property
    def identity_key(self) -> bytes: ...
    @property
    def signed_prekey_id(self) -> int: ...
    @property
    def signed_prekey(self) -> bytes: ...
    @property
    def signed_prekey_signature(self) -> bytes: ...
    @property
    def kem_prekey_id(self) -> int | None: ...
    @property
    def kem_prekey(self) -> bytes | None: ...
    @property
    def kem_prekey_signature(self) -> bytes | None: ...
    @property
    def one_time_prekey_id(self) -> int | None: ...
    @property
    def one_time_prekey(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class OracleAddress:
    """An address of a device that is not itself an OracleDevice."""

    name: str
    device_id: int


@dataclass(frozen=True, slots=True)
class OracleMessage:
    """A message that libsignal made."""

    kind: int
    body: bytes


@dataclass(frozen=True, slots=True)
class OracleBundle:
    """A prekey bundle that libsignal made. The three KEM fields, or the two of the one-time prekey, may be None."""

    registration_id: int
    device_id: int
    identity_key: bytes  # 33 bytes
    signed_prekey_id: int
    signed_prekey: bytes  # 33 bytes
    signed_prekey_signature: bytes  # 64 bytes
    kem_prekey_id: int | None
    kem_prekey: bytes | None  # 1,569 bytes
    kem_prekey_signature: bytes | None  # 64 bytes
    one_time_prekey_id: int | None
    one_time_prekey: bytes | None  # 33 bytes


@dataclass(frozen=True, slots=True, eq=False)
class OracleBundleSecrets:
    """The private halves of one bundle, for recordings. EC keys have 32 bytes, the KEM key 3,169 (expanded form)."""

    identity: bytes = field(repr=False)
    signed_prekey: bytes = field(repr=False)
    one_time_prekey: bytes | None = field(repr=False)
    kem_prekey: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class PrekeyIds:
    """Which prekeys a device has."""

    one_time: frozenset[int]
    signed: frozenset[int]
    kem: frozenset[int]

    @classmethod
    def of(cls, bundle: BundleLike) -> PrekeyIds:
        """Return the ids that *bundle* names."""
        return cls(
            one_time=frozenset() if bundle.one_time_prekey_id is None else frozenset({bundle.one_time_prekey_id}),
            signed=frozenset({bundle.signed_prekey_id}),
            kem=frozenset() if bundle.kem_prekey_id is None else frozenset({bundle.kem_prekey_id}),
        )


@dataclass(frozen=True, slots=True, eq=False)
class OracleKeyPair:
    """A private key (32 bytes; of a KEM 3,169) and its public key (33 bytes; 1,569)."""

    private_key: bytes = field(repr=False)
    public_key: bytes


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What libsignal says of a session record; version and registration ids are None without a current session."""

    has_current_state: bool  # can be used for sending at the moment asked about
    version: int | None
    archived: int
    local_registration_id: int | None
    remote_registration_id: int | None


@dataclass(frozen=True, slots=True)
class OracleFingerprint:
    """A safety number as libsignal shows it: 60 digits, and the bytes of the code to scan."""

    digits: str
    scannable: bytes


@dataclass(frozen=True, slots=True)
class ParsedPreKeyMessage:
    """What libsignal reads in a message of kind PREKEY."""

    version: int
    registration_id: int
    one_time_prekey_id: int | None
    signed_prekey_id: int


@dataclass(frozen=True, slots=True)
class ParsedSignalMessage:
    """What libsignal reads in a message of kind SIGNAL; release 0.60.2 cannot show *pq_ratchet*."""

    version: int
    counter: int
    ciphertext: bytes
    pq_ratchet: bytes | None


@dataclass(frozen=True, slots=True)
class ParsedSenderKeyMessage:
    """What libsignal reads in a group message."""

    distribution_id: UUID
    chain_id: int
    iteration: int
    ciphertext: bytes


@dataclass(frozen=True, slots=True, eq=False)
class ParsedDistributionMessage:
    """What libsignal reads in a sender key distribution message."""

    distribution_id: UUID
    chain_id: int
    iteration: int
    chain_key: bytes = field(repr=False)
