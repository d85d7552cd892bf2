"""Everything shared with one peer device: the ratchet in use, and up to 40 earlier ones kept for reading."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from . import primitives
from .address import Address, pack_address, take_address
from .clock import seconds_since_1970
from .errors import IdentityChanged, InvalidArgument, NoActiveSession
from .keys import PUBLIC_KEY_SIZE, Entropy, IdentityKeyPair, parse_public_key
from .limits import ARCHIVED_RATCHETS_MAX, PLAINTEXT_SIZE_MAX, SESSION_SIZE_MAX, UNACKNOWLEDGED_AGE_MAX_S
from .messages import Ciphertext, CiphertextKind, PreKeyMessage, SignalMessage
from .packing import pack, take_bytes, take_list, unpack
from .prekeys import PreKeyBundle, PreKeySource
from .ratchets import ArchivedRatchet, Ratchets
from .secret import NotCopied
from .starting import accept_ratchet, forward_max, initiate_ratchet
from .triple_ratchet import Peers, Ratchet

if TYPE_CHECKING:
    from .handshake import Encapsulate

__all__ = ["Session"]

_VERSION: Final = 1


class Session(NotCopied):
    """The conversation with one peer device. Made by `initiate`, `accept` or `from_bytes`.

    Whatever a method raises, the session is exactly as it was (and so is the account). Only what the
    methods below name is raised for bad input. Not thread-safe: one writer per session.
    """

    __slots__ = ("_local", "_local_identity", "_peers", "_ratchets", "_remote", "_remote_identity")

    def __init__(
        self,
        local_identity: bytes,
        remote_identity: bytes,
        local: Address | None,
        remote: Address | None,
        active: Ratchet | None,
        archived: list[ArchivedRatchet],
    ) -> None:
        self._local_identity = local_identity
        self._remote_identity = remote_identity
        self._local = local
        self._remote = remote
        self._peers = Peers(local_identity, remote_identity, local, remote)
        self._ratchets = Ratchets(local_identity, self._peers, active, archived)

    # Starting.

    @classmethod
    def initiate(  # noqa: PLR0913 - two things to start from, and seven named options
        cls,
        account: PreKeySource,
        bundle: PreKeyBundle,
        *,
        local: Address | None = None,
        remote: Address | None = None,
        allow_x3dh: bool = False,
        without_spqr: bool = False,
        now: float | None = None,
        entropy: Entropy = os.urandom,
        encapsulate: Encapsulate = primitives.kem_1024_encapsulate,
    ) -> Session:
        """Start a session from the peer's bundle (PQXDH; X3DH if it has no KEM prekey and *allow_x3dh*).

        *local* and *remote* bind the first messages to both ends if both names are service ids.
        *without_spqr* starts without the post-quantum ratchet, for peers that do not have it.
        Draws 32 bytes of *entropy* for the base key, then 32 for the first ratchet key.

        Raises MalformedMessage or NotAuthentic for a bad bundle, UnsupportedVersion for one that would
        mean X3DH, InvalidArgument.
        """
        _require_addresses(local, remote)
        _require_bundle(bundle)
        if remote is not None and remote.device_id != bundle.device_id:
            raise InvalidArgument(f"a bundle of device {bundle.device_id} for an address of device {remote.device_id}")
        session = cls(_identity_key(account), bundle.identity_key, local, remote, None, [])
        session._ratchets.active = initiate_ratchet(
            account,
            bundle,
            forward_max=session._forward_max(),
            allow_x3dh=allow_x3dh,
            without_spqr=without_spqr,
            created_at=seconds_since_1970(now),
            entropy=entropy,
            encapsulate=encapsulate,
        )
        return session

    @classmethod
    def accept(
        cls,
        account: PreKeySource,
        ciphertext: Ciphertext,
        *,
        local: Address | None = None,
        remote: Address | None = None,
        allow_x3dh: bool = False,
        allow_without_spqr: bool = False,
        now: float | None = None,
        entropy: Entropy = os.urandom,
    ) -> tuple[Session, bytes]:
        """Open a first message and start a session with its sender; return the session and the plaintext.

        *account* loses the one-time prekeys that were used, only if everything verified. The sender's
        identity is the message's: whether to trust `remote_identity_key` is the caller's decision.
        Draws 32 bytes of *entropy* for the first ratchet key.

        Raises NoActiveSession if the message belongs to a session that is not here, UnsupportedVersion
        for X3DH or a peer without SPQR unless allowed, UnknownPreKey, MessageKeyGone for a replay,
        NotAuthentic, MalformedMessage, TooFarAhead, InvalidArgument.
        """
        _require_addresses(local, remote)
        if _kind(ciphertext) is not CiphertextKind.PREKEY:
            raise NoActiveSession("the message belongs to a session that is not here: ask its sender to start afresh")
        message = PreKeyMessage.parse(ciphertext.body)
        session = cls(_identity_key(account), message.identity_key, local, remote, None, [])
        plaintext = session._accept_first(
            account,
            message,
            allow_x3dh=allow_x3dh,
            allow_without_spqr=allow_without_spqr,
            now=now,
            entropy=entropy,
        )
        return session, plaintext

    def renew(
        self,
        account: PreKeySource,
        bundle: PreKeyBundle,
        *,
        allow_x3dh: bool = False,
        without_spqr: bool = False,
        now: float | None = None,
        entropy: Entropy = os.urandom,
        encapsulate: Encapsulate = primitives.kem_1024_encapsulate,
    ) -> None:
        """Archive the ratchet in use and start a fresh one from *bundle*; as `initiate` otherwise.

        Raises IdentityChanged if the bundle has another identity key than this session.
        """
        _require_bundle(bundle)
        self._require_identity(bundle.identity_key)
        self._require_account(account)
        fresh = initiate_ratchet(
            account,
            bundle,
            forward_max=self._forward_max(),
            allow_x3dh=allow_x3dh,
            without_spqr=without_spqr,
            created_at=seconds_since_1970(now),
            entropy=entropy,
            encapsulate=encapsulate,
        )
        self._ratchets.activate(fresh)

    def archive(self) -> None:
        """Stop sending with the ratchet in use; it stays readable. `encrypt` then needs `renew` first."""
        self._ratchets.archive()

    def retire(self) -> None:
        """Let no ratchet that is here send again, whatever it opens: a copy of this session may have used its keys."""
        self._ratchets.retire()

    # Using.

    def encrypt(self, plaintext: bytes, *, now: float | None = None, entropy: Entropy = os.urandom) -> Ciphertext:
        """Seal *plaintext* (at most 16 MiB) as the next message.

        Until the peer has answered, every message is a PREKEY message that carries the handshake.
        Entropy is drawn once per post-quantum epoch (64 or 32 bytes).

        Raises NoActiveSession if there is no ratchet in use, or nobody has answered for 30 days.
        """
        if type(plaintext) is not bytes:
            raise InvalidArgument("a plaintext must be bytes")
        if len(plaintext) > PLAINTEXT_SIZE_MAX:
            raise InvalidArgument(f"a plaintext of {len(plaintext)} bytes is larger than {PLAINTEXT_SIZE_MAX}")
        active = self._ratchets.require_active()
        if active.pending is not None and active.created_at + UNACKNOWLEDGED_AGE_MAX_S < seconds_since_1970(now):
            raise NoActiveSession("the peer has not answered for 30 days: fetch its bundle and renew")
        return active.encrypt(plaintext, self._peers, entropy)

    def decrypt(
        self,
        account: PreKeySource,
        ciphertext: Ciphertext,
        *,
        allow_x3dh: bool = False,
        allow_without_spqr: bool = False,
        now: float | None = None,
        entropy: Entropy = os.urandom,
    ) -> bytes:
        """Open a message of either kind and return its plaintext.

        The ratchet that opens it becomes the one in use, unless it is retired. A PREKEY message of an
        unknown ratchet starts one and consumes the account's one-time prekeys, as `accept`. Draws 32 bytes
        of *entropy* if the message brings a new ratchet key.

        Raises NotAuthentic, MessageKeyGone (a duplicate, or too late), TooFarAhead, MalformedMessage,
        UnsupportedVersion; for a PREKEY message also UnknownPreKey, and IdentityChanged if it was made
        under another identity key; NoActiveSession if nothing here could open it.
        """
        if _kind(ciphertext) is CiphertextKind.SIGNAL:
            return self._ratchets.open(SignalMessage.parse(ciphertext.body), entropy)
        message = PreKeyMessage.parse(ciphertext.body)
        self._require_identity(message.identity_key)
        ratchet = self._ratchets.matching(message.version, message.base_key)
        if ratchet is not None:
            # A repeated first message: its handshake is done, only the message inside is new.
            opened = ratchet.plan(message.message, self._peers, entropy)
            return self._ratchets.keep(ratchet, opened)
        self._require_account(account)
        return self._accept_first(
            account,
            message,
            allow_x3dh=allow_x3dh,
            allow_without_spqr=allow_without_spqr,
            now=now,
            entropy=entropy,
        )

    # What it is.

    @property
    def local_identity_key(self) -> bytes:
        """Our identity key, 33 bytes."""
        return self._local_identity

    @property
    def remote_identity_key(self) -> bytes:
        """The peer's identity key, 33 bytes; the same for the session's whole life."""
        return self._remote_identity

    @property
    def local(self) -> Address | None:
        """Our address, if one was given."""
        return self._local

    @property
    def remote(self) -> Address | None:
        """The peer's address, if one was given."""
        return self._remote

    @property
    def can_encrypt(self) -> bool:
        """Whether a ratchet is in use (which may still be too old, see `encrypt`)."""
        return self._ratchets.active is not None

    @property
    def version(self) -> int:
        """The protocol version in use: 4 (PQXDH) or 3 (X3DH). Raises NoActiveSession."""
        return self._ratchets.require_active().version

    @property
    def remote_registration_id(self) -> int:
        """The peer device's registration id, as it told. Raises NoActiveSession."""
        return self._ratchets.require_active().remote_registration_id

    @property
    def sending_ratchet_key(self) -> bytes:
        """Our public ratchet key in use, 33 bytes, which a retry request names (8.4). Raises NoActiveSession."""
        return self._ratchets.require_active().double.sending.pair.public

    @property
    def awaiting_answer(self) -> bool:
        """Whether messages still carry the handshake, because the peer has not answered. Raises NoActiveSession."""
        return self._ratchets.require_active().pending is not None

    @property
    def started_at(self) -> int:
        """When the ratchet in use was started here, in seconds since 1970. Raises NoActiveSession."""
        return self._ratchets.require_active().created_at

    @property
    def one_time_prekey_used(self) -> bool:
        """Whether the handshake used a one-time prekey of the responder. Raises NoActiveSession."""
        return self._ratchets.require_active().one_time_prekey_used

    @property
    def post_quantum_epoch(self) -> int | None:
        """Epochs that the post-quantum ratchet has completed; None if it is off. Raises NoActiveSession."""
        post_quantum = self._ratchets.require_active().post_quantum
        return None if post_quantum is None else post_quantum.chains.current_epoch

    @property
    def archived_count(self) -> int:
        """How many earlier ratchets are kept for reading, at most 40."""
        return len(self._ratchets.archived)

    def __repr__(self) -> str:
        active, archived = self._ratchets.active, len(self._ratchets.archived)
        state = "none in use" if active is None else f"version {active.version}"
        return f"Session(remote_identity_key={self._remote_identity.hex()}, {state}, {archived} archived)"

    # Stored form.

    def to_bytes(self) -> bytes:
        """Pack the session, keys included; version 1. Seal it before it is stored."""
        return pack(
            [
                _VERSION,
                self._local_identity,
                self._remote_identity,
                pack_address(self._local),
                pack_address(self._remote),
                None if self._ratchets.active is None else self._ratchets.active.to_packed(),
                [archived.to_packed() for archived in self._ratchets.archived],
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Session:
        """Undo `to_bytes`. Raises CorruptSnapshot, or UnsupportedVersion if a newer release wrote it.

        An archived ratchet is unpacked when a message asks for it; a damaged one is then passed over.
        """
        local_identity, remote_identity, local, remote, active, archived = unpack(
            data, version=_VERSION, length=6, size_max=SESSION_SIZE_MAX, what="session"
        )
        own = take_bytes(local_identity, PUBLIC_KEY_SIZE, "local identity key")
        return cls(
            own,
            take_bytes(remote_identity, PUBLIC_KEY_SIZE, "remote identity key"),
            take_address(local),
            take_address(remote),
            None if active is None else Ratchet.from_packed(active, own),
            [
                ArchivedRatchet.from_packed(one)
                for one in take_list(archived, "archived", length_max=ARCHIVED_RATCHETS_MAX)
            ],
        )

    # Steps.

    def _accept_first(
        self,
        account: PreKeySource,
        message: PreKeyMessage,
        *,
        allow_x3dh: bool,
        allow_without_spqr: bool,
        now: float | None,
        entropy: Entropy,
    ) -> bytes:
        ratchet, use = accept_ratchet(
            account,
            message,
            forward_max=self._forward_max(),
            allow_x3dh=allow_x3dh,
            allow_without_spqr=allow_without_spqr,
            created_at=seconds_since_1970(now),
        )
        opened = ratchet.plan(message.message, self._peers, entropy)
        # Only now: otherwise anybody could burn one-time keys with forged first messages.
        account.consume(use)
        return self._ratchets.keep(ratchet, opened)

    def _forward_max(self) -> int:
        return forward_max(self._local_identity, self._remote_identity, self._local, self._remote)

    def _require_identity(self, identity_key: bytes) -> None:
        if not primitives.equal(identity_key, self._remote_identity):
            raise IdentityChanged(self._remote_identity, identity_key)

    def _require_account(self, account: PreKeySource) -> None:
        if _identity_key(account) != self._local_identity:
            raise InvalidArgument("this session belongs to an account with another identity key")


def _kind(ciphertext: Ciphertext) -> CiphertextKind:
    if type(ciphertext) is not Ciphertext or type(ciphertext.kind) is not CiphertextKind:
        raise InvalidArgument("a ciphertext must be a Ciphertext, its kind a CiphertextKind")
    return ciphertext.kind


def _require_addresses(*addresses: object) -> None:
    if not all(address is None or isinstance(address, Address) for address in addresses):
        raise InvalidArgument("local and remote are Addresses")


def _require_bundle(bundle: object) -> None:
    if not isinstance(bundle, PreKeyBundle):
        raise InvalidArgument("a bundle must be a PreKeyBundle")
    parse_public_key(bundle.identity_key)  # it is compared before the bundle is verified


def _identity_key(account: PreKeySource) -> bytes:
    identity = getattr(account, "identity", None)
    if not isinstance(identity, IdentityKeyPair):
        raise InvalidArgument("an account must be an Account, or another prekey source")
    return identity.public_key
