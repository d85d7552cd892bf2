"""Version 4 of the client's tables: what the relay has confirmed, so that its loss of it is noticed.

The highest submission and upload that it has confirmed, and how often a message was sent again because it was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["apply"]


def apply(connection: Connection) -> None:
    """Add three columns. What was confirmed before is known of uploads only; of submissions from the next one on."""
    for statement in (
        "ALTER TABLE store ADD COLUMN confirmed_submission_number BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE store ADD COLUMN confirmed_upload_number BIGINT NOT NULL DEFAULT 0",
        "UPDATE store SET confirmed_upload_number = COALESCE((SELECT MAX(upload_number) FROM prekeys), 0)",
        "ALTER TABLE outgoing ADD COLUMN again BIGINT NOT NULL DEFAULT 0",
    ):
        connection.exec_driver_sql(statement)
