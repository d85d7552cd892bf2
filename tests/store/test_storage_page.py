"""`docs/storage.md` is the schema's description, and says what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from store.database import SQLITE_SETTINGS
from store.schema import CLIENT, SEALED_COLUMNS

PAGE: Final = (Path(__file__).parent.parent.parent / "docs" / "storage.md").read_text("utf-8")


@pytest.mark.parametrize("table", CLIENT.metadata.tables)
def test_every_table_stands_on_the_page_with_its_columns_in_order(table: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{table}` |"))
    listed = [part.split()[0].strip("*") for part in row.split("|")[2].split(",")]
    assert listed == CLIENT.metadata.tables[table].columns.keys()


@pytest.mark.parametrize("column", SEALED_COLUMNS, ids=lambda column: column.table)
def test_every_sealed_column_stands_on_the_page(column: object) -> None:
    assert f"`{column.table}.{column.column}`" in PAGE  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "value", "_"), SQLITE_SETTINGS)
def test_every_setting_of_a_connection_stands_on_the_page(name: str, value: str, _: object) -> None:
    assert re.search(rf"`{name}={value}`", PAGE)
