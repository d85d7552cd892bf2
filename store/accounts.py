"""The account of a store: one device of one user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ratchet import CorruptSnapshot, IdentityKeyPair
from ratchet.keys import SigningKeyPair
from ratchet.limits import REGISTRATION_ID_MAX

from .database import Statement
from .errors import InvalidUse, StoreCorrupt
from .limits import DEVICE_ID_MAX, USER_ID_SIZE_MAX
from .packing import pack, take_bool, take_bytes, unpack

if TYPE_CHECKING:
    from .work import Work

__all__ = ["Accounts", "StoredAccount", "pack_identity", "require_device", "take_identity"]

_TABLE: Final = "account"
_IDENTITY_VERSION: Final = 1
_SECRET_SIZE: Final = 32  # bytes

_LOAD: Final = Statement(
    _TABLE,
    "SELECT version, user_id, device_id, registration_id, identity_key, identity, created_at FROM account WHERE id = 1",
)
_ADD: Final = Statement(
    _TABLE,
    "INSERT INTO account (id, version, user_id, device_id, registration_id, identity_key, identity, created_at) "
    "VALUES (1, 1, ?, ?, ?, ?, ?, ?)",
)
_REPLACE: Final = Statement(
    _TABLE,
    "UPDATE account SET version = ?, registration_id = ?, identity_key = ?, identity = ? WHERE id = 1 AND version = ?",
)


@dataclass(frozen=True, slots=True, eq=False)
class StoredAccount:
    """Who this device is."""

    user_id: str
    device_id: int  # 1 to 127
    registration_id: int  # 1 to 16,383; tells this installation from earlier ones of the device
    identity: IdentityKeyPair
    created_at: float  # seconds since 1970
    version: int  # of the stored row


def pack_identity(identity: IdentityKeyPair) -> bytes:
    """The key pair's secret as packed bytes: whether it is an Ed25519 seed, and the 32 bytes."""
    return pack(_IDENTITY_VERSION, *identity.pair.secret())


def take_identity(packed: bytes) -> IdentityKeyPair:
    """Undo `pack_identity`. Raises StoreCorrupt or StoreNewer."""
    is_seed, secret = unpack(packed, version=_IDENTITY_VERSION, length=2, what="identity")
    seed, private = take_bool(is_seed, "identity"), take_bytes(secret, "identity", size=_SECRET_SIZE)
    try:
        return IdentityKeyPair(SigningKeyPair.from_secret(seed, private))
    except CorruptSnapshot as cause:
        raise StoreCorrupt("the stored identity is damaged") from cause


def require_device(user_id: str, device_id: int) -> None:
    """Raise InvalidUse unless these can name a device; what else a user id must be, `e2ee.ids` knows."""
    if type(user_id) is not str or not 1 <= len(user_id.encode()) <= USER_ID_SIZE_MAX or "\x00" in user_id:
        raise InvalidUse(f"a user id is text of 1 to {USER_ID_SIZE_MAX} bytes")
    if type(device_id) is not int or not 1 <= device_id <= DEVICE_ID_MAX:
        raise InvalidUse(f"a device id is 1 to {DEVICE_ID_MAX}")


class Accounts:
    """The account's one row. What was loaded is kept in memory: the fence sees to it that it stays true."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._loaded: StoredAccount | None = None

    def load(self) -> StoredAccount | None:
        """Return the account; None in a store that has none yet."""
        if self._loaded is not None:
            return self._loaded
        row = self._work.row(_LOAD)
        if row is None:
            return None
        version, user_id, device_id, registration_id, identity_key, sealed, created_at = row
        identity = take_identity(self._work.vault.open(_TABLE, b"", version, sealed))
        if identity.public_key != identity_key:
            raise StoreCorrupt("the stored identity is not the one of its public key")
        self._loaded = StoredAccount(user_id, device_id, registration_id, identity, created_at, version)
        return self._loaded

    def require(self) -> StoredAccount:
        """Return the account. Raises InvalidUse if the store has none yet."""
        account = self.load()
        if account is None:
            raise InvalidUse("the store has no account yet: create one")
        return account

    def create(
        self,
        user_id: str,
        device_id: int = 1,
        *,
        identity: IdentityKeyPair | None = None,
        registration_id: int | None = None,
    ) -> StoredAccount:
        """Make the account: with a new identity, or the user's own from an export. Prekeys are made apart.

        Raises InvalidUse if the store has one already.
        """
        require_device(user_id, device_id)
        if self.load() is not None:
            raise InvalidUse("the store has an account already")
        work = self._work
        identity = identity if identity is not None else IdentityKeyPair.generate(work.entropy)
        if registration_id is None:
            registration_id = self._draw_registration_id()
        sealed = work.vault.seal(_TABLE, b"", 1, pack_identity(identity))
        values = (user_id, device_id, registration_id, identity.public_key, sealed, work.now)
        work.change(_ADD, values)
        self._loaded = StoredAccount(user_id, device_id, registration_id, identity, work.now, 1)
        return self._loaded

    def take_registration_id(self) -> StoredAccount:
        """Draw another registration id: after a restored or cloned store, this is another installation."""
        account = self.require()
        registration_id = account.registration_id
        while registration_id == account.registration_id:
            registration_id = self._draw_registration_id()
        return self._replace(account, account.identity, registration_id)

    def replace_identity(self, identity: IdentityKeyPair, registration_id: int | None = None) -> StoredAccount:
        """Take another identity (`reset_identity`), and another registration id if one is given.

        Sessions and prekeys of the old identity are the caller's to delete.
        """
        account = self.require()
        return self._replace(account, identity, account.registration_id if registration_id is None else registration_id)

    def forget(self) -> None:
        """Forget what was loaded: the unit that may have changed it was rolled back."""
        self._loaded = None

    def _replace(self, account: StoredAccount, identity: IdentityKeyPair, registration_id: int) -> StoredAccount:
        version = account.version + 1
        sealed = self._work.vault.seal(_TABLE, b"", version, pack_identity(identity))
        values = (version, registration_id, identity.public_key, sealed, account.version)
        self._work.replace(_REPLACE, values)
        self._loaded = StoredAccount(
            account.user_id, account.device_id, registration_id, identity, account.created_at, version
        )
        return self._loaded

    def _draw_registration_id(self) -> int:
        return 1 + int.from_bytes(self._work.entropy(2), "big") % REGISTRATION_ID_MAX
