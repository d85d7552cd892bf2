"""Work on a whole store: sealing it anew, checking it, deleting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ratchet import OwnSenderKey, PeerSenderKey, RatchetError, Session

from .accounts import take_identity
from .database import Dialect, Location, Statement
from .errors import StoreCorrupt, StoreError
from .opening import KeySource, sealed_check
from .schema import CLIENT, SEALED_COLUMNS, SealedColumn
from .vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from .unit import Unit
    from .vault import Entropy
    from .work import Work

__all__ = ["Finding", "check", "delete_rows", "remove", "reseal"]

_CHUNK: Final = 64  # rows written together; bounds the memory to some MB


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    table: str  # empty: the database itself
    problem: str


# What a sealed column holds besides bytes of the engine's: how to find out that it is whole.
_PARSERS: Final[dict[str, Callable[[bytes], object]]] = {
    "account": take_identity,
    "sessions": Session.from_bytes,
    "own_sender_keys": OwnSenderKey.from_bytes,
    "peer_sender_keys": PeerSenderKey.from_bytes,
}
_INTEGRITY: Final = Statement("", "PRAGMA integrity_check")
_FORGET_SALTS: Final = Statement("seal_keys", "DELETE FROM seal_keys")
_SAVE_SEAL: Final = Statement(
    "store", "UPDATE store SET seal_kind = ?, seal_parameters = ?, seal_check = ? WHERE id = 1"
)


def _values(work: Work, column: SealedColumn) -> Iterator[tuple[tuple[object, ...], int, bytes]]:
    """Yield each row's key, version and stored value; row by row, so that a large table needs no memory."""
    keys, conditions = ", ".join(column.keys), " AND ".join(f"{key} = ?" for key in column.keys)
    version = "version" if column.versioned else "1"
    every = Statement(column.table, f"SELECT {keys} FROM {column.table}")  # noqa: S608 - names of our own tables
    one = Statement(column.table, f"SELECT {version}, {column.column} FROM {column.table} WHERE {conditions}")  # noqa: S608
    for key in work.rows(every):
        for number, value in work.rows(one, tuple(key)):
            yield tuple(key), number, value


def reseal(unit: Unit, key: KeySource, store_id: bytes, entropy: Entropy) -> Vault:
    """Seal every value anew with *key*, in this unit; return the vault that takes the place of the old one."""
    work = unit.work
    old = work.vault
    master, parameters = key.create(entropy)
    new = Vault(store_id, master, {}, entropy=entropy)
    for column in SEALED_COLUMNS:
        conditions = " AND ".join(f"{name} = ?" for name in column.keys)
        save = Statement(column.table, f"UPDATE {column.table} SET {column.column} = ? WHERE {conditions}")  # noqa: S608
        changes: list[tuple[object, ...]] = []
        for row, version, value in _values(work, column):
            row_key = column.row(*row)
            plaintext = old.open(column.table, row_key, version, value)
            changes.append((new.seal(column.table, row_key, version, plaintext), *row))
            if len(changes) == _CHUNK:
                work.change_many(save, changes)
                changes.clear()
        work.change_many(save, changes)
    work.change(_FORGET_SALTS)
    work.change(_SAVE_SEAL, (int(key.kind), parameters, sealed_check(new)))
    return new


def check(unit: Unit, dialect: Dialect) -> tuple[Finding, ...]:
    """Read and parse everything; return what is wrong."""
    work = unit.work
    findings: list[Finding] = []
    if dialect is Dialect.SQLITE:
        findings += [Finding("", row[0]) for row in work.rows(_INTEGRITY) if row[0] != "ok"]
    for column in SEALED_COLUMNS:
        parse = _PARSERS.get(column.table, bytes)
        for key, version, value in _values(work, column):
            try:
                parse(work.vault.open(column.table, column.row(*key), version, value))
            except (StoreError, RatchetError) as error:
                findings.append(Finding(column.table, f"{type(error).__name__}: {error}"))
    try:
        unit.account.load()
    except StoreCorrupt as error:
        findings.append(Finding("account", str(error)))
    return tuple(findings)


def delete_rows(unit: Unit) -> None:
    """Delete every row but the store's own, which carries the fence until the end, and what opens it.

    A deletion that is cut short leaves a store without an account, which can be opened and deleted again.
    """
    for name in CLIENT.metadata.tables:
        if name not in ("store", "schema_version", "seal_keys"):
            unit.work.change(Statement(name, f"DELETE FROM {name}"))  # noqa: S608 - names of our own tables
    unit.settle(committed=False)


def remove(engine: Engine, location: Location) -> None:
    """Remove what is left: the file and all beside it, or the tables and the schema if nothing else is in it."""
    if location.path is not None:
        engine.dispose()  # Windows does not delete open files
        for end in ("-wal", "-shm", "", ".lock"):
            location.path.with_name(location.path.name + end).unlink(missing_ok=True)
        return
    with engine.begin() as connection:
        CLIENT.metadata.drop_all(connection)
        if location.schema is not None:
            tables = "SELECT COUNT(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE n.nspname = %s"
            if not connection.exec_driver_sql(tables, (location.schema,)).scalar_one():
                connection.exec_driver_sql(f'DROP SCHEMA "{location.schema}"')
