"""Suite ``relay``: how much a relay passes on, how soon, and what a connection costs it, beside a bare echo server.

Relay, echo server and clients are three processes; the relay keeps its mail in a SQLite file as `store` sets it up.
One operation is one envelope of 600 bytes (a message of 256, encrypted) from one connection to another one:
submitted, stored durably, answered, delivered, acknowledged, and removed. Of the echo it is one frame with one envelope
of that size, there and back. Both have the same connections, which keep as much on its way as a client may.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from .harness import Contest, Entrant, Failure, Outcome, Series, measure
from .peer import UnavailableError
from .relay_load import echo_talkers, relay_talkers
from .relay_servers import server
from .relay_store import group_fan_out
from .targets import OURS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from typing import Any

    from .harness import Run, Settings
    from .peer import Bench
    from .relay_load import Talker
    from .relay_servers import ServerProcess

    Dial = Callable[[str, int], Awaitable[list[Talker]]]

ECHO: Final = "bare websockets echo"
CLIENTS: Final = (100, 2, 1_000)  # connected, each sending and receiving; the first is what targets speak of
CLIENTS_SMOKE: Final = (4, 2, 10)
FRAMES: Final = (64, 16, 1)  # envelopes in a frame of the relay's clients; the first is `ours`
SLICE_ENVELOPES: Final = 12_800  # in all: about half a second, so that full frames are sent several times
SLICE_EACH: Final = FRAMES[0]  # of one client, at least: of 1,000 connected clients 200 send in one slice, then others
LATENCY_S: Final = 6.0  # seconds of steady load
IDLE: Final = 5_000  # connections
FILES_BESIDE: Final = 200  # file descriptors that are needed for other things


class Load:
    """The clients: a loop of their own, run for the length of a slice, and everything that is to be closed."""

    def __init__(self, stack: ExitStack) -> None:
        self._loop = asyncio.new_event_loop()
        self.stack = stack
        stack.callback(self._loop.close)

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - what the work gives
        """Run *work* to its end."""
        return self._loop.run_until_complete(work)

    def talkers(self, dial: Dial, url: str, number: int) -> list[Talker]:
        """Connect; closed with everything else."""

        async def opened() -> list[Talker]:
            return await dial(url, number)

        async def closed() -> None:
            await asyncio.gather(*(talker.close() for talker in talkers))

        talkers: list[Talker] = self.wait(opened())
        self.stack.callback(lambda: self.wait(closed()))
        return talkers

    def throughput(self, talkers: list[Talker], per_frame: int) -> Run:
        """Pass envelopes as fast as it goes, as many from each connection."""
        pairs = cycle(list(zip(talkers[::2], talkers[1::2], strict=True)))

        async def active(sending: list[Talker], each: int) -> None:
            await asyncio.gather(*(talker.talk(each, per_frame) for talker in sending))

        def run(operations: int) -> float:
            number = max(1, min(len(talkers), operations // SLICE_EACH) // 2)
            sending = [talker for pair in islice(pairs, number) for talker in pair]
            start = perf_counter()
            self.wait(active(sending, max(1, operations // len(sending))))  # one at least in a smoke run
            return perf_counter() - start

        return run

    def latencies(self, talkers: list[Talker], per_frame: int, rate: float, seconds: float) -> tuple[float, ...]:
        """Milliseconds from when an envelope was to be sent until its recipient had it, at *rate* a second in all."""
        interval = len(talkers) * per_frame / rate
        frames = max(1, round(seconds / interval))
        told: list[float] = []

        async def everybody() -> None:
            start = perf_counter() + 0.05
            await asyncio.gather(
                *(
                    talker.paced(frames, per_frame, start + interval * turn / len(talkers), interval, told)
                    for turn, talker in enumerate(talkers)
                )
            )

        self.wait(everybody())
        return tuple(one * 1_000 for one in told)


def label(per_frame: int) -> str:
    """Name the entrant whose frames have that many envelopes."""
    return OURS if per_frame == FRAMES[0] else f"{OURS}, {per_frame} in a frame"


def throughput(load: Load, relay: list[Talker], echo: list[Talker], settings: Settings, key: str) -> Outcome:
    """How fast envelopes pass, with frames of three sizes."""
    entrants = [Entrant(label(size), partial(load.throughput, relay, size)) for size in FRAMES]
    entrants.append(Entrant(ECHO, partial(load.throughput, echo, 1)))
    title = f"durable store-and-forward, {len(relay):,} clients, frames of {FRAMES[0]} envelopes"
    return measure(Contest(key, title, entrants, SLICE_ENVELOPES, collecting=True, references=(ECHO,)), settings)


def latency(load: Load, relay: list[Talker], echo: list[Talker], passed: Outcome, settings: Settings) -> Outcome:
    """How long an envelope takes at half of what each entrant has just reached."""
    key = "relay.latency at half load"
    series: list[Series] = []
    for name, talkers, size in (*((label(size), relay, size) for size in FRAMES), (ECHO, echo, 1)):
        reached = passed.find(name)
        if reached is not None:
            rate = 1e6 / reached.median / 2
            seconds = 0.2 if settings.smoke else LATENCY_S
            series.append(Series(name, load.latencies(talkers, size, rate, seconds)))
    title = f"from sending to the recipient, {len(relay):,} clients, at half the rate above"
    return Outcome(key, title, "ms", tuple(series), paired=False, references=(ECHO,))


def idle(settings: Settings, folder: Path) -> Outcome:
    """What a connection costs in memory that is logged in and says nothing: new processes, before and after."""
    key, failures, series = "relay.idle connection", [], []
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_BESIDE
    number = CLIENTS_SMOKE[-1] if settings.smoke else min(IDLE, allowed // 2 * 2)
    with ExitStack() as stack:
        load = Load(stack)
        relay = stack.enter_context(server("relay", f"sqlite:///{folder / 'idle.db'}"))
        echo = stack.enter_context(server("echo"))
        sides: tuple[tuple[str, ServerProcess, Dial], ...] = ((OURS, relay, relay_talkers), (ECHO, echo, echo_talkers))
        for name, process, dial in sides:
            try:
                load.talkers(dial, process.url, 2)  # what the first one costs is no connection's
                before = process.resident_size()
                load.talkers(partial(dial, start=2) if dial is relay_talkers else dial, process.url, number)
                series.append(Series(name, ((process.resident_size() - before) / number / 1024,)))
            except UnavailableError as reason:
                failures.append(Failure(key, name, str(reason)))
    title = f"memory of an idle connection, of {number:,}"
    return Outcome(key, title, "KiB", tuple(series), paired=False, failures=tuple(failures), references=(ECHO,))


def run(bench: Bench) -> Iterator[Outcome]:
    """Measure throughput and latency on one relay, memory on a second, fan-out in the store alone."""
    settings = bench.settings
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the servers inherit it
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="e2ee-bench-")))
        yield from _loaded(settings, folder)
        yield idle(settings, folder)
        yield from group_fan_out(f"sqlite:///{folder / 'groups.db'}", settings)


def _loaded(settings: Settings, folder: Path) -> Iterator[Outcome]:
    with ExitStack() as stack:
        relay = stack.enter_context(server("relay", f"sqlite:///{folder / 'relay.db'}"))
        echo = stack.enter_context(server("echo"))
        start = 0
        for clients in CLIENTS_SMOKE if settings.smoke else CLIENTS:
            with ExitStack() as connections:
                load = Load(connections)
                talkers = load.talkers(partial(relay_talkers, start=start), relay.url, clients)
                echoes = load.talkers(echo_talkers, echo.url, clients)
                key = f"relay.throughput, {clients:,} clients" if start else "relay.throughput"
                passed = throughput(load, talkers, echoes, settings, key)
                yield passed
                if not start:
                    yield latency(load, talkers, echoes, passed, settings)
            start += clients
