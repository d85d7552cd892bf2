"""What is built, what it says of itself, and what happens beside an application with a folder `store`."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from email.message import Message

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("ratchet", "store", "e2ee")


def run(*arguments: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run this interpreter away from the checkout, with *path* as its only addition to ``sys.path``."""
    environment = os.environ | {"PYTHONPATH": str(path) if path else ""}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def build(kind: str, folder: Path, source: Path = ROOT) -> Path:
    ran = run("-m", "hatchling", "build", "--target", kind, "--directory", str(folder), cwd=source)
    assert ran.returncode == 0, ran.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode())


def sources_of_the_packages() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_three_packages_whole_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == sources_of_the_packages()


def test_the_wheel_is_for_every_platform_typed_and_carries_its_licence(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (licence,) = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert metadata(wheel)["License-Expression"] == "Apache-2.0"


def test_the_source_distribution_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = build("wheel", tmp_path / "wheel", source=unpacked)
    assert again.read_bytes() == wheel.read_bytes()


def test_the_source_distribution_holds_what_checks_it_and_nothing_that_was_built_or_installed(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {".ci/run", "CHANGELOG.md", "LICENSE", "README.md", "noxfile.py", "pyproject.toml"} <= names
    assert {"tests/test_packaging.py", "docs/conversation.py"} <= names
    assert {name for name in names if {"node_modules", "__pycache__", ".venv", "dist"} & set(name.split("/"))} == set()


def test_the_version_is_semantic_and_the_python_floor_is_stated() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert len(project["version"].partition(".dev")[0].split(".")) == 3
    assert project["requires-python"] == ">=3.11"


def test_the_distribution_is_not_named_like_one_of_its_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] not in PACKAGES


def test_every_dependency_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    everything = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    assert [item for item in everything if ">=" not in item and not item.startswith(project["name"])] == []


def test_every_folder_with_tests_is_a_package_of_its_own() -> None:
    # Otherwise pytest would put tests/ on the path and take tests/store for store.
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()


def test_beside_an_application_with_a_folder_store_the_installed_wheel_names_that_folder(
    wheel: Path, tmp_path: Path
) -> None:
    site, application = tmp_path / "site", tmp_path / "application"
    installed = run("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel), cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    (application / "store").mkdir(parents=True)
    (application / "store/__init__.py").touch()
    (application / "main.py").write_text("import e2ee\n")
    ran = run("main.py", cwd=application, path=site)
    assert ran.returncode == 1
    assert f"ImportError: e2ee needs the package 'store' that was installed with it in {site}" in ran.stderr
    assert f"but Python finds {application / 'store/__init__.py'}" in ran.stderr


@pytest.mark.parametrize(
    ("importer", "shadow"),
    [
        ("e2ee", "store/__init__.py"),
        ("e2ee", "store.py"),
        ("e2ee", "ratchet/__init__.py"),
        ("e2ee", "ratchet.py"),
        ("store", "ratchet/__init__.py"),
        ("store", "ratchet.py"),
    ],
)
def test_an_import_is_refused_with_the_name_of_the_file_in_the_way(importer: str, shadow: str, tmp_path: Path) -> None:
    file = tmp_path / shadow
    file.parent.mkdir(exist_ok=True)
    file.write_text("raise SystemExit('the application was run')")
    ran = run("-c", f"import {importer}", cwd=tmp_path, path=ROOT)
    assert f"but Python finds {file}: rename that one" in ran.stderr
    assert "the application was run" not in ran.stderr


def test_a_module_of_the_application_that_is_already_loaded_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "store.py").touch()
    ran = run("-c", "import store, e2ee", cwd=tmp_path, path=ROOT)
    assert f"but Python finds {tmp_path / 'store.py'}: rename that one" in ran.stderr


def test_a_module_made_by_hand_is_refused_without_a_file_to_name(tmp_path: Path) -> None:
    program = "import sys, types; sys.modules['store'] = types.ModuleType('store'); import e2ee"
    assert "but Python finds <no file>: rename that one" in run("-c", program, cwd=tmp_path, path=ROOT).stderr


def test_a_folder_without_an_init_file_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert run("-c", "import e2ee, store", cwd=tmp_path, path=ROOT).returncode == 0
