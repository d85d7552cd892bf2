"""Version 3 of the client's tables: which chains of peers have ended, and how long they are still kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["apply"]

_BYTES: Final = {"sqlite": "BLOB", "postgresql": "BYTEA"}
_TIME: Final = {"sqlite": "DOUBLE", "postgresql": "DOUBLE PRECISION"}
_NUMBER: Final = {"sqlite": "INTEGER", "postgresql": "BIGINT"}
_END: Final = {"sqlite": " WITHOUT ROWID", "postgresql": ""}


def apply(connection: Connection) -> None:
    """Add a table."""
    dialect = connection.dialect.name
    connection.exec_driver_sql(
        f"CREATE TABLE ended_chains (user_id TEXT NOT NULL, device_id BIGINT NOT NULL, "
        f"distribution_id {_BYTES[dialect]} NOT NULL, chain_id {_NUMBER[dialect]} NOT NULL, drained BIGINT NOT NULL, "
        f"messages_left BIGINT NOT NULL, connected_left_s {_TIME[dialect]} NOT NULL, "
        f"PRIMARY KEY (user_id, device_id, distribution_id, chain_id)){_END[dialect]}"
    )
