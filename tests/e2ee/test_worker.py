"""A worker: threads that many clients share, each client with one of them (messaging section 3)."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from e2ee import Client, ClientOptions, DirectMessage, InvalidArgument, Relay, Worker
from e2ee.shell.writer import THREADS_MAX, Writer

if TYPE_CHECKING:
    from pathlib import Path


def thread_of(writer: Writer) -> asyncio.Future[int]:
    return writer.run(threading.get_ident, lambda _ident: None)


async def test_each_writer_stays_with_one_thread_and_no_thread_has_more_than_another() -> None:
    with Worker(threads=2) as worker:
        writers = [Writer(worker) for _ in range(4)]
        first = [await thread_of(writer) for writer in writers]
        again = [await thread_of(writer) for writer in writers]
        assert first == again
        assert sorted(first.count(thread) for thread in set(first)) == [2, 2]
        for writer in writers:
            await writer.close()


async def test_a_thread_that_was_given_back_is_the_next_one_taken() -> None:
    with Worker(threads=2) as worker:
        one, two = Writer(worker), Writer(worker)
        thread = await thread_of(one)
        await one.close()
        await one.close()
        three = Writer(worker)
        assert await thread_of(three) == thread
        await two.close()
        await three.close()


async def test_a_worker_is_closed_after_its_clients_and_takes_none_then() -> None:
    worker = Worker(threads=1)
    writer = Writer(worker)
    with pytest.raises(InvalidArgument, match="close them first"):
        worker.close()
    assert await writer.run(lambda: 7, lambda _seven: None) == 7
    await writer.close()
    worker.close()
    worker.close()
    with pytest.raises(InvalidArgument, match="closed"):
        Writer(worker)


@pytest.mark.parametrize("threads", [0, THREADS_MAX + 1, True, 1.5])
def test_a_number_of_threads_that_makes_no_sense_is_refused(threads: int) -> None:
    with pytest.raises(InvalidArgument):
        Worker(threads=threads)


async def test_clients_on_one_thread_write_to_each_other(tmp_path: Path) -> None:
    few = ClientOptions(one_time_prekeys=3)
    with Worker(threads=1) as worker:
        async with (
            asyncio.timeout(20),
            Relay(store=f"sqlite:///{tmp_path}/relay.db") as relay,
            Client("alice", relay=relay.url, store=f"sqlite:///{tmp_path}/a.db", worker=worker, options=few) as alice,
            Client("bob", relay=relay.url, store=f"sqlite:///{tmp_path}/b.db", worker=worker, options=few) as bob,
        ):
            await bob.connected(10)
            await alice.send("bob", "from the next room")
            async for event in bob.events():
                if isinstance(event, DirectMessage):
                    assert event.text == "from the next room"
                    break
            names = {thread.name for thread in threading.enumerate()}
            assert not any(name.startswith("e2ee-writer") for name in names)
