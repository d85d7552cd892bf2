"""The relay over real WebSockets: the conversation, restarts, hooks, watching, closing."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus

from e2ee.errors import InvalidArgument, RefusalCode
from e2ee.frames import (
    Challenge,
    Deliver,
    Drained,
    GetBundles,
    Ping,
    Pong,
    RefusedRequest,
    Submitted,
)
from e2ee.limits import LOGIN_SIZE_MAX
from e2ee.relay.hooks import RelayHooks, Verdict
from e2ee.relay.limits import RelayOptions
from e2ee.relay.server import Relay
from tests.support.relay_client import wire
from tests.support.relay_device import Device

if TYPE_CHECKING:
    from pathlib import Path

    from e2ee.frames import ClientFrame, RelayFrame, UnknownFrame
    from e2ee.relay.hooks import Peer

MEMORY = "sqlite://"

# All that a relay loads of each package beside its own part; what opens messages is not among it.
RATCHET = {
    "ratchet.errors",
    "ratchet.keys",
    "ratchet.labels",
    "ratchet.limits",
    "ratchet.packing",
    "ratchet.prekeys",
    "ratchet.primitives",
    "ratchet.secret",
}
STORE = {
    "store.database",
    "store.errors",
    "store.migrations",
    "store.ownership",
    "store.packing",
    "store.siblings",
}
E2EE = {"e2ee.codec", "e2ee.errors", "e2ee.frames", "e2ee.ids", "e2ee.limits", "e2ee.siblings", "e2ee.wire"}


async def fetch(url: str, path: str) -> tuple[int, str]:
    """Status and text of a plain HTTP request."""

    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url.replace("ws", "http", 1) + path) as response:  # noqa: S310 - our own
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def test_two_devices_exchange_messages_and_one_that_was_away_finds_its_mail() -> None:
    alice, bob = Device("alice"), Device("bob")
    async with Relay(store=MEMORY) as relay, wire(relay.url) as a:
        await a.join(alice)
        async with wire(relay.url) as b:
            await b.join(bob)
            assert (await a.submitted(alice, bob, b"one")).refusal is None
            assert [one.body for one in await b.mail(1)] == [b"one"]
            await b.acknowledge(1)
            await b.send(Ping(1, 900))
            await b.one(Pong)
        await a.submitted(alice, bob, b"two", b"three")
        async with wire(relay.url) as b:
            bob.delivery_number = 1
            await b.log_in(bob)
            assert [one.body for one in await b.mail(2)] == [b"two", b"three"]
            assert (await b.one(Drained)).number == 3


async def test_mail_survives_a_restart_of_the_relay(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'relay.db'}"
    alice, bob = Device("alice"), Device("bob")
    async with Relay(store=store) as relay, wire(relay.url) as a, wire(relay.url) as b:
        await b.join(bob)
        await b.websocket.close()
        await a.join(alice)
        await a.submitted(alice, bob, b"kept")
    async with Relay(store=store) as relay, wire(relay.url) as b:
        await b.log_in(bob)
        assert [one.body for one in await b.mail(1)] == [b"kept"]


async def test_a_second_connection_of_a_device_replaces_the_first() -> None:
    alice = Device("alice")
    async with Relay(store=MEMORY) as relay, wire(relay.url) as first, wire(relay.url) as second:
        await first.log_in(alice)
        await second.log_in(alice)
        assert await first.code() is RefusalCode.REPLACED
        await second.send(Ping(0, 1))
        await second.one(Pong)


async def test_frames_of_many_clients_arrive_once_and_in_the_order_of_each_sender() -> None:
    bob = Device("bob")
    senders = [Device(f"sender{number}") for number in range(8)]
    async with Relay(store=MEMORY) as relay, wire(relay.url) as b:
        await b.join(bob)

        async def send_all(sender: Device) -> None:
            async with wire(relay.url) as line:
                await line.join(sender)
                frames = [sender.submit(bob, *(bytes([n, part]) for part in range(5))) for n in range(4)]
                for frame in frames:
                    await line.send(frame)
                for _ in frames:
                    assert (await line.one(Submitted)).refusal is None

        await asyncio.gather(*(send_all(sender) for sender in senders))
        mail = await b.mail(160)
        assert [one.number for one in mail] == list(range(1, 161))
        for sender in senders:
            sent = [one.body for one in mail if one.sender_user_id == sender.user_id]
            assert sent == [bytes([n, part]) for n in range(4) for part in range(5)]
        assert relay.statistics.batches < relay.statistics.frames  # several frames shared a transaction


async def test_authorize_decides_who_comes_in_and_may_be_a_coroutine() -> None:
    async def authorize(user_id: str, token: bytes | None) -> bool:
        await asyncio.sleep(0)
        return (user_id, token) == ("alice", b"ticket")

    alice, eve = Device("alice"), Device("eve")
    async with Relay(store=MEMORY, hooks=RelayHooks(authorize=authorize)) as relay:
        async with wire(relay.url) as a:
            assert (await a.log_in(alice, token=b"ticket")).connection_number == 1
        async with wire(relay.url) as e:
            await e.send(eve.login((await e.one(Challenge)).nonce, name=relay.url[5:], token=b"ticket"))
            assert await e.code() is RefusalCode.NOT_AUTHORIZED


async def test_an_authorize_that_fails_lets_nobody_in() -> None:
    def authorize(_user_id: str, _token: bytes | None) -> bool:
        raise LookupError

    alice = Device("alice")
    async with Relay(store=MEMORY, hooks=RelayHooks(authorize=authorize)) as relay, wire(relay.url) as line:
        await line.send(alice.login((await line.one(Challenge)).nonce, name=relay.url[5:]))
        assert await line.code() is RefusalCode.UNAVAILABLE


async def test_hooks_see_every_frame_and_text_with_whose_it_is() -> None:
    seen: list[tuple[str, str | None, str]] = []

    def inbound(peer: Peer, frame: ClientFrame | UnknownFrame) -> Verdict:
        seen.append(("in", peer.user_id, type(frame).__name__))
        return Verdict.PASS

    def outbound(peer: Peer, frame: RelayFrame) -> Verdict:
        seen.append(("out", peer.user_id, type(frame).__name__))
        return Verdict.PASS

    def raw(peer: Peer, message: str | bytes) -> Verdict:
        if isinstance(message, str):
            seen.append(("raw", peer.user_id, message))
        return Verdict.PASS

    hooks = RelayHooks(on_raw=raw, on_inbound=inbound, on_outbound=outbound)
    async with Relay(store=MEMORY, hooks=hooks) as relay, wire(relay.url) as line:
        await line.log_in(Device("alice"))
        await line.one(Drained)
        await line.websocket.send("hello, plainly")
        await line.send(Ping(0, 1))
        await line.one(Pong)
    assert seen[:7] == [
        ("out", None, "Challenge"),
        ("in", None, "Login"),
        ("out", "alice", "Welcome"),
        ("out", "alice", "Drained"),
        ("raw", "alice", "hello, plainly"),
        ("in", "alice", "Ping"),
        ("out", "alice", "Pong"),
    ]


async def test_a_filter_that_drops_a_request_refuses_it_and_a_dropped_delivery_waits_in_the_mailbox() -> None:
    def inbound(_peer: Peer, frame: ClientFrame | UnknownFrame) -> Verdict:
        return Verdict.DROP if isinstance(frame, GetBundles) else Verdict.PASS

    blocked = True

    def outbound(_peer: Peer, frame: RelayFrame) -> Verdict:
        return Verdict.DROP if blocked and isinstance(frame, Deliver) else Verdict.PASS

    alice, bob = Device("alice"), Device("bob")
    hooks = RelayHooks(on_inbound=inbound, on_outbound=outbound)
    async with Relay(store=MEMORY, hooks=hooks) as relay, wire(relay.url) as a, wire(relay.url) as b:
        await a.join(alice)
        await b.join(bob)
        await b.one(Drained)
        await a.send(alice.bundles("bob"))
        assert (await a.one(RefusedRequest)).code == RefusalCode.NOT_AUTHORIZED
        await a.submitted(alice, bob, b"later")
        await b.one(Drained)
        assert not any(isinstance(frame, Deliver) for frame in b.kept)
        blocked = False
        async with wire(relay.url) as again:
            await again.log_in(bob)
            assert [one.body for one in await again.mail(1)] == [b"later"]


async def test_a_filter_that_drops_everything_does_not_keep_a_refused_connection_open() -> None:
    def outbound(_peer: Peer, _frame: RelayFrame) -> Verdict:
        return Verdict.DROP

    async with Relay(store=MEMORY, hooks=RelayHooks(on_outbound=outbound)) as relay, wire(relay.url) as line:
        await line.websocket.send(b"\xc1")
        assert await line.code() is None
        assert line.websocket.close_code == 1008


async def test_a_hook_that_fails_drops_the_frame_and_the_relay_stays_up() -> None:
    def raw(_peer: Peer, message: str | bytes) -> Verdict:
        if message == "break":
            raise LookupError
        return Verdict.PASS

    async with Relay(store=MEMORY, hooks=RelayHooks(on_raw=raw)) as relay, wire(relay.url) as line:
        await line.log_in(Device("alice"))
        await line.websocket.send("break")
        await line.send(Ping(0, 1))
        assert (await line.one(Pong)).request == 1


async def test_closing_answers_what_was_sent_and_tells_everybody() -> None:
    alice, bob = Device("alice"), Device("bob")
    relay = Relay(store=MEMORY)
    await relay.__aenter__()
    async with wire(relay.url) as a, wire(relay.url) as idle, wire(relay.url) as stranger:
        await a.join(alice)
        await idle.join(bob)
        await a.send(alice.submit(bob, b"last"))
        assert (await a.one(Submitted)).refusal is None
        await relay.__aexit__(None, None, None)
        codes = [await line.code() for line in (a, idle, stranger)]
        assert codes == [RefusalCode.SHUTTING_DOWN] * 3
        assert idle.websocket.close_code == 1001


async def test_closing_does_not_wait_for_who_does_not_answer() -> None:
    async with asyncio.timeout(20):
        async with Relay(store=MEMORY, options=RelayOptions(drain_s=0.2)) as relay:
            host, port = relay.url[5:].split(":")
            _reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / HTTP/1.1\r\n")  # and never the rest
            await writer.drain()
        writer.close()


async def test_health_says_whether_the_store_answers() -> None:
    async with Relay(store=MEMORY) as relay:
        assert await fetch(relay.url, "/health") == (200, "ok\n")
    async with Relay(store=MEMORY) as relay:
        relay._store.close()
        assert (await fetch(relay.url, "/health"))[0] == 503


async def test_metrics_count_without_saying_who() -> None:
    alice, bob = Device("alice-to-look-for"), Device("bob-to-look-for")
    async with Relay(store=MEMORY) as relay, wire(relay.url) as a, wire(relay.url) as b:
        await b.join(bob)
        await a.join(alice)
        await a.submitted(alice, bob, b"one", b"two")
        await b.mail(2)
        status, text = await fetch(relay.url, "/metrics")
        assert status == 200
        assert "e2ee_relay_connections 2.0" in text
        assert 'e2ee_relay_envelopes_total{outcome="stored"} 2.0' in text
        assert "to-look-for" not in text


async def test_other_paths_are_not_found_and_no_more_connections_than_allowed_are_taken() -> None:
    async with Relay(store=MEMORY, options=RelayOptions(connections_max=1)) as relay:
        assert (await fetch(relay.url, "/admin"))[0] == 404
        async with wire(relay.url) as first:
            await first.log_in(Device("alice"))
            with pytest.raises(InvalidStatus) as refused:
                async with wire(relay.url):
                    pass
            assert refused.value.response.status_code == 503
            await first.send(Ping(0, 1))
            await first.one(Pong)


async def test_an_address_that_others_can_reach_wants_to_know_who_may_register_and_by_which_name() -> None:
    with pytest.raises(InvalidArgument, match="who may register"):
        Relay("0.0.0.0", store=MEMORY)  # noqa: S104 - what is refused
    with pytest.raises(InvalidArgument, match="by which names"):
        Relay("0.0.0.0", store=MEMORY, options=RelayOptions(open_registration=True))  # noqa: S104


async def test_logs_at_info_level_name_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "e2ee.relay")
    alice, bob = Device("alice-to-look-for"), Device("bob-to-look-for")
    async with Relay(store=MEMORY) as relay, wire(relay.url) as a, wire(relay.url) as b:
        await a.join(alice)
        await b.join(bob)
        await a.submitted(alice, bob, b"body-to-look-for")
        await b.mail(1)
        await a.websocket.send(b"\xc1")
        await a.code()
    text = json.dumps([vars(record) for record in caplog.records], default=repr)
    assert "login" in text
    assert "to-look-for" not in text


async def test_a_login_larger_than_sixteen_kilobytes_ends_the_connection_and_a_large_submit_does_not() -> None:
    alice, bob = Device("alice"), Device("bob")
    async with Relay(store=MEMORY) as relay, wire(relay.url) as stranger, wire(relay.url) as a, wire(relay.url) as b:
        await stranger.websocket.send(bytes(LOGIN_SIZE_MAX + 1))
        await stranger.code()
        assert stranger.websocket.close_code == 1009
        await b.join(bob)
        await a.join(alice)
        assert (await a.submitted(alice, bob, *[bytes(256 * 1024)] * 3)).refusal is None
        assert len(await b.mail(3)) == 3


async def test_the_event_loop_stays_free_while_the_store_works() -> None:
    alice, bob = Device("alice"), Device("bob")
    async with Relay(store=MEMORY) as relay, wire(relay.url) as a, wire(relay.url) as b:
        await a.join(alice)
        await b.join(bob)
        entered, leave = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def hold() -> None:
            loop.call_soon_threadsafe(entered.set)
            leave.wait(10)

        held = loop.run_in_executor(relay._executor, hold)
        await entered.wait()
        await a.send(alice.submit(bob, b"waits for the store"))
        async with wire(relay.url) as line:  # the loop accepts, shakes hands and sends its challenge meanwhile
            assert isinstance(await line.receive(), Challenge)
        leave.set()
        await held
        assert (await a.one(Submitted)).refusal is None


@pytest.mark.slow  # starts an interpreter
def test_a_relay_loads_nothing_that_could_open_a_message() -> None:
    program = (
        "import sys, e2ee.relay.server\n"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] in ('ratchet', 'store', 'e2ee')))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "store.relay.store" in loaded
    assert {name for name in loaded if name.startswith("ratchet.")} == RATCHET
    assert {name for name in loaded if name.startswith("e2ee.") and not name.startswith("e2ee.relay")} == E2EE
    assert {name for name in loaded if name.startswith("store.") and not name.startswith("store.relay")} == STORE
