"""The servers under load, each in a process of its own: ``python -m benchmarks.relay_servers relay URL`` or ``echo``.

One line on standard output tells where to dial; the end of standard input ends it.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from e2ee.limits import FRAME_SIZE_MAX
from e2ee.relay import Relay, RelayOptions
from e2ee.relay.limits import COLLECT_AFTER

from .peer import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
# What is measured is how much passes, so nobody is slowed down; nobody is cut off between two slices.
UNLIMITED: Final = RelayOptions(
    envelopes_per_s=1e9,
    envelopes_burst=10**9,
    group_deliveries_per_s=1e9,
    group_deliveries_burst=10**9,
    group_joins_per_minute=10**6,
    requests_per_s=1e9,
    requests_burst=10**9,
    silence_max_s=3_600.0,
    acknowledge_age_max_s=3_600.0,
)


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that runs."""

    url: str
    process_id: int

    def resident_size(self) -> int:
        """Bytes of its memory that are not paged out. Raises UnavailableError where the system does not tell."""
        try:
            status = Path(f"/proc/{self.process_id}/status").read_text(encoding="ascii")
        except OSError as cause:
            raise UnavailableError("the system has no /proc") from cause
        (line,) = [one for one in status.splitlines() if one.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


@contextmanager
def server(*arguments: str) -> Iterator[ServerProcess]:
    """Run this module with *arguments*."""
    command = [sys.executable, "-m", "benchmarks.relay_servers", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise UnavailableError("no pipes")
        try:
            yield ServerProcess(process.stdout.readline().strip(), process.pid)
        finally:
            process.stdin.close()


async def _until_told() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def relay(store: str) -> None:
    """Run a relay on the store at a URL."""
    async with Relay(store=store, options=UNLIMITED) as running:
        print(running.url, flush=True)
        await _until_told()


async def _echo(websocket: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            await websocket.send(await websocket.recv(decode=False))


async def echo() -> None:
    """Run a server that sends back what it receives, with the relay's settings of `websockets`."""
    async with serve(
        _echo, "127.0.0.1", 0, compression=None, ping_interval=None, max_size=FRAME_SIZE_MAX, server_header=None
    ) as running:
        print(f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}", flush=True)
        await _until_told()


if __name__ == "__main__":
    gc.set_threshold(COLLECT_AFTER)  # both, as `e2ee relay` does
    asyncio.run(relay(sys.argv[2]) if sys.argv[1] == "relay" else echo())
