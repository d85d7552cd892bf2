"""A disk that remembers what was written and what was synced, and shows what a power cut could leave.

SIGKILL leaves the operating system's cache intact, so it cannot show a missing sync. Here SQLite writes through a
VFS that logs each write, truncation, deletion and sync; what goes past SQLite (the renaming of a new store) is logged
by `watched`. `Disk.after_cut` then makes the files as they may be when the power fails at any point of the log: of
what was not synced, any part may be missing, any sector torn; a name that was not synced may be the old one.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import apsw

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Sequence

SECTOR: Final = 512  # bytes that a disk writes as a whole
VFS_NAME: Final = "torn disk"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing done to one file."""

    kind: str  # write, truncate, sync, delete; rename, which the sync of the folder ("") makes last
    name: str  # of the file, without its folder
    offset: int = 0  # of a write; the new size of a truncation
    data: bytes = field(default=b"", repr=False)
    to: str = ""  # of a rename


class Disk:
    """The log of one folder, from files that were there and synced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.log: list[Operation] = []

    def after_cut(self, position: int, how: str, dice: random.Random) -> dict[str, bytes]:
        """The files after a power cut behind *position* operations.

        *how* says what became of what was not synced: ``kept`` all of it, ``dropped`` all of it, or
        ``torn``: any subset of the writes, each cut at any sector.
        """
        synced = {name: bytearray(content) for name, content in self.before.items()}
        waiting: dict[str, list[Operation]] = {}
        renamed: list[Operation] = []
        for operation in self.log[:position]:
            if operation.kind == "delete":  # a folder's entries are taken to be written at once
                synced.pop(operation.name, None)
                waiting.pop(operation.name, None)
            elif operation.kind == "rename":
                renamed.append(operation)
            elif operation.kind == "sync" and not operation.name:
                _rename(synced, waiting, renamed)
                renamed.clear()
            elif operation.kind == "sync":
                _apply(synced, waiting.pop(operation.name, []), operation.name)
            else:
                waiting.setdefault(operation.name, []).append(operation)
                synced.setdefault(operation.name, bytearray())
        if how == "kept" or (how == "torn" and dice.random() < 0.5):
            _rename(synced, waiting, renamed)
        for name, operations in waiting.items():
            _apply(synced, _surviving(operations, how, dice), name)
        return {name: bytes(content) for name, content in synced.items()}


def _surviving(operations: Sequence[Operation], how: str, dice: random.Random) -> Iterator[Operation]:
    for operation in operations:
        if how == "kept" or (how == "torn" and dice.random() < 0.5):
            if how == "torn" and operation.kind == "write" and dice.random() < 0.5:
                size = dice.randrange(len(operation.data) // SECTOR + 1) * SECTOR
                yield Operation("write", operation.name, operation.offset, operation.data[:size])
            else:
                yield operation


def _rename(synced: dict[str, bytearray], waiting: dict[str, list[Operation]], renamed: list[Operation]) -> None:
    for operation in renamed:
        synced[operation.to] = synced.pop(operation.name, bytearray())
        waiting[operation.to] = waiting.pop(operation.name, [])


def _apply(files: dict[str, bytearray], operations: Iterable[Operation], name: str) -> None:
    for operation in operations:
        content = files.setdefault(name, bytearray())  # which may have had another name then
        if operation.kind == "truncate":
            del content[operation.offset :]
            content.extend(bytes(operation.offset - len(content)))
        else:
            content.extend(bytes(max(0, operation.offset - len(content))))
            content[operation.offset : operation.offset + len(operation.data)] = operation.data


@contextmanager
def watched(disk: Disk) -> Iterator[None]:
    """Log what goes past SQLite too: files renamed and removed by name, and the syncing of the folder."""
    replace, unlink, open_, fsync = os.replace, os.unlink, os.open, os.fsync
    folders: set[int] = set()

    def ours(path: object) -> bool:
        return isinstance(path, str | Path) and Path(path).parent == disk.folder

    def logged_replace(source: Path, target: Path, **options: Any) -> None:  # noqa: ANN401 - the system's, as below
        if ours(source):
            disk.log.append(Operation("rename", Path(source).name, to=Path(target).name))
        replace(source, target, **options)

    def logged_unlink(path: Path, **options: Any) -> None:  # noqa: ANN401
        unlink(path, **options)
        if ours(path):
            disk.log.append(Operation("delete", Path(path).name))

    def logged_open(path: Path, *arguments: Any, **options: Any) -> int:  # noqa: ANN401
        descriptor = open_(path, *arguments, **options)
        folders.discard(descriptor)
        if path == disk.folder:
            folders.add(descriptor)
        return descriptor

    def logged_fsync(descriptor: int) -> None:
        fsync(descriptor)
        if descriptor in folders:
            disk.log.append(Operation("sync", ""))

    with (
        patch.object(os, "replace", logged_replace),
        patch.object(os, "unlink", logged_unlink),
        patch.object(os, "open", logged_open),
        patch.object(os, "fsync", logged_fsync),
    ):
        yield


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename, flags: list[int]) -> None:
        self._disk = disk
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(filename).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name, as those below
        self._disk.log.append(Operation("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.log.append(Operation("truncate", self._name, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.log.append(Operation("sync", self._name))
        super().xSync(flags)


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(VFS_NAME, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if name is None:
            return super().xOpen(name, flags)
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001
        self._disk.log.append(Operation("delete", Path(filename).name))
        super().xDelete(filename, syncdir)


class _Cursor:
    """As much of DB-API's cursor as SQLAlchemy asks for."""

    arraysize = 1

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._rows: Iterator[Any] = iter(())
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid = None

    def execute(self, sql: str, values: Sequence[Any] = ()) -> _Cursor:
        self._run(sql, [values])
        return self

    def executemany(self, sql: str, many: Sequence[Sequence[Any]]) -> _Cursor:
        self._run(sql, many)
        return self

    def _run(self, sql: str, many: Sequence[Sequence[Any]]) -> None:
        before = self._connection.total_changes()
        cursor = self._connection.cursor()
        self.description = None

        def describe(traced: apsw.Cursor, _sql: str, _values: object) -> bool:
            self.description = tuple((*column[:1], *[None] * 6) for column in traced.get_description()) or None
            return True

        cursor.exec_trace = describe
        try:
            rows = [row for values in many for row in cursor.execute(sql, tuple(values))]
        except apsw.Error as error:
            raise _as_sqlite3(error) from error
        self._rows = iter(rows)
        self.rowcount = self._connection.total_changes() - before

    def fetchone(self) -> Any:  # noqa: ANN401 - DB-API's type
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def close(self) -> None:
        self._rows = iter(())


