"""Version 5 of the client's tables: the outbox is searched by state and conversation number, contents unread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["apply"]


def apply(connection: Connection) -> None:
    """Add a column, empty for what is queued already: what it holds is sealed in the content, which e2ee reads."""
    for statement in (
        "ALTER TABLE outgoing ADD COLUMN conversation_number BIGINT",
        "DROP INDEX outgoing_by_lane",
        "CREATE INDEX outgoing_by_lane ON outgoing (lane, state, number, conversation_number, message_id)",
    ):
        connection.exec_driver_sql(statement)
