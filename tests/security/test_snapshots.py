"""Damaged snapshots: refused, or loaded into something that is stored as the same bytes and raises no surprises."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet import (
    Account,
    Ciphertext,
    CorruptSnapshot,
    OwnSenderKey,
    PeerSenderKey,
    RatchetError,
    Session,
    UnsupportedVersion,
)
from ratchet.packing import pack
from tests.support.adversary import bit_flips, leaves, putting
from tests.support.conversation import Conversation, active_ratchet, lose, seeded
from tests.support.naming import case_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.conversation import Stored

# Rounds after which the braid of one side or the other is in a state that no other number has shown.
ROUNDS = (0, 1, 2, 10, 14, 40, 44, 60, 88)
REFUSED = (CorruptSnapshot, UnsupportedVersion)


class Kind:
    """One kind of stored object: a specimen, how it is loaded, and all that can be done with it."""

    def __init__(self, stored: bytes, load: Callable[[bytes], Stored], uses: list[Callable[[Any], object]]) -> None:
        self.stored = stored
        self.load = load
        self.uses = uses

    def survives(self, damaged: bytes) -> None:
        """Assert what must hold for any bytes."""
        try:
            loaded = self.load(damaged)
        except REFUSED:
            return
        assert loaded.to_bytes() == damaged
        for use in self.uses:
            try:
                use(loaded)
            except RatchetError:
                continue
            self.load(loaded.to_bytes())


def session_kind(talk: Conversation, owner: str) -> Kind:
    session: Session = getattr(talk, owner)
    device: Account = getattr(talk, f"{owner}_account")
    peer = Session.from_bytes((talk.bobs if owner == "alice" else talk.alice).to_bytes())
    under_way: list[Ciphertext] = [peer.encrypt(b"%d" % i, now=0, entropy=seeded(i)) for i in range(3)]
    return Kind(
        session.to_bytes(),
        Session.from_bytes,
        [
            lambda loaded: loaded.encrypt(b"hello", now=0, entropy=seeded(1)),
            lambda loaded: loaded.decrypt(device, under_way[2], now=0, entropy=seeded(2)),
            lambda loaded: loaded.decrypt(device, under_way[0], now=0, entropy=seeded(3)),
            lambda loaded: loaded.encrypt(b"again", now=0, entropy=seeded(4)),
            lambda loaded: loaded.archive(),
            lambda loaded: loaded.decrypt(device, under_way[1], now=0, entropy=seeded(5)),
            repr,
        ],
    )


@cache
def sessions() -> list[Kind]:
    kinds = []
    for rounds in ROUNDS:
        talk = Conversation(5).established().ping_pong(rounds)
        if rounds == 1:  # skipped keys in both ratchets, an archived ratchet, and something pending
            lose(talk.alice, 3)
            talk.alice_sends().deliver_last()
            talk.bobs.renew(talk.bob_account, talk.alice_account.bundle(), now=0, entropy=talk.entropy)
        kinds += [session_kind(talk, "alice"), session_kind(talk, "bob")]
    return kinds


@cache
def account_kind() -> Kind:
    talk = Conversation(7, one_time=False).alice_sends()
    talk.deliver_last()
    device = talk.bob_account
    first = talk.sent[0].ciphertext
    return Kind(
        device.to_bytes(),
        Account.from_bytes,
        [
            lambda loaded: loaded.bundle(),
            lambda loaded: loaded.replenish(5, now=0, entropy=seeded(1)),
            lambda loaded: loaded.rotate_signed_prekey(now=0, entropy=seeded(2)),
            lambda loaded: Session.accept(loaded, first, now=0),
            lambda loaded: loaded.published_prekeys(),
            lambda loaded: loaded.sign("label", b"data"),
            repr,
        ],
    )


@cache
def sender_key_kinds() -> tuple[Kind, Kind]:
    own = OwnSenderKey.create(UUID(int=5), entropy=seeded(1))
    peer = PeerSenderKey.from_distribution_message(own.distribution_message())
    sent = [own.encrypt(b"%d" % i) for i in range(5)]
    peer.decrypt(sent[2])
    peer.add_distribution_message(OwnSenderKey.create(UUID(int=5), entropy=seeded(2)).distribution_message())
    distribution = own.distribution_message()
    return (
        Kind(
            own.to_bytes(),
            OwnSenderKey.from_bytes,
            [lambda loaded: loaded.encrypt(b"x"), lambda loaded: loaded.distribution_message()],
        ),
        Kind(
            peer.to_bytes(),
            PeerSenderKey.from_bytes,
            [
                lambda loaded: loaded.decrypt(sent[1]),
                lambda loaded: loaded.decrypt(sent[4]),
                lambda loaded: loaded.add_distribution_message(distribution),
            ],
        ),
    )


@cache
def kinds() -> list[Kind]:
    return [*sessions(), account_kind(), *sender_key_kinds()]


@cache
def small_kinds() -> list[Kind]:
    return [sessions()[0], sessions()[3], account_kind(), *sender_key_kinds()]


OTHER_VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 5, 127, 2**16, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64 - 1, -1, 1.5),
    *(b"", bytes(32), b"\x05" + bytes(32), bytes(64), "text", [], [[]], {}, {"a": 1}, [None] * 3),
]


def other_values(value: Any) -> Iterator[Any]:  # noqa: ANN401
    """What could stand where *value* stands."""
    for other in OTHER_VALUES:
        if type(other) is not type(value) or other != value:
            yield other
    match value:
        case bool():
            return
        case int():
            yield from (value + 1, value - 1)
        case bytes() if value:
            yield from (
                value[:-1],
                value + b"\0",
                bytes([value[0] ^ 1]) + value[1:],
                value[:-1] + bytes([value[-1] ^ 0x80]),
            )
        case list() if value:
            yield from (value[:-1], [*value, value[-1]], value[::-1], value[1:])


def damaged(stored: bytes) -> Iterator[bytes]:
    """*stored* with each of its values replaced in turn by each other value."""
    tree = msgpack.unpackb(stored)
    for path, value in leaves(tree):
        for other in other_values(value):
            yield pack(putting(tree, path, other))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2 * len(ROUNDS) + 3))
def test_any_value_replaced_by_any_other_is_refused_or_does_no_harm(number: int) -> None:
    kind = kinds()[number]
    for snapshot in damaged(kind.stored):
        kind.survives(snapshot)


@pytest.mark.parametrize("number", range(5))
def test_any_value_replaced_by_every_tenth_other_is_refused_or_does_no_harm(number: int) -> None:
    kind = small_kinds()[number]
    for count, snapshot in enumerate(damaged(kind.stored)):
        if count % 10 == 0:
            kind.survives(snapshot)


@pytest.mark.parametrize("number", range(5))
def test_a_snapshot_cut_at_any_length_is_refused(number: int) -> None:
    kind = small_kinds()[number]
    for length in range(len(kind.stored)):
        with pytest.raises(REFUSED):
            kind.load(kind.stored[:length])


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("trailing", [b"\0", b"\xc0", b"\x90"])
def test_a_snapshot_with_anything_behind_it_is_refused(number: int, trailing: bytes) -> None:
    kind = small_kinds()[number]
    with pytest.raises(REFUSED):
        kind.load(kind.stored + trailing)


@pytest.mark.parametrize("number", range(5))
def test_a_snapshot_with_one_bit_in_101_flipped_is_refused_or_does_no_harm(number: int) -> None:
    kind = small_kinds()[number]
    for bit, snapshot in bit_flips(kind.stored):
        if bit % 101 == 0:
            kind.survives(snapshot)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2 * len(ROUNDS) + 3))
def test_a_snapshot_with_one_bit_in_13_flipped_is_refused_or_does_no_harm(number: int) -> None:
    kind = kinds()[number]
    for bit, snapshot in bit_flips(kind.stored):
        if bit % 13 == 0:
            kind.survives(snapshot)


@given(data=st.data())
def test_a_snapshot_with_a_random_piece_replaced_is_refused_or_does_no_harm(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(small_kinds()))
    start = data.draw(st.integers(0, len(kind.stored)))
    length = data.draw(st.integers(0, 20))
    piece = data.draw(st.binary(max_size=20))
    kind.survives(kind.stored[:start] + piece + kind.stored[start + length :])


@given(snapshot=st.binary(max_size=500))
def test_random_bytes_are_no_snapshot(snapshot: bytes) -> None:
    for kind in small_kinds():
        with pytest.raises(REFUSED):
            kind.load(snapshot)


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=5)
trees = st.recursive(plain | st.floats(), lambda inner: st.lists(inner, max_size=12), max_leaves=40)


@settings(max_examples=40)
@given(tree=st.lists(trees, max_size=13), version=st.integers(-1, 3))
def test_random_msgpack_is_no_snapshot(tree: list[Any], version: int) -> None:
    snapshot = pack([version, *tree])
    for kind in small_kinds():
        with pytest.raises(REFUSED):
            kind.load(snapshot)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    "snapshot", [None, 0, "text", bytearray(b"\x90"), memoryview(b"\x90"), [], object()], ids=case_name
)
def test_what_is_no_bytes_is_no_snapshot(number: int, snapshot: Any) -> None:  # noqa: ANN401
    with pytest.raises(REFUSED):
        small_kinds()[number].load(snapshot)


@pytest.mark.parametrize("number", range(5))
def test_a_snapshot_of_a_newer_release_is_told_apart_from_a_damaged_one(number: int) -> None:
    kind = small_kinds()[number]
    tree = msgpack.unpackb(kind.stored)
    with pytest.raises(UnsupportedVersion):
        kind.load(pack([tree[0] + 1, *tree[1:]]))
    with pytest.raises(CorruptSnapshot):
        kind.load(pack([0, *tree[1:]]))


@pytest.mark.parametrize("one", range(5))
@pytest.mark.parametrize("other", range(5))
def test_the_snapshot_of_one_kind_is_none_of_another(one: int, other: int) -> None:
    if small_kinds()[one].load != small_kinds()[other].load:
        with pytest.raises(REFUSED):
            small_kinds()[one].load(small_kinds()[other].stored)


@pytest.mark.parametrize("depth", [10, 500, 511, 512, 600, 1_000, 1_024, 1_025, 100_000])
@pytest.mark.parametrize("number", range(5))
def test_arrays_within_arrays_are_refused_at_any_depth(number: int, depth: int) -> None:
    kind = small_kinds()[number]
    length = len(msgpack.unpackb(kind.stored))
    with pytest.raises(REFUSED):
        kind.load(bytes((0x90 | length, 1)) + b"\x91" * depth + b"\xc0" * (length - 1))


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    "other_form",
    [
        pytest.param(lambda stored: b"\xdc" + bytes((0, stored[0] & 15)) + stored[1:], id="a longer array header"),
        pytest.param(lambda stored: stored[:1] + b"\xcc" + stored[1:], id="a longer integer"),
        pytest.param(lambda stored: stored.replace(b"\xc4\x20", b"\xc5\x00\x20", 1), id="a longer bytes header"),
    ],
)
def test_the_same_values_in_another_encoding_are_refused(number: int, other_form: Callable[[bytes], bytes]) -> None:
    kind = small_kinds()[number]
    other = other_form(kind.stored)
    assert other != kind.stored
    assert msgpack.unpackb(other) == msgpack.unpackb(kind.stored)
    with pytest.raises(CorruptSnapshot):
        kind.load(other)


def test_every_state_of_the_braid_is_among_the_specimens() -> None:
    states = set()
    for kind in sessions():
        loaded = Session.from_bytes(kind.stored)
        post_quantum = active_ratchet(loaded).post_quantum
        assert post_quantum is not None
        states.add(type(post_quantum.state).__name__)
    assert len(states) >= 7
