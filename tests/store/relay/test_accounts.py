"""Users and devices: who an id belongs to, what is known of devices, what goes when one is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.errors import InvalidUse
from store.relay import Counters, DeviceKey, OneTimePreKey, PreKeyKind, Registration, Stock, Wanted, limits
from store.relay.schema import RELAY

from .world import LONG_LIVED, World, entry, identity, seat

if TYPE_CHECKING:
    from store.relay import Device, DeviceState
    from tests.store.conftest import Clock


def state(world: World, device: Device) -> DeviceState | None:
    with world.store.begin() as unit:
        return unit.devices.find(device.user_id, device.device_id)


def test_a_user_id_belongs_to_the_first_identity_key_that_registers_it(world: World) -> None:
    with world.store.begin() as unit:
        assert unit.users.register("alice", identity("alice")) is Registration.CREATED
        assert unit.users.register("alice", identity("alice")) is Registration.KNOWN
        assert unit.users.register("alice", identity("eve")) is Registration.OTHER_IDENTITY
        user = unit.users.find("alice")
    assert user is not None
    assert user.identity_key == identity("alice")


def test_nobody_has_an_id_that_was_not_registered(world: World) -> None:
    with world.store.begin() as unit:
        assert unit.users.find("alice") is None
        assert unit.devices.find("alice", 1) is None
        assert unit.users.remove("alice") == []


def test_user_ids_that_differ_in_one_byte_are_different_users(world: World) -> None:
    assert world.user("alice").key != world.user("Alice").key


def test_a_device_is_listed_once_it_has_uploaded_prekeys(world: World) -> None:
    user = world.user("alice")
    with world.store.begin() as unit:
        device = unit.devices.register(user, 1, 7)
        assert unit.devices.of_users(["alice"]) == []
        assert unit.users.devices(user) == [device]
        unit.prekeys.upload(device.key, LONG_LIVED)
        assert unit.devices.of_users(["alice"]) == [device]


def test_devices_of_several_users_are_listed_in_order(world: World) -> None:
    bob, alice_2, alice_1 = world.device("bob"), world.device("alice", 2), world.device("alice", 1)
    with world.store.begin() as unit:
        assert unit.devices.of_users(["bob", "nobody", "alice", "alice"]) == [alice_1, alice_2, bob]


def test_registering_a_device_again_with_the_same_number_changes_nothing(world: World) -> None:
    device, user = world.device("alice", prekeys=3, registration_id=7), world.user("alice")
    with world.store.begin() as unit:
        assert unit.devices.register(user, 1, 7) == device
        assert unit.prekeys.stock(device.key) == Stock(3, 3)


def test_a_new_registration_of_a_device_drops_its_prekeys_and_keeps_its_counters_and_its_mail(world: World) -> None:
    alice, bob = world.device("alice", prekeys=3, registration_id=7), world.device("bob")
    world.send(bob, alice, 1, 2)
    world.acknowledge(alice, 1)
    user = world.user("alice")
    with world.store.begin() as unit:
        unit.devices.advance(alice.key, submission_number=5, upload_number=2)
        again = unit.devices.register(user, 1, 8)
        assert (again.key, again.registration_id) == (alice.key, 8)
        assert unit.devices.of_users(["alice"]) == []
        assert unit.prekeys.stock(alice.key) == Stock(0, 0)
        found = unit.devices.find("alice", 1)
    assert found is not None
    assert found.counters == Counters(5, 1, 2)
    assert [delivery.number for delivery in world.mail(alice)] == [2]


def test_a_new_registration_may_use_key_ids_of_the_one_before(world: World) -> None:
    world.device("alice", prekeys=3, registration_id=7)
    user = world.user("alice")
    with world.store.begin() as unit:
        again = unit.devices.register(user, 1, 8)
        other = [OneTimePreKey(PreKeyKind.EC, 0, b"another key under the id 0")]
        assert unit.prekeys.upload(again.key, LONG_LIVED, other) == Stock(1, 0)


def test_counters_rise_and_never_fall(world: World) -> None:
    alice = world.device("alice")
    with world.store.begin() as unit:
        unit.devices.advance(alice.key, submission_number=5, upload_number=2)
        unit.devices.advance(alice.key, submission_number=4)
        unit.devices.advance(alice.key, upload_number=3)
    found = state(world, alice)
    assert found is not None
    assert found.counters == Counters(5, 0, 3)


def test_each_connection_of_a_device_has_a_higher_number(world: World) -> None:
    alice = world.device("alice")
    with world.store.begin() as unit:
        assert [unit.devices.connect(alice.key) for _ in range(3)] == [1, 2, 3]
        assert unit.devices.connect(DeviceKey(999)) is None


def test_a_device_is_seen_when_it_connects_and_when_it_is_said_to_be_connected(world: World, clock: Clock) -> None:
    alice, seen = world.device("alice"), []
    for word in ("connect", "seen"):
        clock.now += 100
        with world.store.begin() as unit:
            unit.devices.connect(alice.key) if word == "connect" else unit.devices.seen([alice.key])
        found = state(world, alice)
        seen.append(found.seen_at if found else None)
    assert seen == [1_000_100.0, 1_000_200.0]


def test_a_device_not_seen_for_sixty_days_is_removed_and_its_user_stays(world: World, clock: Clock) -> None:
    alice, bob = world.device("alice"), world.device("bob")
    world.send(bob, alice, 1)
    clock.now += 59 * 24 * 3600
    with world.store.begin() as unit:
        unit.devices.seen([bob.key])
        assert unit.sweep().devices == ()
    clock.now += 24 * 3600
    with world.store.begin() as unit:
        assert unit.sweep().devices == (alice,)
        assert unit.users.find("alice") is not None
    assert (state(world, alice), world.count("mail")) == (None, 0)


def fill(world: World) -> tuple[Device, Device]:
    """Alice, and Eve with something in every table."""
    alice, eve = world.device("alice", prekeys=2), world.device("eve", prekeys=2)
    world.group("team", eve, alice)
    world.send(alice, eve, 1, 2)
    world.fan_out(alice, [eve], 3)
    world.acknowledge(eve, 1)
    with world.store.begin() as unit:
        unit.prekeys.hand_out(alice, b"r" * 16, [Wanted(eve)])
        unit.prekeys.hand_out(eve, b"s" * 16, [Wanted(alice)])
    return alice, eve


def holders(world: World, key: int) -> set[str]:
    """The tables with a row of the device *key*, besides the address that mail from it still needs."""
    return {
        table.name
        for table in RELAY.metadata.sorted_tables
        for column in ("device_key", "asker_key")
        if column in table.columns and table.name != "addresses" and world.has(table.name, column, key)
    }


def test_a_replaced_identity_loses_mailbox_prekeys_devices_and_seats(world: World) -> None:
    alice, eve = fill(world)
    assert len(holders(world, eve.key)) == 9
    with world.store.begin() as unit:
        assert unit.users.replace_identity("eve", identity("new")) == [eve]
        assert unit.groups.shared("alice", ["eve"]) == {}
        user = unit.users.find("eve")
        assert user is not None
        assert user.identity_key == identity("new")
        assert unit.devices.of_users(["eve", "alice"]) == [alice]
        assert unit.prekeys.stock(alice.key) == Stock(1, 1)
    assert holders(world, eve.key) == set()


def test_a_replacement_that_does_not_commit_has_changed_nothing(world: World) -> None:
    _, eve = fill(world)
    before = holders(world, eve.key)

    def replace_and_fail() -> None:
        with world.store.begin() as unit:
            unit.users.replace_identity("eve", identity("new"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        replace_and_fail()
    assert holders(world, eve.key) == before
    assert world.user("eve").identity_key == identity("eve")


def test_a_deleted_account_leaves_its_address_for_its_mail_and_what_logs_of_groups_say(
    world: World, clock: Clock
) -> None:
    alice, eve = fill(world)
    world.send(eve, alice, 9, content=b"last words")
    with world.store.begin() as unit:
        assert unit.users.remove("eve") == [eve]
    last = world.mail(alice)[-1]
    assert (last.sender_user_id, last.content) == ("eve", b"last words")
    named = [name for name in ("users", "group_seats", "addresses") if world.has(name, "user_id", "eve")]
    assert named == ["group_seats", "addresses"]
    clock.now += 60 * 24 * 3600
    with world.store.begin() as unit:
        unit.sweep()
    assert not world.has("addresses", "user_id", "eve")


def test_the_key_of_a_removed_device_is_never_used_again(world: World) -> None:
    keys = []
    for _ in range(3):
        device = world.device("alice")
        keys.append(device.key)
        with world.store.begin() as unit:
            unit.devices.remove([device])
    assert len(set(keys)) == 3


def test_removing_one_device_leaves_the_others_of_its_user(world: World) -> None:
    first, second = world.device("alice", 1), world.device("alice", 2)
    with world.store.begin() as unit:
        unit.devices.remove([first])
        assert unit.devices.of_users(["alice"]) == [second]


def test_a_removed_device_is_remembered_for_sixty_days_and_not_beyond_its_user(world: World, clock: Clock) -> None:
    clock.now += 1
    second = world.device("alice", 2)
    with world.store.begin() as unit:
        alice = unit.users.find("alice")
        assert alice is not None
        assert not unit.devices.was_removed("alice", 2, since=alice.created_at)
    clock.now += 1
    with world.store.begin() as unit:
        unit.devices.remove([second])
        assert unit.devices.was_removed("alice", 2, since=alice.created_at)
        assert not unit.devices.was_removed("alice", 1)
        unit.users.replace_identity("alice", bytes(33))
        replaced = unit.users.find("alice")
        assert replaced is not None
        assert not unit.devices.was_removed("alice", 2, since=replaced.created_at)
    clock.now += limits.ADDRESS_AGE_S
    with world.store.begin() as unit:
        assert not unit.devices.was_removed("alice", 2, since=alice.created_at)


def test_only_the_last_removals_are_looked_at(world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REMOVED_LOOKED_AT_MAX", 1)
    for number, user_id in enumerate(("alice", "bob")):
        device = world.device(user_id, 2)
        clock.now += number + 1
        with world.store.begin() as unit:
            unit.devices.remove([device])
    with world.store.begin() as unit:
        assert [unit.devices.was_removed(user_id, 2) for user_id in ("alice", "bob")] == [False, True]


def test_a_device_that_was_idle_is_not_remembered_as_removed(world: World, clock: Clock) -> None:
    world.device("alice", 2)
    with world.store.begin() as unit:
        alice = unit.users.find("alice")
        assert alice is not None
    clock.now += limits.DEVICE_IDLE_S + 1
    with world.store.begin() as unit:
        assert len(unit.sweep().devices) >= 1
        assert not unit.devices.was_removed("alice", 2, since=alice.created_at)


def test_a_seat_of_the_old_identity_gives_the_new_one_no_group_mail(world: World) -> None:
    alice, eve = world.device("alice"), world.device("eve")
    head = world.group("team", alice, eve)
    with world.store.begin() as unit:
        unit.users.replace_identity("eve", identity("new"))
        new = unit.users.find("eve")
        assert new is not None
        device = unit.devices.register(new, 1, 5)
        # The caller seats the key that the log names, which is no longer the user's.
        unit.groups.append(head.group_id, entry(2), epoch=2, actor=alice, kind=2, seats=[seat(eve)], removed=())
    assert world.mail(device) == []


@pytest.mark.parametrize("device_id", [0, 128, -1])
def test_a_device_id_out_of_range_is_a_bug_of_the_caller(world: World, device_id: int) -> None:
    user = world.user("alice")
    with pytest.raises(InvalidUse), world.store.begin() as unit:
        unit.devices.register(user, device_id, 1)


@pytest.mark.parametrize(("user_id", "key_size"), [("", 33), ("a" * 129, 33), ("é" * 65, 33), ("alice", 32)])
def test_user_ids_and_identity_keys_have_their_sizes(world: World, user_id: str, key_size: int) -> None:
    with pytest.raises(InvalidUse), world.store.begin() as unit:
        unit.users.register(user_id, bytes(key_size))


def test_the_longest_user_id_and_the_highest_device_id_are_taken(world: World) -> None:
    assert world.device("é" * 64, 127).device_id == 127
