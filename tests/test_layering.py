"""Imports point one way, files stay short: a table of what may not be imported, read from the source by `ast`."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

import ratchet

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("ratchet", "store", "e2ee")

CRYPTOGRAPHY: Final = ("cryptography", "nacl")
DATABASES: Final = ("psycopg", "sqlalchemy", "sqlite3")
NETWORK: Final = ("asyncio", "http", "selectors", "ssl", "urllib", "websockets")
CLOCK: Final = ("datetime", "time")
DICE: Final = ("os", "random", "secrets", "uuid.uuid1", "uuid.uuid4")
THREADS: Final = ("concurrent", "multiprocessing", "threading")
# Read by whoever can put bytes in front of it, they run that person's code.
UNSAFE_LOADERS: Final = ("dbm", "marshal", "pickle", "shelve")
# What this table cannot see through; the package's own __init__ loads its exports with it.
HIDDEN_IMPORTS: Final = ("__import__", "importlib", "runpy")
# What opens messages: a relay has no use for it.
DECRYPTION: Final = (
    "ratchet.Account",
    "ratchet.OwnSenderKey",
    "ratchet.PeerSenderKey",
    "ratchet.Session",
    "ratchet.account",
    "ratchet.chains",
    "ratchet.double_ratchet",
    "ratchet.handshake",
    "ratchet.ratchets",
    "ratchet.receiving_chain",
    "ratchet.sender_keys",
    "ratchet.session",
    "ratchet.spqr",
    "ratchet.starting",
    "ratchet.triple_ratchet",
)


# The relay without sockets, threads and clocks.
RELAY_CORE: Final = (
    "account",
    "arrivals",
    "claim",
    "connection",
    "core",
    "devices",
    "group_arrivals",
    "group_mail",
    "groups",
    "login",
    "mail",
    "plan",
    "prekeys",
    "rates",
    "refusal",
    "rosters",
    "statistics",
    "submit",
)


class Rule(NamedTuple):
    """The modules that match *modules* import nothing of *forbidden*, except those that match *exceptions*."""

    modules: str
    forbidden: tuple[str, ...]
    exceptions: tuple[str, ...] = ()


RULES: Final = (
    # ratchet: values in, values out.
    Rule(
        "ratchet*",
        ("store", "e2ee", *DATABASES, *NETWORK, *THREADS, "socket", "io", "logging", "pathlib", "subprocess"),
    ),
    Rule("ratchet*", CRYPTOGRAPHY, exceptions=("ratchet.primitives",)),
    Rule("ratchet*", ("msgpack",), exceptions=("ratchet.packing",)),
    # Entropy and time are arguments; the public boundary alone supplies os.urandom and time.time.
    Rule("ratchet*", CLOCK, exceptions=("ratchet.clock",)),
    Rule("ratchet*", DICE, exceptions=("ratchet.account", "ratchet.keys", "ratchet.sender_keys", "ratchet.session")),
    # store: no protocol decisions, no event loop; its relay half knows nothing of the protocol.
    Rule("store*", ("e2ee", *NETWORK, "nacl")),
    Rule("store*", ("socket",), exceptions=("store.ownership",)),  # which tells on what machine an owner runs
    Rule("store.relay*", ("ratchet", *CRYPTOGRAPHY)),
    # e2ee: no cryptography and no SQL of its own; sockets and threads only in the shell around the sans-I/O core.
    Rule("e2ee*", (*CRYPTOGRAPHY, *DATABASES)),
    Rule("e2ee*", ("websockets",), exceptions=("e2ee.carrier", "e2ee.relay.conversations", "e2ee.relay.server")),
    *(
        Rule(f"e2ee.{module}", (*NETWORK, "socket", *THREADS, *CLOCK, *DICE))
        for module in (
            "shell.backoff",
            "codec",
            "content",
            "errors",
            "events*",
            "frames*",
            "groups*",
            "identities",
            "ids",
            "limits",
            "link",
            "link_events",
            "options",
            "calls.reading",
            "recovery*",
            "shell.steps",
            "trust",
            "shell.wakeup",
            "wire*",
            *(f"relay.{module}" for module in RELAY_CORE),
        )
    ),
    # The engine is plain synchronous code: its clock is the store's, its dice come with `Engine.open`.
    Rule("e2ee.engine*", (*NETWORK, "socket", *THREADS, *CLOCK)),
    Rule("e2ee.engine*", DICE, exceptions=("e2ee.engine.core",)),
    # The shell decides nothing: it knows neither the engine nor what a message is.
    Rule(
        "e2ee.shell*",
        ("ratchet", "e2ee.engine", "e2ee.content", "e2ee.trust"),
        exceptions=("e2ee.shell.steps", "e2ee.shell.waiting"),  # outcomes of group calls pass through, unread
    ),
    Rule("e2ee.link*", ("ratchet", "store", "e2ee.engine", "e2ee.content")),
    Rule("e2ee.trust", ("ratchet", "store")),
    # The relay cannot decrypt: not by policy, but because the code is not there.
    Rule("e2ee.relay*", (*DECRYPTION, "e2ee.client", "e2ee.engine", "e2ee.content", "store.sessions", "store.work")),
    # The verifier, and the second implementation it is made of, share no code with what they verify.
    Rule("vectors.verify*", PACKAGES),
    Rule("vectors.reference*", PACKAGES),
    *(Rule(f"{package}*", UNSAFE_LOADERS) for package in PACKAGES),
    *(
        Rule(
            f"{package}*",
            HIDDEN_IMPORTS,
            exceptions=(
                *("ratchet", "store", "e2ee", "store.siblings", "e2ee.siblings"),
                "e2ee.cli.app",  # asks for its own version
                "e2ee.cli.relay",  # loads the function that an operator names
            ),
        )
        for package in PACKAGES
    ),
)

FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60
# File, or file::function, with the reason why it is not split.
LONGER_FOR_A_REASON: Final[dict[str, str]] = {}


def sources() -> list[Path]:
    """Every Python file of ours, relative to the checkout."""
    folders = (*PACKAGES, "tests", "vectors", "benchmarks", "docs")
    return sorted(
        path.relative_to(ROOT)
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if not {"node_modules", "__pycache__"} & set(path.parts)
    )


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, source: str) -> Iterator[str]:
    """Yield what *source* imports, in full: `a.b` for ``import a.b``, `a.b` and `a.b.c` for ``from a.b import c``.

    Imports inside functions and those for the type checker count: they are dependencies too.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.parts[: len(path.parts) - node.level]) if node.level else ""
            module = ".".join(part for part in (package, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Name) and node.id == "__import__":
            yield node.id


def violations(path: Path, source: str) -> list[str]:
    """Name every import of the file at *path* that a rule forbids."""
    importer = module_name(path)
    imported = set(imports(path, source))
    return sorted(
        f"{importer} imports {name}"
        for rule in RULES
        if fnmatchcase(importer, rule.modules) and importer not in rule.exceptions
        for name in imported
        if any(name == forbidden or name.startswith(f"{forbidden}.") for forbidden in rule.forbidden)
    )


def lengths(path: Path, source: str) -> dict[str, int]:
    """Return what is longer than a file or a function should be, with its length in lines."""
    name = path.as_posix()
    found = {name: source.count("\n")} if source.count("\n") > FILE_LINES_MAX else {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                found[f"{name}::{node.name}"] = lines
    return found


def test_no_module_imports_what_its_layer_may_not() -> None:
    assert [found for path in sources() for found in violations(path, (ROOT / path).read_text("utf-8"))] == []


def circle(known: dict[str, set[str]]) -> list[str]:
    """The modules that are in a circle of imports, or behind one; *known* says what each imports."""
    left = dict(known)
    while free := [name for name, imported in left.items() if not imported & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_no_module_of_the_engine_imports_itself_by_way_of_others() -> None:
    engine = [path for path in sources() if path.parts[:2] == ("e2ee", "engine") and path.name != "__init__.py"]
    assert circle({module_name(path): set(imports(path, (ROOT / path).read_text("utf-8"))) for path in engine}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("ratchet/keys.py", "import nacl.bindings", "ratchet.keys imports nacl.bindings"),
        ("ratchet/keys.py", "from ..store import unit", "ratchet.keys imports store.unit"),
        ("ratchet/spqr/kem.py", "from os import urandom", "ratchet.spqr.kem imports os.urandom"),
        ("ratchet/chains.py", "def late() -> None:\n    import time", "ratchet.chains imports time"),
        ("ratchet/chains.py", "from uuid import UUID, uuid4", "ratchet.chains imports uuid.uuid4"),
        ("store/relay_schema.py", "if TYPE_CHECKING:\n    import ratchet", "store.relay_schema imports ratchet"),
        ("e2ee/relay/server.py", "from ratchet import Session", "e2ee.relay.server imports ratchet.Session"),
        ("e2ee/relay/core.py", "from .. import engine", "e2ee.relay.core imports e2ee.engine"),
        ("e2ee/link.py", "module = __import__('socket')", "e2ee.link imports __import__"),
        ("vectors/verify.py", "from ratchet import keys", "vectors.verify imports ratchet"),
        ("vectors/reference/spqr.py", "import ratchet.spqr", "vectors.reference.spqr imports ratchet.spqr"),
    ],
)
def test_a_forbidden_import_is_found_wherever_it_stands(path: str, source: str, found: str) -> None:
    assert found in violations(Path(path), source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("ratchet/primitives.py", "import nacl.bindings"),
        ("ratchet/clock.py", "import time"),
        ("ratchet/__init__.py", "from importlib import import_module"),
        ("ratchet/sender_keys.py", "from .errors import NotAuthentic"),
        ("e2ee/relay/server.py", "from ratchet import PreKeyBundle, verify_signature"),
    ],
)
def test_an_allowed_import_is_not_reported(path: str, source: str) -> None:
    assert violations(Path(path), source) == []


def test_what_a_relay_may_not_load_is_still_called_so() -> None:
    modules = {module_name(path) for path in sources()}
    exports = {f"ratchet.{name}" for name in ratchet.__all__}
    assert set(DECRYPTION) - modules - exports == set()


def test_the_modules_of_the_relays_core_are_still_called_so() -> None:
    assert {f"e2ee.relay.{name}" for name in RELAY_CORE} <= {module_name(path) for path in sources()}


def test_the_page_on_where_a_change_goes_names_what_is_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## Where things are")[1].split("\n## ")[0]
    named = set(re.findall(r"`([a-z_/]+(?:/|\.py|\.md))`", page))
    assert "shell/backoff.py" in named
    assert {name for name in named if not any((folder / name).exists() for folder in (ROOT, ROOT / "e2ee"))} == set()


def test_files_and_functions_are_short_or_say_why_not() -> None:
    too_long = {name: n for path in sources() for name, n in lengths(path, (ROOT / path).read_text("utf-8")).items()}
    assert {name: lines for name, lines in too_long.items() if name not in LONGER_FOR_A_REASON} == {}


def test_every_reason_for_length_is_still_needed() -> None:
    too_long = {name for path in sources() for name in lengths(path, (ROOT / path).read_text("utf-8"))}
    assert set(LONGER_FOR_A_REASON) - too_long == set()


def test_a_file_and_a_function_one_line_too_long_are_found() -> None:
    function = "def f() -> None:\n" + "    x = 1\n" * FUNCTION_LINES_MAX
    assert lengths(Path("a.py"), function) == {"a.py::f": 61}
    assert lengths(Path("a.py"), "x = 1\n" * 401) == {"a.py": 401}
    assert lengths(Path("a.py"), "x = 1\n" * 400) == {}


def test_the_check_of_the_siblings_is_the_same_in_both_packages() -> None:
    assert (ROOT / "store/siblings.py").read_bytes() == (ROOT / "e2ee/siblings.py").read_bytes()
