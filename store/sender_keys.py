"""Sender keys: our own, those of peers' devices, who has been given which, and which were erased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from ratchet import CorruptSnapshot, OwnSenderKey, PeerSenderKey, UnsupportedVersion

from .accounts import require_device
from .database import Statement
from .errors import StoreCorrupt, StoreNewer
from .limits import ERASED_CHAINS_AGE_S, ERASED_CHAINS_MAX
from .outbox import require_text
from .schema import peer_sender_key_row
from .tallied import TalliedTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .work import Work

__all__ = [
    "Distribution",
    "Distributions",
    "ErasedChains",
    "LoadedOwnSenderKey",
    "LoadedPeerSenderKey",
    "SenderKeys",
]

ERASED_CHAINS: Final = TalliedTable("erased_chains", "erased_at", ERASED_CHAINS_MAX, age_s=ERASED_CHAINS_AGE_S)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedOwnSenderKey:
    """Our sender key of a group; the object is the caller's to change and to save."""

    group_id: bytes
    key: OwnSenderKey
    messages: int  # encrypted with it so far
    created_at: float  # seconds since 1970
    version: int  # of the stored row


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPeerSenderKey:
    """A peer device's sender key; the object is the caller's to change and to save."""

    user_id: str
    device_id: int
    group_id: bytes
    key: PeerSenderKey
    version: int  # of the stored row


_OWN: Final = Statement(
    "own_sender_keys", "SELECT version, state, messages, created_at FROM own_sender_keys WHERE group_id = ?"
)
_ADD_OWN: Final = Statement(
    "own_sender_keys",
    "INSERT INTO own_sender_keys (group_id, version, state, messages, created_at) VALUES (?, 1, ?, 0, ?)",
)
_SAVE_OWN: Final = Statement(
    "own_sender_keys",
    "UPDATE own_sender_keys SET version = ?, state = ?, messages = ? WHERE group_id = ? AND version = ?",
)
_DELETE_OWN: Final = Statement("own_sender_keys", "DELETE FROM own_sender_keys WHERE group_id = ?")
_DELETE_ALL_OWN: Final = Statement("own_sender_keys", "DELETE FROM own_sender_keys")
_PEER: Final = Statement(
    "peer_sender_keys",
    "SELECT group_id, version, state FROM peer_sender_keys WHERE user_id = ? AND device_id = ? AND distribution_id = ?",
)
_ADD_PEER: Final = Statement(
    "peer_sender_keys",
    "INSERT INTO peer_sender_keys (user_id, device_id, distribution_id, group_id, version, state) "
    "VALUES (?, ?, ?, ?, 1, ?)",
)
_SAVE_PEER: Final = Statement(
    "peer_sender_keys",
    "UPDATE peer_sender_keys SET version = ?, state = ? "
    "WHERE user_id = ? AND device_id = ? AND distribution_id = ? AND version = ?",
)
_DELETE_PEER: Final = Statement(
    "peer_sender_keys", "DELETE FROM peer_sender_keys WHERE user_id = ? AND device_id = ? AND distribution_id = ?"
)
_OF_DEVICE: Final = Statement(
    "peer_sender_keys",
    "SELECT distribution_id FROM peer_sender_keys WHERE group_id = ? AND user_id = ? AND device_id = ? "
    "ORDER BY version, distribution_id",
)
_OF_GROUP: Final = Statement(
    "peer_sender_keys",
    "SELECT user_id, device_id, distribution_id FROM peer_sender_keys WHERE group_id = ? "
    "ORDER BY user_id, device_id, distribution_id",
)
_DELETE_OF_USER: Final = Statement("peer_sender_keys", "DELETE FROM peer_sender_keys WHERE user_id = ?")


