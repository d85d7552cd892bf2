"""docs/rules.md names for every numbered rule of docs/protocol.md the tests that show it, and they exist."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from typing import Final

import pytest

from tests.support.readme import ROOT

RULES: Final[list[str]] = re.findall(r"\*\*(R\d+\.\d+)\*\*", (ROOT / "docs" / "protocol.md").read_text("utf-8"))
ROWS: Final = [
    [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    for line in (ROOT / "docs" / "rules.md").read_text("utf-8").splitlines()
    if line.startswith("| R")
]


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_no_number_stands_twice_and_the_rows_are_the_rules_in_their_order() -> None:
    assert [number for number, count in Counter(RULES).items() if count > 1] == []
    assert [row[0] for row in ROWS] == RULES


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_something_and_the_tests_that_it_names_exist(row: list[str]) -> None:
    assert len(row) == 3
    assert row[1]
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[2])
    assert named
    assert row[2] == ", ".join(f"`{file}::{function}`" for file, function in named)
    assert [(file, function) for file, function in named if function not in functions_of(file)] == []


def test_a_test_that_names_a_rule_in_its_name_names_one_that_there_is() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / "e2ee").rglob("test_*.py")]
    numbers = {
        "R" + ".".join(found.groups())
        for file in files
        for name in functions_of(file)
        if (found := re.match(r"test_r(\d+)_(\d+)_", name))
    }
    assert numbers <= set(RULES)
