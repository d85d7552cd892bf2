"""What a client does beside its encrypted messages, over real sockets: channels, the directory, raw data, hooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import pytest

from e2ee import (
    ChannelMessage,
    Client,
    Connected,
    ConnectionEnded,
    ConnectionFailed,
    Disconnected,
    InvalidArgument,
    RawMessage,
    RefusalCode,
    Refused,
    Relay,
    RelayHooks,
    RelayOptions,
    Subscribed,
    Unsubscribed,
    UserCreated,
    UserDeleted,
)
from e2ee.raw import is_raw, take_raw
from e2ee.relay.hooks import Verdict
from e2ee.sync import Client as SyncClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.events import LiveEvent
    from e2ee.ids import UserId
    from e2ee.relay.hooks import Peer

LIMIT_S = 30.0  # a test that hangs fails
MEMORY = "sqlite://"
Kind = TypeVar("Kind", bound="LiveEvent")


async def first(client: Client, kind: type[Kind]) -> Kind:
    """The next event of a kind; others are passed over."""
    async for event in client.events():
        if isinstance(event, kind):
            return event
    raise AssertionError("the events ended")


async def test_what_is_published_is_heard_by_who_is_subscribed_text_and_bytes() -> None:
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=MEMORY) as relay,
        Client("alice", relay=relay.url, store=MEMORY) as alice,
        Client("bob", relay=relay.url, store=MEMORY) as bob,
    ):
        await bob.subscribe("news")
        assert await first(bob, Subscribed) == Subscribed("news")
        await alice.publish("news", "a héron")
        await alice.publish("news", b"\x00\x01")
        heard = [await first(bob, ChannelMessage) for _ in range(2)]
        assert [(one.sender, one.data) for one in heard] == [("alice", "a héron".encode()), ("alice", b"\x00\x01")]
        await bob.unsubscribe("news")
        assert await first(bob, Unsubscribed) == Unsubscribed("news")


async def test_a_subscription_outlives_a_reconnection() -> None:
    async with asyncio.timeout(LIMIT_S), Client("bob", relay="ws://127.0.0.1:1", store=MEMORY) as nobody:
        with pytest.raises(TimeoutError):
            await nobody.subscribe("news", timeout=0.05)
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=MEMORY) as relay,
        Client("alice", relay=relay.url, store=MEMORY) as alice,
        Client("bob", relay=relay.url, store=MEMORY) as bob,
    ):
        await bob.subscribe("news")
        await first(bob, Subscribed)
        for peer in relay.connected():
            if peer.user_id == "bob":
                relay.disconnect(peer)
        assert (await first(bob, Disconnected)).code is None
        await first(bob, Connected)
        assert await first(bob, Subscribed) == Subscribed("news")
        await alice.publish("news", "again")
        assert (await first(bob, ChannelMessage)).data == b"again"


async def test_a_relay_that_cannot_be_reached_is_told_with_the_time_of_the_next_attempt() -> None:
    async with asyncio.timeout(LIMIT_S), Client("alice", relay="ws://127.0.0.1:1", store=MEMORY) as alice:
        failed = await first(alice, ConnectionFailed)
        assert "could not be reached" in failed.reason
        assert 0.5 <= failed.next_attempt_s <= 1.0


async def test_a_veto_of_the_relay_s_application_is_raised_and_leaves_no_subscription() -> None:
    hooks = RelayHooks(before_subscription=lambda _user, channel: channel != "secret")
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=MEMORY, hooks=hooks) as relay,
        Client("bob", relay=relay.url, store=MEMORY) as bob,
    ):
        with pytest.raises(Refused) as refused:
            await bob.subscribe("secret")
        assert refused.value.code is RefusalCode.NOT_AUTHORIZED
        assert await first(bob, Unsubscribed) == Unsubscribed("secret")


async def test_the_directory_is_told_where_the_relay_allows_it() -> None:
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=MEMORY, options=RelayOptions(directory=True)) as relay,
        Client("alice", relay=relay.url, store=MEMORY) as alice,
    ):
        await alice.watch_users()
        assert await first(alice, UserCreated) == UserCreated(alice.user_id)
        async with Client("bob", relay=relay.url, store=MEMORY) as bob:
            assert await first(alice, UserCreated) == UserCreated(bob.user_id)


async def test_a_user_that_gives_up_its_account_is_told_to_who_watches() -> None:
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=MEMORY, options=RelayOptions(directory=True)) as relay,
        Client("alice", relay=relay.url, store=MEMORY) as alice,
    ):
        await alice.watch_users()
        async with Client("bob", relay=relay.url, store=MEMORY) as bob:
            await bob.connected()
            await bob.delete_account()
        assert await first(alice, UserDeleted) == UserDeleted(bob.user_id)


async def test_raw_text_and_bytes_pass_in_both_directions_and_touch_nothing_else() -> None:
    seen: list[tuple[str | None, str | bytes]] = []

    def on_raw(peer: Peer, message: str | bytes) -> Verdict:
        if isinstance(message, bytes) and is_raw(message):
            seen.append((peer.user_id, take_raw(message)))
        return Verdict.PASS

    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=MEMORY, hooks=RelayHooks(on_raw=on_raw)) as relay,
        Client("alice", relay=relay.url, store=MEMORY) as alice,
    ):
        await alice.connected()
        await alice.write_raw("to whom it may concern")
        await alice.write_raw(b"\xc1\x00")
        assert relay.write_raw(alice.user_id, "hello") == 1
        assert relay.write_raw(alice.user_id, b"", device_id=1) == 1
        assert relay.write_raw(alice.user_id, b"", device_id=2) == 0
        assert [(await first(alice, RawMessage)).data for _ in range(2)] == ["hello", b""]
        await alice.publish("news", "and frames still pass")
        assert seen == [("alice", "to whom it may concern"), ("alice", b"\xc1\x00")]
        with pytest.raises(InvalidArgument):
            await alice.write_raw(bytes(1024 * 1024))


async def test_raw_data_without_a_connection_is_refused_and_not_kept() -> None:
    async with Client("alice", relay="ws://127.0.0.1:1", store=MEMORY) as alice:
        with pytest.raises(ConnectionEnded):
            await alice.write_raw("lost")


async def test_the_relay_s_application_is_told_who_comes_goes_and_subscribes() -> None:
    told: list[tuple[str, UserId | None, object]] = []
    hooks = RelayHooks(
        on_connect=lambda peer: told.append(("connect", peer.user_id, None)),
        on_disconnect=lambda peer, code: told.append(("disconnect", peer.user_id, code)),
        on_subscription=lambda peer, channel: told.append(("subscription", peer.user_id, channel)),
        on_unsubscription=lambda peer, channel: told.append(("unsubscription", peer.user_id, channel)),
    )
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=MEMORY, hooks=hooks) as relay,
        Client("bob", relay=relay.url, store=MEMORY) as bob,
    ):
        await bob.subscribe("news")
        await bob.subscribe("weather")
        await bob.unsubscribe("weather")
    assert told[:4] == [
        ("connect", "bob", None),
        ("subscription", "bob", "news"),
        ("subscription", "bob", "weather"),
        ("unsubscription", "bob", "weather"),
    ]
    assert sorted(told[4:], key=str) == [("disconnect", "bob", None), ("unsubscription", "bob", "news")]


def test_the_synchronous_client_has_the_same_calls() -> None:
    with SyncClient("alice", relay="ws://127.0.0.1:1", store=MEMORY) as alice:
        calls: list[Callable[[], None]] = [
            lambda: alice.subscribe("news", timeout=0.01),
            lambda: alice.unsubscribe("news", timeout=0.01),
            lambda: alice.publish("news", b"", timeout=0.01),
            lambda: alice.watch_users(timeout=0.01),
        ]
        for call in calls:
            with pytest.raises(TimeoutError):
                call()
        with pytest.raises(ConnectionEnded):
            alice.write_raw("lost")
