"""README's commands are those that .ci/run runs, and its example works as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.readme import ROOT, marked_blocks

if TYPE_CHECKING:
    from pathlib import Path


def test_the_readme_marks_its_two_commands_and_its_examples() -> None:
    assert set(marked_blocks()) == {"main", "test", "example", "client", "group"}


@pytest.mark.parametrize("name", ["main", "test"])
def test_ci_runs_the_command_from_the_readme_and_has_no_copy_of_it(name: str) -> None:
    ci = (ROOT / ".ci/run").read_text("utf-8")
    assert re.search(rf"^stage \w+ \d+ bash -c 'readme {name}'$", ci, flags=re.MULTILINE)
    assert marked_blocks()[name].strip() not in ci


@pytest.mark.parametrize("name", ["main", "test"])
def test_each_command_is_one_line_that_makes_its_own_environment(name: str) -> None:
    assert re.fullmatch(r"python3 -m venv \.venv && .*\n", marked_blocks()[name])


def test_the_example_of_the_ratchet_is_the_file_that_the_built_wheel_is_tried_with() -> None:
    example = (ROOT / "docs/conversation.py").read_text("utf-8")
    _, _, code = example.partition("\n\n")  # without the file's own docstring
    assert marked_blocks()["example"] == code
    assert "docs/conversation.py" in (ROOT / "noxfile.py").read_text("utf-8")


def test_the_example_prints_what_the_readme_says() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", marked_blocks()["example"]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("name", "printed"), [("client", "alice hello bob\n"), ("group", "team bob hello team\n")])
def test_the_examples_of_client_and_relay_deliver_their_message(name: str, printed: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", marked_blocks()[name]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.stderr == ""
    assert ran.stdout == printed
