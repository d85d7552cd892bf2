"""From a URL to a store that is owned, migrated and unsealed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from .database import Dialect, Location, create_file, open_engine, require_file
from .errors import (
    PassphraseNeeded,
    PassphraseNotNeeded,
    StoreCorrupt,
    StoreError,
    StoreInUse,
    WrongPassphrase,
)
from .migrations import create, is_empty, migrate
from .ownership import (
    FileOwnership,
    Holder,
    NoOwnership,
    Ownership,
    ServerOwnership,
    opening_lock,
    this_process,
)
from .schema import CLIENT, ID_SIZE
from .vault import SALT_SIZE, Entropy, KeyProvider, PassphraseProfile, Vault, derive, provided
from .work import Counters

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from sqlalchemy import Connection, Engine

__all__ = ["Claim", "KeySource", "Opened", "SealKind", "open_store", "sealed_check"]

_CHECK_ROW: Final = b"check"
_CHECK_TEXT: Final = b"e2ee store"  # sealed, it tells a wrong passphrase from damage
_SERVER_POOL: Final = 3  # connections: the writer's, the lock's, one for a check or an export


class SealKind(IntEnum):
    """Where the master key comes from, by the number that is stored."""

    UNSEALED = 0
    PASSPHRASE = 1
    PROVIDER = 2


@dataclass(frozen=True, slots=True, eq=False)
class KeySource:
    """What the caller gives for a key: a passphrase, a provider, or neither."""

    passphrase: str | None = field(repr=False)
    provider: KeyProvider | None
    profile: PassphraseProfile  # for a passphrase that is new

    @property
    def kind(self) -> SealKind:
        """What a new store with it is."""
        if self.passphrase is not None:
            return SealKind.PASSPHRASE
        return SealKind.UNSEALED if self.provider is None else SealKind.PROVIDER

    def create(self, entropy: Entropy) -> tuple[bytes | None, bytes]:
        """Return a new master key (None: unsealed) and the parameters to store."""
        if self.passphrase is not None:
            salt = entropy(SALT_SIZE)
            return derive(self.passphrase, salt, self.profile), self.profile.to_bytes(salt)
        return (None if self.provider is None else provided(self.provider)), b""

    def load(self, kind: int, parameters: bytes) -> bytes | None:
        """Return the master key of a store of *kind*. Raises PassphraseNeeded, PassphraseNotNeeded, KeyUnavailable."""
        if kind == SealKind.UNSEALED:
            if self.kind is not SealKind.UNSEALED:
                raise PassphraseNotNeeded("the store is not sealed: open it without passphrase and key provider")
            return None
        if kind == SealKind.PASSPHRASE:
            if self.passphrase is None:
                raise PassphraseNeeded("the store is sealed: give its passphrase")
            profile, salt = PassphraseProfile.from_bytes(parameters)
            return derive(self.passphrase, salt, profile)
        if kind == SealKind.PROVIDER:
            if self.provider is None:
                raise PassphraseNeeded("the store is sealed with the key of a key provider: give that")
            return provided(self.provider)
        raise StoreCorrupt("the store is sealed in a way that there is not")


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """What taking a store over gives."""

    vault: Vault
    store_id: bytes  # 16 bytes
    epoch: int  # the fence: every commit compares it
    counters: Counters


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A store that is ours."""

    location: Location
    engine: Engine
    ownership: Ownership
    claim: Claim


def open_store(
    location: Location,
    key: KeySource,
    *,
    clock: Callable[[], float],
    entropy: Entropy,
    dbapi: ModuleType | None,
) -> Opened:
    """Own, create or migrate, and unseal the store at *location*. What fails leaves nothing open and nothing changed.

    Raises what `ClientStore.open` names.
    """
    holder = this_process(clock())
    pool_size = _SERVER_POOL if location.dialect is Dialect.POSTGRESQL else 2
    engine = open_engine(location, pool_size=pool_size, dbapi=dbapi)
    ownership: Ownership = NoOwnership()

    def build(connection: Connection) -> None:
        create(connection, CLIENT)
        _insert_store(connection, key, holder, entropy)

    try:
        if location.path is not None:
            ownership = FileOwnership(location.path, holder)
            if not require_file(location):
                create_file(location, build, dbapi=dbapi)
        elif location.dialect is Dialect.POSTGRESQL:
            ownership = _own_schema(engine, str(location.schema))
        with engine.begin() as connection:
            if location.path is None:
                _require_schema(connection, location)
                if is_empty(connection, CLIENT):
                    build(connection)
            migrate(connection, CLIENT)
            claim = _take_over(connection, key, holder, entropy)
        return Opened(location, engine, ownership, claim)
    except BaseException:
        engine.dispose()
        ownership.release()
        raise


