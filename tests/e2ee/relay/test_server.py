"""The relay over real WebSockets: the conversation, restarts, watching, closing."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from e2ee.errors import InvalidArgument, RefusalCode
from e2ee.frames import (
    Challenge,
    Closing,
    Done,
    Drained,
    Ping,
    Pong,
    Publish,
    Published,
    Submitted,
    Subscribe,
)
from e2ee.limits import FRAME_SIZE_MAX, LOGIN_SIZE_MAX
from e2ee.relay import conversations
from e2ee.relay.hooks import RelayHooks
from e2ee.relay.limits import IdentityChange, RelayOptions
from e2ee.relay.monitoring import Monitor
from e2ee.relay.server import Relay
from e2ee.relay.statistics import Statistics
from store.errors import StoreInUse
from store.relay import RelayStore
from tests.support.relay_client import wire
from tests.support.relay_device import Device

if TYPE_CHECKING:
    from pathlib import Path


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
    "store.driver_cursor",
    "store.errors",
    "store.migrations",
    "store.ownership",
    "store.packing",
    "store.siblings",
}
E2EE = {
    "codec",
    "errors",
    "frames",
    "groups",
    "ids",
    "limits",
    "raw",
    "relay",
    "siblings",
    "wire",
}  # with what is in them


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


async def test_a_second_relay_on_a_sqlite_file_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'relay.db'}"
    async with Relay(store=store) as relay, wire(relay.url) as line:
        with pytest.raises(StoreInUse):
            await Relay(store=store).__aenter__()
        await line.log_in(Device("alice"))


async def test_a_relay_whose_port_is_taken_lets_go_of_its_store(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'relay.db'}"
    async with Relay(store=MEMORY) as other:
        with pytest.raises(OSError, match="address"):
            await Relay(port=int(other.url.rpartition(":")[2]), store=store).__aenter__()
    async with Relay(store=store) as relay:
        assert await fetch(relay.url, "/health") == (200, "ok\n")


def test_metrics_are_for_this_machine_unless_the_options_say_otherwise() -> None:
    with RelayStore.open(MEMORY) as store, ThreadPoolExecutor(1) as executor:
        private = Monitor(store, executor, Statistics(), public_metrics=False)
        public = Monitor(store, executor, Statistics(), public_metrics=True)
        addresses = ["127.0.0.1", "::1", "192.0.2.7", "unix", None]
        assert [private.metrics(address).status for address in addresses] == [200, 200, 403, 403, 403]
        assert [public.metrics(address).status for address in addresses] == [200] * 5


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


async def test_a_relay_that_gives_names_to_new_keys_wants_to_know_who_owns_them() -> None:
    options = RelayOptions(
        names=("relay.example.org:443",), open_registration=True, identity_change=IdentityChange.REPLACE
    )
    with pytest.raises(InvalidArgument, match="anybody's name"):
        Relay("0.0.0.0", store=MEMORY, options=options)  # noqa: S104 - what is refused
    Relay("0.0.0.0", store=MEMORY, options=options, hooks=RelayHooks(authorize=lambda _user, _token: False))  # noqa: S104


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


async def test_a_frame_of_one_mebibyte_is_looked_at_and_a_larger_one_ends_the_connection() -> None:
    async with Relay(store=MEMORY) as relay, wire(relay.url) as line:
        await line.log_in(Device("alice"))
        # A ping, and a fourth element that fills the frame.
        filling = bytes(FRAME_SIZE_MAX - 9)
        largest = msgpack.packb([3, 0, 1, filling])
        assert len(largest) == FRAME_SIZE_MAX
        await line.websocket.send(largest)
        assert await line.one(Pong) == Pong(1)
        await line.websocket.send(largest + b"\x00")
        assert await line.code() is None
        assert line.websocket.close_code == 1009


async def test_what_is_no_frame_is_answered_once_and_the_connection_closed() -> None:
    async with Relay(store=MEMORY) as relay, wire(relay.url) as line:
        await line.log_in(Device("alice"))
        for _ in range(3):
            await line.websocket.send(b"\x90")
        assert (await line.one(Closing)).code == RefusalCode.MALFORMED
        with pytest.raises(ConnectionClosed):
            await line.receive()


@pytest.mark.parametrize(
    ("login", "message"),
    [
        (False, b"\xc1\x00raw"),
        (False, b"\xc1\x01raw"),
        (True, b"\xc1\x02raw"),
        (True, b"\xc1\x01\xff"),
        (True, b"\xc1"),
    ],
    ids=["bytes before the login", "text before the login", "neither bytes nor text", "no UTF-8", "nothing behind it"],
)
async def test_raw_data_before_the_login_or_without_its_form_is_malformed(*, login: bool, message: bytes) -> None:
    async with Relay(store=MEMORY) as relay, wire(relay.url) as line:
        if login:
            await line.log_in(Device("alice"))
        await line.websocket.send(message)
        assert await line.code() is RefusalCode.MALFORMED


@pytest.mark.slow
async def test_a_reader_that_is_slow_misses_publications_and_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "OUTBOX_SIZE_MAX", 64 * 1024)
    alice, bob, count = Device("alice"), Device("bob"), 4_000
    async with Relay(store=MEMORY) as relay, wire(relay.url) as a, wire(relay.url) as b:
        await b.join(bob)
        await a.join(alice)
        await b.send(Subscribe(0, 2, "news"))
        await b.one(Done)
        for number in range(count):  # more than the sockets' buffers hold; Bob reads nothing meanwhile
            await a.send(Publish(0, number, "news", bytes(4 * 1024)))
            await a.one(Done)
        assert (await a.submitted(alice, bob, b"mail")).refusal is None
        assert [one.body for one in await b.mail(1)] == [b"mail"]
        assert 0 < sum(isinstance(frame, Published) for frame in b.kept) < count


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
    assert {name.split(".")[1] for name in loaded if name.startswith("e2ee.")} == E2EE
    assert {name for name in loaded if name.startswith("store.") and not name.startswith("store.relay")} == STORE
