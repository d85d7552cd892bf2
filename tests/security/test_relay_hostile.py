"""Hostile clients over real WebSockets: a typed error or a closed connection, and the relay serves the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed

from e2ee.errors import RefusalCode
from e2ee.frames import Acknowledge, Bundles, Challenge, Closing, Ping, Pong, RefusedRequest, Submitted, Uploaded
from e2ee.limits import FRAME_SIZE_MAX
from e2ee.relay.limits import RelayOptions
from e2ee.relay.server import Relay
from e2ee.wire import encode_frame
from tests.support.relay_client import Wire, wire
from tests.support.relay_device import Device

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def served(options: RelayOptions | None = None) -> AsyncIterator[Relay]:
    """A relay at which two honest devices still exchange a message when the test is over, on their old connections."""
    alice, bob = Device("alice"), Device("bob")
    async with Relay(store="sqlite://", options=options) as relay, wire(relay.url) as a, wire(relay.url) as b:
        await a.join(alice)
        await b.join(bob)
        yield relay
        assert (await a.submitted(alice, bob, b"served all the same")).refusal is None
        while (await b.mail(1))[-1].body != b"served all the same":
            pass
        async with wire(relay.url) as newcomer:
            await newcomer.join(Device("newcomer"))


async def entered(line: Wire, name: str = "eve") -> Device:
    eve = Device(name)
    await line.join(eve)
    return eve


MALFORMED = {
    "no msgpack": b"\xc1",
    "nothing": b"",
    "a number": b"\x07",
    "a map": b"\x81\xa1a\x01",
    "an extension": b"\xc7\x01\x05\x00",
    "an empty array": b"\x90",
    "a kind that is text": msgpack.packb(["6", 0, 1]),
    "a kind that is a bool": msgpack.packb([True, 0, 1]),
    "a Ping without its request": msgpack.packb([3, 0]),
    "a negative request": msgpack.packb([3, 0, -1]),
    "a request above 32 bits": msgpack.packb([3, 0, 2**32]),
    "text for bytes": msgpack.packb([5, 0, 1, "q" * 16, [["bob", None]]]),
    "a user id with a line feed": msgpack.packb([5, 0, 1, b"q" * 16, [["bo\nb", None]]]),
    "a device id of 0": msgpack.packb([7, 0, 1, 0]),
    "bytes behind the frame": msgpack.packb([3, 0, 1]) + b"\x00",
    "arrays in arrays": b"\x91" * 2_000 + b"\x90",
    "an array that claims four billion elements": b"\xdd\xff\xff\xff\xff",
    "a string that claims four billion bytes": b"\xdb\xff\xff\xff\xff",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_frame_has_one_typed_answer_and_the_end(data: bytes) -> None:
    async with served() as relay, wire(relay.url) as line:
        await entered(line)
        await line.websocket.send(data)
        assert await line.code() is RefusalCode.MALFORMED


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_before_the_login_it_is_the_same(data: bytes) -> None:
    async with served() as relay, wire(relay.url) as line:
        await line.websocket.send(data)
        assert await line.code() is RefusalCode.MALFORMED


async def test_every_truncation_of_a_submit_is_refused_or_ignored_and_none_is_stored() -> None:
    bob = Device("bob-the-target")
    async with served() as relay, wire(relay.url) as target:
        await target.join(bob)
        whole = encode_frame(Device("eve").submit(bob, b"body"))
        for size in range(0, len(whole), 5):
            async with wire(relay.url) as line:
                await entered(line, f"eve{size}")
                await line.websocket.send(whole[:size])
                assert await line.code() is RefusalCode.MALFORMED
        assert relay.statistics.envelopes["stored"] == 0


async def test_random_bytes_never_take_the_relay_down() -> None:
    dice = Random(20)
    async with served() as relay:
        for _ in range(30):
            async with wire(relay.url) as line:
                await entered(line, f"eve{dice.randrange(2**40)}")
                data = bytearray(encode_frame(Device("x").submit(Device("bob"), b"body")))
                for _ in range(dice.randrange(1, 6)):
                    data[dice.randrange(len(data))] = dice.randrange(256)
                await line.websocket.send(bytes(data))
                await line.send(Ping(0, 77))
                try:
                    while not isinstance(await line.receive(), Pong | Closing):
                        pass
                except ConnectionClosed:
                    pass


async def test_a_message_beyond_a_megabyte_ends_the_connection() -> None:
    async with served() as relay, wire(relay.url) as line:
        await entered(line)
        await line.websocket.send(bytes(FRAME_SIZE_MAX + 1))
        assert await line.code() is None
        assert line.websocket.close_code == 1009


async def test_a_recorded_login_is_worth_nothing_on_another_connection() -> None:
    async with served() as relay, wire(relay.url) as first, wire(relay.url) as second:
        alice = Device("somebody")
        login = alice.login((await first.one(Challenge)).nonce, name=relay.url[5:])
        await first.send(login)
        await second.send(login)
        assert await second.code() is RefusalCode.NOT_AUTHENTIC


async def test_recorded_frames_of_somebody_else_are_of_the_one_who_sends_them() -> None:
    alice, bob = Device("a1"), Device("b1")
    async with served() as relay, wire(relay.url) as a, wire(relay.url) as b, wire(relay.url) as e:
        await a.join(alice)
        await b.join(bob)
        recorded = alice.submit(bob, b"hello")
        await a.send(recorded)
        await a.one(Submitted)
        await entered(e)
        await e.send(recorded)
        await e.one(Submitted)
        assert [one.sender_user_id for one in await b.mail(2)] == ["a1", "eve"]


async def test_frames_out_of_turn_end_the_connection() -> None:
    async with served() as relay:
        for frame in (Ping(0, 1), Acknowledge(1), Device("eve").bundles("alice")):
            async with wire(relay.url) as line:
                await line.send(frame)
                assert await line.code() is RefusalCode.MALFORMED


async def test_nobody_logs_in_to_somebody_elses_mailbox() -> None:
    bob = Device("b1")
    async with served() as relay, wire(relay.url) as b, wire(relay.url) as a:
        await b.join(bob)
        await b.websocket.close()
        alice = Device("a1")
        await a.join(alice)
        await a.submitted(alice, bob, b"for bob")
        for device_id in (1, 2):
            async with wire(relay.url) as line:
                eve = Device("b1", device_id)
                await line.send(eve.login((await line.one(Challenge)).nonce, name=relay.url[5:]))
                assert await line.code() is RefusalCode.IDENTITY_TAKEN
        async with wire(relay.url) as line:
            forged = Device("b1").login((await line.one(Challenge)).nonce, name=relay.url[5:])
            await line.send(replace(forged, identity_key=bob.account.identity_key))
            assert await line.code() is RefusalCode.NOT_AUTHENTIC
        async with wire(relay.url) as line:
            await line.log_in(bob)
            assert [one.body for one in await line.mail(1)] == [b"for bob"]


async def test_nobody_uploads_somebody_elses_prekeys_nor_acknowledges_somebody_elses_mail() -> None:
    alice, bob = Device("a1"), Device("b1")
    async with served() as relay, wire(relay.url) as a, wire(relay.url) as b, wire(relay.url) as e:
        await b.join(bob)
        await a.join(alice)
        await a.submitted(alice, bob, b"unread")
        eve = Device("eve")
        await e.log_in(eve)
        await e.send(eve.upload(bob.account.published_prekeys()))
        assert (await e.one(RefusedRequest)).code == RefusalCode.NOT_AUTHENTIC
        await e.send(Ping(1, 5))
        await e.one(Pong)
        await b.websocket.close()
        async with wire(relay.url) as again:
            await again.log_in(bob)
            assert [one.body for one in await again.mail(1)] == [b"unread"]


async def test_asking_for_bundles_again_and_again_does_not_use_up_the_one_time_keys_of_a_target() -> None:
    options = RelayOptions(one_time_keys_to_strangers=1)
    bob = Device("b1")
    async with served(options) as relay, wire(relay.url) as b:
        await b.join(bob)
        for number in range(5):
            async with wire(relay.url) as line:
                eve = await entered(line, f"eve{number}")
                await line.send(eve.bundles("b1"))
                bundle = (await line.one(Bundles)).users[0].bundles[0]
                assert (bundle.one_time_prekey is not None) == (number == 0)


async def test_a_flood_of_requests_is_answered_with_the_time_to_wait_while_others_are_served() -> None:
    async with served(RelayOptions(requests_per_s=1.0, requests_burst=5)) as relay, wire(relay.url) as line:
        eve = Device("eve")
        await line.log_in(eve)
        frames = [eve.bundles("alice") for _ in range(300)]
        await asyncio.gather(*(line.send(frame) for frame in frames))
        refused = [await line.one(RefusedRequest) for _ in range(294)]
        assert {one.code for one in refused} == {RefusalCode.RATE_LIMITED}
        assert all(one.retry_after_ms for one in refused)


async def test_a_flood_of_messages_fills_a_share_of_its_targets_mailbox_and_no_more() -> None:
    bob = Device("b1")
    options = RelayOptions(envelopes_per_s=1_000_000.0, envelopes_burst=1_000_000)
    async with served(options) as relay, wire(relay.url) as b, wire(relay.url) as line:
        await b.join(bob)
        await b.websocket.close()
        eve = await entered(line)
        for _ in range(40):
            await line.submitted(eve, bob, *[b"spam"] * 64)
        assert relay.statistics.envelopes["full"] == 40 * 64 - 2_500
        async with wire(relay.url) as friend:
            carol = Device("carol")
            await friend.join(carol)
            assert (await friend.submitted(carol, bob, b"hello")).outcomes[0][0] == 0


async def test_a_reader_that_does_not_read_is_cut_off_and_its_mail_is_kept() -> None:
    bob, alice = Device("b1"), Device("a1")
    # More than the kernel's buffers take, so that our own have to.
    options = RelayOptions(write_age_max_s=0.3, window_size=64 * 1024 * 1024)
    async with served(options) as relay, wire(relay.url) as a:
        await a.join(alice)
        async with wire(relay.url) as b:
            await b.join(bob)
        for _ in range(20):
            assert (await a.submitted(alice, bob, *[bytes(256 * 1024)] * 3)).refusal is None
        async with wire(relay.url) as slow:
            await slow.log_in(bob)
            slow.websocket.transport.pause_reading()
            (ours,) = [one for one in relay._conversations._sockets.values() if one.peer.user_id == "b1"]
            async with asyncio.timeout(20):
                await ours.websocket.wait_closed()
            slow.websocket.transport.abort()
        async with wire(relay.url) as again:
            await again.log_in(bob)
            assert [one.number for one in await again.mail(60)] == list(range(1, 61))


async def test_hundreds_of_connections_that_never_log_in_do_not_keep_anybody_out() -> None:
    options = RelayOptions(strangers_max=50)
    async with served(options) as relay, AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(wire(relay.url)) for _ in range(300)]
        async with wire(relay.url) as line:
            await line.join(Device("late-comer"))
        assert relay.statistics.strangers <= 50
        assert await strangers[0].code() is RefusalCode.UNAVAILABLE


@pytest.mark.slow  # the clock of sockets cannot be turned
async def test_who_does_not_log_in_in_time_is_closed() -> None:
    async with served(RelayOptions(challenge_age_max_s=0.5)) as relay, wire(relay.url) as line:
        assert await line.code() is RefusalCode.NOT_AUTHENTIC


async def test_half_a_handshake_is_given_up_and_costs_nobody_a_place() -> None:
    async with served(RelayOptions(challenge_age_max_s=0.5)) as relay:
        host, port = relay.url[5:].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_text_before_the_login_ends_the_connection_and_after_it_reaches_only_hooks() -> None:
    async with served() as relay, wire(relay.url) as stranger, wire(relay.url) as line:
        await stranger.websocket.send("hello")
        assert await stranger.code() is RefusalCode.MALFORMED
        await entered(line)
        await line.websocket.send("hello")
        await line.send(Ping(0, 1))
        assert (await line.one(Pong)).request == 1


async def test_the_same_upload_a_hundred_times_changes_nothing_and_is_limited() -> None:
    async with served(RelayOptions(requests_per_s=0.001, requests_burst=10)) as relay, wire(relay.url) as line:
        eve = Device("eve")
        await line.log_in(eve)
        upload = eve.upload()
        for _ in range(30):
            await line.send(upload)
        counts = {(await line.one(Uploaded)).one_time_prekeys for _ in range(10)}
        assert counts == {2}
        assert {(await line.one(RefusedRequest)).code for _ in range(20)} == {RefusalCode.RATE_LIMITED}
