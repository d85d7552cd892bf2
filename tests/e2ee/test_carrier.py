"""The WebSocket carrier over real sockets, and which addresses it takes."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve

from e2ee.carrier import WebSocketCarrier, relay_name
from e2ee.errors import ConnectionEnded, InvalidArgument
from e2ee.limits import FRAME_SIZE_MAX
from tests.support.certificate import client_context, server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from websockets.http11 import Request, Response

    Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(connection: ServerConnection) -> None:
    async for data in connection:
        await connection.send(data)


@asynccontextmanager
async def relay(handler: Handler = echo, *, ssl: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A bare WebSocket server; its address."""
    async with serve(handler, "127.0.0.1", 0, ssl=ssl, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'ws' if ssl is None else 'wss'}://127.0.0.1:{port}"


async def test_a_message_arrives_as_it_was_sent() -> None:
    async with relay() as url:
        carrier = WebSocketCarrier(url)
        await carrier.connect()
        message = os.urandom(1000)
        await carrier.send(message)
        assert await carrier.receive() == message
        await carrier.close()


async def test_the_largest_frame_passes_and_one_byte_more_ends_the_connection() -> None:
    async with relay() as url:
        carrier = WebSocketCarrier(url)
        await carrier.connect()
        await carrier.send(bytes(FRAME_SIZE_MAX))
        assert len(await carrier.receive()) == FRAME_SIZE_MAX
        await carrier.send(bytes(FRAME_SIZE_MAX + 1))
        with pytest.raises(ConnectionEnded):
            await carrier.receive()
        await carrier.close()


async def test_no_compression_is_offered() -> None:
    offered = asyncio.get_running_loop().create_future()

    async def note(connection: ServerConnection) -> None:
        assert connection.request is not None
        offered.set_result(connection.request.headers.get_all("Sec-WebSocket-Extensions"))
        await connection.wait_closed()

    async with relay(note) as url:
        carrier = WebSocketCarrier(url)
        await carrier.connect()
        assert await offered == []
        await carrier.close()


async def test_text_is_passed_over() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send("raw text of an application")
        await connection.send(b"frame")
        await connection.wait_closed()

    async with relay(talk) as url:
        carrier = WebSocketCarrier(url)
        await carrier.connect()
        assert await carrier.receive() == b"frame"
        await carrier.close()


async def test_a_relay_that_goes_away_ends_the_connection_for_reader_and_writer() -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.close(1001)

    async with relay(leave) as url:
        carrier = WebSocketCarrier(url)
        await carrier.connect()
        with pytest.raises(ConnectionEnded, match="1001"):
            await carrier.receive()
        with pytest.raises(ConnectionEnded):
            await carrier.send(b"late")
        await carrier.close()


async def test_a_connection_that_breaks_without_a_word_has_ended() -> None:
    async def cut(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with relay(cut) as url:
        carrier = WebSocketCarrier(url)
        await carrier.connect()
        with pytest.raises(ConnectionEnded, match="broke"):
            await carrier.receive()
        await carrier.close()


async def test_closing_releases_the_reader_who_waits() -> None:
    async with relay() as url:
        carrier = WebSocketCarrier(url)
        await carrier.connect()
        reader = asyncio.create_task(carrier.receive())
        await asyncio.sleep(0)
        await carrier.close()
        with pytest.raises(ConnectionEnded):
            await reader


async def test_a_carrier_connects_again_after_an_end() -> None:
    async with relay() as url:
        carrier = WebSocketCarrier(url)
        for number in range(3):
            await carrier.connect()
            await carrier.send(bytes([number]))
            assert await carrier.receive() == bytes([number])
            await carrier.close()


async def test_nothing_is_sent_or_received_without_a_connection() -> None:
    carrier = WebSocketCarrier("ws://127.0.0.1:1")
    with pytest.raises(ConnectionEnded):
        await carrier.send(b"x")
    with pytest.raises(ConnectionEnded):
        await carrier.receive()
    await carrier.close()


async def test_a_port_where_nobody_listens_is_a_connection_that_ended() -> None:
    async with relay() as url:
        pass
    with pytest.raises(ConnectionEnded):
        await WebSocketCarrier(url).connect()


async def test_a_redirect_is_not_followed() -> None:
    async with relay() as elsewhere:

        def redirect(connection: ServerConnection, _request: Request) -> Response:
            response = connection.respond(HTTPStatus.FOUND, "over there")
            response.headers["Location"] = elsewhere
            return response

        async with serve(echo, "127.0.0.1", 0, process_request=redirect) as server:
            carrier = WebSocketCarrier(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            with pytest.raises(ConnectionEnded, match="InvalidStatus"):
                await carrier.connect()


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    async with relay(ssl=server_context(tmp_path)) as url:
        carrier = WebSocketCarrier(url, ssl=client_context(tmp_path))
        await carrier.connect()
        await carrier.send(b"hello")
        assert await carrier.receive() == b"hello"
        await carrier.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    async with relay(ssl=server_context(tmp_path)) as url:
        with pytest.raises(ConnectionEnded, match="SSLCertVerificationError"):
            await WebSocketCarrier(url).connect()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "[::1]", "localhost", "LOCALHOST"])
def test_a_loopback_address_needs_no_tls(host: str) -> None:
    WebSocketCarrier(f"ws://{host}:8000")


@pytest.mark.parametrize("host", ["192.0.2.1", "relay.example", "127.0.0.1.relay.example", "0.0.0.0", "[2001:db8::1]"])  # noqa: S104
def test_cleartext_to_another_machine_wants_to_be_spelled_out(host: str) -> None:
    with pytest.raises(InvalidArgument, match="allow_cleartext"):
        WebSocketCarrier(f"ws://{host}:8000")
    WebSocketCarrier(f"ws://{host}:8000", allow_cleartext=True)
    WebSocketCarrier(f"wss://{host}:8000")


def test_a_tls_context_for_cleartext_is_a_mistake(tmp_path: Path) -> None:
    server_context(tmp_path)
    with pytest.raises(InvalidArgument, match="wss"):
        WebSocketCarrier("ws://127.0.0.1:8000", ssl=client_context(tmp_path))


@pytest.mark.parametrize(
    "url", ["", "relay.example", "http://relay.example", "wss://", "wss://relay.example:port", "wss://relay.example/#x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="not a relay's address"):
        relay_name(url)


def test_a_password_in_a_wrong_address_is_not_repeated() -> None:
    with pytest.raises(InvalidArgument) as raised:
        WebSocketCarrier("wss://user:canary@relay.example/#x")
    assert "canary" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("wss://relay.example", "relay.example:443"),
        ("wss://Relay.Example:8443/path?query", "relay.example:8443"),
        ("ws://127.0.0.1", "127.0.0.1:80"),
        ("wss://[::1]:9000", "[::1]:9000"),
        ("wss://user:secret@relay.example", "relay.example:443"),
        ("wss://bücher.example", "xn--bcher-kva.example:443"),
    ],
)
def test_the_name_of_a_relay_is_its_host_and_port(url: str, name: str) -> None:
    assert relay_name(url) == name
