"""The relay's tables in their present version; `docs/storage-relay.md` says what each column holds.

Ids of users and devices are text and small numbers on the outside; inside, `user_key` and
`device_key` stand for one life of one user or device and are never used again, so nothing that
was meant for a device reaches another one that took its id.

Tables that are written for each envelope have no foreign keys: a check for each row of a batch
would cost as much as the row. What they refer to is removed by `accounts` and `retention`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from store.migrations import Schema, version_table

from .migrations import MIGRATIONS

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy.types import TypeEngine

__all__ = ["RELAY"]

_NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows itself only for INTEGER

_metadata: Final = MetaData()
version_table(_metadata)


def _column(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _key(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]] = _NUMBER) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _drawn(name: str) -> Column[Any]:
    return Column(name, _NUMBER, primary_key=True)  # by the database; with `sqlite_autoincrement` never twice


def _belongs(name: str, other: str, *, primary_key: bool = False) -> Column[Any]:
    owner = ForeignKey(other, ondelete="CASCADE")
    return Column(name, _NUMBER, owner, primary_key=primary_key, autoincrement=False, nullable=False)


# Accounts.
Table(
    "users",
    _metadata,
    _drawn("user_key"),
    Column("user_id", Text, nullable=False, unique=True),
    _column("identity_key", LargeBinary),
    _column("created_at", Double),
    sqlite_autoincrement=True,
)
Table(  # of devices that are there and of those removed from which mail may be left
    "addresses",
    _metadata,
    _drawn("device_key"),
    _column("user_id", Text),
    _column("device_id", SmallInteger),
    Column("removed_at", Double),
    Index("addresses_removed", "removed_at"),
    sqlite_autoincrement=True,
)
Table(
    "devices",
    _metadata,
    _key("device_key"),
    _belongs("user_key", "users.user_key"),
    _column("device_id", SmallInteger),
    _column("registration_id", Integer),
    _column("submission_number", BigInteger),
    _column("delivery_number", BigInteger),
    _column("upload_number", BigInteger),
    _column("connection_number", BigInteger),
    _column("seen_at", Double),
    Column("upload_digest", LargeBinary),  # NULL: none yet, or none since version 2
    UniqueConstraint("user_key", "device_id"),
    Index("devices_seen", "seen_at"),
)

# Prekeys.
Table(  # a device is listed to others when it has this row
    "bundles",
    _metadata,
    _belongs("device_key", "devices.device_key", primary_key=True),
    _column("signed_id", BigInteger),
    _column("signed_key", LargeBinary),
    _column("signed_signature", LargeBinary),
    _column("kem_id", BigInteger),
    _column("kem_key", LargeBinary),
    _column("kem_signature", LargeBinary),
)
Table(
    "one_time_prekeys",
    _metadata,
    _belongs("device_key", "devices.device_key", primary_key=True),
    _key("kind", SmallInteger),
    _key("key_id"),
    _column("public_key", LargeBinary),
    Column("signature", LargeBinary),
    _column("digest", LargeBinary),
)
Table(  # what must not be taken again when an upload is repeated; also the record that the allowances are counted by
    "handed_prekeys",
    _metadata,
    _belongs("device_key", "devices.device_key", primary_key=True),
    _key("kind", SmallInteger),
    _key("key_id"),
    _column("digest", LargeBinary),
    _column("handed_at", Double),
    _column("asker_user_key", BigInteger),
    _column("stranger", Boolean),
    Index("handed_prekeys_age", "handed_at"),
    Index("handed_prekeys_asker", "asker_user_key", "handed_at"),
)
Table(
    "bundle_answers",
    _metadata,
    _belongs("asker_key", "devices.device_key", primary_key=True),
    _key("request_id", LargeBinary),
    _column("answered_at", Double),
    _column("answer", LargeBinary),
    Index("bundle_answers_age", "answered_at"),
)

# Mailboxes.
Table(
    "mailboxes",
    _metadata,
    _belongs("device_key", "devices.device_key", primary_key=True),
    _column("last_number", BigInteger),
    _column("count", BigInteger),
    _column("size", BigInteger),
)
Table(
    "mailbox_shares",
    _metadata,
    _key("device_key"),
    _key("sender_user_key"),
    _column("count", BigInteger),
    _column("size", BigInteger),
    sqlite_with_rowid=False,
)
Table(
    "mail",
    _metadata,
    _key("device_key"),
    _key("number"),
    _column("sender_key", BigInteger),
    _column("sender_user_key", BigInteger),
    _column("envelope_id", LargeBinary),
    _column("kind", SmallInteger),
    _column("size", Integer),
    _column("stored_at", Double),
    Column("content", LargeBinary),  # NULL: in `bodies`
    Column("body_key", BigInteger),
    Index("mail_age", "stored_at"),
)
Table(
    "bodies",
    _metadata,
    _drawn("body_key"),
    _column("content", LargeBinary),
    sqlite_autoincrement=True,
)
Table(  # apart from the body, which a count in the same row would have written again for each acknowledgement
    "body_references",
    _metadata,
    _key("body_key"),
    _column("count", BigInteger),
)
Table(
    "envelope_ids",
    _metadata,
    _key("device_key"),
    _key("sender_key"),
    _key("envelope_id", LargeBinary),
    _column("stored_at", Double),
    Index("envelope_ids_age", "stored_at"),
    sqlite_with_rowid=False,
)

Table(  # a ring for each device: the place of a number is its remainder
    "submissions",
    _metadata,
    _key("device_key"),
    _key("slot", SmallInteger),
    _column("number", BigInteger),
    _column("digest", LargeBinary),
    sqlite_with_rowid=False,
)

# Groups.
Table(
    "groups",
    _metadata,
    _key("group_id", LargeBinary),
    Column("name", Text, nullable=False, unique=True),
    _column("kind", SmallInteger),
    _column("number", BigInteger),
    _column("hash", LargeBinary),
    _column("epoch", BigInteger),
    _column("created_at", Double),
)
Table(
    "group_entries",
    _metadata,
    Column("group_id", LargeBinary, ForeignKey("groups.group_id", ondelete="CASCADE"), primary_key=True),
    _key("number"),
    _column("entry", LargeBinary),
    _column("hash", LargeBinary),
    _column("stored_at", Double),
)
Table(
    "group_seats",
    _metadata,
    Column("group_id", LargeBinary, ForeignKey("groups.group_id", ondelete="CASCADE"), primary_key=True),
    _key("user_id", Text),
    _column("identity_key", LargeBinary),
    _column("role", SmallInteger),
    Index("group_seats_user", "user_id"),
)

Table(  # whose seat or invitation an entry has ended, under that key: they may read the log up to it
    "group_leavers",
    _metadata,
    Column("group_id", LargeBinary, ForeignKey("groups.group_id", ondelete="CASCADE"), primary_key=True),
    _key("user_id", Text),
    _key("identity_key", LargeBinary),
    _column("number", BigInteger),
)

RELAY: Final = Schema("relay", 3, _metadata, MIGRATIONS)
