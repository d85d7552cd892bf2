"""Official libsignal as a black box: a Node process that answers one JSON request per line.

`Oracle` runs tests/interop/oracle/peer.mjs, whose README lists the operations. `tests.support.oracle_device` has typed
methods on top of it. Bytes go into a request as they are; a `Reply` gives them back through typed accessors.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

# Whatever a request may carry: binary fields are bytes here and base64 on the pipe.
Field: TypeAlias = "str | int | bool | bytes | None"

CURRENT: Final = "0.103.0"  # version 4 with the post-quantum ratchet
X3DH_ERA: Final = "0.60.2"  # version 3, and version 4 without the post-quantum ratchet
RELEASES: Final = (CURRENT, X3DH_ERA)

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "interop" / "oracle"
INSTALL_COMMAND: Final = "npm ci --prefix tests/interop/oracle"
NODE_MAJOR_MIN: Final = 20
PACKAGES: Final = {CURRENT: "@signalapp/libsignal-client", X3DH_ERA: "libsignal-x3dh"}

TIMEOUT_S: Final = 60.0  # for one request or batch; a hung process is killed after that
CLOSE_TIMEOUT_S: Final = 5.0  # for Node to end by itself once its input is closed
NODE_VERSION_TIMEOUT_S: Final = 20.0  # for `node --version` on a busy machine
REPLY_SIZE_MAX: Final = 64 * 1024 * 1024  # bytes in one line, as peer.mjs has it for requests
STDERR_SIZE_MAX: Final = 8 * 1024  # bytes of Node's last words shown in an error


class OracleError(Exception):
    """What the oracle refused: libsignal's verdict, a store's, or a fault in the request.

    *code* is the name of libsignal's error code ("Generic", "DuplicatedMessage", "UntrustedIdentity", ...), of a
    store's refusal ("PreKeyNotFound", "SignedPreKeyNotFound", "KyberPreKeyNotFound", "ReusedBaseKey"), "OracleUsage"
    for a wrong request, or the name of a JavaScript error. *number* is libsignal's own, which differs between releases.
    """

    def __init__(self, code: str, text: str, *, number: int | None = None, operation: str | None = None) -> None:
        """Take the fields of an error reply; *operation* is libsignal's name of the call that failed."""
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.number = number
        self.operation = operation


