"""The account, its prekeys and its sessions, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from ratchet import (
    IdentityKeyPair,
    MessageKeyGone,
    PreKeyBundle,
    Session,
    UnknownPreKey,
)
from ratchet.prekeys import PreKeyUse
from store import (
    ClientStore,
    InvalidUse,
    PreKeyKind,
    StaleWriter,
    StoreCorrupt,
    StoreNewer,
)
from store.database import Statement
from tests.support.conversation import account, seeded
from tests.support.messenger import bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.prekeys import PreKeys

    from .conftest import Clock

DAY = 24 * 3600.0
GROUP = bytes(range(32))
DISTRIBUTION = UUID(bytes=bytes(16))
KEY = b"\x05" + bytes(32)


def identifier(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_an_account_is_what_was_created_and_is_created_once(store: ClientStore) -> None:
    with store.begin() as unit:
        created = unit.account.require()
    with store.begin() as unit, pytest.raises(InvalidUse, match="already"):
        unit.account.create("bob")
    with store.begin() as unit:
        assert unit.account.require().identity.public_key == created.identity.public_key


@pytest.mark.parametrize(("user_id", "device_id"), [("", 1), ("x" * 129, 1), ("a\x00b", 1), ("a", 0), ("a", 128)])
def test_what_cannot_name_a_device_is_refused(user_id: str, device_id: int) -> None:
    with ClientStore.open("sqlite://") as empty, empty.begin() as unit, pytest.raises(InvalidUse):
        unit.account.create(user_id, device_id)


def test_another_registration_id_and_another_identity_are_kept_and_rolled_back(store: ClientStore) -> None:
    with store.begin() as unit:
        before = unit.account.require()
        after = unit.account.take_registration_id()
        assert after.registration_id != before.registration_id
    identity = IdentityKeyPair.generate(seeded("new"))

    def change_and_fail() -> None:
        with store.begin() as unit:
            unit.account.replace_identity(identity)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    with store.begin() as unit:
        assert unit.account.require().identity.public_key == before.identity.public_key
        assert unit.account.require().registration_id == after.registration_id


def test_the_stores_prekeys_are_a_prekey_source_and_are_consumed_in_the_unit(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.prekeys.rotate()
        unit.prekeys.add_one_time(2, 2)
        published = unit.prekeys.unpublished()
    published.verify()
    bob = Session.initiate(account("bob"), bundle(published), entropy=seeded("bob"))
    first = bob.encrypt(b"hello")
    with store.begin() as unit:
        session, plaintext = Session.accept(unit.prekeys, first)
        unit.sessions.add("bob", 1, session)
    assert plaintext == b"hello"
    with store.begin() as unit:
        assert unit.prekeys.count(PreKeyKind.ONE_TIME) == 1
        assert unit.prekeys.count(PreKeyKind.ONE_TIME_KEM) == 1
        with pytest.raises(UnknownPreKey):
            unit.prekeys.one_time_prekey(bundle(published).one_time_prekey_id or 0)


def test_a_prekey_consumed_in_a_unit_that_fails_is_still_there(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.prekeys.rotate()
        unit.prekeys.add_one_time(1, 1)
        published = unit.prekeys.unpublished()
    first = Session.initiate(account("bob"), bundle(published), entropy=seeded("bob")).encrypt(b"hello")

    def accept_and_fail() -> None:
        with store.begin() as unit:
            Session.accept(unit.prekeys, first)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        accept_and_fail()
    with store.begin() as unit:
        assert Session.accept(unit.prekeys, first)[1] == b"hello"


def test_a_replayed_first_message_on_the_last_resort_key_is_refused_as_gone(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.prekeys.rotate()
    made = bundle_without_one_time(store)
    first = Session.initiate(account("bob"), made, entropy=seeded("bob")).encrypt(b"hello")
    with store.begin() as unit:
        assert Session.accept(unit.prekeys, first)[1] == b"hello"
    with store.begin() as unit, pytest.raises(MessageKeyGone):
        Session.accept(unit.prekeys, first)


def bundle_without_one_time(store: ClientStore) -> PreKeyBundle:
    with store.begin() as unit:
        unit.prekeys.add_one_time(1, 1)
        published = unit.prekeys.unpublished()
    kem = published.last_resort_kem_prekey
    assert kem is not None
    return replace(
        bundle(published),
        kem_prekey_id=kem.id,
        kem_prekey=kem.public_key,
        kem_prekey_signature=kem.signature,
        one_time_prekey_id=None,
        one_time_prekey=None,
    )


def test_a_pair_of_long_lived_keys_that_was_used_too_often_opens_no_new_session(
    store: ClientStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.prekeys.USED_BASE_KEYS_MAX", 2)
    with store.begin() as unit:
        for number in range(2):
            unit.prekeys.consume(PreKeyUse(1, None, None, KEY[:-1] + bytes([number])))
        assert unit.prekeys.base_key_used(PreKeyUse(1, None, None, KEY[:-1] + b"\x01"))
        assert not unit.prekeys.base_key_used(PreKeyUse(1, None, 5, KEY))
        with pytest.raises(UnknownPreKey, match="rotate"):
            unit.prekeys.base_key_used(PreKeyUse(1, None, None, KEY[:-1] + b"\x07"))


def test_prekeys_are_named_by_each_upload_until_one_is_done(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.prekeys.rotate()
        unit.prekeys.add_one_time(2, 1)
        named = unit.prekeys.unpublished()
        assert named == unit.prekeys.unpublished()
        assert (len(named.one_time_prekeys), len(named.one_time_kem_prekeys)) == (2, 1)
        unit.prekeys.published(1)
        assert unit.counters.upload_number == 1
        assert unit.prekeys.unpublished().signed_prekey is None
        assert unit.prekeys.unpublished().one_time_prekeys == ()
        unit.prekeys.publish_again()
        assert unit.prekeys.unpublished() == named
        unit.prekeys.purge_one_time()
        assert unit.prekeys.unpublished().one_time_prekeys == ()


def test_whether_a_prekey_is_unpublished_is_known_without_looking_until_there_is_a_new_one(store: ClientStore) -> None:
    ways: list[Callable[[PreKeys], object]] = [
        lambda keys: keys.rotate(),
        lambda keys: keys.add_one_time(1, 0),
        lambda keys: keys.publish_again(),
    ]
    for number, make in enumerate(ways, 1):
        with store.begin() as unit:
            make(unit.prekeys)
            assert unit.prekeys.has_unpublished()
        with store.begin() as unit:
            assert unit.prekeys.has_unpublished()
            unit.prekeys.published(number)
            assert not unit.prekeys.has_unpublished()


def test_a_unit_that_fails_leaves_no_word_of_whether_a_prekey_is_unpublished(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.prekeys.rotate()

    def publish_and_fail() -> None:
        with store.begin() as unit:
            unit.prekeys.published(1)
            assert not unit.prekeys.has_unpublished()
            raise KeyError

    with pytest.raises(KeyError):
        publish_and_fail()
    with store.begin() as unit:
        assert unit.prekeys.has_unpublished()


def test_replaced_prekeys_open_messages_for_30_days(store: ClientStore, clock: Clock) -> None:
    ids = []
    for _ in range(2):
        with store.begin() as unit:
            unit.prekeys.rotate()
            signed = unit.prekeys.unpublished().signed_prekey
            assert signed is not None
            ids.append(signed.id)
        clock.now += 1
    clock.now += 30 * DAY - 2
    with store.begin() as unit:
        assert unit.prekeys.signed_prekey(ids[0]).id == ids[0]
    clock.now += 3601
    with store.begin():
        pass  # the hourly sweep
    with store.begin() as unit:
        with pytest.raises(UnknownPreKey):
            unit.prekeys.signed_prekey(ids[0])
        assert unit.prekeys.signed_prekey(ids[1]).id == ids[1]


def test_prekey_ids_wrap_past_those_in_use(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.counters.prekey_id = 0
        unit.prekeys.add_one_time(1, 0)
        unit.counters.prekey_id = 2**24 - 1
        unit.prekeys.add_one_time(2, 0)
        assert sorted(key.id for key in unit.prekeys.unpublished().one_time_prekeys) == [0, 1, 2**24 - 1]


def test_a_stale_writer_overwrites_nothing(store: ClientStore) -> None:
    with store.begin() as unit:
        session = Session.initiate(account("alice"), account("bob").bundle(), entropy=seeded("s"))
        unit.sessions.add("bob", 1, session)
    with store.begin() as unit:
        stale = unit.sessions.load("bob", 1)
        fresh = unit.sessions.load("bob", 1)
        assert stale is not None
        assert fresh is not None
        fresh.session.encrypt(b"one")
        unit.sessions.save(fresh)

    def save_stale() -> None:
        with store.begin() as unit:
            unit.sessions.save(stale)
            unit.inbox.add("direct", b"goes with it")

    with pytest.raises(StaleWriter):
        save_stale()
    with store.begin() as unit:
        now = unit.sessions.load("bob", 1)
        assert now is not None
        assert now.session.to_bytes() == fresh.session.to_bytes()
        assert unit.inbox.count() == 0


def test_a_second_first_session_is_a_stale_writer_too(store: ClientStore) -> None:
    session = Session.initiate(account("alice"), account("bob").bundle(), entropy=seeded("s"))

    def add() -> None:
        with store.begin() as unit:
            unit.sessions.add("bob", 1, session)

    add()
    with pytest.raises(StaleWriter):
        add()


def test_sessions_are_loaded_one_by_one_or_many_at_once(store: ClientStore) -> None:
    session = Session.initiate(account("alice"), account("bob").bundle(), entropy=seeded("s"))
    with store.begin() as unit:
        for number in range(20):
            unit.sessions.add(f"peer {number}", 1 + number % 3, session)
        wanted = [(f"peer {number}", 1 + number % 3) for number in range(0, 20, 2)]
        found = unit.sessions.load_many([*wanted, ("nobody", 1), *wanted])
        assert sorted(found) == sorted(wanted)
        assert unit.sessions.load("nobody", 1) is None
        assert unit.sessions.load_many([]) == {}
        assert unit.sessions.devices("peer 4") == [2]
        assert (unit.sessions.delete("peer 4", 2), unit.sessions.delete("peer 4", 2)) == (True, False)
        assert unit.sessions.count() == 19


def test_a_stored_session_that_does_not_parse_is_corrupt_and_one_of_a_newer_release_newer(sqlite_url: str) -> None:
    with ClientStore.open(sqlite_url) as store, store.begin() as unit:
        session = Session.initiate(account("alice"), account("bob").bundle(), entropy=seeded("s"))
        unit.sessions.add("bob", 1, session)
    for state, expected in ((b"\x00no session", StoreCorrupt), (b"\x00\x97\x63" + bytes(6), StoreNewer)):
        with ClientStore.open(sqlite_url) as store:
            with store.begin() as unit:
                unit.work.change(Statement("sessions", "UPDATE sessions SET state = ?"), (state,))
            with store.begin() as unit, pytest.raises(expected):
                unit.sessions.load("bob", 1)
