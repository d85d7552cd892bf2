"""What an account needs to renew itself: how old and how worn its prekeys are, and letting everything of them go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratchet import IdentityKeyPair
from ratchet.prekeys import PreKeyUse
from store import PreKeyKind
from store import prekeys as stored
from tests.support.conversation import seeded

if TYPE_CHECKING:
    import pytest

    from store import ClientStore
    from tests.store.conftest import Clock


def test_prekeys_are_published_once_an_upload_was_confirmed_and_stay_so_through_a_rotation(store: ClientStore) -> None:
    with store.begin() as unit:
        assert not unit.prekeys.is_published()
        unit.prekeys.rotate()
        assert not unit.prekeys.is_published()
        unit.prekeys.published(1)
        unit.prekeys.rotate()
        assert unit.prekeys.is_published()
        unit.prekeys.publish_again()
        assert not unit.prekeys.is_published()


def test_the_age_of_the_prekeys_is_that_of_the_newest(store: ClientStore, clock: Clock) -> None:
    with store.begin() as unit:
        assert unit.prekeys.made_at() is None
        unit.prekeys.rotate()
        assert unit.prekeys.made_at() == clock.now
    clock.now += 100
    with store.begin() as unit:
        unit.prekeys.rotate()
        assert unit.prekeys.made_at() == clock.now


def test_prekeys_are_worn_out_by_their_own_use_only(store: ClientStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "USED_BASE_KEYS_MAX", 2)
    with store.begin() as unit:
        assert not unit.prekeys.is_worn_out()
        unit.prekeys.rotate()
        published = unit.prekeys.unpublished()
        assert published.signed_prekey is not None
        assert published.last_resort_kem_prekey is not None
        ids = (published.signed_prekey.id, None, published.last_resort_kem_prekey.id)
        unit.prekeys.consume(PreKeyUse(*ids, bytes(33)))
        assert not unit.prekeys.is_worn_out()
        unit.prekeys.consume(PreKeyUse(*ids, bytes(32) + b"\x01"))
        assert unit.prekeys.is_worn_out()
        unit.prekeys.rotate()
        assert not unit.prekeys.is_worn_out()


def test_another_identity_starts_without_prekeys_and_sessions(store: ClientStore) -> None:
    with store.begin() as unit:
        unit.prekeys.rotate()
        unit.prekeys.add_one_time(2, 2)
        before = unit.account.require()
        unit.account.replace_identity(IdentityKeyPair.generate(seeded("new")), 77)
        unit.prekeys.delete_all()
        unit.sessions.delete_all()
    with store.begin() as unit:
        assert [unit.prekeys.count(kind) for kind in PreKeyKind] == [0, 0, 0, 0]
        assert unit.sessions.count() == 0
        after = unit.account.require()
    assert after.registration_id == 77
    assert after.identity.public_key != before.identity.public_key