def _own_schema(engine: Engine, schema: str) -> ServerOwnership:
    try:
        return ServerOwnership(engine, schema)
    except StoreInUse as error:
        try:
            with engine.begin() as connection:
                found = connection.exec_driver_sql("SELECT holder_pid, holder_host, holder_since FROM store").fetchone()
        except StoreError:  # it is being created
            found = None
        if found is None:
            raise
        raise StoreInUse(f"schema {schema}", pid=found[0], host=found[1], since=found[2]) from error


def _require_schema(connection: Connection, location: Location) -> None:
    """Create the PostgreSQL schema if it is not there; to ask first needs no right to create any.

    Whoever was creating it when it was killed has finished or given up afterwards.
    """
    if location.schema is not None:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (opening_lock(location.schema),))
        there = "SELECT COUNT(*) FROM pg_namespace WHERE nspname = %s"
        if not connection.exec_driver_sql(there, (location.schema,)).scalar_one():
            connection.exec_driver_sql(f'CREATE SCHEMA "{location.schema}"')


def sealed_check(vault: Vault) -> bytes:
    """Return the sealed constant of a store whose values *vault* seals."""
    return vault.seal("store", _CHECK_ROW, 1, _CHECK_TEXT)


def _insert_store(connection: Connection, key: KeySource, holder: Holder, entropy: Entropy) -> None:
    store_id = entropy(ID_SIZE)
    master, parameters = key.create(entropy)
    vault = Vault(store_id, master, {}, entropy=entropy)
    tables = CLIENT.metadata.tables
    connection.execute(
        tables["store"]
        .insert()
        .values(
            id=1,
            store_id=store_id,
            seal_kind=int(key.kind),
            seal_parameters=parameters,
            seal_check=sealed_check(vault),
            created_at=holder.since,
            epoch=0,
            holder_pid=holder.pid,
            holder_host=holder.host,
            holder_since=holder.since,
            submission_number=0,
            delivery_number=0,
            upload_number=0,
            prekey_id=1,
            row_number=0,
            confirmed_submission_number=0,
            confirmed_upload_number=0,
        )
    )
    for number, salt in vault.unstored.items():
        connection.execute(tables["seal_keys"].insert().values(number=number, salt=salt))


def _take_over(connection: Connection, key: KeySource, holder: Holder, entropy: Entropy) -> Claim:
    """Unseal, then make the epoch ours: a wrong passphrase changes nothing."""
    table = CLIENT.metadata.tables["store"]
    # FOR UPDATE: a unit of an owner that was killed may still be being committed. What counts is what it leaves:
    # counters read before it would be used twice.
    rows = connection.execute(table.select().with_for_update()).fetchall()
    if len(rows) != 1:
        raise StoreCorrupt("the table store does not hold one row")
    row = rows[0]
    master = key.load(row.seal_kind, row.seal_parameters)
    salts = connection.execute(CLIENT.metadata.tables["seal_keys"].select()).fetchall()
    vault = Vault(row.store_id, master, {salt.number: salt.salt for salt in salts}, entropy=entropy)
    if master is not None and not salts:
        raise StoreCorrupt("the store is sealed, and its salts are missing")
    try:
        intact = vault.open("store", _CHECK_ROW, 1, row.seal_check) == _CHECK_TEXT
    except StoreCorrupt as cause:
        if row.seal_kind == SealKind.UNSEALED:
            raise
        raise WrongPassphrase("the passphrase or key is not this store's: give the one it was sealed with") from cause
    if not intact:
        raise StoreCorrupt("the store's check value is damaged")
    epoch = row.epoch + 1
    connection.execute(
        table.update().values(epoch=epoch, holder_pid=holder.pid, holder_host=holder.host, holder_since=holder.since)
    )
    counters = Counters(
        row.submission_number,
        row.delivery_number,
        row.upload_number,
        row.prekey_id,
        row.row_number,
        row.confirmed_submission_number,
        row.confirmed_upload_number,
    )
    return Claim(vault, row.store_id, epoch, counters)
