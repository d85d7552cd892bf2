"""The client's tables in their present version; `docs/storage.md` says what each column holds.

Names of tables are part of what a sealed value is bound to (`vault`): renaming one means sealing it anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, Table, Text

from .migrations import Migration, Schema, client_2, client_3, client_4, client_5, version_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from sqlalchemy.types import TypeEngine

__all__ = [
    "CLIENT",
    "ID_SIZE",
    "SEALED_COLUMNS",
    "SealedColumn",
    "device_row",
    "number_row",
    "peer_sender_key_row",
    "prekey_row",
]

ID_SIZE: Final = 16  # bytes of a message id, envelope id, operation id
_NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's own row number, where it is the key

_metadata: Final = MetaData()
version_table(_metadata)


def _key(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _integer(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _time(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)  # seconds since 1970


def _device() -> list[Column[Any]]:
    return [_text("user_id"), _integer("device_id")]


def _device_key() -> list[Column[Any]]:
    return [_key("user_id", Text), _key("device_id", _NUMBER)]


def _table(name: str, *columns: Column[Any] | list[Column[Any]] | Index, small: bool = False) -> None:
    """A table; *small* rows stay inside the index of their primary key, which saves a page at each commit."""
    flat: list[Any] = []
    for column in columns:
        flat += column if isinstance(column, list) else [column]
    Table(name, _metadata, *flat, sqlite_with_rowid=not small)


# One row: the store itself, its lease (epoch and holder) and the counters that move in every unit.
_table(
    "store",
    _key("id", _NUMBER),
    _bytes("store_id"),
    _integer("seal_kind"),
    _bytes("seal_parameters"),
    _bytes("seal_check"),
    _time("created_at"),
    _integer("epoch"),
    _integer("holder_pid"),
    _text("holder_host"),
    _time("holder_since"),
    _integer("submission_number"),
    _integer("delivery_number"),
    _integer("upload_number"),
    _integer("prekey_id"),
    _integer("row_number"),
    _integer("confirmed_submission_number"),
    _integer("confirmed_upload_number"),
)
_table("seal_keys", _key("number", _NUMBER), _bytes("salt"))
_table(
    "account",
    _key("id", _NUMBER),
    _integer("version"),
    _device(),
    _integer("registration_id"),
    _bytes("identity_key"),
    _bytes("identity"),
    _time("created_at"),
)
_table(
    "prekeys",
    _key("kind", _NUMBER),
    _key("prekey_id", _NUMBER),
    _bytes("private"),
    _time("created_at"),
    Column("upload_number", BigInteger),
)
_table(
    "used_base_keys",
    _key("signed_prekey_id", _NUMBER),
    _key("kem_prekey_id", _NUMBER),
    _key("base_key", LargeBinary),
    small=True,
)
_table(
    "identities",
    _key("user_id", Text),
    _key("identity_key", LargeBinary),
    _time("first_seen_at"),
    _integer("current"),
    _text("verification"),
    _text("decision"),
    small=True,
)
_table("devices", _device_key(), _integer("registration_id"), _time("last_seen_at"), small=True)
_table("sessions", _device_key(), _integer("version"), _bytes("state"))
_table("heals", _device_key(), _time("next_allowed_at"), Column("delay_s", Double, nullable=False), small=True)
_table("heal_log", _key("number", _NUMBER), _time("healed_at"), _integer("stranger"))
_table("conversations", _key("conversation", LargeBinary), _integer("sent_number"), small=True)
_table(
    "received",
    _key("conversation", LargeBinary),
    _device_key(),
    _integer("highest"),
    _bytes("gaps"),
    Column("gaps_since", Double),
    _integer("told"),
    _integer("watched"),
    small=True,
)
_table(
    "outgoing",
    _key("message_id", LargeBinary),
    _integer("number"),
    _text("lane"),
    _bytes("content"),
    _integer("size"),
    _text("state"),
    _text("reason"),
    _time("created_at"),
    _integer("again"),
    Column("conversation_number", BigInteger),
    # All that is asked of a lane but the contents, so that nobody reads those to find the next message.
    Index("outgoing_by_lane", "lane", "state", "number", "conversation_number", "message_id"),
)
_table(
    "envelopes",
    _key("envelope_id", LargeBinary),
    _integer("number"),
    _bytes("message_id"),
    _text("lane"),
    _device(),
    _integer("registration_id"),
    _bytes("identity_key"),
    _integer("kind"),
    _bytes("ciphertext"),
    Column("submission_number", BigInteger),
    _integer("alone"),
    Index("envelopes_by_lane", "lane", "number"),
    Index("envelopes_by_message", "message_id"),
)
_table(
    "recipients",
    _key("message_id", LargeBinary),
    _device_key(),
    _bytes("identity_key"),
    _text("state"),
    _time("changed_at"),
    small=True,
)
_table(
    "inbox",
    _key("number", _NUMBER),
    _text("kind"),
    _bytes("body"),
    _integer("size"),
    _integer("deliveries"),
    _time("created_at"),
)
_table("seen", _key("number", _NUMBER), _bytes("keys"), _time("seen_at"))
_table(
    "receipts",
    _key("number", _NUMBER),
    _device(),
    _bytes("conversation"),
    _integer("conversation_number"),
    _text("kind"),
    _time("due_at"),
)
_table(
    "pending",
    _key("number", _NUMBER),
    _device(),
    _bytes("envelope_id"),
    _integer("kind"),
    _bytes("ciphertext"),
    _integer("size"),
    _text("reason"),
    Column("waits_for", LargeBinary),
    _time("parked_at"),
    _integer("requests"),
    Index("pending_by_device", "user_id", "device_id"),
    Index("pending_by_key", "waits_for"),
    Index("pending_by_time", "parked_at"),
)
_table(
    "quarantine",
    _key("number", _NUMBER),
    _device(),
    _bytes("envelope_id"),
    _bytes("ciphertext"),
    _text("cause"),
    _time("quarantined_at"),
)
_table(
    "delivery_attempts",
    _device_key(),
    _key("envelope_id", LargeBinary),
    _integer("attempts"),
    _time("attempted_at"),
    small=True,
)
_table(
    "send_log",
    _key("number", _NUMBER),
    _bytes("message_id"),
    _text("lane"),
    _bytes("content"),
    _integer("size"),
    _time("logged_at"),
    Index("send_log_by_message", "message_id", unique=True),
)
_table(
    "sent_envelopes",
    _key("number", _NUMBER),
    _bytes("envelope_id"),
    _text("user_id"),
    Column("message_id", LargeBinary),
    _time("sent_at"),
    Index("sent_envelopes_by_id", "envelope_id", unique=True),
)
_table(
    "retry_attempts",
    _key("message_id", LargeBinary),
    _device_key(),
    _integer("attempts"),
    _time("attempted_at"),
    small=True,
)
_table(
    "groups",
    _key("group_id", LargeBinary),
    _integer("version"),
    _text("name"),
    _integer("epoch"),
    _integer("log_number"),
    _bytes("head"),
    _bytes("state"),
)
_table("group_log", _key("group_id", LargeBinary), _key("number", _NUMBER), _bytes("entry"), _bytes("hash"))
_table("group_names", _key("name", Text), _bytes("group_id"), _time("pinned_at"), small=True)
_table(
    "group_operations",
    _key("operation_id", LargeBinary),
    _integer("number"),
    _bytes("group_id"),
    _bytes("entry"),
    _text("state"),
    _integer("attempts"),
    _time("created_at"),
)
_table(
    "own_sender_keys",
    _key("group_id", LargeBinary),
    _integer("version"),
    _bytes("state"),
    _integer("messages"),
    _time("created_at"),
)
_table(
    "peer_sender_keys",
    _device_key(),
    _key("distribution_id", LargeBinary),
    _bytes("group_id"),
    _integer("version"),
    _bytes("state"),
)
_table(
    "distributions",
    _key("group_id", LargeBinary),
    _key("chain_id", _NUMBER),
    _device_key(),
    _bytes("identity_key"),
    _integer("registration_id"),
    _text("state"),
    _text("reason"),
    small=True,
)
_table(
    "erased_chains",
    _key("number", _NUMBER),
    _device(),
    _bytes("distribution_id"),
    _integer("chain_id"),
    _time("erased_at"),
    Index("erased_chains_by_key", "user_id", "device_id", "distribution_id", "chain_id", unique=True),
)
_table(
    "ended_chains",
    _device_key(),
    _key("distribution_id", LargeBinary),
    _key("chain_id", _NUMBER),
    _integer("drained"),
    _integer("messages_left"),
    _time("connected_left_s"),
    small=True,
)
_table("blocked", _key("user_id", Text), _time("blocked_at"), small=True)

CLIENT: Final = Schema(
    name="client",
    version=5,
    metadata=_metadata,
    migrations=(
        Migration(2, client_2.apply),
        Migration(3, client_3.apply),
        Migration(4, client_4.apply),
        Migration(5, client_5.apply),
    ),
)


def device_row(user_id: str, device_id: int) -> bytes:
    """The row key of a device: the user id and one byte."""
    return user_id.encode() + device_id.to_bytes(1, "big")


def number_row(number: int) -> bytes:
    """The row key of a numbered row: 8 bytes, big-endian."""
    return number.to_bytes(8, "big")


def prekey_row(kind: int, prekey_id: int) -> bytes:
    """The row key of a prekey: its kind in one byte, its id in four."""
    return kind.to_bytes(1, "big") + prekey_id.to_bytes(4, "big")


def peer_sender_key_row(user_id: str, device_id: int, distribution_id: bytes) -> bytes:
    """The row key of a peer's sender key: the device's row key and the 16 bytes of the distribution id."""
    return device_row(user_id, device_id) + distribution_id


class SealedColumn(NamedTuple):
    """A column whose values are sealed, and how its row key is made from the primary key's columns."""

    table: str
    column: str
    keys: Sequence[str]
    row: Callable[..., bytes]
    versioned: bool = False  # bound to the column `version`; else the version is 1


def _itself(key: bytes) -> bytes:
    return key


def _single(_id: int) -> bytes:
    return b""


SEALED_COLUMNS: Final = (
    SealedColumn("account", "identity", ("id",), _single, versioned=True),
    SealedColumn("prekeys", "private", ("kind", "prekey_id"), prekey_row),
    SealedColumn("sessions", "state", ("user_id", "device_id"), device_row, versioned=True),
    SealedColumn("outgoing", "content", ("message_id",), _itself),
    SealedColumn("inbox", "body", ("number",), number_row),
    SealedColumn("send_log", "content", ("number",), number_row),
    SealedColumn("own_sender_keys", "state", ("group_id",), _itself, versioned=True),
    SealedColumn(
        "peer_sender_keys", "state", ("user_id", "device_id", "distribution_id"), peer_sender_key_row, versioned=True
    ),
)
