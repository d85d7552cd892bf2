"""An application's own rules, tracing and filtering, over real WebSockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from e2ee.errors import RefusalCode
from e2ee.frames import (
    Challenge,
    Deliver,
    Drained,
    GetBundles,
    Ping,
    Pong,
    RefusedRequest,
)
from e2ee.relay.hooks import RelayHooks, Verdict
from e2ee.relay.server import Relay
from tests.support.relay_client import wire
from tests.support.relay_device import Device

if TYPE_CHECKING:
    from e2ee.frames import ClientFrame, RelayFrame, UnknownFrame
    from e2ee.relay.hooks import Peer

MEMORY = "sqlite://"


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