class _Connection:
    isolation_level: str | None = None

    def __init__(self, filename: str) -> None:
        try:
            self._connection = apsw.Connection(filename, vfs=VFS_NAME)
        except apsw.Error as error:
            raise _as_sqlite3(error) from error

    def cursor(self) -> _Cursor:
        return _Cursor(self._connection)

    def commit(self) -> None:
        if self._connection.in_transaction:
            self.cursor().execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self.cursor().execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def create_function(self, name: str, count: int, function: Any, *, deterministic: bool = False) -> None:  # noqa: ANN401
        self._connection.create_scalar_function(name, function, count, deterministic=deterministic)


def _as_sqlite3(error: apsw.Error) -> sqlite3.Error:
    kind = sqlite3.IntegrityError if isinstance(error, apsw.ConstraintError) else sqlite3.OperationalError
    translated = kind(str(error))
    translated.sqlite_errorcode = getattr(error, "result", sqlite3.SQLITE_ERROR)
    return translated


def driver(disk: Disk) -> tuple[ModuleType, apsw.VFS]:
    """A DB-API module whose connections write through *disk*; keep the VFS until they are closed."""
    module = ModuleType("torn_disk_driver")
    module.__dict__.update({name: value for name, value in vars(sqlite3).items() if not name.startswith("__")})
    version = apsw.sqlite_lib_version()
    module.__dict__.update(
        connect=lambda filename, **_: _Connection(filename),
        sqlite_version=version,
        sqlite_version_info=tuple(int(part) for part in version.split(".")),
    )
    return module, _Vfs(disk)
