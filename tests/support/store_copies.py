"""One store, as often as a test needs it in its first state: a copied file, or a schema whose rows are put back."""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING, Final, Protocol

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

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
    """PostgreSQL: two schemas with *tables*, one of them for use. To make a schema costs ten times as much."""

    def __init__(self, server: str, tables: Iterable[str]) -> None:
        number = next(_NUMBERS)
        self._schema = f"copies_{number}"
        self._server = server
        self.template = f"{server}&schema={self._schema}_template"
        self._tables = tuple(tables)

    def take(self) -> str:
        url = f"{self._server}&schema={self._schema}"
        with psycopg.connect(self._server.replace("+psycopg", "")) as connection:
            there = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self._schema,)).fetchone()
            statements = [] if there else [f"CREATE SCHEMA {self._schema}"]
            for table in self._tables:
                mine, template = f"{self._schema}.{table}", f"{self._schema}_template.{table}"
                made = f"DELETE FROM {mine}" if there else f"CREATE TABLE {mine} (LIKE {template} INCLUDING ALL)"  # noqa: S608
                statements += [made, f"INSERT INTO {mine} OVERRIDING SYSTEM VALUE SELECT * FROM {template}"]  # noqa: S608
            connection.execute("; ".join(statements))
        return url
