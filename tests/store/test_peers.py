"""Other users and groups, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from ratchet import (
    OwnSenderKey,
    PeerSenderKey,
)
from store import (
    ClientStore,
    Distribution,
    Heal,
    LogEntry,
    StaleWriter,
    StoredGroup,
    peers,
)
from tests.support.conversation import seeded

if TYPE_CHECKING:
    from .conftest import Clock

DAY = 24 * 3600.0
GROUP = bytes(range(32))
DISTRIBUTION = UUID(bytes=bytes(16))
KEY = b"\x05" + bytes(32)


def identifier(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_the_first_identity_is_on_record_and_a_later_one_only_when_decided(store: ClientStore, clock: Clock) -> None:
    other = b"\x05" + bytes(31) + b"\x01"
    with store.begin() as unit:
        assert unit.identities.current("bob") is None
        assert unit.identities.see("bob", KEY).current
        clock.now += 1
    with store.begin() as unit:
        assert not unit.identities.see("bob", other).current
        assert not unit.identities.see("bob", other).current
        unit.identities.decide("bob", KEY, verification="safety number", decision="")
        unit.identities.make_current("bob", other)
        current = unit.identities.current("bob")
        assert current is not None
        assert current.identity_key == other
        assert [(one.current, one.verification) for one in unit.identities.history("bob")] == [
            (False, "safety number"),
            (True, ""),
        ]


def test_of_the_keys_of_a_user_who_shows_too_many_the_least_telling_go_first(
    store: ClientStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "IDENTITIES_PER_USER_MAX", 5)
    keys = [b"\x05" + bytes([number]) * 32 for number in range(10)]
    with store.begin() as unit:

        def left() -> list[int]:
            return [keys.index(one.identity_key) for one in unit.identities.history("bob")]

        for number, (verification, decision) in enumerate(
            [("", ""), ("scan", "replaced"), ("", "distrusted"), ("", "replaced"), ("", "")]
        ):
            unit.identities.see("bob", keys[number])
            unit.identities.decide("bob", keys[number], verification=verification, decision=decision)
            clock.now += 1
        for number, stay in (
            (5, [0, 1, 2, 3, 5]),  # 4 was undecided
            (6, [0, 1, 2, 3, 6]),
        ):
            unit.identities.see("bob", keys[number], expendable=("replaced",))
            clock.now += 1
            assert left() == stay
        unit.identities.decide("bob", keys[6], verification="", decision="distrusted")
        for number, stay in ((7, [0, 1, 2, 6, 7]), (8, [0, 1, 2, 6, 8])):
            unit.identities.see("bob", keys[number], expendable=("replaced",))
            clock.now += 1
            assert left() == stay
        unit.identities.decide("bob", keys[8], verification="", decision="distrusted")
        unit.identities.see("bob", keys[9], expendable=("replaced",))
        assert left() == [0, 1, 6, 8, 9]  # on record, verified; of those distrusted the oldest has gone


def test_devices_are_listed_in_order_and_updated(store: ClientStore) -> None:
    with store.begin() as unit:
        for device_id, registration_id in ((2, 20), (1, 10), (2, 21)):
            unit.devices.put("bob", device_id, registration_id)
        assert [(one.device_id, one.registration_id) for one in unit.devices.of("bob")] == [(1, 10), (2, 21)]
        assert (unit.devices.delete("bob", 1), unit.devices.delete("bob", 1)) == (True, False)


def test_heals_are_limited_per_device_and_counted_per_hour(store: ClientStore, clock: Clock) -> None:
    with store.begin() as unit:
        assert unit.heals.load("bob", 1) == Heal()
        unit.heals.save("bob", 1, Heal(clock.now + 60, 60))
        unit.heals.save("bob", 1, Heal(clock.now + 120, 120))
        assert unit.heals.load("bob", 1) == Heal(clock.now + 120, 120)
        unit.heals.log(stranger=False)
        unit.heals.log(stranger=True)
        assert (unit.heals.in_last_hour(), unit.heals.in_last_hour(strangers_only=True)) == (2, 1)
        unit.heals.delete("bob", 1)
    clock.now += 3601
    with store.begin() as unit:
        assert unit.heals.load("bob", 1) == Heal()
        assert unit.heals.in_last_hour() == 0


def test_users_are_blocked_once_and_let_in_again(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.blocked.add("eve")
        unit.blocked.add("eve")
        assert unit.blocked.all() == frozenset({"eve"})
        assert (unit.blocked.remove("eve"), unit.blocked.remove("eve")) == (True, False)


def test_a_group_is_saved_over_the_version_that_was_loaded_only(store: ClientStore) -> None:
    with store.begin() as unit:
        first = unit.groups.save(StoredGroup(GROUP, "team", 1, 0, b"h", b"state"))
        second = unit.groups.save(StoredGroup(GROUP, "team", 2, 1, b"i", b"state 2", first.version))
        assert unit.groups.load(GROUP) == second
        assert unit.groups.all() == [second]

    def save_stale() -> None:
        with store.begin() as unit:
            unit.groups.save(StoredGroup(GROUP, "team", 9, 9, b"x", b"stale", first.version))

    with pytest.raises(StaleWriter):
        save_stale()


def test_a_log_is_read_in_order_and_a_number_is_taken_once(store: ClientStore) -> None:
    with store.begin() as unit:
        for number in range(3):
            unit.groups.append(GROUP, LogEntry(number, b"entry %d" % number, bytes([number])))
        assert [one.number for one in unit.groups.log(GROUP, after=0, limit=9)] == [1, 2]

    def append_again() -> None:
        with store.begin() as unit:
            unit.groups.append(GROUP, LogEntry(2, b"other", b"x"))

    with pytest.raises(StaleWriter):
        append_again()


def test_a_name_stays_pinned_to_the_first_group(store: ClientStore) -> None:
    with store.begin() as unit:
        assert unit.groups.pin_name("team", GROUP) == GROUP
        assert unit.groups.pin_name("team", bytes(32)) == GROUP
        assert unit.groups.pinned("team") == GROUP
        assert unit.groups.pinned("other") is None


def test_our_operations_are_kept_until_their_fate_is_known(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.group_operations.add(identifier(1), GROUP, b"entry", state="signed")
        unit.group_operations.retry(identifier(1), b"entry again", state="sent")
        assert [(one.entry, one.state, one.attempts) for one in unit.group_operations.all()] == [
            (b"entry again", "sent", 1)
        ]
        assert unit.group_operations.delete(identifier(1))
        assert unit.group_operations.all() == []


def test_sender_keys_go_on_where_they_were_saved(store: ClientStore) -> None:
    with store.begin() as unit:
        own = unit.sender_keys.put_own(GROUP, OwnSenderKey.create(DISTRIBUTION, entropy=seeded("own")))
        peers = PeerSenderKey.from_distribution_message(own.key.distribution_message())
        unit.sender_keys.add_peer("alice", 1, GROUP, peers)
    for number in range(3):
        with store.begin() as unit:
            loaded = unit.sender_keys.load_own(GROUP)
            assert loaded is not None
            assert loaded.messages == number
            body = loaded.key.encrypt(b"%d" % number)
            unit.sender_keys.save_own(loaded, messages=1)
            theirs = unit.sender_keys.load_peer("alice", 1, DISTRIBUTION)
            assert theirs is not None
            assert theirs.key.decrypt(body) == b"%d" % number
            unit.sender_keys.save_peer(theirs)
    with store.begin() as unit:
        assert unit.sender_keys.delete_peer("alice", 1, DISTRIBUTION)
        assert unit.sender_keys.load_peer("alice", 1, DISTRIBUTION) is None
        assert (unit.sender_keys.delete_own(), unit.sender_keys.load_own(GROUP)) == (1, None)


def test_within_a_unit_our_sender_key_is_one_value_and_the_newest(store: ClientStore) -> None:
    with store.begin() as unit:
        keys = unit.sender_keys
        own = keys.put_own(GROUP, OwnSenderKey.create(DISTRIBUTION, entropy=seeded("own")))
        assert keys.load_own(GROUP) is own
        saved = keys.save_own(own, messages=1)
        assert keys.load_own(GROUP) is saved
        other = keys.put_own(GROUP, OwnSenderKey.create(DISTRIBUTION, entropy=seeded("other")))
        assert keys.load_own(GROUP) is other
        keys.delete_own(GROUP)
        assert keys.load_own(GROUP) is None


def test_a_stale_sender_key_overwrites_nothing(store: ClientStore) -> None:
    with store.begin() as unit:
        first = unit.sender_keys.put_own(GROUP, OwnSenderKey.create(DISTRIBUTION, entropy=seeded("own")))
        unit.sender_keys.save_own(first, messages=1)

    def save_stale() -> None:
        with store.begin() as unit:
            unit.sender_keys.save_own(first, messages=1)

    with pytest.raises(StaleWriter):
        save_stale()


def test_distributions_are_kept_per_chain_and_device(store: ClientStore) -> None:
    one = Distribution(GROUP, 5, "bob", 1, KEY, 7, "sent", "")
    acknowledged = Distribution(GROUP, 5, "bob", 1, KEY, 7, "acknowledged", "")
    with store.begin() as unit:
        unit.distributions.put(one)
        unit.distributions.put(acknowledged)
        unit.distributions.put(Distribution(GROUP, 4, "bob", 1, KEY, 7, "sent", ""))
        assert unit.distributions.of(GROUP, 5) == [acknowledged]
        assert unit.distributions.forget_others(GROUP, 5) == 1
        assert unit.distributions.of(GROUP, 4) == []


def test_an_erased_chain_is_remembered_beyond_its_group(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.erased_chains.add("bob", 1, DISTRIBUTION, 5)
        unit.erased_chains.add("bob", 1, DISTRIBUTION, 5)
        unit.groups.delete(GROUP)
        assert unit.erased_chains.contains("bob", 1, DISTRIBUTION, 5)
        assert not unit.erased_chains.contains("bob", 1, DISTRIBUTION, 6)
