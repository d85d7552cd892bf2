"""Sealing: what opens, what does not, and which keys are used for how long."""

from __future__ import annotations

import random

import pytest

from store.errors import InvalidUse, StoreCorrupt, StoreNewer
from store.vault import INTERACTIVE, SEALING_OVERHEAD, TESTING, PassphraseProfile, Vault, derive

MASTER = bytes(range(32))
STORE = b"store id of 16 b"


def vault(master: bytes | None = MASTER, *, store_id: bytes = STORE, salts: dict[int, bytes] | None = None) -> Vault:
    return Vault(store_id, master, dict(salts or {}), entropy=random.Random(1).randbytes)


def test_what_is_sealed_opens_with_the_same_master_key_and_salts() -> None:
    first = vault()
    sealed = first.seal("sessions", b"bob\x01", 3, b"state")
    assert vault(salts=first.unstored).open("sessions", b"bob\x01", 3, sealed) == b"state"
    assert len(sealed) == len(b"state") + SEALING_OVERHEAD
    assert b"state" not in sealed


@pytest.mark.parametrize(
    ("table", "row", "version"),
    [("inbox", b"bob\x01", 3), ("sessions", b"bob\x02", 3), ("sessions", b"bob\x01", 2), ("session", b"sbob\x01", 3)],
)
def test_a_value_moved_to_another_table_row_or_version_does_not_open(table: str, row: bytes, version: int) -> None:
    one = vault()
    sealed = one.seal("sessions", b"bob\x01", 3, b"state")
    with pytest.raises(StoreCorrupt):
        one.open(table, row, version, sealed)


def test_a_value_of_another_store_does_not_open_even_under_the_same_key() -> None:
    one = vault()
    sealed = one.seal("inbox", b"1", 1, b"text")
    with pytest.raises(StoreCorrupt):
        vault(store_id=bytes(16), salts=one.unstored).open("inbox", b"1", 1, sealed)


def test_no_byte_of_a_sealed_value_can_be_changed() -> None:
    one = vault()
    sealed = one.seal("inbox", b"1", 1, b"text")
    for position in range(len(sealed)):
        changed = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises(StoreCorrupt):
            one.open("inbox", b"1", 1, changed)


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x01" + bytes(31), None, "text"])
def test_a_value_that_is_too_short_or_not_there_is_corrupt(value: object) -> None:
    with pytest.raises(StoreCorrupt):
        vault().open("inbox", b"1", 1, value)


def test_an_unsealed_value_in_a_sealed_store_is_refused_because_it_was_planted() -> None:
    with pytest.raises(StoreCorrupt, match="not sealed"):
        vault().open("inbox", b"1", 1, vault(None).seal("inbox", b"1", 1, b"text"))


def test_a_sealed_value_in_an_unsealed_store_is_refused() -> None:
    with pytest.raises(StoreCorrupt, match="is sealed"):
        vault(None).open("inbox", b"1", 1, vault().seal("inbox", b"1", 1, b"text"))


def test_a_form_of_a_newer_release_is_told_apart_from_damage() -> None:
    with pytest.raises(StoreNewer):
        vault().open("inbox", b"1", 1, b"\x07" + bytes(60))


def test_an_unsealed_store_keeps_the_plaintext_behind_its_form() -> None:
    assert vault(None).seal("inbox", b"1", 1, b"text") == b"\x00text"
    assert vault(None).open("inbox", b"1", 1, b"\x00text") == b"text"


def test_each_vault_that_seals_draws_one_salt_and_one_that_only_opens_draws_none() -> None:
    first = vault()
    sealed = [first.seal("inbox", b"1", 1, b"text") for _ in range(5)]
    assert list(first.unstored) == [1]
    second = vault(salts=first.unstored)
    assert [second.open("inbox", b"1", 1, one) for one in sealed] == [b"text"] * 5
    assert second.unstored == {}
    second.seal("inbox", b"1", 1, b"text")
    assert list(second.unstored) == [2]


def test_no_nonce_is_used_twice() -> None:
    one = vault()
    nonces = [one.seal("inbox", b"1", 1, b"text")[5:17] for _ in range(1000)]
    assert len(set(nonces)) == 1000


def test_after_the_limit_of_sealings_another_salt_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.vault.SEALINGS_PER_SALT_MAX", 3)
    one = vault()
    numbers = [int.from_bytes(one.seal("inbox", b"1", 1, b"text")[1:5], "big") for _ in range(7)]
    assert numbers == [1, 1, 1, 2, 2, 2, 3]


def test_a_salt_that_is_missing_is_corrupt() -> None:
    with pytest.raises(StoreCorrupt, match="salt"):
        vault().open("inbox", b"1", 1, vault().seal("inbox", b"1", 1, b"text"))


def test_a_passphrase_profile_survives_its_packed_form() -> None:
    assert PassphraseProfile.from_bytes(INTERACTIVE.to_bytes(bytes(16))) == (INTERACTIVE, bytes(16))


def test_the_usual_profile_is_64_mib_3_passes_and_4_lanes() -> None:
    assert (INTERACTIVE.memory_kib, INTERACTIVE.passes, INTERACTIVE.lanes) == (65_536, 3, 4)


@pytest.mark.parametrize(
    "profile",
    [
        PassphraseProfile(2**21, 3, 4),
        PassphraseProfile(65_536, 65, 4),
        PassphraseProfile(7, 1, 1),
        PassphraseProfile(8, 0, 1),
    ],
)
def test_parameters_that_would_cost_too_much_or_nothing_are_corrupt(profile: PassphraseProfile) -> None:
    with pytest.raises(StoreCorrupt):
        PassphraseProfile.from_bytes(profile.to_bytes(bytes(16)))


def test_a_passphrase_and_its_salt_make_the_key() -> None:
    keys = {derive(word, salt, TESTING) for word in ("one", "two") for salt in (bytes(16), bytes(15) + b"1")}
    assert len(keys) == 4
    assert derive("one", bytes(16), TESTING) in keys


@pytest.mark.parametrize("passphrase", ["", None, b"bytes"])
def test_an_empty_passphrase_is_refused(passphrase: object) -> None:
    with pytest.raises(InvalidUse):
        derive(passphrase, bytes(16), TESTING)  # type: ignore[arg-type]
