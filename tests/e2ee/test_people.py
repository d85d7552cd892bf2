"""Identities, devices and the account, over real sockets, the real relay and real files."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from e2ee import (
    AccountGone,
    Client,
    ClientOptions,
    Decision,
    DirectMessage,
    IdentityChanged,
    IdentityPolicy,
    InvalidArgument,
    MessageState,
    NotAuthorized,
    OwnMessage,
    OwnRead,
    RefusalCode,
    Refused,
    Relay,
    RelayOptions,
    UserIdTaken,
    VerificationFailed,
)
from e2ee.relay.limits import IdentityChange
from store import TESTING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

    from e2ee import DurableEvent

LIMIT_S = 20.0  # a test that hangs fails
FEW = ClientOptions(one_time_prekeys=3)


class Place:
    """A relay, and a folder for the stores of those who use it."""

    def __init__(self, folder: Path, relay: Relay, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.relay = relay
        self.stack = stack

    def make(self, user_id: str, device_id: int = 1, *, name: str = "", **more: Any) -> Client:  # noqa: ANN401
        store = f"sqlite:///{self.folder / (name or f'{user_id}{device_id}')}.db"
        more.setdefault("options", FEW)
        return Client(user_id, device_id=device_id, relay=self.relay.url, store=store, drain_s=1.0, **more)

    async def open(self, user_id: str, device_id: int = 1, *, name: str = "", **more: Any) -> Client:  # noqa: ANN401
        """Open a client and wait until others can write to it; it is closed at the end of the test."""
        client = await self.stack.enter_async_context(self.make(user_id, device_id, name=name, **more))
        await client.connected(LIMIT_S)
        return client

    async def link(self, first: Client, device_id: int, *, name: str = "") -> Client:
        """Open another device of a user from an export of the first, or one again."""
        sealed = await first.export_identity("words", profile=TESTING)
        user = first.user_id
        return await self.open(user, device_id, name=name, identity=sealed, identity_passphrase="words")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    options = RelayOptions(identity_change=IdentityChange.REPLACE)
    async with (
        asyncio.timeout(60),
        Relay(store=f"sqlite:///{tmp_path}/relay.db", options=options) as relay,
        AsyncExitStack() as stack,
    ):
        yield Place(tmp_path, relay, stack)


async def next_of(client: Client, kind: type[DurableEvent]) -> Any:  # noqa: ANN401 - of the kind that is asked for
    """Wait for an event of one kind, passing over what else there is."""
    async with asyncio.timeout(LIMIT_S):
        async for event in client.events():
            if isinstance(event, kind):
                await client.acknowledge(event)
                return event
    raise AssertionError("the events ended")


async def text(client: Client) -> str | None:
    found: DirectMessage = await next_of(client, DirectMessage)
    return found.text


async def ended(client: Client) -> Exception:
    """Wait until the client has ended; return with what every call then raises."""
    async with asyncio.timeout(LIMIT_S):
        try:
            async for _event in client.events():
                pass
        except Exception as error:  # noqa: BLE001 - it is looked at
            return error
    raise AssertionError("the client goes on")


async def test_two_people_compare_safety_numbers_and_verify_each_other(place: Place) -> None:
    alice, bob = await place.open("alice"), await place.open("bob")
    await alice.send("bob", "hello")
    await text(bob)
    ours, theirs = await alice.safety_number("bob"), await bob.safety_number("alice")
    assert ours.digits == theirs.digits
    await alice.verify("bob", digits=theirs.digits)
    await bob.verify("alice", scanned=ours.scannable)
    assert [one.verification for one in await alice.identities("bob")] == ["safety number"]
    assert [one.verification for one in await bob.identities("alice")] == ["scanned"]
    with pytest.raises(VerificationFailed):
        await alice.verify("bob", digits="0" * 60)


async def test_a_policy_is_given_to_the_client_as_a_function(place: Place) -> None:
    asked: list[str] = []

    def policy(change: Any) -> Decision:  # noqa: ANN401
        asked.append(change.user)
        return Decision.TRUST

    alice, bob = await place.open("alice", policy=policy), await place.open("bob")
    await alice.send("bob", "hello")
    assert await text(bob) == "hello"
    assert asked == ["bob"]


async def test_a_peer_who_lost_everything_works_again_without_help_under_the_policy_always(place: Place) -> None:
    alice = await place.open("alice", policy=IdentityPolicy.ALWAYS)
    async with place.make("bob", name="old bob") as bob:
        await bob.connected(LIMIT_S)
        await alice.send("bob", "to the old one")
        assert await text(bob) == "to the old one"
    bob = await place.open("bob", name="new bob")
    await bob.send("alice", "I lost my phone")
    assert await text(alice) == "I lost my phone"
    await alice.send("bob", "welcome back")
    assert await text(bob) == "welcome back"


@pytest.mark.slow  # it connects anew
async def test_an_identity_that_was_reset_is_held_by_peers_until_they_decide(place: Place) -> None:
    alice, bob = await place.open("alice"), await place.open("bob")
    await alice.send("bob", "before")
    await text(bob)
    before = await bob.safety_number("alice")
    await bob.reset_identity()
    await bob.connected(LIMIT_S)
    assert (await bob.safety_number("alice")).digits != before.digits
    await alice.send("bob", "after")
    change: IdentityChanged = await next_of(alice, IdentityChanged)
    assert change.on_record_number == before.digits
    assert change.shown_number == (await bob.safety_number("alice")).digits
    await alice.verify("bob", digits=change.shown_number)
    assert await text(bob) == "after"
    await bob.send("alice", "thank you")
    assert await text(alice) == "thank you"


async def test_a_relay_that_keeps_identities_refuses_the_reset_and_nothing_changes(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(LIMIT_S),
        Relay(store=f"sqlite:///{tmp_path}/relay.db") as relay,
        AsyncExitStack() as stack,
    ):
        place = Place(tmp_path, relay, stack)
        alice, bob = await place.open("alice"), await place.open("bob")
        with pytest.raises(Refused) as refused:
            await alice.reset_identity()
        assert refused.value.code is RefusalCode.IDENTITY_TAKEN
        await alice.send("bob", "still me")
        assert await text(bob) == "still me"
        with pytest.raises(UserIdTaken):
            await place.open("alice", name="another alice")


async def test_a_second_device_gets_messages_copies_and_read_marks(place: Place) -> None:
    alice, bob = await place.open("alice"), await place.open("bob")
    second = await place.link(alice, 2)
    assert [(one.device_id, one.this) for one in await second.devices()] == [(1, False), (2, True)]
    await alice.send("bob", "hello bob")
    copy: OwnMessage = await next_of(second, OwnMessage)
    assert (copy.recipient, copy.text, copy.own_device) == ("bob", "hello bob", 1)
    await text(bob)
    await bob.send("alice", "hello both")
    first: DirectMessage = await next_of(alice, DirectMessage)
    assert await text(second) == "hello both"
    await alice.mark_read(first)
    read: OwnRead = await next_of(second, OwnRead)
    assert (read.sender, read.own_device, read.message_ids) == ("bob", 1, (first.message_id,))


async def test_a_device_that_is_linked_while_the_first_believes_to_be_alone_has_what_that_one_goes_on_to_send(
    place: Place,
) -> None:
    alice, bob = await place.open("alice"), await place.open("bob")
    await alice.send("bob", "I have one device")
    await text(bob)
    await next_of(alice, MessageState)
    second = await place.link(alice, 2)
    # Requests are answered in order: the first behind the question for our devices, the second behind the announcement.
    assert len(await second.devices()) == len(await second.devices()) == 2
    await bob.send("alice", "and now?")
    assert [await text(alice), await text(second)] == ["and now?"] * 2  # it stood behind the announcement
    await alice.send("bob", "now I have two")
    assert (await next_of(second, OwnMessage)).text == "now I have two"


async def test_three_devices_each_see_what_the_others_send(place: Place) -> None:
    alice, bob = await place.open("alice"), await place.open("bob")
    second = await place.link(alice, 2)
    third = await place.link(second, 3)
    await third.send("bob", "from the third")
    assert await text(bob) == "from the third"
    for other in (alice, second):
        assert (await next_of(other, OwnMessage)).text == "from the third"
    await bob.send("alice", "to all three")
    assert [await text(one) for one in (alice, second, third)] == ["to all three"] * 3


async def test_a_device_that_is_removed_is_told_and_gets_nothing_more(place: Place) -> None:
    alice, bob = await place.open("alice"), await place.open("bob")
    second = await place.link(alice, 2)
    await bob.send("alice", "to both")
    assert [await text(alice), await text(second)] == ["to both", "to both"]
    await alice.remove_device(2)
    assert isinstance(await ended(second), NotAuthorized)
    with pytest.raises(NotAuthorized):
        await second.send("bob", "am I still here?")
    await bob.send("alice", "to one")
    assert await text(alice) == "to one"
    assert [one.device_id for one in await alice.devices()] == [1]
    with pytest.raises(InvalidArgument):
        await alice.remove_device(1)


async def test_a_device_that_was_removed_while_it_was_away_is_told_when_it_comes_back(place: Place) -> None:
    alice = await place.open("alice")
    sealed = await alice.export_identity("words", profile=TESTING)
    async with place.make("alice", 2, identity=sealed, identity_passphrase="words") as second:
        await second.connected(LIMIT_S)
    await alice.remove_device(2)
    async with place.make("alice", 2) as second:
        with pytest.raises(NotAuthorized):
            await second.connected(LIMIT_S)
    assert [one.device_id for one in await alice.devices()] == [1]
    again = await place.link(alice, 2, name="a new store")  # the same id, on purpose
    assert [one.device_id for one in await again.devices()] == [1, 2]


async def test_a_device_restored_from_its_export_works_for_its_peers_without_help(place: Place) -> None:
    alice = await place.open("alice")
    async with place.make("bob") as bob:
        await bob.connected(LIMIT_S)
        sealed = await bob.export_identity("words", profile=TESTING)
        await alice.send("bob", "before")
        await text(bob)
    restored = await place.open("bob", name="restored", identity=sealed, identity_passphrase="words")
    await alice.send("bob", "after")
    assert await text(restored) == "after"
    await restored.send("alice", "I am back")
    assert await text(alice) == "I am back"
    assert len(await alice.identities("bob")) == 1


async def test_a_deleted_account_is_gone_at_the_relay_and_here_and_its_name_is_free(place: Place) -> None:
    alice, bob = await place.open("alice"), await place.open("bob")
    await alice.send("bob", "hello")
    await text(bob)
    await bob.delete_account()
    for call in (bob.connected(1), bob.send("alice", "no more"), bob.receive(1), bob.devices()):
        with pytest.raises(AccountGone):
            await call
    assert [path.name for path in place.folder.iterdir() if path.name.startswith("bob")] == []
    message_id = await alice.send("bob", "are you there?")
    held: MessageState = await next_of(alice, MessageState)
    while held.message_id != message_id:
        held = await next_of(alice, MessageState)
    assert (held.state.name, held.reason) == ("HELD", "unknown_user")
    await place.open("bob", name="somebody else")


async def test_prekeys_are_published_anew_on_demand(place: Place) -> None:
    alice, bob = await place.open("alice"), await place.open("bob")
    await alice.republish_prekeys()
    await bob.send("alice", "under new keys")
    assert await text(alice) == "under new keys"


async def test_a_blocked_user_is_not_heard(place: Place) -> None:
    alice, bob = await place.open("alice"), await place.open("bob")
    await alice.block("bob")
    await bob.send("alice", "let me in")
    carol = await place.open("carol")
    await carol.send("alice", "hello")
    assert await text(alice) == "hello"
    assert await alice.blocked() == {"bob"}
    await alice.unblock("bob")
    await bob.send("alice", "thank you")
    assert await text(alice) == "thank you"
