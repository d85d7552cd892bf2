"""Safety numbers, against their definition in `signal-protocol` section 6."""

from __future__ import annotations

from hashlib import sha512
from typing import Any

import pytest

from ratchet.errors import InvalidArgument, MalformedMessage, SafetyNumberMismatch
from ratchet.protobuf import bytes_field, number_field
from ratchet.safety_number import SafetyNumber, safety_number
from tests.support.naming import case_name

ALICE, BOB = b"alice's service id", b"bob's service id"
ALICE_KEY, BOB_KEY = (b"\x05" + bytes([number]) * 32 for number in (1, 2))


def party(stable_id: bytes, key: bytes, iterations: int) -> bytes:
    """The hash of one party by its definition."""
    digest = b"\x00\x00" + key + stable_id
    for _ in range(iterations):
        digest = sha512(digest + key).digest()
    return digest


def digits(digest: bytes) -> str:
    numbers = [int.from_bytes(digest[5 * i : 5 * i + 5], "big") % 100_000 for i in range(6)]
    return "".join(str(number).zfill(5) for number in numbers)


def number(iterations: int = 3, *, mirrored: bool = False, version: int = 2) -> SafetyNumber:
    ends = (ALICE, ALICE_KEY), (BOB, BOB_KEY)
    (ours, our_key), (theirs, their_key) = reversed(ends) if mirrored else ends
    return safety_number(ours, our_key, theirs, their_key, iterations, version=version)


@pytest.mark.parametrize("iterations", [2, 3, 50])
def test_the_digits_are_those_of_both_hashes_the_smaller_first(iterations: int) -> None:
    expected = sorted(digits(party(*end, iterations)) for end in ((ALICE, ALICE_KEY), (BOB, BOB_KEY)))
    assert number(iterations).digits == "".join(expected)
    assert len(number(iterations).digits) == 60


def test_clients_iterate_5200_times() -> None:
    assert safety_number(ALICE, ALICE_KEY, BOB, BOB_KEY).local_hash == party(ALICE, ALICE_KEY, 5200)[:32]


def test_both_parties_see_the_same_digits_and_scan_each_other() -> None:
    ours, theirs = number(), number(mirrored=True)
    assert ours.digits == theirs.digits
    assert ours.scannable != theirs.scannable
    ours.check_scanned(theirs.scannable)
    theirs.check_scanned(ours.scannable)


def test_the_scannable_form_holds_a_version_and_both_hashes() -> None:
    ours = number()
    assert ours.scannable == number_field(1, 2) + bytes_field(2, bytes_field(1, ours.local_hash)) + bytes_field(
        3, bytes_field(1, ours.remote_hash)
    )


def test_the_version_changes_the_scannable_form_and_not_the_digits() -> None:
    first, second = number(version=1), number(version=2)
    assert first.digits == second.digits
    with pytest.raises(SafetyNumberMismatch, match="version 1, ours has 2"):
        second.check_scanned(number(mirrored=True, version=1).scannable)
    first.check_scanned(number(mirrored=True, version=1).scannable)


def scanned(version: bytes, local: bytes, remote: bytes) -> bytes:
    return version + local + remote


def hash_field(field: int, content: bytes) -> bytes:
    return bytes_field(field, bytes_field(1, content))


@pytest.mark.parametrize("swapped", [True, False])
def test_one_right_hash_is_not_enough(swapped: bool) -> None:  # noqa: FBT001
    ours = number()
    theirs, mine = (bytes(32), ours.local_hash) if swapped else (ours.remote_hash, bytes(32))
    with pytest.raises(SafetyNumberMismatch, match="other identities"):
        ours.check_scanned(number_field(1, 2) + hash_field(2, theirs) + hash_field(3, mine))


def test_a_missing_version_is_version_0() -> None:
    ours = number()
    with pytest.raises(SafetyNumberMismatch):
        ours.check_scanned(hash_field(2, ours.remote_hash) + hash_field(3, ours.local_hash))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(number_field(1, 2), id="no parties"),
        pytest.param(number_field(1, 2) + hash_field(2, bytes(32)), id="one party"),
        pytest.param(number_field(1, 2) + number_field(2, 1) + hash_field(3, bytes(32)), id="a number for a party"),
        pytest.param(number_field(1, 2) + bytes_field(2, b"") + hash_field(3, bytes(32)), id="a party without hash"),
        pytest.param(
            number_field(1, 2) + bytes_field(2, number_field(1, 5)) + hash_field(3, bytes(32)), id="a number for a hash"
        ),
        pytest.param(
            bytes_field(1, b"2") + hash_field(2, bytes(32)) + hash_field(3, bytes(32)), id="a text for a version"
        ),
        pytest.param(bytes(1_025), id="too large"),
        pytest.param("text", id="text"),
        pytest.param(None, id="None"),
        pytest.param(bytearray(80), id="a bytearray"),
    ],
)
def test_what_is_no_safety_number_is_malformed_or_a_mismatch(data: Any) -> None:  # noqa: ANN401
    with pytest.raises((MalformedMessage, SafetyNumberMismatch)):
        number().check_scanned(data)


@pytest.mark.parametrize("stable_id", [b"", bytes(1_025), "text", None, bytearray(b"x")], ids=case_name)
def test_a_stable_id_is_1_to_1024_bytes(stable_id: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        safety_number(stable_id, ALICE_KEY, BOB, BOB_KEY, 2)
    with pytest.raises(InvalidArgument):
        safety_number(ALICE, ALICE_KEY, stable_id, BOB_KEY, 2)


def test_an_identity_key_has_its_form() -> None:
    with pytest.raises(MalformedMessage):
        safety_number(ALICE, ALICE_KEY[1:], BOB, BOB_KEY, 2)
    with pytest.raises(MalformedMessage):
        safety_number(ALICE, ALICE_KEY, BOB, BOB_KEY + b"\0", 2)


@pytest.mark.parametrize("iterations", [1, 0, -1, 1_000_001, 2.0, True, None, "5200"], ids=case_name)
def test_iterations_are_2_to_a_million(iterations: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        safety_number(ALICE, ALICE_KEY, BOB, BOB_KEY, iterations)


@pytest.mark.parametrize("version", [0, 3, 2.0, True, None, "2"], ids=case_name)
def test_a_version_is_1_or_2(version: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        safety_number(ALICE, ALICE_KEY, BOB, BOB_KEY, 2, version=version)
