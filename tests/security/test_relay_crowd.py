"""Thousands of hostile connections at once, at a relay in a process of its own: the others are served meanwhile."""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from e2ee.errors import RefusalCode
from e2ee.frames import RefusedRequest
from e2ee.relay import RelayOptions
from tests.support.processes import RelayProcess, free_port, wait_for_news
from tests.support.relay_client import Wire, wire
from tests.support.relay_device import Device
from tests.support.roles import RelaySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

CROWD: Final = 2_000
FILES_NEEDED: Final = CROWD + 500  # of this process and of the relay's, each
LIMIT_S: Final = 120.0

pytestmark = pytest.mark.slow


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[str]:
    """The URL of a relay in a process that may have as many connections as it needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_NEEDED:
        pytest.skip(f"a process has at most {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES_NEEDED), hard))
    options = RelayOptions(strangers_max=500, requests_per_s=0.01, requests_burst=10)
    process = RelayProcess(RelaySettings(tmp_path, free_port(), options))
    process.start()
    wait_for_news([process])
    assert process.news() == ("ready",)
    yield f"ws://127.0.0.1:{process.settings.port}"
    process.stop()


@asynccontextmanager
async def honest(url: str) -> AsyncIterator[None]:
    """Two devices that exchange messages all the while, and a newcomer at the end."""
    alice, bob = Device("alice"), Device("bob")
    over = asyncio.Event()
    async with asyncio.timeout(LIMIT_S), wire(url) as a, wire(url) as b:
        await a.join(alice)
        await b.join(bob)

        async def exchange() -> int:
            count = 0
            while not over.is_set() or count < 20:
                assert (await a.submitted(alice, bob, b"%d" % count)).refusal is None
                (delivery,) = await b.mail(1)
                assert delivery.body == b"%d" % count
                await b.acknowledge(delivery.number)
                count += 1
            return count

        exchanging = asyncio.create_task(exchange())
        try:
            yield
            over.set()
            assert await exchanging >= 20
        finally:
            exchanging.cancel()
        async with wire(url) as newcomer:
            await newcomer.join(Device("newcomer"))


async def test_two_thousand_connections_that_never_log_in_keep_nobody_out(relay: str) -> None:
    host, port = relay[5:].split(":")
    async with honest(relay), AsyncExitStack() as stack:
        for number in range(CROWD):
            reader, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
            if number % 2:  # half a handshake
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
            elif number % 10 == 0:  # a whole one, and then silence
                writer.write(
                    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                )
                assert (await reader.readline()).startswith(b"HTTP/1.1 101"), f"connection {number}"


async def test_a_hundred_devices_that_flood_are_slowed_down_and_the_others_are_served(relay: str) -> None:
    async def flood(number: int) -> int:
        async with wire(relay) as line:
            eve = Device(f"eve{number}")
            await line.log_in(eve)
            for _ in range(100):
                await line.send(eve.bundles("alice"))
            refused = [await line.one(RefusedRequest) for _ in range(90)]
            assert {one.code for one in refused} == {RefusalCode.RATE_LIMITED}
            return len(refused)

    async with honest(relay):
        assert await asyncio.gather(*(flood(number) for number in range(100))) == [90] * 100


async def test_fifty_readers_that_do_not_read_cost_the_others_nothing(relay: str) -> None:
    async with honest(relay), AsyncExitStack() as stack:
        sender = Device("sender")
        line = await stack.enter_async_context(wire(relay))
        await line.join(sender)
        slow: list[Wire] = []
        for number in range(50):
            reader = Device(f"slow{number}")
            one = await stack.enter_async_context(wire(relay))
            await one.join(reader)
            one.websocket.transport.pause_reading()
            slow.append(one)
            for _ in range(8):  # 2 MiB each: more than their window
                assert (await line.submitted(sender, reader, bytes(256 * 1024))).refusal is None
        for one in slow:
            one.websocket.transport.abort()
