"""Groups: logs that grow by compare-and-swap, rosters, and entries in the mailboxes of all members."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.errors import InvalidUse, TooLarge
from store.relay import Appended, Conflict, Entry, EntryRefused, GroupHead, Outcome, Seat
from store.relay.limits import (
    GROUP_ENTRIES_MAX,
    GROUP_ENTRY_SIZE_MAX,
    GROUP_MEMBERS_MAX,
    GROUP_NAME_SIZE_MAX,
    MAILBOX_COUNT_MAX,
    SHARE_DIVISOR,
)
from store.relay.schema import RELAY

from .world import ENTRY, World, entry, identity, seat

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from store.relay import Device


def append(
    world: World,
    head: GroupHead,
    added: Entry,
    actor: Device,
    *,
    seats: Sequence[Seat] = (),
    removed: Collection[str] = (),
    epoch: int = 2,
) -> Appended | Conflict | EntryRefused:
    with world.store.begin() as unit:
        return unit.groups.append(
            head.group_id, added, epoch=epoch, actor=actor, kind=ENTRY, seats=seats, removed=removed
        )


def create(world: World, group_id: bytes, name: str, creator: Device) -> GroupHead | EntryRefused:
    with world.store.begin() as unit:
        return unit.groups.create(group_id, name, 1, b"genesis", bytes(32), creator=seat(creator))


def test_a_group_begins_with_its_genesis_entry_and_its_creator(world: World) -> None:
    alice = world.device("alice")
    head = create(world, b"g" * 32, "team", alice)
    assert head == GroupHead(b"g" * 32, "team", 1, 0, bytes(32), 0)
    with world.store.begin() as unit:
        assert unit.groups.head(b"g" * 32) == unit.groups.named("team") == head
        assert unit.groups.entries(b"g" * 32) == [Entry(0, b"genesis", bytes(32))]
        assert unit.groups.roster(b"g" * 32) == [seat(alice)]


def test_a_group_that_is_not_there_has_no_head_no_name_and_no_entries(world: World) -> None:
    with world.store.begin() as unit:
        assert (unit.groups.head(bytes(32)), unit.groups.named("team")) == (None, None)
        found = [*unit.groups.entries(bytes(32)), *unit.groups.roster(bytes(32))]
        assert unit.groups.devices(bytes(32)) == ([], [])
    assert found == []


def test_a_name_and_an_id_are_given_once(world: World) -> None:
    alice = world.device("alice")
    create(world, b"g" * 32, "team", alice)
    assert create(world, b"h" * 32, "team", alice) is EntryRefused.NAME_TAKEN
    assert create(world, b"g" * 32, "other", alice) is EntryRefused.NAME_TAKEN
    with world.store.begin() as unit:
        assert unit.groups.roster(b"h" * 32) == []


def test_the_next_entry_moves_the_head(world: World) -> None:
    alice = world.device("alice")
    head = world.group("team", alice)
    added = entry(2)
    appended = append(world, head, added, alice, epoch=7)
    assert isinstance(appended, Appended)
    assert appended.head == GroupHead(head.group_id, "team", 1, 2, added.hash, 7)
    with world.store.begin() as unit:
        assert unit.groups.head(head.group_id) == appended.head
        assert unit.groups.entries(head.group_id, after=1) == [added]


def test_the_second_of_two_entries_with_one_number_gets_what_came_before_it(world: World) -> None:
    alice, bob = world.devices(2)
    head = world.group("team", alice, bob)
    first = entry(2, "alice's")
    append(world, head, first, alice)
    before = world.count("mail")
    refused = append(world, head, entry(2, "bob's"), bob, removed=[alice.user_id])
    assert isinstance(refused, Conflict)
    assert (refused.head.hash, refused.entries) == (first.hash, (first,))
    with world.store.begin() as unit:
        assert len(unit.groups.roster(head.group_id)) == 2
    assert world.count("mail") == before


def test_an_entry_from_the_future_is_a_conflict_without_entries(world: World) -> None:
    alice = world.device("alice")
    head = world.group("team", alice)
    refused = append(world, head, entry(5), alice)
    assert isinstance(refused, Conflict)
    assert (refused.head.number, refused.entries) == (1, ())


def test_an_entry_for_a_group_that_is_not_there_is_refused(world: World) -> None:
    alice = world.device("alice")
    with world.store.begin() as unit:
        assert unit.groups.append(bytes(32), entry(1), epoch=1, actor=alice, kind=ENTRY) is EntryRefused.NO_GROUP


def test_an_entry_reaches_every_device_of_old_and_new_members(world: World) -> None:
    alice, bob_1, bob_2 = world.device("alice"), world.device("bob", 1), world.device("bob", 2)
    carol, eve = world.device("carol"), world.device("eve")
    head = world.group("team", alice, bob_1)
    added = entry(2)
    appended = append(world, head, added, alice, seats=[seat(carol)], removed=["bob"])
    assert isinstance(appended, Appended)
    reached = {device.key: outcome for device, outcome in appended.outcomes}
    assert reached == dict.fromkeys([alice.key, bob_1.key, bob_2.key, carol.key], Outcome.STORED)
    assert world.contents(bob_2)[-1] == world.contents(carol)[-1] == added.entry
    assert world.mail(eve) == []
    with world.store.begin() as unit:
        assert unit.groups.roster(head.group_id) == [seat(alice), seat(carol)]


def test_a_device_that_has_not_uploaded_prekeys_gets_entries_and_is_told_apart_for_messages(world: World) -> None:
    alice, bob = world.device("alice"), world.device("bob")
    head = world.group("team", alice, bob)
    user = world.user("alice")
    with world.store.begin() as unit:
        unlisted = unit.devices.register(user, 2, 5)
        assert unit.groups.devices(head.group_id) == ([alice, bob], [unlisted])
    append(world, head, entry(2), alice)
    assert len(world.mail(unlisted)) == 1


def test_a_message_sent_before_an_entry_is_delivered_before_it(world: World) -> None:
    alice, bob = world.devices(2)
    head = world.group("team", alice, bob)
    world.send(alice, bob, 1, content=b"before")
    append(world, head, entry(2), alice)
    world.send(alice, bob, 2, content=b"after")
    assert world.contents(bob)[1:] == [b"before", entry(2).entry, b"after"]


def test_an_entry_that_finds_a_mailbox_full_is_in_the_log_all_the_same(world: World) -> None:
    alice, bob = world.devices(2)
    head = world.group("team", alice, bob)
    world.send(alice, bob, *range(MAILBOX_COUNT_MAX // SHARE_DIVISOR), content=b"x")
    appended = append(world, head, entry(2), alice)
    assert isinstance(appended, Appended)
    assert {device.key: outcome for device, outcome in appended.outcomes}[bob.key] is Outcome.FULL
    with world.store.begin() as unit:
        assert unit.groups.entries(head.group_id, after=1) == [entry(2)]


def test_a_seat_taken_again_has_the_new_key_and_role(world: World) -> None:
    alice, bob = world.devices(2)
    head = world.group("team", alice, bob)
    changed = Seat(bob.user_id, identity("new"), 9)
    append(world, head, entry(2), alice, seats=[changed])
    with world.store.begin() as unit:
        assert unit.groups.roster(head.group_id)[1] == changed


def test_a_message_goes_to_the_listed_devices_of_members_in_order(world: World) -> None:
    bob, alice_2, alice_1 = world.device("bob"), world.device("alice", 2), world.device("alice", 1)
    world.device("eve")
    head = world.group("team", bob, alice_1)
    with world.store.begin() as unit:
        assert unit.groups.devices(head.group_id) == ([alice_1, alice_2, bob], [])


def test_the_log_is_read_in_pieces_of_so_many_entries_and_bytes(world: World) -> None:
    alice = world.device("alice")
    head = world.group("team", alice)
    for number in range(2, 6):
        append(world, head, Entry(number, bytes(10), bytes([number]) * 32), alice)
    with world.store.begin() as unit:
        read = unit.groups.entries
        assert [one.number for one in read(head.group_id, count_max=2)] == [0, 1]
        assert [one.number for one in read(head.group_id, after=1, size_max=29)] == [2, 3]
        assert [one.number for one in read(head.group_id, after=1, size_max=9)] == [2]
        assert [one.number for one in read(head.group_id, after=1)] == [2, 3, 4, 5]


def test_the_largest_group_that_two_users_share_is_known(world: World) -> None:
    alice, bob, carol = world.device("alice"), world.device("bob"), world.device("carol")
    world.group("small", alice, bob)
    world.group("large", alice, bob, carol)
    world.device("eve")
    with world.store.begin() as unit:
        assert unit.groups.shared("alice", ["bob", "carol", "eve"]) == {"bob": 3, "carol": 3}


def test_a_deleted_group_leaves_its_name_free_and_its_entries_in_mailboxes(world: World) -> None:
    alice = world.device("alice")
    head = world.group("team", alice)
    with world.store.begin() as unit:
        unit.groups.remove(head.group_id)
        assert unit.groups.head(head.group_id) is None
    assert (world.count("group_entries"), world.count("group_seats")) == (0, 0)
    assert len(world.mail(alice)) == 1
    assert isinstance(create(world, b"h" * 32, "team", alice), GroupHead)


def test_a_group_takes_a_thousand_members_and_no_more_and_lets_everybody_leave(world: World) -> None:
    alice = world.device("alice")
    head = world.group("team", alice)
    many = [Seat(f"member {number}", identity("member"), 1) for number in range(GROUP_MEMBERS_MAX)]
    assert append(world, head, entry(2), alice, seats=many) is EntryRefused.TOO_MANY_MEMBERS
    assert isinstance(append(world, head, entry(2), alice, seats=many[1:]), Appended)
    assert append(world, head, entry(3), alice, seats=many[:1]) is EntryRefused.TOO_MANY_MEMBERS
    assert isinstance(append(world, head, entry(3), alice, seats=many[1:2]), Appended)
    swapped = append(world, head, entry(4), alice, seats=many[:1], removed=["member 1"])
    assert isinstance(swapped, Appended)


def test_a_log_that_is_full_takes_no_entry(world: World) -> None:
    alice = world.device("alice")
    head = world.group("team", alice)
    groups = RELAY.metadata.tables["groups"]
    with world.store._engine.begin() as connection:
        connection.execute(groups.update().values(number=GROUP_ENTRIES_MAX - 2))
    assert isinstance(append(world, head, entry(GROUP_ENTRIES_MAX - 1), alice), Appended)
    assert append(world, head, entry(GROUP_ENTRIES_MAX), alice) is EntryRefused.LOG_FULL


def test_an_entry_may_have_the_largest_size_and_no_more(world: World) -> None:
    alice = world.device("alice")
    head = world.group("team", alice)
    largest = Entry(2, bytes(GROUP_ENTRY_SIZE_MAX), bytes(32))
    with pytest.raises(TooLarge):
        append(world, head, Entry(2, largest.entry + b"\0", bytes(32)), alice)
    assert isinstance(append(world, head, largest, alice), Appended)


@pytest.mark.parametrize(
    ("id_size", "name"), [(31, "team"), (33, "team"), (32, ""), (32, "a" * (GROUP_NAME_SIZE_MAX + 1))]
)
def test_group_ids_and_names_have_their_sizes(world: World, id_size: int, name: str) -> None:
    alice = world.device("alice")
    with pytest.raises(InvalidUse):
        create(world, bytes(id_size), name, alice)


@pytest.mark.parametrize("bad", [Seat("eve", bytes(32), 1), Seat("eve", identity("eve"), 256)])
def test_a_seat_that_is_out_of_range_is_noticed_before_anything_is_stored(world: World, bad: Seat) -> None:
    alice = world.device("alice")
    head = world.group("team", alice)
    with world.store.begin() as unit:
        with pytest.raises(InvalidUse):
            unit.groups.append(head.group_id, entry(2), epoch=2, actor=alice, kind=ENTRY, seats=[bad])
        with pytest.raises(InvalidUse):
            unit.groups.create(bytes(32), "other", 1, b"genesis", bytes(32), creator=bad)
    with world.store.begin() as unit:
        assert (unit.groups.head(head.group_id), unit.groups.named("other")) == (head, None)
