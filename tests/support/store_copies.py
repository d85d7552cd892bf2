"""One store, as often as a test needs it in its first state: a copied file, or a schema whose rows are put back."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING, Final, Protocol

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import MetaData

__all__ = ["Copies", "FileCopies", "SchemaCopies"]

_NUMBERS: Final = itertools.count(1)


class Copies(Protocol):
    """A store that is made once, at `template`, closed, and then taken again and again."""

    template: str

    def take(self) -> str:
        """Return the URL of a store that is as the template was left."""


class FileCopies:
    """SQLite: a closed store is one file, without a log beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.template = f"sqlite:///{folder}/template.db"

    def take(self) -> str:
        for old in self._folder.glob("copy.db*"):
            old.unlink()
        shutil.copyfile(self._folder / "template.db", self._folder / "copy.db")
        return f"sqlite:///{self._folder}/copy.db"


class SchemaCopies:
    """PostgreSQL: two schemas in which *make* makes a store with the tables of *metadata*; one of them is used.

    To put rows back takes 10 ms, to make a schema anew 100.
    """

    def __init__(self, server: str, metadata: MetaData, make: Callable[[str], None]) -> None:
        self._schema = f"copies_{next(_NUMBERS)}"
        self._server = server
        self._make = make
        self.template = f"{server}&schema={self._schema}_template"
        self._tables = [table.name for table in metadata.sorted_tables]  # what others refer to first
        drawn = [(table.name, table.autoincrement_column) for table in metadata.sorted_tables]
        self._drawn = [(table, column.name) for table, column in drawn if column is not None]
        self._made = False

    def take(self) -> str:
        url = f"{self._server}&schema={self._schema}"
        if not self._made:
            self._make(url)
        mine, template = self._schema, f"{self._schema}_template"
        statements = [f"DELETE FROM {mine}.{table}" for table in reversed(self._tables)]  # noqa: S608 - our own names
        statements += [
            f"INSERT INTO {mine}.{table} SELECT * FROM {template}.{table}"  # noqa: S608
            for table in self._tables
        ]
        if not self._made:  # after that they only rise
            statements += [
                f"SELECT setval(pg_get_serial_sequence('{mine}.{table}', '{column}'), 1000)"
                for table, column in self._drawn
            ]
        with psycopg.connect(self._server.replace("+psycopg", "")) as connection:
            connection.execute("; ".join(statements).encode())
        self._made = True
        return url
