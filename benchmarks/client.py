"""Suite ``client``: direct messages from application to application, through a relay in a process of its own.

The two clients share this process, as a bot and its test do; each has a store in a file, and gives receipts.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from e2ee import ClientOptions

from .guests import TEXT, guest, in_ms, seconds
from .harness import Outcome, Series
from .relay_servers import server
from .targets import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .guests import Guest
    from .peer import Bench

READER: Final = "reader"
BURST: Final = 256  # messages of which the rate is taken
ROUNDS: Final = 9
AWAY: Final = (0, 1_000)  # messages that wait for a reader who is away
Samples = dict[str, tuple[str, str, list[float]]]  # by key: title, unit, samples


def run(bench: Bench) -> Iterator[Outcome]:
    """Measure on a relay of its own."""
    with tempfile.TemporaryDirectory() as folder, server("relay", f"sqlite:///{Path(folder) / 'relay.db'}") as process:
        found = asyncio.run(measure(process.url, Path(folder), smoke=bench.settings.smoke))
    for key, (title, unit, samples) in found.items():
        yield Outcome(f"client.{key}", title, unit, (Series(OURS, tuple(samples)),), paired=False)


async def measure(url: str, folder: Path, *, smoke: bool) -> Samples:
    """First contact, messages one by one and in bursts, then with the reader away."""
    rounds, burst, away = (1, 2, (0, 2)) if smoke else (ROUNDS, BURST, AWAY)
    options = ClientOptions(one_time_prekeys=10)
    found: Samples = {}
    async with guest("sender", url, folder, options) as sender:
        first = []
        for number in range(rounds):
            async with guest(f"stranger-{number}", url, folder, options) as stranger:
                first.append(await _until_read(sender, stranger, f"stranger-{number}", 1))
        found["first"] = ("first message to a user: bundle, handshake, until it is read", "ms", in_ms(first))
        async with guest(READER, url, folder, options) as reader:
            await _until_read(sender, reader, READER, 1)
            single = [await _until_read(sender, reader, READER, 1) for _ in range(rounds * 5)]
            found["message"] = ("one message, from the call until it is read", "ms", in_ms(single))
            rates = [burst / await _until_read(sender, reader, READER, burst) for _ in range(rounds)]
            found["rate"] = ("messages sent and read, each send awaited", "messages/s", rates)
            rates = [burst / await _until_read(sender, reader, READER, burst, at_once=True) for _ in range(rounds)]
            found["rate at once"] = ("messages sent and read, sends at once", "messages/s", rates)
        waiting = 0
        for count in away:
            waiting += await _queue(sender, count - waiting)
            calls = [await seconds(sender.client.send(READER, TEXT)) for _ in range(rounds * 5)]
            waiting += len(calls)
            found[f"send.{count}"] = (f"one send() while {count:,} wait for the same user", "ms", in_ms(calls))
        start = perf_counter()
        async with guest(READER, url, folder, options) as reader:
            await reader.until(lambda: reader.read == waiting)
            rate = waiting / (perf_counter() - start)
        found["back"] = ("messages read by a user who comes back to them", "messages/s", [rate])
    return found


async def _until_read(sender: Guest, reader: Guest, name: str, messages: int, *, at_once: bool = False) -> float:
    """Seconds from the first call until the reader has read the last message."""
    before = reader.read
    start = perf_counter()
    if at_once:
        await asyncio.gather(*(sender.client.send(name, TEXT) for _ in range(messages)))
    else:
        for _ in range(messages):
            await sender.client.send(name, TEXT)
    await reader.until(lambda: reader.read == before + messages)
    return perf_counter() - start


async def _queue(sender: Guest, messages: int) -> int:
    """Send to the reader who is away, until the relay has all of it; return how many."""
    ids = {await sender.client.send(READER, TEXT) for _ in range(messages)}
    await sender.until(lambda: ids <= sender.stored)
    return len(ids)
