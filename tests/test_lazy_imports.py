"""Importing a package loads next to nothing; its public names load what they need, and only that."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

import ratchet
from ratchet import errors
from tests.test_layering import DECRYPTION

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("ratchet", "store", "e2ee")


def loaded_by(statement: str) -> set[str]:
    """Run *statement* in a fresh interpreter and return the modules of ours that are loaded after it."""
    program = f"{statement}\nimport sys\nprint(*(name for name in sys.modules if name.split('.')[0] in {PACKAGES}))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())


def imports_for_the_type_checker(package: str) -> dict[str, tuple[str, ...]]:
    """Return what stands under ``if TYPE_CHECKING:`` in the package's __init__, by module."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
    return {
        statement.module: tuple(sorted(alias.name for alias in statement.names))
        for block in tree.body
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom) and statement.module is not None
    }


def test_importing_ratchet_loads_none_of_its_modules_but_the_errors() -> None:
    assert loaded_by("import ratchet") <= {"ratchet", "ratchet.errors"}


def test_an_error_is_imported_without_any_cryptography() -> None:
    assert loaded_by("from ratchet import NotAuthentic") == {"ratchet", "ratchet.errors"}


@pytest.mark.parametrize("package", ["store", "e2ee"])
def test_importing_a_package_loads_nothing_of_its_siblings_but_their_inits(package: str) -> None:
    assert loaded_by(f"import {package}") <= {*PACKAGES, "store.siblings", f"{package}.siblings"}


def test_verifying_signatures_and_bundles_loads_nothing_that_decrypts() -> None:
    loaded = loaded_by("from ratchet import Address, PreKeyBundle, verify_signature")
    assert {name for name in loaded if any(name == code or name.startswith(f"{code}.") for code in DECRYPTION)} == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_what_its_module_defines(package: str) -> None:
    module = import_module(package)
    exports: dict[str, tuple[str, ...]] = module._EXPORTS
    for submodule, names in exports.items():
        for name in names:
            assert getattr(module, name) is getattr(import_module(f"{package}.{submodule}"), name)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_listed_what_is_loaded_and_what_a_type_checker_sees_are_the_same(package: str) -> None:
    module = import_module(package)
    exports: dict[str, tuple[str, ...]] = module._EXPORTS
    assert sorted(name for names in exports.values() for name in names) == sorted(module.__all__)
    assert imports_for_the_type_checker(package) == {name: tuple(sorted(names)) for name, names in exports.items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_shown_by_dir_before_they_are_loaded(package: str) -> None:
    assert set(import_module(package).__all__) <= set(dir(import_module(package)))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not_there_is_an_attribute_error_naming_it(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Misspelt'"):
        _ = import_module(package).Misspelt


def test_every_error_of_ratchet_is_exported() -> None:
    assert set(errors.__all__) <= set(ratchet.__all__)


@pytest.mark.parametrize(
    "before", ["", "import ratchet.safety_number", "from ratchet.safety_number import SafetyNumber"]
)
def test_the_function_is_exported_and_not_the_module_of_the_same_name(before: str) -> None:
    statement = f"{before}\nfrom ratchet import safety_number\nassert type(safety_number).__name__ == 'function'"
    assert "ratchet.safety_number" in loaded_by(statement)
