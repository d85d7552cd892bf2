"""What a thief of the files reads: nothing that is sealed, and of an unsealed store nothing that was deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from ratchet import OwnSenderKey, PeerSenderKey, Session
from store import TESTING, ClientStore
from tests.support.conversation import account, seeded
from tests.support.messenger import Messenger, bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = b"canary plaintext " + bytes(range(200, 216))
ID = b"message id 16 by"


def raw(folder: Path) -> bytes:
    """Everything that is in the store's files."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def secrets_of(store: ClientStore) -> Iterator[bytes]:
    """Private keys and pieces of ratchet states that the store holds now."""
    with store.begin() as unit:
        identity = unit.account.require().identity
        yield identity.private_key
        yield identity.pair.secret()[1]
        prekeys = unit.prekeys.unpublished()
        for key in prekeys.one_time_prekeys:
            yield unit.prekeys.one_time_prekey(key.id).pair.private
        for kem in prekeys.one_time_kem_prekeys:
            yield unit.prekeys.kem_prekey(kem.id).seed
        assert prekeys.signed_prekey is not None
        yield unit.prekeys.signed_prekey(prekeys.signed_prekey.id).pair.private
        loaded = unit.sessions.load("bob", 1)
        if loaded is not None:
            state = loaded.session.to_bytes()
            yield from (state[start : start + 32] for start in range(200, len(state) - 32, 97))


def fill(store: ClientStore, group: UUID) -> None:
    """Put a secret into every table that holds any."""
    messenger = Messenger(store, entropy=seeded("fill"))
    messenger.create("alice")
    messenger.initiate("bob", account("bob").bundle())
    messenger.queue("bob", CANARY)
    with store.begin() as unit:
        unit.inbox.add("direct", CANARY)
        unit.send_log.add(ID, "bob", CANARY)
        unit.sender_keys.put_own(bytes(32), OwnSenderKey.create(group, entropy=seeded("own")))
        peer = OwnSenderKey.create(group, entropy=seeded("peer"))
        key = PeerSenderKey.from_distribution_message(peer.distribution_message())
        unit.sender_keys.add_peer("bob", 1, bytes(32), key)


@pytest.fixture
def group() -> UUID:
    return UUID(bytes=bytes(range(16)))


def test_no_secret_of_a_sealed_store_is_in_its_files(tmp_path: Path, group: UUID) -> None:
    with ClientStore.open(f"sqlite:///{tmp_path}/a.db", passphrase="right", profile=TESTING) as store:
        fill(store, group)
        secrets = [CANARY, *secrets_of(store)]
        with store.begin() as unit:
            own, peer = unit.sender_keys.load_own(bytes(32)), unit.sender_keys.load_peer("bob", 1, group)
            assert own is not None
            assert peer is not None
            secrets += [own.key.to_bytes()[-32:], peer.key.to_bytes()[-40:]]
        while_open = raw(tmp_path)
    closed = raw(tmp_path)
    assert len(secrets) > 15
    assert [one for one in secrets if one in while_open or one in closed] == []


def test_the_same_secrets_are_in_the_files_of_an_unsealed_store_so_that_the_search_proves_something(
    tmp_path: Path, group: UUID
) -> None:
    with ClientStore.open(f"sqlite:///{tmp_path}/a.db") as store:
        fill(store, group)
        secrets = [CANARY, *secrets_of(store)]
    secrets.pop(1)  # the identity's X25519 key is computed from its seed, which is what is stored
    files = raw(tmp_path)
    assert [one for one in secrets[:10] if one not in files] == []


@pytest.mark.parametrize("passphrase", [None, "right"])
def test_a_consumed_prekey_and_an_overwritten_session_state_are_gone_after_a_checkpoint(
    tmp_path: Path, passphrase: str | None
) -> None:
    with ClientStore.open(f"sqlite:///{tmp_path}/a.db", passphrase=passphrase, profile=TESTING) as store:
        messenger = Messenger(store, entropy=seeded("alice"))
        messenger.create("alice")
        messenger.initiate("bob", account("bob").bundle())
        with store.begin() as unit:
            loaded = unit.sessions.load("bob", 1)
            assert loaded is not None
            before = loaded.session.to_bytes()
            chain = before[before.index(b"\xc4\x20") :][:200]
            one_time = unit.prekeys.unpublished().one_time_prekeys[0].id
            private = unit.prekeys.one_time_prekey(one_time).pair.private
        store.checkpoint()
        assert (private in raw(tmp_path)) == (passphrase is None)
        with store.begin() as unit:
            loaded = unit.sessions.load("bob", 1)
            assert loaded is not None
            loaded.session.encrypt(b"next")
            unit.sessions.save(loaded)
            after = loaded.session.to_bytes()
            unit.prekeys.purge_one_time()
        store.checkpoint()
        changed = [chain[i : i + 32] for i in range(len(chain) - 32) if chain[i : i + 32] not in after]
        files = raw(tmp_path)
        assert private not in files
        assert changed
        assert [piece for piece in changed if piece in files] == []


def test_a_prekey_consumed_by_a_first_message_is_gone_after_a_checkpoint(tmp_path: Path) -> None:
    with ClientStore.open(f"sqlite:///{tmp_path}/a.db") as store:
        Messenger(store, entropy=seeded("alice")).create("alice")
        with store.begin() as unit:
            published = unit.prekeys.unpublished()
            secrets = [
                unit.prekeys.one_time_prekey(published.one_time_prekeys[0].id).pair.private,
                unit.prekeys.kem_prekey(published.one_time_kem_prekeys[0].id).seed,
            ]
            first_bundle = bundle(published)
        store.checkpoint()
        assert all(secret in raw(tmp_path) for secret in secrets)
        bob = account("bob")
        first = Session.initiate(bob, first_bundle, entropy=seeded("first")).encrypt(b"hello")
        with store.begin() as unit:
            session, plaintext = Session.accept(unit.prekeys, first)
            unit.sessions.add("bob", 1, session)
        assert plaintext == b"hello"
        store.checkpoint()
        assert not any(secret in raw(tmp_path) for secret in secrets)


