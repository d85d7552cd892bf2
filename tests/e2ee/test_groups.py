"""Group calls of whole clients over real sockets and real SQLite files, through a relay in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import pytest

from e2ee import sync
from e2ee.client import Client
from e2ee.errors import (
    GroupRefused,
    GroupTimeout,
    IdentityUndecided,
    InvalidArgument,
    NotAMember,
    RefusalCode,
    UnknownGroup,
)
from e2ee.events import (
    GroupCreated,
    GroupDeleted,
    GroupInvitation,
    GroupJoined,
    GroupLeft,
    GroupMemberJoined,
    GroupMemberLeft,
    GroupOperationFailed,
)
from e2ee.groups import GroupKind, Role
from e2ee.options import ClientOptions
from e2ee.relay import Relay
from tests.support.post_server import PostServer, post_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from e2ee.events import Event

Kind = TypeVar("Kind", bound="Event")
SHORT_S = 0.05  # seconds: a timeout that is meant to come


class World:
    """A server and a folder for stores."""

    def __init__(self, server: PostServer, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def client(self, user_id: str) -> Client:
        store = f"sqlite:///{self.folder / user_id}.db"
        options = ClientOptions(one_time_prekeys=3)
        return Client(user_id, relay=self.server.url, store=store, options=options, drain_s=1.0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with post_server() as server:
        yield World(server, tmp_path)


async def event(client: Client, kind: type[Kind]) -> Kind:
    """Return the next event of a kind, passing over what else there is to tell."""
    while True:
        found = await client.receive(10)
        if isinstance(found, kind):
            return found


async def test_a_group_is_made_joined_left_and_deleted(world: World) -> None:
    async with world.client("alice") as alice, world.client("bob") as bob:
        made = await alice.create_group("team")
        joined = await bob.join_group("team")
        assert (joined.id, list(joined.members)) == (made.id, ["alice", "bob"])
        assert (await event(bob, GroupJoined)).members == ("alice", "bob")
        assert (await event(alice, GroupMemberJoined)).user == "bob"
        assert [one.name for one in await bob.groups()] == ["team"]
        await bob.leave_group(joined)
        assert (await event(bob, GroupLeft)).by == "bob"
        assert await bob.groups() == []
        await alice.delete_group("team")
        assert (await event(alice, GroupDeleted)).group == made.id


async def test_an_invited_user_becomes_a_member_by_its_own_consent(world: World) -> None:
    async with world.client("alice") as alice, world.client("bob") as bob:
        await bob.connected(10)
        await alice.create_group("team", kind=GroupKind.INVITATION)
        await alice.add_member("team", "bob", admin=True)
        invitation = await event(bob, GroupInvitation)
        assert (invitation.name, invitation.by) == ("team", "alice")
        group = await bob.accept_invitation(invitation.group)
        assert group.members == {"alice": Role.ADMIN, "bob": Role.ADMIN}
        await bob.demote("team", "alice")
        await bob.promote("team", "alice")
        await bob.remove_member("team", "alice")
        assert (await event(alice, GroupLeft)).by == "bob"


async def test_what_cannot_be_is_said_by_its_type(world: World) -> None:
    async with world.client("alice") as alice, world.client("bob") as bob:
        await alice.create_group("team")
        with pytest.raises(GroupRefused) as refused:
            await bob.create_group("team")
        assert refused.value.code is RefusalCode.GROUP_NAME_TAKEN
        with pytest.raises(UnknownGroup):
            await bob.join_group("nowhere")
        with pytest.raises(UnknownGroup):
            await bob.group("team")
        with pytest.raises(InvalidArgument):
            await bob.create_group("")
        with pytest.raises(GroupRefused) as unknown:
            await alice.add_member("team", "nobody")
        assert unknown.value.code is RefusalCode.UNKNOWN_USER
        await bob.join_group("team")
        await bob.leave_group("team")
        with pytest.raises(NotAMember):
            await bob.leave_group("team")


async def test_a_member_whose_identity_is_undecided_is_not_let_on_under_it(world: World) -> None:
    async with world.client("alice") as alice, world.client("bob") as bob:
        await bob.connected(10)
        await alice.create_group("team")
        await bob.join_group("team")
        await alice.send("bob", "hello")
        await event(alice, GroupMemberJoined)
        before = (await alice.identities("bob"))[0].identity_key
    world.server.office.forget_user("bob")
    (world.folder / "bob.db").unlink()
    async with world.client("alice") as alice, world.client("bob") as bob:
        await bob.connected(10)
        with pytest.raises(IdentityUndecided):
            await alice.rekey_member("team", "bob")
        new = next(one.identity_key for one in await alice.identities("bob") if one.identity_key != before)
        await alice.trust("bob", new)
        await alice.rekey_member("team", "bob")
        assert (await event(bob, GroupJoined)).members == ("alice", "bob")


async def test_a_timeout_leaves_the_outcome_open_and_it_comes_as_an_event(world: World) -> None:
    async with world.client("alice") as alice:
        await alice.connected(10)
        world.server.silent_to.add("alice")
        with pytest.raises(GroupTimeout):
            await alice.create_group("team", timeout=SHORT_S)
        world.server.silent_to.clear()
        world.server.cut()
        assert (await event(alice, GroupCreated)).name == "team"
        assert (await alice.group("team")).is_admin


async def test_a_failure_after_a_timeout_comes_as_an_event(world: World) -> None:
    async with world.client("alice") as alice, world.client("bob") as bob:
        await alice.create_group("team")
        await bob.connected(10)
        world.server.silent_to.add("bob")
        with pytest.raises(GroupTimeout):
            await bob.create_group("team", timeout=SHORT_S)
        world.server.silent_to.clear()
        world.server.cut()
        failed = await event(bob, GroupOperationFailed)
        assert (failed.name, failed.operation) == ("team", "create")


async def test_an_operation_goes_on_after_a_restart(world: World) -> None:
    async with world.client("alice") as alice:
        await alice.create_group("team")
    async with world.client("bob") as bob:
        await bob.connected(10)
        world.server.silent_to.add("bob")
        with pytest.raises(GroupTimeout):
            await bob.join_group("team", timeout=SHORT_S)
    world.server.silent_to.clear()
    async with world.client("bob") as bob:
        assert (await event(bob, GroupJoined)).members == ("alice", "bob")
        assert (await bob.group("team")).is_member


async def test_a_caller_who_is_cancelled_leaves_the_operation_under_way(world: World) -> None:
    async with world.client("alice") as alice:
        await alice.connected(10)
        world.server.silent_to.add("alice")
        call = asyncio.create_task(alice.create_group("team"))
        done, _ = await asyncio.wait({call}, timeout=SHORT_S)
        assert not done
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()
        world.server.silent_to.clear()
        world.server.cut()
        assert (await event(alice, GroupCreated)).name == "team"


async def test_the_synchronous_client_has_groups_too(world: World) -> None:
    def talk() -> list[str]:
        store = f"sqlite:///{world.folder / 'alice'}.db"
        with sync.Client(
            "alice", relay=world.server.url, store=store, options=ClientOptions(one_time_prekeys=3)
        ) as alice:
            group = alice.create_group("team")
            alice.close_group(group)
            return [one.kind.name for one in alice.groups()]

    assert await asyncio.to_thread(talk) == ["INVITATION"]


@pytest.mark.slow
async def test_a_group_at_a_real_relay(tmp_path: Path) -> None:
    def client(user_id: str) -> Client:
        store = f"sqlite:///{tmp_path / user_id}.db"
        return Client(user_id, relay=relay.url, store=store, options=ClientOptions(one_time_prekeys=3))

    async with (
        Relay(store=f"sqlite:///{tmp_path / 'relay'}.db") as relay,
        client("alice") as alice,
        client("bob") as bob,
    ):
        await bob.connected(10)
        made = await alice.create_group("team")
        assert (await bob.join_group("team")).id == made.id
        assert (await event(alice, GroupMemberJoined)).user == "bob"
        await alice.close_group(made)
        await alice.promote(made, "bob")
        await alice.leave_group(made)
        assert (await event(bob, GroupMemberLeft)).user == "alice"
        await bob.add_member("team", "alice")
        assert (await event(alice, GroupInvitation)).by == "bob"
        group = await alice.accept_invitation("team")
        assert group.fingerprint == (await bob.group("team")).fingerprint
        await bob.delete_group("team")
        assert (await event(alice, GroupDeleted)).by == "bob"
        assert (await alice.create_group("team")).id != made.id