class SenderKeys:
    """Our own sender keys, one per group, and those of peers' devices."""

    def __init__(self, work: Work) -> None:
        self._work = work
        # Asked for by every part of a unit that gives a key to a thousand devices, and 0.1 ms to unpack.
        self._own: dict[bytes, LoadedOwnSenderKey] = {}

    def load_own(self, group_id: bytes) -> LoadedOwnSenderKey | None:
        """Return our key of a group, the same value throughout a unit; None if there is none. Raises StoreCorrupt."""
        known = self._own.get(group_id)
        if known is not None:
            return known
        row = self._work.row(_OWN, (group_id,))
        if row is None:
            return None
        version, state, messages, created_at = row
        packed = self._work.vault.open("own_sender_keys", group_id, version, state)
        try:
            key = OwnSenderKey.from_bytes(packed)
        except CorruptSnapshot as cause:
            raise StoreCorrupt("a stored sender key is damaged") from cause
        except UnsupportedVersion as cause:
            raise StoreNewer("a newer release wrote a stored sender key") from cause
        return self._keep(LoadedOwnSenderKey(group_id, key, messages, created_at, version))

    def _keep(self, loaded: LoadedOwnSenderKey) -> LoadedOwnSenderKey:
        self._own[loaded.group_id] = loaded
        return loaded

    def put_own(self, group_id: bytes, key: OwnSenderKey) -> LoadedOwnSenderKey:
        """Store a new key of ours for a group, in place of an earlier one, which is erased."""
        work = self._work
        work.change(_DELETE_OWN, (group_id,))
        work.change(_ADD_OWN, (group_id, work.vault.seal("own_sender_keys", group_id, 1, key.to_bytes()), work.now))
        return self._keep(LoadedOwnSenderKey(group_id, key, 0, work.now, 1))

    def save_own(self, loaded: LoadedOwnSenderKey, *, messages: int) -> LoadedOwnSenderKey:
        """Store our key after *messages* more messages. Raises StaleWriter."""
        version, total = loaded.version + 1, loaded.messages + messages
        sealed = self._work.vault.seal("own_sender_keys", loaded.group_id, version, loaded.key.to_bytes())
        self._work.replace(_SAVE_OWN, (version, sealed, total, loaded.group_id, loaded.version))
        return self._keep(LoadedOwnSenderKey(loaded.group_id, loaded.key, total, loaded.created_at, version))

    def delete_own(self, group_id: bytes | None = None) -> int:
        """Erase our key of a group, or (None) of every group; return how many there were."""
        if group_id is None:
            self._own.clear()
            return self._work.change(_DELETE_ALL_OWN)
        self._own.pop(group_id, None)
        return self._work.change(_DELETE_OWN, (group_id,))

    def load_peer(self, user_id: str, device_id: int, distribution_id: UUID) -> LoadedPeerSenderKey | None:
        """Return a device's key; None if there is none. Raises StoreCorrupt."""
        row = self._work.row(_PEER, (user_id, device_id, distribution_id.bytes))
        if row is None:
            return None
        group_id, version, state = row
        row_key = peer_sender_key_row(user_id, device_id, distribution_id.bytes)
        packed = self._work.vault.open("peer_sender_keys", row_key, version, state)
        try:
            return LoadedPeerSenderKey(user_id, device_id, group_id, PeerSenderKey.from_bytes(packed), version)
        except CorruptSnapshot as cause:
            raise StoreCorrupt("a stored sender key is damaged") from cause
        except UnsupportedVersion as cause:
            raise StoreNewer("a newer release wrote a stored sender key") from cause

    def add_peer(self, user_id: str, device_id: int, group_id: bytes, key: PeerSenderKey) -> LoadedPeerSenderKey:
        """Store a device's first key of a distribution id. Raises StaleWriter (at the latest at the end)."""
        require_device(user_id, device_id)
        distribution_id = key.distribution_id.bytes
        row_key = peer_sender_key_row(user_id, device_id, distribution_id)
        sealed = self._work.vault.seal("peer_sender_keys", row_key, 1, key.to_bytes())
        self._work.defer(_ADD_PEER, (user_id, device_id, distribution_id, group_id, sealed))
        return LoadedPeerSenderKey(user_id, device_id, group_id, key, 1)

    def save_peer(self, loaded: LoadedPeerSenderKey) -> LoadedPeerSenderKey:
        """Store a device's key over the version it was loaded as. Raises StaleWriter (at the latest at the end)."""
        version, distribution_id = loaded.version + 1, loaded.key.distribution_id.bytes
        row_key = peer_sender_key_row(loaded.user_id, loaded.device_id, distribution_id)
        sealed = self._work.vault.seal("peer_sender_keys", row_key, version, loaded.key.to_bytes())
        self._work.defer(
            _SAVE_PEER, (version, sealed, loaded.user_id, loaded.device_id, distribution_id, loaded.version)
        )
        return LoadedPeerSenderKey(loaded.user_id, loaded.device_id, loaded.group_id, loaded.key, version)

    def distributions_of(self, group_id: bytes, user_id: str, device_id: int) -> list[UUID]:
        """The distribution ids of a device in a group, the least used first."""
        rows = self._work.rows(_OF_DEVICE, (group_id, user_id, device_id))
        return [UUID(bytes=row[0]) for row in rows]

    def peers_of(self, group_id: bytes) -> Iterator[LoadedPeerSenderKey]:
        """Every device's keys of a group, one after the other. Raises StoreCorrupt."""
        for user_id, device_id, distribution_id in self._work.rows(_OF_GROUP, (group_id,)):
            loaded = self.load_peer(user_id, device_id, UUID(bytes=distribution_id))
            if loaded is not None:
                yield loaded

    def delete_of_user(self, user_id: str) -> int:
        """Erase every key of a user's devices; return how many there were."""
        return self._work.change(_DELETE_OF_USER, (user_id,))

    def delete_peer(self, user_id: str, device_id: int, distribution_id: UUID) -> bool:
        """Erase a device's key; False if there was none."""
        return self._work.change(_DELETE_PEER, (user_id, device_id, distribution_id.bytes)) == 1


