"""The statements of `mailboxes` and `retention`, in both databases' forms.

Parameters of one name come in one order. What is written for many rows takes one array for each
column on PostgreSQL; `%b` sends byte strings as they are and not in hexadecimal.
"""

# ruff: noqa: S608 - statements are put together from constants of this file

from __future__ import annotations

from typing import Final

from store.database import Statement

from .transaction import Forms

__all__ = [
    "ACKNOWLEDGE",
    "ADD_BODY",
    "ADD_BODY_REFERENCES",
    "ADD_MAIL",
    "ADD_SHARES",
    "DELIVERIES",
    "DROP_BODIES",
    "DROP_REFERENCES",
    "DROP_SHARES",
    "EMPTY",
    "FORGET",
    "MAILBOXES",
    "RAISE_ACKNOWLEDGED",
    "REDUCE_MAILBOX",
    "REDUCE_SHARE",
    "RELEASE_BODIES",
    "REMEMBER",
    "SAVE_MAILBOX",
    "SHARES",
    "SIZES",
    "STATE",
    "WAITING",
]


def _in_list(table: str, head: str, column: str, tail: str = "") -> Forms:
    """*head* for the rows whose *column* is in a list (`Transaction.listing`), then *tail*."""
    return Forms(
        table,
        f"{head} WHERE {column} IN (SELECT value FROM json_each(?)){tail}",
        f"{head} WHERE {column} = ANY(%s::bigint[]){tail}",
    )


MAILBOXES: Final = _in_list("mailboxes", "SELECT device_key, last_number, count, size FROM mailboxes", "device_key")
SHARES: Final = _in_list(
    "mailbox_shares", "SELECT device_key, sender_user_key, count, size FROM mailbox_shares", "device_key"
)
WAITING: Final = _in_list("mailboxes", "SELECT device_key, last_number FROM mailboxes", "device_key", " AND count > 0")
STATE: Final = Statement("mailboxes", "SELECT last_number, count, size FROM mailboxes WHERE device_key = ?")

# Putting in.
REMEMBER: Final = Forms(
    "envelope_ids",
    "INSERT INTO envelope_ids (device_key, sender_key, envelope_id, stored_at) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING",
    # An INSERT returns nothing of what it did not insert: the ordinal is found again by the key.
    "WITH given AS (SELECT * FROM unnest(%s::bigint[], %s::bigint[], %b::bytea[], %s::float8[], %s::int[]) "
    "AS given(device_key, sender_key, envelope_id, stored_at, ordinal)), "
    "added AS (INSERT INTO envelope_ids (device_key, sender_key, envelope_id, stored_at) "
    "SELECT device_key, sender_key, envelope_id, stored_at FROM given ON CONFLICT DO NOTHING "
    "RETURNING device_key, sender_key, envelope_id) "
    "SELECT ordinal FROM given JOIN added USING (device_key, sender_key, envelope_id)",
)
FORGET: Final = Forms(
    "envelope_ids",
    "DELETE FROM envelope_ids WHERE device_key = ? AND sender_key = ? AND envelope_id = ?",
    "DELETE FROM envelope_ids e USING unnest(%s::bigint[], %s::bigint[], %b::bytea[]) "
    "AS given(device_key, sender_key, envelope_id) "
    "WHERE e.device_key = given.device_key AND e.sender_key = given.sender_key AND e.envelope_id = given.envelope_id",
)
SAVE_MAILBOX: Final = Forms(
    "mailboxes",
    "UPDATE mailboxes SET last_number = ?, count = ?, size = ? WHERE device_key = ?",
    "UPDATE mailboxes m SET last_number = given.last_number, count = given.count, size = given.size "
    "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
    "AS given(last_number, count, size, device_key) WHERE m.device_key = given.device_key",
)
_ADD_SHARES: Final = "INSERT INTO mailbox_shares AS s (device_key, sender_user_key, count, size)"
_MORE: Final = (
    "ON CONFLICT (device_key, sender_user_key) DO UPDATE SET count = s.count + excluded.count, "
    "size = s.size + excluded.size"
)
ADD_SHARES: Final = Forms(
    "mailbox_shares",
    f"{_ADD_SHARES} VALUES (?, ?, ?, ?) {_MORE}",
    f"{_ADD_SHARES} SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) {_MORE}",
)
_ADD_MAIL: Final = (
    "INSERT INTO mail (device_key, number, sender_key, sender_user_key, envelope_id, kind, size, stored_at, "
    "content, body_key)"
)
ADD_MAIL: Final = Forms(
    "mail",
    f"{_ADD_MAIL} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    f"{_ADD_MAIL} SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %b::bytea[], "
    "%s::smallint[], %s::int[], %s::float8[], %b::bytea[], %s::bigint[])",
)
ADD_BODY: Final = Statement("bodies", "INSERT INTO bodies (content) VALUES (?) RETURNING body_key")
ADD_BODY_REFERENCES: Final = Statement("body_references", "INSERT INTO body_references (body_key, count) VALUES (?, ?)")

