"""The statements of `prekeys`, in both databases' forms."""

# ruff: noqa: S608 - statements are put together from constants of this file

from __future__ import annotations

from typing import Final

from store.database import Statement

from .transaction import Forms

__all__ = [
    "ADD_KEYS",
    "ANSWER",
    "BUNDLES",
    "DROP_OLD_ANSWERS",
    "HAND_OUT",
    "IS_THERE",
    "KNOWN_KEYS",
    "LIST",
    "PURGE",
    "RECORD",
    "RESERVE_ANSWER",
    "SAVE_ANSWER",
    "STOCK",
    "TAKEN",
    "TAKEN_FROM",
]

# Uploading.
IS_THERE: Final = Statement("devices", "SELECT 1 FROM devices WHERE device_key = ?")
KNOWN_KEYS: Final = Forms(
    "one_time_prekeys",
    "SELECT kind, key_id, digest FROM one_time_prekeys "
    "WHERE device_key = ? AND key_id IN (SELECT value FROM json_each(?)) "
    "UNION ALL SELECT kind, key_id, digest FROM handed_prekeys "
    "WHERE device_key = ? AND key_id IN (SELECT value FROM json_each(?))",
    "SELECT kind, key_id, digest FROM one_time_prekeys WHERE device_key = %s AND key_id = ANY(%s::bigint[]) "
    "UNION ALL SELECT kind, key_id, digest FROM handed_prekeys WHERE device_key = %s AND key_id = ANY(%s::bigint[])",
)
LIST: Final = Statement(
    "bundles",
    "INSERT INTO bundles (device_key, signed_id, signed_key, signed_signature, kem_id, kem_key, kem_signature) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device_key) DO UPDATE SET signed_id = excluded.signed_id, "
    "signed_key = excluded.signed_key, signed_signature = excluded.signed_signature, kem_id = excluded.kem_id, "
    "kem_key = excluded.kem_key, kem_signature = excluded.kem_signature",
)
_ADD_KEYS: Final = "INSERT INTO one_time_prekeys (device_key, kind, key_id, public_key, signature, digest)"
ADD_KEYS: Final = Forms(
    "one_time_prekeys",
    f"{_ADD_KEYS} VALUES (?, ?, ?, ?, ?, ?)",
    f"{_ADD_KEYS} SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %b::bytea[], %b::bytea[], "
    "%b::bytea[])",
)
STOCK: Final = Statement(
    "one_time_prekeys", "SELECT kind, count(*) FROM one_time_prekeys WHERE device_key = ? GROUP BY kind"
)
PURGE: Final = Statement("one_time_prekeys", "DELETE FROM one_time_prekeys WHERE device_key = ?")

# Handing out: one statement takes the keys and removes them, so no two can have the same.
HAND_OUT: Final = Forms(
    "one_time_prekeys",
    "DELETE FROM one_time_prekeys WHERE (device_key, kind, key_id) IN ("
    "SELECT device_key, kind, min(key_id) FROM one_time_prekeys "
    "WHERE device_key IN (SELECT value FROM json_each(?)) GROUP BY device_key, kind) "
    "RETURNING device_key, kind, key_id, public_key, signature, digest",
    # MATERIALIZED: chosen once, whatever the plan. As a plain sub-query it may be run for each row that it is
    # joined with, and lock, or take, one key more each time.
    "WITH picked AS MATERIALIZED ("
    "SELECT p.device_key, p.kind, p.key_id FROM unnest(%s::bigint[]) AS d(device_key) "
    "CROSS JOIN unnest(ARRAY[0, 1]) AS t(kind) CROSS JOIN LATERAL ("
    "SELECT device_key, kind, key_id FROM one_time_prekeys "
    "WHERE device_key = d.device_key AND kind = t.kind ORDER BY key_id LIMIT 1 FOR UPDATE SKIP LOCKED) p"
    ") DELETE FROM one_time_prekeys k USING picked "
    "WHERE k.device_key = picked.device_key AND k.kind = picked.kind AND k.key_id = picked.key_id "
    "RETURNING k.device_key, k.kind, k.key_id, k.public_key, k.signature, k.digest",
)
_RECORD: Final = "INSERT INTO handed_prekeys (device_key, kind, key_id, digest, handed_at, asker_user_key, stranger)"
RECORD: Final = Forms(
    "handed_prekeys",
    f"{_RECORD} VALUES (?, ?, ?, ?, ?, ?, ?)",
    f"{_RECORD} SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %b::bytea[], %s::float8[], "
    "%s::bigint[], %s::boolean[])",
)
_BUNDLES: Final = (
    "SELECT d.device_key, d.user_key, u.user_id, d.device_id, d.registration_id, u.identity_key, b.signed_id, "
    "b.signed_key, b.signed_signature, b.kem_id, b.kem_key, b.kem_signature FROM bundles b "
    "JOIN devices d ON d.device_key = b.device_key JOIN users u ON u.user_key = d.user_key"
)
BUNDLES: Final = Forms(
    "bundles",
    f"{_BUNDLES} WHERE b.device_key IN (SELECT value FROM json_each(?))",
    f"{_BUNDLES} WHERE b.device_key = ANY(%s::bigint[])",
)

# Allowances. A device that gave both kinds counts once.
TAKEN: Final = Statement(
    "handed_prekeys",
    "SELECT count(*) FROM (SELECT DISTINCT device_key, handed_at FROM handed_prekeys "
    "WHERE asker_user_key = ? AND handed_at > ?) taken",
)
TAKEN_FROM: Final = Forms(
    "handed_prekeys",
    "SELECT device_key, count(*) FROM (SELECT DISTINCT device_key, asker_user_key, handed_at FROM handed_prekeys "
    "WHERE device_key IN (SELECT value FROM json_each(?)) AND stranger AND handed_at > ?) taken GROUP BY device_key",
    "SELECT device_key, count(*) FROM (SELECT DISTINCT device_key, asker_user_key, handed_at FROM handed_prekeys "
    "WHERE device_key = ANY(%s::bigint[]) AND stranger AND handed_at > %s) taken GROUP BY device_key",
)

# Answers. One that is too old to be repeated makes room for a new one under its request id.
RESERVE_ANSWER: Final = Statement(
    "bundle_answers",
    "INSERT INTO bundle_answers (asker_key, request_id, answered_at, answer) "
    "SELECT device_key, ?, ?, ? FROM devices WHERE device_key = ? "
    "ON CONFLICT (asker_key, request_id) DO UPDATE SET answered_at = excluded.answered_at, answer = excluded.answer "
    "WHERE bundle_answers.answered_at <= ?",
)
SAVE_ANSWER: Final = Statement(
    "bundle_answers", "UPDATE bundle_answers SET answer = ? WHERE asker_key = ? AND request_id = ?"
)
ANSWER: Final = Statement("bundle_answers", "SELECT answer FROM bundle_answers WHERE asker_key = ? AND request_id = ?")
DROP_OLD_ANSWERS: Final = Statement(
    "bundle_answers",
    "DELETE FROM bundle_answers WHERE asker_key = ? AND request_id IN (SELECT request_id FROM bundle_answers "
    "WHERE asker_key = ? ORDER BY answered_at DESC, request_id LIMIT 1000 OFFSET ?)",
)
