"""The outer form of a vector file, and tests with ascending ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vectors.files import Json

FORMAT: Final = 1
OWN_ORIGIN: Final = {
    "made_by": "ratchet",
    "how": "python -m vectors generate",
}


def vector_file(*, kind: str, title: str, flags: Json, groups: list[Json], origin: Json | None = None) -> Json:
    """Return a file; number its tests from 1."""
    number = 0
    numbered = []
    for group in groups:
        tests = []
        for test in group["tests"]:
            number += 1
            tests.append({"id": number, **test})
        numbered.append({**group, "tests": tests})
    return {
        "format": FORMAT,
        "kind": kind,
        "title": title,
        "origin": OWN_ORIGIN if origin is None else origin,
        "flags": flags,
        "groups": numbered,
    }


def valid(comment: str, *flags: str, **content: object) -> Json:
    """Return a test that must succeed."""
    return {"comment": comment, "flags": list(flags), "result": "valid", **content}


def invalid(comment: str, error: str, fault: str, *flags: str, **content: object) -> Json:
    """Return a test that must be refused with this class of error, for this one fault."""
    return {"comment": comment, "flags": list(flags), "result": "invalid", "error": error, "fault": fault, **content}
