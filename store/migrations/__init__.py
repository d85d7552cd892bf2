"""Schemas and their versions: forward only, in a transaction that rolls back as a whole.

A new database gets the present tables at once. An older one is brought forward step by step, each
step tested on a dump that the release before it made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text

from store.errors import StoreCorrupt, StoreNewer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Migration", "Schema", "create", "is_empty", "migrate", "stored_version", "version_table"]

_TABLE: Final = "schema_version"
# Each table with its columns. SQLAlchemy's inspector asks once for each table, and for much that nobody wants to know:
# that was nine tenths of an opening.
_COLUMNS: Final = {
    "sqlite": ("SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'"),
    "postgresql": (
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE n.nspname = current_schema() AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
    ),
}


@dataclass(frozen=True, slots=True)
class Migration:
    """One step forward."""

    version: int  # that it leads to, from the one before
    apply: Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one half (``client`` or ``relay``) in their present version."""

    name: str
    version: int
    metadata: MetaData  # with `version_table` among its tables
    migrations: tuple[Migration, ...]  # from version 2 on, in order


def version_table(metadata: MetaData) -> Table:
    """The table that says which schema, in which version, a database holds: one row."""
    return Table(_TABLE, metadata, Column("name", Text, primary_key=True), Column("version", Integer, nullable=False))


def is_empty(connection: Connection, schema: Schema) -> bool:
    """Tell whether none of the schema's tables is there: a database (or PostgreSQL schema) to be filled."""
    return not set(_columns(connection)) & set(schema.metadata.tables)


def create(connection: Connection, schema: Schema) -> None:
    """Make all tables in their present version, in the caller's transaction."""
    schema.metadata.create_all(connection, checkfirst=False)
    connection.execute(
        schema.metadata.tables[_TABLE].insert().values(name=schema.name, version=schema.version),
    )


def stored_version(connection: Connection, schema: Schema) -> int:
    """Read the version. Raises StoreCorrupt if the database holds something else, or half of a store."""
    if _TABLE not in _columns(connection):
        raise StoreCorrupt(f"the database holds no store: it has no table {_TABLE}")
    table = schema.metadata.tables[_TABLE]
    rows = connection.execute(table.select()).fetchall()
    if len(rows) != 1 or type(rows[0].version) is not int or rows[0].version < 1:
        raise StoreCorrupt(f"the table {_TABLE} does not hold one version")
    if rows[0].name != schema.name:
        raise StoreCorrupt(f"the database holds the tables of the {rows[0].name}, not of the {schema.name}")
    version: int = rows[0].version
    return version


def migrate(connection: Connection, schema: Schema) -> int:
    """Bring the tables forward to the present version, in the caller's transaction; return the version they had.

    Raises StoreNewer if a newer release wrote them, StoreCorrupt if they are not what their version says.
    """
    found = stored_version(connection, schema)
    if found > schema.version:
        raise StoreNewer(f"the {schema.name}'s tables have version {found}, this release knows {schema.version}")
    for step in schema.migrations:
        if step.version > found:
            step.apply(connection)
    if found != schema.version:
        connection.execute(schema.metadata.tables[_TABLE].update().values(version=schema.version))
    _require_columns(connection, schema)
    return found


def _require_columns(connection: Connection, schema: Schema) -> None:
    present = _columns(connection)
    for name, table in schema.metadata.tables.items():
        if name not in present:
            raise StoreCorrupt(f"the table {name} is missing")
        missing = set(table.columns.keys()) - present[name]
        if missing:
            raise StoreCorrupt(f"the table {name} lacks the column {min(missing)}")


def _columns(connection: Connection) -> dict[str, set[str]]:
    """Return the tables of the database, or of the connection's PostgreSQL schema, each with its columns."""
    found: dict[str, set[str]] = {}
    for table, column in connection.exec_driver_sql(_COLUMNS[connection.dialect.name]):
        found.setdefault(table, set()).add(column)
    return found