@dataclass(frozen=True, slots=True)
class Distribution:
    """How far one chain of ours got to one device."""

    group_id: bytes
    chain_id: int
    user_id: str
    device_id: int
    identity_key: bytes  # of the user when the key was sent
    registration_id: int  # of the device then
    state: str
    reason: str  # why it failed; empty if it did not


_DISTRIBUTION_COLUMNS: Final = "group_id, chain_id, user_id, device_id, identity_key, registration_id, state, reason"
_PUT_DISTRIBUTION: Final = Statement(
    "distributions",
    f"INSERT INTO distributions ({_DISTRIBUTION_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
    "ON CONFLICT (group_id, chain_id, user_id, device_id) DO UPDATE SET identity_key = excluded.identity_key, "
    "registration_id = excluded.registration_id, state = excluded.state, reason = excluded.reason",
)
_DISTRIBUTIONS: Final = Statement(
    "distributions",
    f"SELECT {_DISTRIBUTION_COLUMNS} FROM distributions WHERE group_id = ? AND chain_id = ? "  # noqa: S608
    "ORDER BY user_id, device_id",
)
_DISTRIBUTIONS_TO: Final = Statement(
    "distributions",
    f"SELECT {_DISTRIBUTION_COLUMNS} FROM distributions WHERE group_id = ? AND chain_id = ? "  # noqa: S608
    "AND user_id = ? ORDER BY device_id",
)
_FORGET_OTHERS: Final = Statement("distributions", "DELETE FROM distributions WHERE group_id = ? AND chain_id <> ?")


class Distributions:
    """Which devices have been given which chain of ours."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def put(self, distribution: Distribution) -> None:
        """Note a device's state, the first time or again."""
        one = distribution
        values = (one.group_id, one.chain_id, one.user_id, one.device_id, one.identity_key, one.registration_id)
        self._work.defer(_PUT_DISTRIBUTION, (*values, one.state, require_text(one.reason)))

    def of(self, group_id: bytes, chain_id: int) -> list[Distribution]:
        """Every device of a chain, in order."""
        return [Distribution(*row) for row in self._work.rows(_DISTRIBUTIONS, (group_id, chain_id))]

    def to_user(self, group_id: bytes, chain_id: int, user_id: str) -> list[Distribution]:
        """The devices of one user, in order."""
        return [Distribution(*row) for row in self._work.rows(_DISTRIBUTIONS_TO, (group_id, chain_id, user_id))]

    def forget_others(self, group_id: bytes, chain_id: int) -> int:
        """Forget the group's other chains, which nothing is sent with any more; return how many rows there were."""
        return self._work.change(_FORGET_OTHERS, (group_id, chain_id))


_ERASE: Final = Statement(
    "erased_chains",
    "INSERT INTO erased_chains (number, user_id, device_id, distribution_id, chain_id, erased_at) "
    "VALUES (?, ?, ?, ?, ?, ?)",
)
_IS_ERASED: Final = Statement(
    "erased_chains",
    "SELECT COUNT(*) FROM erased_chains WHERE user_id = ? AND device_id = ? AND distribution_id = ? AND chain_id = ?",
)


class ErasedChains:
    """Chains of peers that were erased: a message on one is a duplicate, and its key is not asked for."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def add(self, user_id: str, device_id: int, distribution_id: UUID, chain_id: int) -> None:
        """Remember an erased chain; the oldest beyond 10,000 go."""
        if self.contains(user_id, device_id, distribution_id, chain_id):
            return
        work = self._work
        ERASED_CHAINS.add(work)
        work.change(_ERASE, (work.next_number(), user_id, device_id, distribution_id.bytes, chain_id, work.now))
        ERASED_CHAINS.evict(work)

    def contains(self, user_id: str, device_id: int, distribution_id: UUID, chain_id: int) -> bool:
        """Whether a chain was erased."""
        return bool(self._work.rows(_IS_ERASED, (user_id, device_id, distribution_id.bytes, chain_id))[0][0])
