"""The relay's tables, from each version to the next: what each step says stays as it is for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.database import Dialect
from store.migrations import Migration

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["MIGRATIONS"]


def _remember_numbers(connection: Connection) -> None:
    """Version 2: what submission numbers and the last upload stood for, across connections."""
    if connection.dialect.name == Dialect.POSTGRESQL:
        connection.exec_driver_sql(
            "CREATE TABLE submissions (device_key BIGINT NOT NULL, slot SMALLINT NOT NULL, number BIGINT NOT NULL, "
            "digest BYTEA NOT NULL, PRIMARY KEY (device_key, slot))"
        )
        connection.exec_driver_sql("ALTER TABLE devices ADD COLUMN upload_digest BYTEA")
    else:
        connection.exec_driver_sql(
            "CREATE TABLE submissions (device_key INTEGER NOT NULL, slot SMALLINT NOT NULL, number BIGINT NOT NULL, "
            "digest BLOB NOT NULL, PRIMARY KEY (device_key, slot)) WITHOUT ROWID"
        )
        connection.exec_driver_sql("ALTER TABLE devices ADD COLUMN upload_digest BLOB")


def _remember_leavers(connection: Connection) -> None:
    """Version 3: whose seat in a group an entry has ended, and which."""
    octets = "BYTEA" if connection.dialect.name == Dialect.POSTGRESQL else "BLOB"
    connection.exec_driver_sql(
        f"CREATE TABLE group_leavers (group_id {octets} NOT NULL, user_id TEXT NOT NULL, "
        f"identity_key {octets} NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (group_id, user_id, identity_key), "
        "FOREIGN KEY(group_id) REFERENCES groups (group_id) ON DELETE CASCADE)"
    )


MIGRATIONS: Final = (Migration(2, _remember_numbers), Migration(3, _remember_leavers))
