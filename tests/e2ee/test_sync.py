"""The synchronous facade: the same client, called from threads without an event loop."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from e2ee import client as asynchronous
from e2ee import sync
from e2ee.errors import InvalidArgument, RefusalCode, UnknownIdentity, UserIdTaken
from e2ee.events import DirectMessage, DurableEvent
from e2ee.options import ClientOptions
from tests.support.post_server import PostServer, post_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[PostServer]:
    """A server on a loop of its own, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    context = post_server()
    try:
        yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def client(server: PostServer, tmp_path: Path) -> Callable[[str], sync.Client]:
    def make(user_id: str) -> sync.Client:
        url = f"sqlite:///{tmp_path / user_id}.db"
        return sync.Client(user_id, relay=server.url, store=url, options=ClientOptions(one_time_prekeys=3))

    return make


def messages(of: sync.Client, count: int) -> list[str | None]:
    texts: list[str | None] = []
    for event in of.events(timeout_s=10):
        if isinstance(event, DirectMessage):
            texts.append(event.text)
            if len(texts) == count:
                break
    return texts


def test_a_message_goes_from_one_to_the_other(client: Callable[[str], sync.Client]) -> None:
    with client("alice") as alice, client("bob") as bob:
        bob.connected(10)
        alice.send("bob", "hello bob")
        assert messages(bob, 1) == ["hello bob"]


def test_the_events_end_when_none_comes_in_time(client: Callable[[str], sync.Client]) -> None:
    with client("alice") as alice:
        alice.connected(10)
        assert not any(isinstance(event, DurableEvent) for event in alice.events(timeout_s=0.1))


def test_calls_are_safe_from_many_threads(client: Callable[[str], sync.Client]) -> None:
    with client("alice") as alice, client("bob") as bob:
        bob.connected(10)
        with ThreadPoolExecutor(8) as threads:
            ids = list(threads.map(lambda number: alice.send("bob", str(number)), range(24)))
        assert len(set(ids)) == 24
        assert sorted(messages(bob, 24), key=str) == sorted(map(str, range(24)))


def test_all_clients_share_one_thread_with_a_loop(client: Callable[[str], sync.Client]) -> None:
    with client("alice"), client("bob"):
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "e2ee-sync"] == [True]


def test_what_was_not_moved_past_comes_again(client: Callable[[str], sync.Client]) -> None:
    with client("alice") as alice, client("bob") as bob:
        bob.connected(10)
        alice.send("bob", "once")
        assert messages(bob, 1) == ["once"]
        event = next(event for event in iter(lambda: bob.receive(10), None) if isinstance(event, DirectMessage))
        assert (event.text, event.redelivered) == ("once", 1)
        bob.mark_read(event)
        bob.acknowledge(event)


def test_waiting_for_one_event_ends_in_time(client: Callable[[str], sync.Client]) -> None:
    with client("alice") as alice:
        alice.connected(10)
        list(alice.events(timeout_s=0.1))
        with pytest.raises(TimeoutError):
            alice.receive(0.05)


def test_what_ends_a_client_is_raised_here_too(server: PostServer, client: Callable[[str], sync.Client]) -> None:
    server.refusal = RefusalCode.IDENTITY_TAKEN
    with client("alice") as alice, pytest.raises(UserIdTaken):
        alice.connected(10)


def test_after_closing_calls_are_refused(client: Callable[[str], sync.Client]) -> None:
    alice = client("alice")
    with alice:
        pass
    with pytest.raises(InvalidArgument, match="not open"):
        alice.send("bob", "hello")


FORKING = """
import os, sys
from e2ee.errors import StoreGone
from e2ee.sync import Client

with Client("alice", relay="ws://127.0.0.1:1", store=sys.argv[1], drain_s=0.0) as alice:
    child = os.fork()
    if child == 0:
        try:
            alice.send("bob", "from the child")
        except StoreGone:
            os._exit(7)
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    alice.send("bob", "from the parent")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_is_told_and_does_not_wait_for_its_parents_threads(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'alice.db'}"
    done = subprocess.run([sys.executable, "-c", FORKING, url], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "7\n"


def test_people_verify_block_and_trust_each_other_without_await(client: Callable[[str], sync.Client]) -> None:
    with client("alice") as alice, client("bob") as bob:
        bob.connected(10)
        alice.send("bob", "hello")
        assert messages(bob, 1) == ["hello"]
        number = bob.safety_number("alice")
        key = alice.verify("bob", scanned=number.scannable)
        assert bob.verify("alice", digits=number.digits) != key
        assert [one.verification for one in alice.identities("bob")] == ["scanned"]
        alice.trust("bob", key)
        with pytest.raises(UnknownIdentity):
            alice.distrust("bob")
        alice.block("bob")
        assert alice.blocked() == {"bob"}
        alice.unblock("bob")
        assert alice.blocked() == frozenset()
        with pytest.raises(InvalidArgument):
            alice.export_identity("")


def public(of: type) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


def test_the_facade_has_the_names_of_the_client() -> None:
    assert public(sync.Client) == public(asynchronous.Client)


@pytest.mark.parametrize("name", ["__init__", *sorted(public(asynchronous.Client))])
def test_each_name_takes_what_the_clients_takes(name: str) -> None:
    ours = inspect.signature(getattr(sync.Client, name)).parameters
    theirs = inspect.signature(getattr(asynchronous.Client, name)).parameters
    assert [one for one in ours if one in theirs] == [one for one in theirs if one != "surroundings"]
