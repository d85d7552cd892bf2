"""The writer thread: steps in order, results in order, whatever their callers do."""

from __future__ import annotations

import asyncio
import threading

import pytest

from e2ee.shell.writer import Signal, Writer


async def test_steps_run_one_after_the_other_on_one_other_thread() -> None:
    writer = Writer()
    threads: list[int] = []
    await asyncio.gather(*[writer.run(threading.get_ident, threads.append) for _ in range(20)])
    await writer.close()
    assert len(threads) == 20
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


async def test_results_are_applied_in_the_order_of_the_calls() -> None:
    writer = Writer()
    applied: list[int] = []
    for number in range(100):
        _future = writer.run(lambda number=number: number, applied.append)  # type: ignore[misc]
    await writer.close()
    assert applied == list(range(100))


async def test_the_loop_goes_on_while_a_step_runs() -> None:
    writer = Writer()
    go_on = threading.Event()
    future = writer.run(go_on.wait, lambda _result: None)
    await asyncio.sleep(0)
    assert future.done() is False
    go_on.set()
    assert await future is True
    await writer.close()


async def test_the_result_of_a_step_whose_caller_was_cancelled_is_applied_all_the_same() -> None:
    writer = Writer()
    go_on = threading.Event()
    applied: list[bool] = []
    future = writer.run(go_on.wait, applied.append)
    future.cancel()
    go_on.set()
    await writer.close()
    assert applied == [True]


async def test_an_error_goes_to_the_caller_and_the_next_step_runs() -> None:
    writer = Writer()

    def fail() -> int:
        raise LookupError("a step that failed")

    with pytest.raises(LookupError):
        await writer.run(fail, lambda _result: None)
    assert await writer.run(lambda: 7, lambda _result: None) == 7
    await writer.close()


async def test_an_error_whose_caller_was_cancelled_stops_nothing() -> None:
    writer = Writer()
    go_on = threading.Event()

    def fail() -> int:
        go_on.wait()
        raise LookupError("a step that failed")

    future = writer.run(fail, lambda _result: None)
    future.cancel()
    go_on.set()
    assert await writer.run(lambda: 7, lambda _result: None) == 7
    await writer.close()


async def test_closing_waits_for_what_was_asked_for_and_ends_the_thread() -> None:
    writer = Writer()
    thread = await writer.run(threading.current_thread, lambda _thread: None)
    applied: list[int] = []
    future = writer.run(lambda: 1, applied.append)
    await writer.close()
    assert applied == [1]
    assert future.done()
    thread.join(10)
    assert not thread.is_alive()


async def test_no_more_than_so_many_steps_are_under_way() -> None:
    writer = Writer()
    go_on = threading.Event()
    futures = [writer.run(go_on.wait, lambda _result: None) for _ in range(4)]
    waiting = asyncio.create_task(writer.fewer_than(4))
    await asyncio.sleep(0)
    assert waiting.done() is False
    go_on.set()
    await waiting
    await asyncio.gather(*futures)
    await writer.close()


async def test_a_change_between_looking_and_waiting_is_not_missed() -> None:
    signal = Signal()
    change = signal.next
    signal.give()
    await asyncio.wait_for(change.wait(), 10)
    assert signal.next.is_set() is False
