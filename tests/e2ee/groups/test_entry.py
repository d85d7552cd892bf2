"""Entries of groups' logs: R7.1 of docs/protocol.md, both ways."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.codec import encode_array
from e2ee.errors import MalformedFrame
from e2ee.groups import GroupKind, Operation, Role, sign_entry, take_entry
from e2ee.ids import UserId
from e2ee.limits import COUNTER_MAX, GROUP_ENTRY_SIZE_MAX, GROUP_NAME_SIZE_MAX
from ratchet import IdentityKeyPair
from ratchet.labels import SIGN_GROUP_ENTRY, SIGN_LOGIN

DICE = Random("entries")
ALICE, BOB = (IdentityKeyPair.generate(entropy=DICE.randbytes) for _ in range(2))
GENESIS: list[Any] = [
    1,
    None,
    0,
    None,
    0,
    1_700_000_000_000,
    Operation.CREATE,
    "alice",
    ALICE.public_key,
    "alice",
    ALICE.public_key,
    Role.ADMIN,
    "team",
    GroupKind.OPEN,
    bytes(16),
]
INVITE: list[Any] = [
    1,
    bytes(32),
    7,
    bytes(range(32)),
    3,
    1_700_000_000_000,
    Operation.INVITE,
    "alice",
    ALICE.public_key,
    "bob",
    BOB.public_key,
    Role.MEMBER,
    None,
    None,
    None,
]
PARTS = (
    "version",
    "group id",
    "number",
    "hash before",
    "epoch",
    "time",
    "operation",
    "actor",
    "actor's key",
    "subject",
    "subject's key",
    "role",
    "name",
    "kind",
    "nonce",
)


def signed(parts: list[Any], *, label: str = SIGN_GROUP_ENTRY, key: IdentityKeyPair = ALICE) -> bytes:
    body = encode_array(parts)
    return body + key.sign(label, body, entropy=DICE.randbytes)


def changed(parts: list[Any], part: str, value: object) -> list[Any]:
    return [value if name == part else old for name, old in zip(PARTS, parts, strict=True)]


def refused(data: bytes) -> bool:
    try:
        take_entry(data)
    except MalformedFrame:
        return True
    return False


def test_an_entry_is_what_was_signed() -> None:
    data = signed(INVITE)
    entry = take_entry(data)
    said = [
        1,
        entry.group_id,
        entry.number,
        entry.previous_hash,
        entry.epoch,
        entry.time_ms,
        entry.operation,
        entry.actor,
        entry.actor_key,
        entry.subject,
        entry.subject_key,
        entry.role,
        entry.name,
        entry.kind,
        entry.nonce,
    ]
    assert said == INVITE
    assert (entry.data, entry.hash) == (data, sha256(data).digest())


def test_the_id_of_a_group_is_the_hash_of_its_genesis_entry() -> None:
    entry = take_entry(signed(GENESIS))
    assert entry.group_id == entry.hash
    assert (entry.number, entry.previous_hash, entry.name, entry.kind) == (0, b"", "team", GroupKind.OPEN)


def test_two_groups_of_one_name_have_two_ids() -> None:
    assert len({take_entry(signed(changed(GENESIS, "nonce", bytes([n]) * 16))).group_id for n in range(3)}) == 3


@pytest.mark.parametrize("parts", [GENESIS, INVITE], ids=["genesis", "invite"])
def test_an_entry_with_any_bit_flipped_is_refused(parts: list[Any]) -> None:
    data = signed(parts)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert refused(bytes(flipped)), f"bit {bit}"


def test_an_entry_cut_short_or_made_longer_is_refused() -> None:
    data = signed(INVITE)
    assert all(refused(data[:size]) for size in range(len(data)))
    assert refused(data + b"\x00")
    assert refused(b"\x00" + data)


def test_a_signature_for_anything_else_is_refused() -> None:
    assert refused(signed(INVITE, label=SIGN_LOGIN))
    assert refused(signed(INVITE, key=BOB))
    body = encode_array(INVITE)
    assert refused(body + take_entry(signed(changed(INVITE, "epoch", 4))).data[-64:])


@pytest.mark.parametrize(
    ("part", "bad"),
    [
        ("version", 0),
        ("version", 2),
        ("group id", bytes(31)),
        ("group id", bytes(33)),
        ("group id", None),
        ("group id", "text"),
        ("number", -1),
        ("number", True),
        ("number", COUNTER_MAX + 1),
        ("number", 0),
        ("hash before", bytes(31)),
        ("hash before", None),
        ("epoch", -1),
        ("epoch", 1.0),
        ("time", -1),
        ("time", None),
        ("operation", 0),
        ("operation", Operation.CREATE),
        ("operation", max(Operation) + 1),
        ("actor", ""),
        ("actor", "al ice"),
        ("actor", b"alice"),
        ("actor's key", bytes(32)),
        ("actor's key", bytes(33)),
        ("actor's key", BOB.public_key),
        ("subject", None),
        ("subject", "a\u202eb"),
        ("subject's key", bytes(34)),
        ("role", 0),
        ("role", 3),
        ("name", "team"),
        ("kind", GroupKind.OPEN),
        ("nonce", bytes(16)),
    ],
)
def test_a_part_out_of_its_range_is_refused(part: str, bad: object) -> None:
    assert not refused(signed(INVITE))
    assert refused(signed(changed(INVITE, part, bad)))


@pytest.mark.parametrize(
    ("part", "bad"),
    [
        ("group id", bytes(32)),
        ("number", 1),
        ("hash before", bytes(32)),
        ("operation", Operation.JOIN),
        ("name", None),
        ("name", ""),
        ("name", "a" * (GROUP_NAME_SIZE_MAX + 1)),
        ("name", b"team"),
        ("kind", None),
        ("kind", 0),
        ("kind", 3),
        ("nonce", None),
        ("nonce", bytes(15)),
        ("nonce", bytes(17)),
    ],
)
def test_a_genesis_entry_names_its_group_and_no_other_entry(part: str, bad: object) -> None:
    assert not refused(signed(GENESIS))
    assert refused(signed(changed(GENESIS, part, bad)))


@pytest.mark.parametrize("sign", ["\x00", "\n", "\x7f", "\x9f", "\u2028", "\u202e", "\u2066", "\u200f", "\u061c"])
def test_a_name_shows_what_it_is(sign: str) -> None:
    assert refused(signed(changed(GENESIS, "name", f"te{sign}am")))


@pytest.mark.parametrize("name", ["a", "Team 7 – Überblick", "👨\u200d👩\u200d👧", "团队", "a" * GROUP_NAME_SIZE_MAX])
def test_a_name_may_be_written_in_any_script(name: str) -> None:
    assert take_entry(signed(changed(GENESIS, "name", name))).name == name


def test_elements_of_later_versions_are_signed_and_hashed_and_not_read() -> None:
    later = take_entry(signed([*INVITE, "later", 5]))
    assert (later.subject, later.hash) == ("bob", sha256(later.data).digest())
    assert refused(later.data.replace(b"later", b"lator"))
    assert refused(signed(INVITE[:-1]))


def test_an_entry_may_have_the_largest_size_and_no_more() -> None:
    room = GROUP_ENTRY_SIZE_MAX - len(signed([*INVITE, b""])) - 1  # binaries above 255 bytes have a header of 3
    assert len(signed([*INVITE, bytes(room)])) == GROUP_ENTRY_SIZE_MAX
    assert not refused(signed([*INVITE, bytes(room)]))
    assert refused(signed([*INVITE, bytes(room + 1)]))


def test_the_longest_entry_that_a_client_makes_is_within_the_size() -> None:
    longest = "\u00e9" * 64
    parts = changed(changed(changed(GENESIS, "actor", longest), "subject", longest), "name", "a" * GROUP_NAME_SIZE_MAX)
    assert len(signed(parts)) < GROUP_ENTRY_SIZE_MAX // 2


@given(st.binary(max_size=300))
def test_bytes_that_are_no_entry_are_refused_and_nothing_else_happens(data: bytes) -> None:
    assert refused(data)


@given(
    st.integers(1, COUNTER_MAX),
    st.integers(0, COUNTER_MAX),
    st.sampled_from([one for one in Operation if one is not Operation.CREATE]),
    st.sampled_from(Role),
    st.binary(min_size=32, max_size=32),
)
def test_what_is_signed_is_taken(number: int, epoch: int, operation: Operation, role: Role, group_id: bytes) -> None:
    data = sign_entry(
        ALICE,
        group_id=group_id,
        number=number,
        previous_hash=group_id[::-1],
        epoch=epoch,
        time_ms=number,
        operation=operation,
        actor=UserId("alice"),
        subject=UserId("bob"),
        subject_key=BOB.public_key,
        role=role,
        entropy=DICE.randbytes,
    )
    entry = take_entry(data)
    assert (entry.number, entry.epoch, entry.time_ms) == (number, epoch, number)
    assert (entry.operation, entry.role, entry.group_id, entry.previous_hash) == (
        operation,
        role,
        group_id,
        group_id[::-1],
    )
