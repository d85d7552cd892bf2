"""Every target, on its kept corpus and on changed inputs: nothing but what is documented leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .mutation import EDIT_KINDS, EDITS_MAX, INTERESTING, edited
from .target import CORPUS, INPUT_SIZE_MAX, kept
from .targets import TARGETS

CORPUS_SIZE_MAX = 1024 * 1024  # bytes, of all targets
edits = st.lists(
    st.tuples(
        st.integers(0, EDIT_KINDS - 1),
        st.integers(0, 1 << 7) | st.integers(0, 1 << 14),
        st.sampled_from(INTERESTING) | st.binary(max_size=8),
    ),
    max_size=EDITS_MAX,
)


@pytest.mark.parametrize("name", TARGETS)
def test_the_kept_corpus_finds_nothing(name: str) -> None:
    inputs = kept(name)
    assert inputs, "python -m tests.fuzz TARGET --keep makes the corpus of a new target"
    for data in inputs:
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_find_nothing(name: str) -> None:
    target, inputs = TARGETS[name], kept(name)

    @settings(max_examples=target.examples)
    @given(inputs=st.sampled_from(inputs), changes=edits)
    def try_it(inputs: bytes, changes: list[tuple[int, int, bytes]]) -> None:
        target.run(edited(inputs, changes)[:INPUT_SIZE_MAX])

    try_it()


@pytest.mark.parametrize("name", TARGETS)
def test_well_formed_inputs_find_nothing(name: str) -> None:
    for data in set(TARGETS[name].seeds()) - set(kept(name)):  # those that are drawn anew in each process
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_fits(name: str) -> None:
    assert max(map(len, kept(name))) <= INPUT_SIZE_MAX


def test_the_corpus_is_that_of_the_targets_and_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < CORPUS_SIZE_MAX


@pytest.mark.slow
def test_the_command_fuzzes_and_says_how_often() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "raw", "--seconds", "1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    name, tried, *rest = done.stdout.split()
    assert (name, rest) == ("raw", ["inputs", "0", "findings"])
    assert int(tried.replace(",", "")) > 100
