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


MIGRATIONS: Final = (Migration(2, _remember_numbers),)
