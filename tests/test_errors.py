"""The tree of errors that each package draws is the one that it has, and every error says what to do."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Final

import pytest

PACKAGES: Final = ("ratchet", "store", "e2ee")
# Four columns for each level, then the error, then two spaces at least and what to do.
_LINE: Final = re.compile(r"^    ((?:│   |    |├── |└── )*)(\w+)(?:  +(\S.*))?$")


def drawn(package: str) -> dict[str, str | None]:
    """Return the errors that the docstring draws, each with the one above it; None: it is the root."""
    above: list[str] = []
    parents: dict[str, str | None] = {}
    for line in (import_module(f"{package}.errors").__doc__ or "").split("\n\n")[1].splitlines():
        found = _LINE.match(line)
        assert found is not None, f"{package}: not a line of a tree: {line!r}"
        level = len(found[1]) // 4
        assert level <= len(above), f"{package}: {found[2]} hangs in the air"
        del above[level:]
        parents[found[2]] = above[-1] if above else None
        above.append(found[2])
    return parents


@pytest.mark.parametrize("package", PACKAGES)
def test_the_drawn_tree_is_that_of_the_classes(package: str) -> None:
    module = import_module(f"{package}.errors")
    errors = {
        name: error
        for name, error in vars(module).items()
        if isinstance(error, type) and issubclass(error, Exception) and error.__module__ == module.__name__
    }
    (root,) = (name for name, error in errors.items() if error.__bases__ == (Exception,))
    parents = {name: None if name == root else error.__bases__[0].__name__ for name, error in errors.items()}
    assert drawn(package) == parents


@pytest.mark.parametrize("package", PACKAGES)
def test_every_error_is_listed_and_has_a_docstring_of_its_own(package: str) -> None:
    module = import_module(f"{package}.errors")
    for name in drawn(package):
        assert name in module.__all__
        assert vars(module)[name].__doc__
