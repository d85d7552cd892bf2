"""One command each, the same on a desk and in .ci/run: ``python -m nox -s style`` (types, test, vectors, ...).

Sessions use the environment that nox itself runs in (``pip install -e '.[dev]'``); only `wheel`,
`lowest` and `pythons` make their own, because what is installed there is what they are about.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Final

import nox

ROOT: Final = Path(__file__).parent
ORACLE: Final = "tests/interop/oracle"
JUDGED_BY_LIBSIGNAL: Final = ("tests/interop", "tests/test_vectors.py", "tests/test_vectors_reference.py")
RATCHET_TESTS: Final = ("tests/ratchet", "tests/conformance", "tests/security")
EVERY_TEST: Final = ("-m", "slow or not slow")
SLOW_TEST_S: Final = 1_200  # seconds until a slow test is said to hang

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["style", "types", "test"]


def _python(session: nox.Session, *arguments: str, env: dict[str, str] | None = None) -> None:
    session.run(sys.executable, *arguments, env=env, external=True)


@nox.session
def style(session: nox.Session) -> None:
    """Check format and lint; change nothing."""
    _python(session, "-m", "ruff", "format", "--check", ".")
    _python(session, "-m", "ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly, in sources and tests."""
    _python(session, "-m", "mypy")


@nox.session
def test(session: nox.Session) -> None:
    """Run the tests that take less than a second each."""
    _python(session, "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that take longer."""
    # Some take minutes, and to show where a test is while its threads run can end the interpreter: not before this.
    patience = f"faulthandler_timeout={SLOW_TEST_S}"
    _python(session, "-m", "pytest", "-n", "auto", "-m", "slow", "-o", patience, *session.posargs)


@nox.session
def layering(session: nox.Session) -> None:
    """Check that imports point one way and load no more than they should."""
    _python(session, "-m", "pytest", "tests/test_layering.py", "tests/test_lazy_imports.py")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure branch coverage: 100 % of ratchet is asked for, 95 % of the others."""
    _python(session, "-m", "pytest", "-n", "auto", *EVERY_TEST, "--cov", "--cov-report=")
    _python(session, "-m", "coverage", "report", "--include=ratchet/*", "--fail-under=100")
    _python(session, "-m", "coverage", "report", "--include=store/*,e2ee/*", "--fail-under=95")


@nox.session
def vectors(session: nox.Session) -> None:
    """Run every test vector through the packages and through the independent verifier."""
    _python(session, "-m", "vectors", *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Talk to libsignal's own Node package, live (needs Node 20 and the npm registry)."""
    session.run("npm", "ci", "--prefix", ORACLE, "--no-audit", "--no-fund", external=True)
    arguments = ("-m", "pytest", *JUDGED_BY_LIBSIGNAL, *EVERY_TEST, *session.posargs)
    _python(session, *arguments, env={"E2EE_REQUIRE_ORACLE": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure; arguments after ``--`` are those of ``python -m benchmarks``."""
    _python(session, "-m", "benchmarks", *(session.posargs or ["ratchet", "handshake", "groups"]))


@nox.session(venv_backend="venv")
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, install the wheel alone, and hold a conversation with it away from the checkout."""
    folder = Path(session.create_tmp())
    shutil.rmtree(folder / "dist", ignore_errors=True)  # of a run before
    _python(session, "-m", "build", "--outdir", str(folder / "dist"))
    (built,) = (folder / "dist").glob("*.whl")
    session.install(str(built))
    session.chdir(folder)
    # -I: neither the working directory nor the script's folder is on the path, only what was installed.
    session.run("python", "-I", "-W", "error", "-c", "import ratchet, store, e2ee; print(*ratchet.__path__)")
    session.run("python", "-I", "-W", "error", str(ROOT / "docs/conversation.py"))


@nox.session(venv_backend="venv")
def lowest(session: nox.Session) -> None:
    """Run ratchet's tests and the vectors with the lowest release of each dependency that pyproject.toml allows.

    The other end of each range, the newest release, is what every other session runs with.
    """
    project = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
    bounds = dict(re.findall(r"([\w-]+)>=([\d.]+)", " ".join(project["dependencies"])))
    bounds["cryptography-vectors"] = bounds["cryptography"]
    constraints = Path(session.create_tmp(), "lowest.txt")
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in bounds.items()), "utf-8")
    session.install("--constraint", str(constraints), "--editable", f"{ROOT}[test]")
    session.run("python", "-m", "pip", "list")
    session.run("python", "-m", "pytest", "-n", "auto", *RATCHET_TESTS)
    session.run("python", "-m", "vectors")


@nox.session(python=["3.12", "3.13"], venv_backend="venv")
def pythons(session: nox.Session) -> None:
    """Run the tests with each newer Python that pyproject.toml names and this machine has."""
    session.install("--editable", f"{ROOT}[test]")
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)