class OracleDied(Exception):
    """The Node process ended, hung or answered nonsense; the text ends with what it wrote to stderr."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The fields of one successful reply. A missing field, or one of another type, is a TypeError."""

    fields: Mapping[str, object]

    def text(self, name: str) -> str:
        """Return the string called *name*."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self._mismatch(name, "text")
        return value

    def data(self, name: str) -> bytes:
        """Return the bytes called *name*."""
        return base64.b64decode(self.text(name), validate=True)

    def number(self, name: str) -> int:
        """Return the integer called *name*."""
        value = self.fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._mismatch(name, "a number")
        return value

    def flag(self, name: str) -> bool:
        """Return the boolean called *name*."""
        value = self.fields.get(name)
        if not isinstance(value, bool):
            raise self._mismatch(name, "a flag")
        return value

    def numbers(self, name: str) -> list[int]:
        """Return the list of integers called *name*."""
        value = self.fields.get(name)
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise self._mismatch(name, "a list of numbers")
        return value

    def optional_data(self, name: str) -> bytes | None:
        """Return the bytes called *name*, None where the reply says null."""
        return None if self.fields[name] is None else self.data(name)

    def optional_number(self, name: str) -> int | None:
        """Return the integer called *name*, None where the reply says null."""
        return None if self.fields[name] is None else self.number(name)

    def _mismatch(self, name: str, wanted: str) -> TypeError:
        return TypeError(f"reply field {name!r} is not {wanted}, but {type(self.fields.get(name)).__name__}")


@functools.cache
def why_unavailable() -> str | None:
    """Return None if the oracle can run here, else one sentence saying what to install."""
    node = shutil.which("node")
    if node is None:
        return f"the libsignal oracle needs Node {NODE_MAJOR_MIN} or newer: no `node` on the path"
    command = [node, "--version"]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=NODE_VERSION_TIMEOUT_S
    ).stdout.strip()
    if int(shown.removeprefix("v").split(".")[0]) < NODE_MAJOR_MIN:
        return f"the libsignal oracle needs Node {NODE_MAJOR_MIN} or newer, this is {shown}"
    for version, package in PACKAGES.items():
        manifest = DIRECTORY / "node_modules" / package / "package.json"
        if not manifest.is_file() or json.loads(manifest.read_text(encoding="utf-8"))["version"] != version:
            return f"libsignal {version} is not installed for the oracle: run `{INSTALL_COMMAND}`"
    return None


class Oracle:
    """A running Node process with libsignal inside. Use as a context manager, from one thread at a time.

    Raises OracleDied where `why_unavailable()` has a reason, and from any call after which the process is unusable;
    it has then been killed. A process that was never closed is killed when its Oracle is collected or Python exits.
    """

    def __init__(self, *, timeout_s: float = TIMEOUT_S, program: Path = DIRECTORY / "peer.mjs") -> None:
        """Start the process; *timeout_s* bounds each request, in seconds, the first one with Node's own start."""
        reason = why_unavailable()
        if reason is not None:
            raise OracleDied(reason)
        self._timeout_s = timeout_s
        # A file rather than a pipe: nothing has to drain it, and Node cannot block on it.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [shutil.which("node") or "node", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        # Reading in a thread gives a timeout on every platform; a request that waits is woken at once.
        self._reader = threading.Thread(
            target=_pass_lines, args=(self._process.stdout, self._lines), name="oracle-reader", daemon=True
        )
        self._reader.start()
        self._kill_if_lost = weakref.finalize(self, _kill, self._process)
        self._handles = 0

    def __enter__(self) -> Self:
        """Return the running oracle."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()

    @property
    def process_id(self) -> int:
        """The operating system's number of the Node process."""
        return self._process.pid

    def new_handle(self, kind: str) -> str:
        """Return a name not given before, for a device or a benchmark."""
        self._handles += 1
        return f"{kind}-{self._handles}"

    def call(self, op: str, **fields: Field) -> Reply:
        """Run one operation and return its reply. Raises OracleError if it was refused."""
        return self.run({"op": op, **fields})

    def run(self, request: Mapping[str, Field]) -> Reply:
        """Run one operation given as a mapping, as `batch` takes several. Raises OracleError if it was refused."""
        outcome = _outcome(self._exchange(_encoded(request)))
        if isinstance(outcome, OracleError):
            raise outcome
        return outcome

    def batch(self, requests: Iterable[Mapping[str, Field]]) -> list[Reply | OracleError]:
        """Run operations in order in one exchange; each mapping has "op" and its fields, each has its own outcome."""
        answer = self._exchange({"op": "batch", "requests": [_encoded(request) for request in requests]})
        outcome = _outcome(answer)
        if isinstance(outcome, OracleError):
            raise outcome
        replies = outcome.fields["replies"]
        if not isinstance(replies, list):
            raise self._died("a batch was answered without a list of replies")
        return [_outcome(reply) for reply in replies]

    def close(self) -> None:
        """End the process; kill it if it does not end by itself within CLOSE_TIMEOUT_S seconds."""
        with contextlib.suppress(BrokenPipeError):  # it is dead already
            self._stdin.close()
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._kill_if_lost.detach()
        self._reader.join()
        self._stderr.close()

    def _exchange(self, request: Mapping[str, object]) -> dict[str, object]:
        """Write one line and read one. Any fault of the pipe or the process ends it."""
        line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        try:
            self._stdin.write(line)
            self._stdin.flush()
        except (OSError, ValueError) as error:  # ValueError: closed
            raise self._died(f"cannot write to Node: {error}") from error
        try:
            answer = self._lines.get(timeout=self._timeout_s)
        except queue.Empty:
            raise self._died(f"Node did not answer {request.get('op')!r} in {self._timeout_s:g} s") from None
        except BaseException:
            # Interrupted: the answer is still to come, and would be taken for that of the next request.
            self._process.kill()
            raise
        if not answer.endswith(b"\n"):
            raise self._died(
                "Node ended" if not answer else f"Node answered over {REPLY_SIZE_MAX} bytes, or half a line"
            )
        value = json.loads(answer)
        if not isinstance(value, dict):
            raise self._died("Node answered with something other than an object")
        return value

    def _died(self, what: str) -> OracleDied:
        """End the process and return the error to raise, with the end of its stderr."""
        self._process.kill()
        self._process.wait()
        if self._stderr.closed:
            return OracleDied(what)
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - STDERR_SIZE_MAX))
        last_words = self._stderr.read().decode(errors="replace").strip()
        return OracleDied(f"{what}; its stderr: {last_words or '(empty)'}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _pass_lines(stdout: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Pass on what Node writes, line by line; the last item does not end in a newline (empty: Node ended)."""
    with stdout:
        while True:
            line = stdout.readline(REPLY_SIZE_MAX)
            lines.put(line)
            if not line.endswith(b"\n"):
                return


def _encoded(fields: Mapping[str, Field]) -> dict[str, object]:
    return {
        name: base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
        for name, value in fields.items()
    }


def _outcome(answer: object) -> Reply | OracleError:
    match answer:
        case {"ok": dict(fields)}:
            return Reply(fields)
        case {"error": {"code": str(code), "text": str(text), "number": number, "operation": operation}}:
            return OracleError(code, text, number=number, operation=operation)
    raise TypeError(f"not a reply: {answer!r}")
