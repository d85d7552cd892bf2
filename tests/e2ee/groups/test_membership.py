"""Membership: R7.2 to R7.5 of docs/protocol.md, each rule both ways, and small worlds exhaustively against a model."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256, sha512
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import MalformedFrame
from e2ee.frames import DeviceRef, MemberDevices
from e2ee.groups import (
    EntryRefused,
    GroupEntry,
    GroupKind,
    Member,
    Membership,
    Operation,
    Role,
    device_digest,
    take_entry,
)
from e2ee.groups import membership as rules
from e2ee.ids import UserId
from ratchet import IdentityKeyPair

from .group_model import Model, Move, Seats

DICE = Random("membership")
NAMES = ("alice", "bob", "carol")


def key(name: str) -> bytes:
    return b"\x05" + sha256(name.encode()).digest()


def start(kind: GroupKind) -> Membership:
    return Membership.start(entry_of(Move(Operation.CREATE, *two("alice"), *two("alice"), Role.ADMIN), kind=kind))


def two(name: str) -> tuple[str, bytes]:
    """A user under the key that a name stands for: `bob'` is Bob under another."""
    return name.rstrip("'"), key(name)


def entry_of(
    move: Move, before: Membership | None = None, *, epoch: int = 0, kind: GroupKind | None = None
) -> GroupEntry:
    """An entry that says *move*, without a signature: membership does not look at it."""
    number = 0 if before is None else before.number + 1
    data = repr((move, number, epoch, "" if before is None else before.hash)).encode()
    return GroupEntry(
        data,
        sha256(data).digest() if before is None else before.group_id,
        number,
        b"" if before is None else before.hash,
        epoch,
        0,
        move.operation,
        UserId(move.actor),
        move.actor_key,
        UserId(move.subject),
        move.subject_key,
        move.role,
        "team" if before is None else None,
        kind,
        bytes(16) if before is None else None,
    )


def follow(group: Membership, move: Move) -> Membership | None:
    """The group after *move*, in whichever epoch the rules want it; None: it may not follow."""
    found = []
    for epoch in (group.epoch, group.epoch + 1):
        try:
            found.append(group.apply(entry_of(move, group, epoch=epoch)))
        except EntryRefused:
            continue
    assert len(found) < 2, "an entry may name two epochs"
    return found[0] if found else None


def seats(some: object) -> Seats:
    assert hasattr(some, "items")
    return frozenset((user, one.identity_key, one.role) for user, one in some.items())


def seen(group: Membership) -> Model:
    return Model(group.kind, seats(group.members), seats(group.invited), group.epoch, group.deleted)


def moves(names: tuple[str, ...]) -> list[Move]:
    """Everything that anybody might try."""
    tried = []
    for operation, actor, subject in product(Operation, names, names):
        roles = Role if operation is Operation.INVITE else (Role.MEMBER,)
        tried += [Move(operation, *two(actor), *two(subject), role) for role in roles]
    return tried


def explore(kind: GroupKind, names: tuple[str, ...], depth: int) -> int:
    """Try everything in every state that *depth* entries lead to; return how many judgements were compared."""
    tried = moves(names)
    first = start(kind)
    level = {seen(first): first}
    known = set(level)
    compared = 0
    for _ in range(depth):
        found: dict[Model, Membership] = {}
        for model, group in level.items():
            for move in tried:
                expected, actual = model.after(move), follow(group, move)
                assert (actual and seen(actual)) == expected, f"{move} in {model}"
                compared += 1
                if actual is not None and expected is not None and expected not in known:
                    known.add(expected)
                    found[expected] = actual
        level = found
    return compared


@pytest.mark.parametrize("kind", GroupKind)
def test_all_sequences_of_four_entries_of_three_users_are_judged_as_the_model_judges(kind: GroupKind) -> None:
    assert explore(kind, NAMES, 4) > 5_000


@pytest.mark.parametrize("kind", GroupKind)
def test_all_sequences_of_four_entries_are_judged_so_when_two_users_have_two_keys_each(kind: GroupKind) -> None:
    assert explore(kind, ("alice", "alice'", "bob", "bob'"), 4) > 5_000


# What is not told by who and what.


def grown() -> Membership:
    """Alice, admin; Bob, member; Carol, invited."""
    group = start(GroupKind.INVITATION)
    for move in (
        Move(Operation.INVITE, *two("alice"), *two("bob")),
        Move(Operation.ACCEPT, *two("bob"), *two("bob")),
        Move(Operation.INVITE, *two("alice"), *two("carol"), Role.ADMIN),
    ):
        after = follow(group, move)
        assert after is not None
        group = after
    return group


def test_an_entry_follows_only_the_newest_one_of_its_group() -> None:
    group = grown()
    good = entry_of(Move(Operation.PROMOTE, *two("alice"), *two("bob")), group, epoch=group.epoch)
    assert group.apply(good).number == 4
    for bad in (
        replace(good, group_id=bytes(32)),
        replace(good, number=3),
        replace(good, number=5),
        replace(good, previous_hash=bytes(32)),
        replace(good, epoch=group.epoch + 1),
        replace(good, epoch=group.epoch - 1),
    ):
        with pytest.raises(EntryRefused):
            group.apply(bad)


def test_of_two_entries_on_one_neither_follows_the_other_and_their_groups_show_it() -> None:
    group = grown()
    one, other = (
        entry_of(Move(operation, *two("alice"), *two("bob")), group, epoch=group.epoch + new)
        for operation, new in ((Operation.PROMOTE, 0), (Operation.REMOVE, 1))
    )
    left, right = group.apply(one), group.apply(other)
    assert left.fingerprint != right.fingerprint
    for state, entry in ((left, other), (right, one)):
        with pytest.raises(EntryRefused):
            state.apply(entry)


def test_what_is_refused_changes_nothing() -> None:
    group = grown()
    before = group.to_bytes()
    for move in moves(("alice", "bob'", "carol", "dave")):
        follow(group, move)
    assert group.to_bytes() == before


def test_nothing_follows_the_end_of_a_group() -> None:
    group = follow(grown(), Move(Operation.DELETE, *two("alice"), *two("alice")))
    assert group is not None
    assert group.deleted
    assert all(follow(group, move) is None for move in moves(NAMES))


@pytest.mark.parametrize(
    "change",
    [
        {"operation": Operation.JOIN},
        {"epoch": 1},
        {"role": Role.MEMBER},
        {"subject": UserId("bob")},
        {"subject_key": key("bob")},
        {"name": None},
        {"kind": None},
    ],
)
def test_a_log_begins_with_a_genesis_entry_of_its_first_admin(change: dict[str, object]) -> None:
    good = entry_of(Move(Operation.CREATE, *two("alice"), *two("alice"), Role.ADMIN), kind=GroupKind.OPEN)
    assert Membership.start(good).members == {"alice": Member(key("alice"), Role.ADMIN, 0)}
    with pytest.raises(EntryRefused):
        Membership.start(replace(good, **change))  # type: ignore[arg-type]


def test_a_full_group_takes_nobody_and_lets_everybody_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "GROUP_MEMBERS_MAX", 2)
    group = grown()
    accept = Move(Operation.ACCEPT, *two("carol"), *two("carol"))
    assert follow(group, accept) is None
    assert follow(group, Move(Operation.REMOVE, *two("alice"), *two("bob"))) is not None
    left = follow(group, Move(Operation.LEAVE, *two("bob"), *two("bob")))
    assert left is not None
    assert follow(left, accept) is not None
    one_more = follow(group, Move(Operation.INVITE, *two("alice"), *two("dave")))
    assert one_more is not None
    assert follow(one_more, Move(Operation.INVITE, *two("alice"), *two("eve"))) is None


def test_a_seat_is_its_keys() -> None:
    group = grown()
    assert group.is_member("bob", key("bob"))
    assert not group.is_member("bob", key("bob'"))
    assert not group.is_member("carol", key("carol"))
    rekeyed = follow(group, Move(Operation.REKEY, *two("alice"), *two("bob'")))
    assert rekeyed is not None
    assert (rekeyed.is_member("bob", key("bob")), rekeyed.is_member("bob", key("bob'"))) == (False, True)
    assert rekeyed.members[UserId("bob")].since == rekeyed.number


def test_who_is_no_admin_makes_nobody_one_by_leaving() -> None:
    group = follow(grown(), Move(Operation.ACCEPT, *two("carol"), *two("carol")))
    assert group is not None
    assert follow(group, Move(Operation.LEAVE, *two("bob"), *two("carol"))) is None
    assert follow(group, Move(Operation.LEAVE, *two("carol"), *two("bob"))) is not None


def test_members_of_a_group_whose_last_admin_came_back_under_another_key_may_go() -> None:
    group: Membership | None = start(GroupKind.OPEN)
    for move in (
        Move(Operation.JOIN, *two("bob"), *two("bob")),
        Move(Operation.JOIN, *two("alice'"), *two("alice'")),
        Move(Operation.LEAVE, *two("bob"), *two("bob")),
    ):
        assert group is not None
        group = follow(group, move)
    assert group is not None
    assert group.members == {"alice": Member(key("alice'"), Role.MEMBER, 2)}


def test_entries_that_are_signed_are_those_that_may_follow() -> None:
    alice, bob = (IdentityKeyPair.generate(entropy=DICE.randbytes) for _ in range(2))
    data = Membership.genesis(
        alice, UserId("alice"), name="team", kind=GroupKind.OPEN, time_ms=5, entropy=DICE.randbytes
    )
    group = Membership.start(take_entry(data))

    def sign(identity: IdentityKeyPair, actor: str, operation: Operation, **more: object) -> bytes:
        return group.next_entry(
            identity,
            UserId(actor),
            operation,
            time_ms=6,
            entropy=DICE.randbytes,
            **more,  # type: ignore[arg-type]
        )

    group = group.apply(take_entry(sign(bob, "bob", Operation.JOIN)))
    assert set(group.members) == {"alice", "bob"}
    for bad in (Operation.CLOSE, Operation.JOIN, Operation.ACCEPT, Operation.CREATE):
        with pytest.raises((EntryRefused, MalformedFrame)):
            sign(bob, "bob", bad)
    with pytest.raises(EntryRefused):
        sign(alice, "alice", Operation.LEAVE)
    successor = {"subject": UserId("bob"), "subject_key": bob.public_key}
    group = group.apply(take_entry(sign(alice, "alice", Operation.LEAVE, **successor)))
    assert group.members == {"bob": Member(bob.public_key, Role.ADMIN, 1)}


# As it is stored, and what members compare.

_users = st.sampled_from([UserId(name) for name in ("alice", "bob", "Überfall", "团队", "x" * 128)])
_member = st.builds(Member, st.binary(min_size=33, max_size=33), st.sampled_from(Role), st.integers(0, 2**63 - 1))
_memberships = st.builds(
    Membership,
    st.binary(min_size=32, max_size=32),
    st.text(max_size=60),
    st.sampled_from(GroupKind),
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**63 - 1),
    st.dictionaries(_users, _member),
    st.dictionaries(_users, _member),
    st.booleans(),
)


@given(_memberships)
def test_what_is_stored_is_read_again(group: Membership) -> None:
    assert Membership.from_bytes(group.to_bytes()) == group


@given(_memberships, st.data())
def test_stored_bytes_that_were_cut_or_changed_raise_one_exception_or_are_another_membership(
    group: Membership, data: st.DataObject
) -> None:
    stored = bytearray(group.to_bytes())
    stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    del stored[data.draw(st.integers(1, len(stored))) :]
    try:
        read = Membership.from_bytes(bytes(stored))
    except MalformedFrame:
        return
    assert Membership.from_bytes(read.to_bytes()) == read


def test_a_stored_membership_of_another_form_is_refused() -> None:
    stored = grown().to_bytes()
    assert stored[1] == 1
    for bad in (stored[:1] + b"\x02" + stored[2:], b"\x90", b"", b"\x01"):
        with pytest.raises(MalformedFrame):
            Membership.from_bytes(bad)


def test_a_fingerprint_is_sixty_digits_of_the_newest_entry() -> None:
    group = replace(grown(), hash=bytes(32))
    assert group.fingerprint == replace(start(GroupKind.OPEN), hash=bytes(32)).fingerprint
    assert (len(group.fingerprint), group.fingerprint.isdigit()) == (60, True)
    digest = sha512(b"e2ee group fingerprint v1\x00" + bytes(32)).digest()
    assert group.fingerprint[:5] == f"{int.from_bytes(digest[:5], 'big') % 100_000:05d}"
    assert group.fingerprint[-5:] == f"{int.from_bytes(digest[55:60], 'big') % 100_000:05d}"


def test_a_digest_of_devices_is_the_same_in_any_order_and_another_for_any_difference() -> None:
    alice = MemberDevices("alice", (DeviceRef(1, 10), DeviceRef(2, 20)))
    bob = MemberDevices("bob", (DeviceRef(1, 30),))
    digest = device_digest([alice, bob])
    assert digest == device_digest([bob, replace(alice, devices=alice.devices[::-1])])
    others: tuple[list[MemberDevices], ...] = (
        [alice],
        [alice, replace(bob, user_id="bo")],
        [alice, replace(bob, devices=(DeviceRef(2, 30),))],
        [alice, replace(bob, devices=(DeviceRef(1, 31),))],
        [alice, replace(bob, devices=())],
        [],
    )
    assert len({digest, *map(device_digest, others)}) == len(others)  # no devices are as no member
    assert device_digest([]).hex() == sha256(b"e2ee group devices v1\x00\x90").hexdigest()
