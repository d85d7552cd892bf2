"""libsignal's fingerprint.rs: safety numbers that both parties see alike, and scan from each other."""

from __future__ import annotations

from hashlib import sha512

import pytest

from ratchet import (
    IdentityKeyPair,
    InvalidArgument,
    MalformedMessage,
    SafetyNumber,
    SafetyNumberMismatch,
    safety_number,
)
from ratchet.limits import SAFETY_NUMBER_ITERATIONS_MAX, SAFETY_NUMBER_ITERATIONS_MIN, USER_ID_SIZE_MAX
from ratchet.protobuf import bytes_field, number_field
from tests.support.conversation import seeded

ALICE_KEY = IdentityKeyPair.generate(seeded("alice's identity")).public_key
BOB_KEY = IdentityKeyPair.generate(seeded("bob's identity")).public_key
MALLORY_KEY = IdentityKeyPair.generate(seeded("mallory's identity")).public_key
ALICE_ID, BOB_ID = b"+14155550101", b"+14155550102"


def alices(bob_key: bytes = BOB_KEY, bob_id: bytes = BOB_ID, version: int = 2) -> SafetyNumber:
    return safety_number(ALICE_ID, ALICE_KEY, bob_id, bob_key, version=version)


def bobs(alice_key: bytes = ALICE_KEY, version: int = 2) -> SafetyNumber:
    return safety_number(BOB_ID, BOB_KEY, ALICE_ID, alice_key, version=version)


def half(stable_id: bytes, key: bytes, iterations: int) -> tuple[str, bytes]:
    """One party's thirty digits and scanned hash, from their definition."""
    digest = sha512(b"\x00\x00" + key + stable_id + key).digest()
    for _ in range(iterations - 1):
        digest = sha512(digest + key).digest()
    groups = [int.from_bytes(digest[start : start + 5], "big") % 100_000 for start in range(0, 30, 5)]
    return "".join(f"{group:05}" for group in groups), digest[:32]


@pytest.mark.parametrize("iterations", [2, 3, 1024, 5200])
def test_digits_and_hashes_follow_their_definition(iterations: int) -> None:
    number = safety_number(ALICE_ID, ALICE_KEY, BOB_ID, BOB_KEY, iterations)
    alice_digits, alice_hash = half(ALICE_ID, ALICE_KEY, iterations)
    bob_digits, bob_hash = half(BOB_ID, BOB_KEY, iterations)

    assert number.digits == min(alice_digits, bob_digits) + max(alice_digits, bob_digits)
    assert number.scannable == number_field(1, 2) + bytes_field(2, bytes_field(1, alice_hash)) + bytes_field(
        3, bytes_field(1, bob_hash)
    )


def test_both_parties_read_the_same_sixty_digits() -> None:
    assert alices().digits == bobs().digits
    assert len(alices().digits) == 60
    assert alices().digits.isdecimal()


@pytest.mark.parametrize("version", [1, 2])
def test_each_party_can_scan_the_others_number(version: int) -> None:
    alices(version=version).check_scanned(bobs(version=version).scannable)
    bobs(version=version).check_scanned(alices(version=version).scannable)


def test_the_digits_do_not_depend_on_the_version_and_the_scannable_form_does() -> None:
    assert alices(version=1).digits == alices(version=2).digits
    assert alices(version=1).scannable != alices(version=2).scannable


@pytest.mark.parametrize(("ours", "theirs"), [(1, 2), (2, 1)])
def test_numbers_of_different_versions_do_not_match(ours: int, theirs: int) -> None:
    with pytest.raises(SafetyNumberMismatch, match="version"):
        alices(version=ours).check_scanned(bobs(version=theirs).scannable)


def test_a_number_without_a_version_counts_as_version_zero() -> None:
    with pytest.raises(SafetyNumberMismatch, match="version 0"):
        alices().check_scanned(bobs().scannable[2:])


def test_a_key_in_between_shows_in_the_digits_and_fails_the_scan() -> None:
    deceived_alice, deceived_bob = alices(bob_key=MALLORY_KEY), bobs(alice_key=MALLORY_KEY)

    assert deceived_alice.digits != deceived_bob.digits
    with pytest.raises(SafetyNumberMismatch):
        deceived_alice.check_scanned(deceived_bob.scannable)
    with pytest.raises(SafetyNumberMismatch):
        deceived_bob.check_scanned(deceived_alice.scannable)


def test_a_scan_fails_whichever_of_the_two_was_deceived() -> None:
    with pytest.raises(SafetyNumberMismatch):
        alices().check_scanned(bobs(alice_key=MALLORY_KEY).scannable)
    with pytest.raises(SafetyNumberMismatch):
        alices(bob_key=MALLORY_KEY).check_scanned(bobs().scannable)


def test_another_stable_id_is_another_number() -> None:
    other = alices(bob_id=b"+14155550199")

    assert other.digits != bobs().digits
    with pytest.raises(SafetyNumberMismatch):
        other.check_scanned(bobs().scannable)


def test_ones_own_number_is_not_the_peers() -> None:
    with pytest.raises(SafetyNumberMismatch):
        alices().check_scanned(alices().scannable)


@pytest.mark.parametrize(
    "scanned", [b"", b"\x08\x02", b"\x08\x02\x12\x00\x1a\x00", b"https://example.org/", b"\xff" * 80]
)
def test_what_is_no_safety_number_is_refused(scanned: bytes) -> None:
    with pytest.raises((MalformedMessage, SafetyNumberMismatch)):
        alices().check_scanned(scanned)


# Limits.


@pytest.mark.parametrize("iterations", [SAFETY_NUMBER_ITERATIONS_MIN - 1, SAFETY_NUMBER_ITERATIONS_MAX + 1])
def test_fewer_than_two_or_more_than_a_million_iterations_are_refused(iterations: int) -> None:
    with pytest.raises(InvalidArgument):
        safety_number(ALICE_ID, ALICE_KEY, BOB_ID, BOB_KEY, iterations)


@pytest.mark.slow
def test_a_million_iterations_are_computed() -> None:
    assert len(safety_number(ALICE_ID, ALICE_KEY, BOB_ID, BOB_KEY, SAFETY_NUMBER_ITERATIONS_MAX).digits) == 60


@pytest.mark.parametrize("size", [1, USER_ID_SIZE_MAX])
def test_stable_ids_of_1_to_1024_bytes_have_a_number(size: int) -> None:
    assert len(safety_number(bytes(size), ALICE_KEY, BOB_ID, BOB_KEY, 2).digits) == 60


@pytest.mark.parametrize("size", [0, USER_ID_SIZE_MAX + 1])
def test_empty_and_longer_stable_ids_are_refused(size: int) -> None:
    with pytest.raises(InvalidArgument):
        safety_number(bytes(size), ALICE_KEY, BOB_ID, BOB_KEY, 2)


def test_a_key_that_is_none_has_no_number() -> None:
    with pytest.raises(MalformedMessage):
        safety_number(ALICE_ID, ALICE_KEY[1:], BOB_ID, BOB_KEY)
