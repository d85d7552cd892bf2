"""Vector files: where they are, and what form they have."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

Json: TypeAlias = dict[str, Any]

FOLDER: Final = Path(__file__).resolve().parent
SCHEMAS: Final = FOLDER / "schemas"
# Beside the files of one kind each: recordings of another implementation, states that a release wrote, and its frames.
DATA_FOLDERS: Final = (FOLDER, FOLDER / "libsignal", FOLDER / "snapshots", FOLDER / "protocol")


class InvalidFile(Exception):
    """A vector file does not have its schema's form."""


@dataclass(frozen=True, slots=True)
class VectorFile:
    """One file, parsed."""

    path: Path
    content: Json

    @property
    def name(self) -> str:
        """The path below the folder of vectors, with forward slashes; of a file elsewhere its own name."""
        return self.path.relative_to(FOLDER).as_posix() if self.path.is_relative_to(FOLDER) else self.path.name

    @property
    def kind(self) -> str:
        """What the file's tests are about, which is also its schema's name."""
        return str(self.content["kind"])

    @property
    def test_count(self) -> int:
        """How many tests the file has."""
        return sum(len(group["tests"]) for group in self.content["groups"])

    def validate(self) -> None:
        """Compare the file with its schema, and its flags and test numbers with each other. Raises InvalidFile."""
        error = next(iter(_validator(self.kind).iter_errors(self.content)), None)
        if error is not None:
            raise InvalidFile(f"{self.name}: at {error.json_path}: {error.message[:300]}")
        tests = [test for group in self.content["groups"] for test in group["tests"]]
        if [test["id"] for test in tests] != list(range(1, len(tests) + 1)):
            raise InvalidFile(f"{self.name}: test ids do not count from 1")
        used = {flag for test in tests for flag in test["flags"]}
        if used != set(self.content["flags"]):
            raise InvalidFile(
                f"{self.name}: flags used and flags explained differ: {used ^ set(self.content['flags'])}"
            )


def load(path: Path) -> VectorFile:
    """Read one file."""
    return VectorFile(path, json.loads(path.read_text(encoding="utf-8")))


def load_all() -> list[VectorFile]:
    """Read every vector file, in the order of their names."""
    return [load(path) for folder in DATA_FOLDERS for path in sorted(folder.glob("*.json"))]


def dump(content: Json) -> str:
    """Return the text of a vector file: steps one a line, so that a change of one shows as one."""
    return _dump(content, 0) + "\n"


LINE_DEPTH: Final = 5  # containers below this depth stand on one line


def _dump(value: object, depth: int) -> str:
    inner, outer = " " * (depth + 1), " " * depth
    if depth < LINE_DEPTH and isinstance(value, dict) and value:
        items = [f"{inner}{json.dumps(key)}: {_dump(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{outer}}}"
    if depth < LINE_DEPTH and isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "[\n" + ",\n".join(inner + _dump(item, depth + 1) for item in value) + f"\n{outer}]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":") if depth >= LINE_DEPTH else (", ", ": "))


@functools.cache
def _registry() -> Registry[Any]:
    resources = [
        (path.name, Resource.from_contents(json.loads(path.read_text(encoding="utf-8"))))
        for path in SCHEMAS.glob("*.json")
    ]
    return Registry().with_resources(resources)


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    path = SCHEMAS / f"{kind}.json"
    if not path.is_file():
        raise InvalidFile(f"there is no schema for the kind {kind!r}")
    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8")), registry=_registry())