# Taking out.
SIZES: Final = Statement(
    "mail",
    "SELECT number, size FROM mail WHERE device_key = ? AND number > ? AND stored_at > ? ORDER BY number LIMIT ?",
)
DELIVERIES: Final = Statement(
    "mail",
    "SELECT m.number, a.user_id, a.device_id, m.envelope_id, m.kind, coalesce(m.content, b.content), m.stored_at "
    "FROM mail m JOIN addresses a ON a.device_key = m.sender_key LEFT JOIN bodies b ON b.body_key = m.body_key "
    "WHERE m.device_key = ? AND m.number > ? AND m.number <= ? AND m.stored_at > ? ORDER BY m.number",
)
ACKNOWLEDGE: Final = Forms(
    "mail",
    "DELETE FROM mail WHERE device_key = ? AND number <= ? RETURNING device_key, sender_user_key, size, body_key",
    "DELETE FROM mail m USING unnest(%s::bigint[], %s::bigint[]) AS given(device_key, number) "
    "WHERE m.device_key = given.device_key AND m.number <= given.number "
    "RETURNING m.device_key, m.sender_user_key, m.size, m.body_key",
)
RAISE_ACKNOWLEDGED: Final = Forms(
    "devices",
    "UPDATE devices SET delivery_number = max(delivery_number, min(given.number, m.last_number)) "
    "FROM (SELECT ? AS device_key, ? AS number) given JOIN mailboxes m ON m.device_key = given.device_key "
    "WHERE devices.device_key = given.device_key",
    "UPDATE devices d SET delivery_number = greatest(d.delivery_number, least(given.number, m.last_number)) "
    "FROM unnest(%s::bigint[], %s::bigint[]) AS given(device_key, number) "
    "JOIN mailboxes m ON m.device_key = given.device_key WHERE d.device_key = given.device_key",
)
REDUCE_MAILBOX: Final = Forms(
    "mailboxes",
    "UPDATE mailboxes SET count = count - ?, size = size - ? WHERE device_key = ?",
    "UPDATE mailboxes m SET count = m.count - given.count, size = m.size - given.size "
    "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS given(count, size, device_key) "
    "WHERE m.device_key = given.device_key",
)
REDUCE_SHARE: Final = Forms(
    "mailbox_shares",
    "UPDATE mailbox_shares SET count = count - ?, size = size - ? WHERE device_key = ? AND sender_user_key = ?",
    "UPDATE mailbox_shares s SET count = s.count - given.count, size = s.size - given.size "
    "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
    "AS given(count, size, device_key, sender_user_key) "
    "WHERE s.device_key = given.device_key AND s.sender_user_key = given.sender_user_key",
)
DROP_SHARES: Final = Forms(
    "mailbox_shares",
    "DELETE FROM mailbox_shares WHERE device_key = ? AND sender_user_key = ? AND count = 0",
    "DELETE FROM mailbox_shares s USING unnest(%s::bigint[], %s::bigint[]) AS given(device_key, sender_user_key) "
    "WHERE s.device_key = given.device_key AND s.sender_user_key = given.sender_user_key AND s.count = 0",
)
RELEASE_BODIES: Final = Forms(
    "body_references",
    "UPDATE body_references SET count = count - ? WHERE body_key = ?",
    "UPDATE body_references b SET count = b.count - given.count FROM unnest(%s::bigint[], %s::bigint[]) "
    "AS given(count, body_key) WHERE b.body_key = given.body_key",
)
DROP_REFERENCES: Final = _in_list(
    "body_references", "DELETE FROM body_references", "body_key", " AND count = 0 RETURNING body_key"
)
DROP_BODIES: Final = _in_list("bodies", "DELETE FROM bodies", "body_key")
EMPTY: Final = (
    _in_list("mail", "DELETE FROM mail", "device_key", " RETURNING body_key"),
    _in_list("mailbox_shares", "DELETE FROM mailbox_shares", "device_key"),
    _in_list("envelope_ids", "DELETE FROM envelope_ids", "device_key"),
)
