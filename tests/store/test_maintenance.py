"""Export, rekey, check, delete: work on a whole store, on both databases."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from sqlalchemy import inspect

from ratchet import IdentityKeyPair
from store import (
    INTERACTIVE,
    TESTING,
    ClientStore,
    ExportRefused,
    InvalidUse,
    KeyUnavailable,
    PassphraseNeeded,
    StoreCorrupt,
    WrongPassphrase,
    open_identity,
    seal_identity,
)
from store.database import open_engine, parse_url
from tests.store.test_at_rest import CANARY, fill, raw, secrets_of
from tests.store.test_opening import change
from tests.support.conversation import seeded

if TYPE_CHECKING:
    from pathlib import Path

GROUP = UUID(bytes=bytes(range(16)))
ID = bytes(range(16))


# Export and import.


def test_an_exported_identity_opens_another_device_of_the_same_user(store: ClientStore) -> None:
    sealed = store.export_identity("its own", profile=TESTING)
    exported = open_identity(sealed, "its own")
    with store.begin() as unit:
        identity_key = unit.account.require().identity.public_key
    with ClientStore.open("sqlite://") as other, other.begin() as unit:
        made = unit.account.create(exported.user_id, 2, identity=exported.identity)
        assert (made.user_id, made.device_id, made.identity.public_key) == ("alice", 2, identity_key)


def test_an_old_device_is_registered_again_under_another_registration_id(store: ClientStore) -> None:
    exported = open_identity(store.export_identity("its own", profile=TESTING), "its own")
    with store.begin() as unit:
        before = unit.account.require()
    ids = set()
    for seed in range(3):
        with ClientStore.open("sqlite://", entropy=random.Random(seed).randbytes) as again, again.begin() as unit:
            made = unit.account.create(exported.user_id, before.device_id, identity=exported.identity)
            ids.add(made.registration_id)
    assert len(ids - {before.registration_id}) > 1


def test_an_export_holds_no_session_no_prekey_and_no_message(tmp_path: Path) -> None:
    sizes = []
    for filled in (False, True):
        with ClientStore.open(f"sqlite:///{tmp_path}/{filled}.db") as store:
            if filled:
                fill(store, GROUP)
            else:
                with store.begin() as unit:
                    unit.account.create("alice")
            sizes.append(len(store.export_identity("its own", profile=TESTING)))
    assert sizes[0] == sizes[1] < 200


def test_a_wrong_passphrase_and_damage_are_refused_alike() -> None:
    identity = IdentityKeyPair.generate(seeded("identity"))
    sealed = seal_identity("alice", identity, "right", profile=TESTING)
    with pytest.raises(ExportRefused):
        open_identity(sealed, "wrong")
    for position in range(len(sealed)):
        with pytest.raises(ExportRefused):
            open_identity(sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :], "right")
    with pytest.raises(ExportRefused):
        open_identity(sealed + b"\x00", "right")
    assert identity.private_key not in sealed


def test_an_identity_loaded_from_another_implementation_survives_its_export() -> None:
    identity = IdentityKeyPair.from_private_key(bytes(range(32)))
    exported = open_identity(seal_identity("alice", identity, "right", profile=TESTING), "right")
    assert exported.identity.public_key == identity.public_key
    assert exported.identity.private_key == identity.private_key


def test_an_export_is_sealed_with_the_usual_profile_unless_told_otherwise(store: ClientStore) -> None:
    sealed = store.export_identity("its own")
    assert INTERACTIVE.to_bytes(bytes(16))[-7:] in sealed
    assert open_identity(sealed, "its own").user_id == "alice"


def test_a_store_without_an_account_has_nothing_to_export() -> None:
    with ClientStore.open("sqlite://") as empty, pytest.raises(InvalidUse, match="no account"):
        empty.export_identity("any", profile=TESTING)


# Rekey.


def test_after_a_rekey_the_new_passphrase_opens_everything_and_the_old_one_nothing(database_url: str) -> None:
    with ClientStore.open(database_url, passphrase="old", profile=TESTING) as store:
        fill(store, GROUP)
        before = list(secrets_of(store))
        store.rekey(passphrase="new", profile=TESTING)
        assert list(secrets_of(store)) == before
        assert store.check() == ()
    with pytest.raises(WrongPassphrase):
        ClientStore.open(database_url, passphrase="old")
    with ClientStore.open(database_url, passphrase="new") as store:
        assert list(secrets_of(store)) == before
        assert store.check() == ()


def test_a_store_is_sealed_and_unsealed_by_a_rekey_and_its_files_show_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with ClientStore.open(url) as store:
        fill(store, GROUP)
        secrets = [CANARY, *secrets_of(store)]
        store.rekey(passphrase="right", profile=TESTING)
        sealed = store.sealed
        assert [one for one in secrets if one in raw(tmp_path)] == []
        store.rekey()
        assert (sealed, store.sealed) == (True, False)
        assert CANARY in raw(tmp_path)
        store.rekey(key_provider=lambda: bytes(32))
    with pytest.raises(PassphraseNeeded):
        ClientStore.open(url)
    ClientStore.open(url, key_provider=lambda: bytes(32)).close()


def test_a_rekey_that_fails_leaves_the_old_key(database_url: str) -> None:
    def refuse() -> bytes:
        raise PermissionError

    with ClientStore.open(database_url, passphrase="old", profile=TESTING) as store:
        fill(store, GROUP)
        with pytest.raises(KeyUnavailable):
            store.rekey(key_provider=refuse)
        change_value = "UPDATE prekeys SET private = account.identity FROM account WHERE kind = 3"
        with store.begin() as unit:
            unit.inbox.add("direct", b"still sealed with the old key")
        assert store.check() == ()
    change(database_url, change_value)
    with ClientStore.open(database_url, passphrase="old") as store:
        with pytest.raises(StoreCorrupt):
            store.rekey(passphrase="new", profile=TESTING)
        with store.begin() as unit:
            assert unit.account.require().user_id == "alice"
    ClientStore.open(database_url, passphrase="old").close()


def test_a_store_with_too_many_salts_is_sealed_anew_when_it_is_opened(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        with ClientStore.open(database_url, passphrase="right", profile=TESTING) as store, store.begin() as unit:
            unit.inbox.add("direct", b"text")
    monkeypatch.setattr("store.client.SEAL_KEYS_MAX", 5)
    with ClientStore.open(database_url, passphrase="right", profile=TESTING) as store:
        assert store._work.vault.salt_count == 1
        assert store.check() == ()


# Check.


def test_a_whole_store_has_nothing_to_report(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.inbox.add("direct", b"text")
    assert store.check() == ()


@pytest.mark.parametrize(
    ("damage", "table"),
    [
        ("UPDATE inbox SET body = account.identity FROM account", "inbox"),
        ("UPDATE sessions SET version = version + 1", "sessions"),
        ("UPDATE sessions SET user_id = 'eve'", "sessions"),
        ("UPDATE account SET identity_key = state FROM sessions", "account"),
    ],
)
def test_a_value_that_was_damaged_or_moved_is_reported_with_its_table(
    database_url: str, damage: str, table: str
) -> None:
    with ClientStore.open(database_url, passphrase="right", profile=TESTING) as store:
        fill(store, GROUP)
    change(database_url, damage)
    with ClientStore.open(database_url, passphrase="right") as store:
        assert {finding.table for finding in store.check()} == {table}


# Delete.


def test_deleting_the_account_leaves_no_file(tmp_path: Path) -> None:
    store = ClientStore.open(f"sqlite:///{tmp_path}/a.db")
    fill(store, GROUP)
    store.delete_account()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidUse, match="closed"), store.begin():
        pass


def test_deleting_the_account_leaves_no_table(postgres_url: str) -> None:
    store = ClientStore.open(postgres_url)
    fill(store, GROUP)
    store.delete_account()
    engine = open_engine(parse_url(postgres_url))
    with engine.connect() as connection:
        assert parse_url(postgres_url).schema not in inspect(connection).get_schema_names()
    engine.dispose()


def test_a_new_account_can_be_made_where_one_was_deleted(database_url: str) -> None:
    store = ClientStore.open(database_url)
    fill(store, GROUP)
    store.delete_account()
    with ClientStore.open(database_url) as again, again.begin() as unit:
        assert unit.account.load() is None
        assert unit.inbox.count() == 0
