"""What is secret by its name shows in no repr: a log line, an error or a debugger prints values without asking."""

from __future__ import annotations

import pkgutil
from dataclasses import fields, is_dataclass
from importlib import import_module

import e2ee
import ratchet
import store
from e2ee.content import Content, ContentKind, Destination
from e2ee.frames import Login
from store.opening import KeySource
from store.vault import TESTING

SECRET_NAMES = frozenset({"passphrase", "plaintext", "private", "secret", "seed", "token"})


def dataclasses() -> set[type]:
    """Every dataclass of the three packages."""
    modules = [
        import_module(found.name)
        for package in (ratchet, store, e2ee)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    ]
    every = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return {one for one in every if is_dataclass(one) and one.__module__.startswith(("ratchet", "store", "e2ee"))}


def test_no_field_with_the_name_of_a_secret_shows() -> None:
    found = dataclasses()
    assert len(found) > 200
    assert [
        f"{one.__name__}.{part.name}"
        for one in found
        for part in fields(one)
        if part.name in SECRET_NAMES and part.repr
    ] == []


def test_neither_a_message_nor_a_token_nor_a_passphrase_shows() -> None:
    content = Content(ContentKind.TEXT, bytes(16), 1, 1, "alice", 1, Destination("bob"), b"canary")
    login = Login(b"claim", bytes(33), bytes(64), b"canary", ())
    for one in (content, login, KeySource("canary", None, TESTING)):
        assert "canary" not in repr(one)