PIECE = 24  # bytes: less than a key, and more than would be there by chance


def pieces(state: bytes) -> set[bytes]:
    """Every run of bytes of *state* that is long enough to be part of a key."""
    return {state[start : start + PIECE] for start in range(len(state) - PIECE + 1)}


def found(some: set[bytes], folder: Path) -> set[bytes]:
    """Those of *some* that are in the store's files."""
    return some & pieces(raw(folder))


@pytest.mark.parametrize("passphrase", [None, "right"])
def test_overwritten_and_deleted_states_of_our_own_sender_key_are_gone_after_a_checkpoint(
    tmp_path: Path, group: UUID, passphrase: str | None
) -> None:
    row = bytes(32)
    old, now = set[bytes](), set[bytes]()
    with ClientStore.open(f"sqlite:///{tmp_path}/a.db", passphrase=passphrase, profile=TESTING) as store:
        with store.begin() as unit:
            unit.sender_keys.put_own(row, OwnSenderKey.create(group, entropy=seeded("own")))
        for _ in range(3):
            with store.begin() as unit:
                loaded = unit.sender_keys.load_own(row)
                assert loaded is not None
                old |= pieces(loaded.key.to_bytes())
                loaded.key.encrypt(b"text")
                unit.sender_keys.save_own(loaded, messages=loaded.messages + 1)
                now = pieces(loaded.key.to_bytes())
        old -= now
        assert len(old) > 60
        assert bool(found(old, tmp_path)) == bool(found(now, tmp_path)) == (passphrase is None)
        store.checkpoint()
        assert found(old, tmp_path) == set()
        with store.begin() as unit:
            assert unit.sender_keys.delete_own(row) == 1
        store.checkpoint()
        assert found(now, tmp_path) == set()


@pytest.mark.parametrize("passphrase", [None, "right"])
def test_overwritten_and_deleted_states_of_a_peers_sender_key_are_gone_after_a_checkpoint(
    tmp_path: Path, group: UUID, passphrase: str | None
) -> None:
    peer = OwnSenderKey.create(group, entropy=seeded("peer"))
    key = PeerSenderKey.from_distribution_message(peer.distribution_message())
    messages = [peer.encrypt(b"text") for _ in range(6)]
    old, now = set[bytes](), set[bytes]()
    with ClientStore.open(f"sqlite:///{tmp_path}/a.db", passphrase=passphrase, profile=TESTING) as store:
        with store.begin() as unit:
            unit.sender_keys.add_peer("bob", 1, bytes(32), key)
        for number in (3, 1, 5):  # keys are skipped, and one of them is used
            with store.begin() as unit:
                loaded = unit.sender_keys.load_peer("bob", 1, group)
                assert loaded is not None
                old |= pieces(loaded.key.to_bytes())
                assert loaded.key.decrypt(messages[number]) == b"text"
                unit.sender_keys.save_peer(loaded)
                now = pieces(loaded.key.to_bytes())
        old -= now
        assert len(old) > 60
        assert bool(found(old, tmp_path)) == bool(found(now, tmp_path)) == (passphrase is None)
        store.checkpoint()
        assert found(old, tmp_path) == set()
        with store.begin() as unit:
            assert unit.sender_keys.delete_peer("bob", 1, group)
        store.checkpoint()
        assert found(now, tmp_path) == set()


@pytest.mark.parametrize("passphrase", [None, "right"])
def test_an_acknowledged_message_is_gone_after_a_checkpoint(tmp_path: Path, passphrase: str | None) -> None:
    with ClientStore.open(f"sqlite:///{tmp_path}/a.db", passphrase=passphrase, profile=TESTING) as store:
        with store.begin() as unit:
            number = unit.inbox.add("direct", CANARY)
        with store.begin() as unit:
            assert unit.inbox.acknowledge(number)
        store.checkpoint()
        assert CANARY not in raw(tmp_path)


def test_the_log_is_emptied_once_a_minute_without_being_asked(tmp_path: Path) -> None:
    time = [0.0]
    with ClientStore.open(f"sqlite:///{tmp_path}/a.db", clock=lambda: time[0]) as store:
        with store.begin() as unit:
            number = unit.inbox.add("direct", CANARY)
        with store.begin() as unit:
            unit.inbox.acknowledge(number)
        assert CANARY in raw(tmp_path)
        time[0] = 60.0
        with store.begin():
            pass
        assert CANARY not in raw(tmp_path)


def test_no_secret_is_in_the_repr_of_anything_that_the_store_gives(tmp_path: Path, group: UUID) -> None:
    with ClientStore.open(f"sqlite:///{tmp_path}/a.db") as store:
        fill(store, group)
        with store.begin() as unit:
            account = unit.account.require()
            shown = [account, unit.inbox.after(0, limit=9), unit.send_log.get(ID), unit.sessions.load("bob", 1)]
            shown += [
                unit.outgoing.next_in("bob", "queued", limit=9),
                unit.sender_keys.load_own(bytes(32)),
                unit,
                store,
            ]
            text = repr(shown)
            assert "canary" not in text
            assert account.identity.private_key.hex() not in text
            assert repr(account.identity.private_key)[2:-1] not in text
