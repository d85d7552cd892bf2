"""Version 2 of the client's tables: what recovery has to remember.

Which message each envelope carried, how often a parked envelope was asked for, which envelopes are for one
device alone, and which gaps were told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["apply"]

_NUMBER: Final = {"sqlite": "INTEGER", "postgresql": "BIGINT"}  # a row number, as version 1 has it
_BYTES: Final = {"sqlite": "BLOB", "postgresql": "BYTEA"}
_TIME: Final = {"sqlite": "DOUBLE", "postgresql": "DOUBLE PRECISION"}


def apply(connection: Connection) -> None:
    """Add four columns and a table."""
    dialect = connection.dialect.name
    number, octets, time = _NUMBER[dialect], _BYTES[dialect], _TIME[dialect]
    for statement in (
        "ALTER TABLE envelopes ADD COLUMN alone BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE pending ADD COLUMN requests BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE received ADD COLUMN told BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE received ADD COLUMN watched BIGINT NOT NULL DEFAULT 0",
        (
            f"CREATE TABLE sent_envelopes (number {number} NOT NULL, envelope_id {octets} NOT NULL, "
            f"user_id TEXT NOT NULL, message_id {octets}, sent_at {time} NOT NULL, PRIMARY KEY (number))"
        ),
        "CREATE UNIQUE INDEX sent_envelopes_by_id ON sent_envelopes (envelope_id)",
    ):
        connection.exec_driver_sql(statement)
