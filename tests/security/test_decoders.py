"""Every decoder, fed with anything: only its own errors leave, and what was written is read back the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ratchet import MalformedMessage, SafetyNumber, SafetyNumberMismatch, UnsupportedVersion, safety_number
from ratchet.limits import FIELDS_MAX
from ratchet.messages import (
    DistributionMessage,
    PendingPreKey,
    PreKeyMessage,
    SenderKeyMessage,
    SignalMessage,
    encode_sender_key_message,
    encode_signal_message,
)
from ratchet.protobuf import bytes_field, number_field, read_fields, read_varint, varint
from ratchet.spqr.wire import CT1_ACK, NONE, BraidMessage, encode_braid_message
from tests.support.adversary import bit_flips
from tests.support.conversation import account

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = (MalformedMessage, UnsupportedVersion)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
public_keys = st.binary(min_size=32, max_size=32).map(lambda key: b"\x05" + key)
kem_ciphertexts = st.binary(min_size=8, max_size=8).map(lambda piece: b"\x08" + piece * 196)


def parse_scanned(scanned: bytes) -> None:
    try:
        NUMBER.check_scanned(scanned)
    except SafetyNumberMismatch:
        return


NUMBER: SafetyNumber = safety_number(
    b"alice", account("alice").identity_key, b"bob", account("bob").identity_key, iterations=2
)
THEIRS: SafetyNumber = safety_number(
    b"bob", account("bob").identity_key, b"alice", account("alice").identity_key, iterations=2
)
DECODERS: list[Callable[[bytes], object]] = [
    SignalMessage.parse,
    PreKeyMessage.parse,
    SenderKeyMessage.parse,
    DistributionMessage.parse,
    BraidMessage.parse,
    parse_scanned,
    lambda data: read_fields(data, 0, len(data)),
]


@pytest.mark.parametrize("decode", DECODERS, ids=range(len(DECODERS)))
@given(data=st.binary(max_size=300))
@example(b"")
@example(b"\x44")
@example(b"\x44" + b"\xff" * 40)
@example(b"\x33" + b"\xff" * 100)
def test_random_bytes_raise_nothing_else(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except REFUSED:
        return


field_values = st.one_of(
    st.tuples(st.just(0), u64.map(varint)),
    st.tuples(st.just(1), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(2), st.binary(max_size=70).map(lambda value: varint(len(value)) + value)),
    st.tuples(st.just(5), st.binary(min_size=4, max_size=4)),
)
fields = st.lists(st.tuples(st.one_of(st.integers(1, 9), st.integers(1, 2**29 - 1)), field_values), max_size=12)


def encoded(values: list[tuple[int, tuple[int, bytes]]]) -> bytes:
    return b"".join(varint(number << 3 | wire_type) + value for number, (wire_type, value) in values)


@pytest.mark.parametrize("decode", DECODERS, ids=range(len(DECODERS)))
@given(first=st.sampled_from([b"\x44", b"\x34", b"\x33", b"\x01", b""]), values=fields, end=st.binary(max_size=64))
def test_well_formed_fields_of_any_kind_raise_nothing_else(
    decode: Callable[[bytes], object], first: bytes, values: list[tuple[int, tuple[int, bytes]]], end: bytes
) -> None:
    try:
        decode(first + encoded(values) + end)
    except REFUSED:
        return


@given(values=fields)
def test_of_a_repeated_field_the_last_counts_and_nothing_is_lost(values: list[tuple[int, tuple[int, bytes]]]) -> None:
    data = encoded(values)
    read = read_fields(data, 0, len(data))
    assert set(read) == {number for number, _value in values}
    for number, (wire_type, value) in dict(values).items():
        match wire_type:
            case 0:
                assert read[number] == read_varint(value, 0)[0] & 0xFFFFFFFF
            case 2:
                content = read[number]
                assert isinstance(content, bytes)
                assert value == varint(len(content)) + content
            case _:
                assert read[number] is None


@given(value=u64)
def test_a_number_is_read_back_the_same_and_in_its_shortest_form(value: int) -> None:
    written = varint(value)
    assert read_varint(written, 0) == (value, len(written))
    assert len(written) == max(1, -(-value.bit_length() // 7))


@given(data=st.binary(min_size=1, max_size=20))
def test_a_number_ends_or_is_refused(data: bytes) -> None:
    try:
        value, position = read_varint(data, 0)
    except (IndexError, MalformedMessage):
        assert min(data[:10]) >= 0x80
    else:
        assert 0 <= value < 2**64
        assert position <= min(len(data), 10)


@given(
    version=st.sampled_from([3, 4]),
    ratchet_key=public_keys,
    counter=u32,
    previous=u32,
    ciphertext=st.binary(max_size=300),
    pq_ratchet=st.binary(max_size=200),
    addresses=st.none() | st.binary(min_size=36, max_size=36),
    tag=st.binary(min_size=8, max_size=8),
)
def test_a_signal_message_is_read_back_the_same(
    version: int,
    ratchet_key: bytes,
    counter: int,
    previous: int,
    ciphertext: bytes,
    pq_ratchet: bytes,
    addresses: bytes | None,
    tag: bytes,
) -> None:
    written = encode_signal_message(version, ratchet_key, counter, previous, ciphertext, pq_ratchet, addresses)
    read = SignalMessage.parse(written + tag)
    assert (read.version, read.ratchet_key, read.counter) == (version, ratchet_key, counter)
    assert (read.ciphertext, read.pq_ratchet, read.addresses) == (ciphertext, pq_ratchet, addresses)
    assert (read.authenticated, read.tag) == (written, tag)


def both_ways(data: bytes) -> tuple[object, object]:
    """What the short way of parsing makes of *data*, and the long one, which an unknown last field enforces."""

    def parsed(body: bytes) -> object:
        try:
            read = SignalMessage.parse(body)
        except REFUSED as error:
            return type(error)
        return (
            read.version,
            read.ratchet_key,
            read.counter,
            read.ciphertext,
            read.pq_ratchet,
            read.addresses,
        )

    return parsed(data), parsed(data[:-8] + b"\x78\x00" + data[-8:])


@given(
    pieces=st.lists(
        st.one_of(
            st.sampled_from(
                [b"\x0a\x21\x05" + bytes(32), b"\x10\x05", b"\x18\x00", b"\x22\x10" + bytes(16), b"\x2a\x04spqr"]
            ),
            st.sampled_from(
                [b"\x10\x80\x80\x01", b"\x18\x80\x01", b"\x22\x80\x01" + bytes(128), b"\x2a\x00", b"\x32\x00"]
            ),
            st.binary(max_size=6),
        ),
        max_size=8,
    )
)
@example([b"\x0a\x21\x05" + bytes(32), b"\x10\x05", b"\x18\x00", b"\x22\x10" + bytes(16), b"\x2a\x04spqr"])
@example([b"\x0a\x21\x05" + bytes(32), b"\x10\x05", b"\x18\x00", b"\x22\x10" + bytes(16)])
@example([b"\x0a\x21\x05" + bytes(32), b"\x10\xff\xff\xff\xff\xff\x01", b"\x18\x00", b"\x22\x00", b"\x2a\x00"])
def test_the_short_way_of_parsing_a_message_reads_what_the_long_way_reads(pieces: list[bytes]) -> None:
    short, long = both_ways(b"\x44" + b"".join(pieces) + bytes(8))
    assert short == long


def test_the_short_way_agrees_with_the_long_way_on_every_flipped_bit_and_every_length() -> None:
    part = encode_braid_message(1, 1, 1, 0, bytes(32))
    whole = encode_signal_message(4, b"\x05" + bytes(32), 300, 2, bytes(208), part, None) + bytes(8)
    bodies = [body for _bit, body in bit_flips(whole[:-8])] + [whole[:length] for length in range(1, len(whole) - 8)]
    for body in bodies:
        short, long = both_ways(body + bytes(8))
        # A field that was cut off by a byte or two may be completed by the two that are added.
        assert short == long or short is MalformedMessage


@given(
    one_time=st.none() | u32,
    kem=st.booleans(),
    ids=st.tuples(u32, u32, u32),
    keys=st.tuples(public_keys, public_keys),
    kem_ciphertext=kem_ciphertexts,
    version=st.sampled_from([3, 4]),
)
def test_a_first_message_is_read_back_the_same(
    one_time: int | None,
    kem: bool,  # noqa: FBT001
    ids: tuple[int, int, int],
    keys: tuple[bytes, bytes],
    kem_ciphertext: bytes,
    version: int,
) -> None:
    registration_id, signed_id, kem_id = ids
    inner = encode_signal_message(version, keys[0], 7, 0, bytes(16), b"", None) + bytes(8)
    pending = PendingPreKey(
        registration_id=registration_id,
        one_time_prekey_id=one_time,
        signed_prekey_id=signed_id,
        kem_prekey_id=kem_id if kem else None,
        kem_ciphertext=kem_ciphertext if kem else None,
        base_key=keys[0],
        identity_key=keys[1],
    )
    written = pending.wrap(version, inner)
    if version == 4 and not kem:
        with pytest.raises(MalformedMessage):
            PreKeyMessage.parse(written)
        return
    read = PreKeyMessage.parse(written)
    for name in PendingPreKey.__slots__:
        assert getattr(read, name) == getattr(pending, name)
    assert read.version == version
    assert read.message.authenticated + read.message.tag == inner


@given(chain_id=u32, iteration=u32, ciphertext=st.binary(max_size=200), signature=st.binary(min_size=64, max_size=64))
def test_a_group_message_is_read_back_the_same(
    chain_id: int, iteration: int, ciphertext: bytes, signature: bytes
) -> None:
    group = UUID(int=3)
    written = encode_sender_key_message(group.bytes, chain_id, iteration, ciphertext)
    read = SenderKeyMessage.parse(written + signature)
    assert (read.distribution_id, read.chain_id, read.iteration) == (group, chain_id, iteration)
    assert (read.ciphertext, read.signed, read.signature) == (ciphertext, written, signature)


@given(chain_id=u32, iteration=u32, chain_key=st.binary(min_size=32, max_size=32), signing_key=public_keys)
def test_a_distribution_message_is_read_back_the_same(
    chain_id: int, iteration: int, chain_key: bytes, signing_key: bytes
) -> None:
    written = DistributionMessage(UUID(int=3), chain_id, iteration, chain_key, signing_key)
    read = DistributionMessage.parse(written.encode())
    for name in DistributionMessage.__slots__:
        assert getattr(read, name) == getattr(written, name)


@given(epoch=st.integers(1, 2**64 - 1), index=u32, kind=st.integers(0, 6), chunk_index=st.integers(0, 65_535))
def test_a_braid_message_is_read_back_the_same_whatever_follows(
    epoch: int, index: int, kind: int, chunk_index: int
) -> None:
    bare = kind in (NONE, CT1_ACK)
    chunk = b"" if bare else bytes(range(32))
    written = encode_braid_message(epoch, index, kind, 0 if bare else chunk_index, chunk)
    for trailing in (b"", b"later versions"):
        read = BraidMessage.parse(written + trailing)
        assert (read.epoch, read.index, read.type) == (epoch, index, kind)
        assert (read.chunk_index, read.chunk) == (0 if bare else chunk_index, chunk)


def test_the_number_of_fields_is_bounded_whatever_they_are() -> None:
    read_fields(b"\x78\x00" * FIELDS_MAX, 0, 2 * FIELDS_MAX)
    for one in (b"\x78\x00", b"\x7a\x00", b"\x79" + bytes(8), b"\x7d" + bytes(4)):
        data = one * (FIELDS_MAX + 1)
        with pytest.raises(MalformedMessage):
            read_fields(data, 0, len(data))


def test_a_scanned_number_is_compared_in_full() -> None:
    NUMBER.check_scanned(THEIRS.scannable)
    for _bit, scanned in bit_flips(THEIRS.scannable):
        with pytest.raises((SafetyNumberMismatch, MalformedMessage)):
            NUMBER.check_scanned(scanned)
    for length in range(len(THEIRS.scannable)):
        with pytest.raises((SafetyNumberMismatch, MalformedMessage)):
            NUMBER.check_scanned(THEIRS.scannable[:length])


def test_ones_own_number_shown_back_is_a_mismatch() -> None:
    with pytest.raises(SafetyNumberMismatch):
        NUMBER.check_scanned(NUMBER.scannable)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_hash_of_another_size_is_a_mismatch_even_if_it_begins_right(size: int) -> None:
    ours, theirs = (NUMBER.local_hash * 2)[:size], (NUMBER.remote_hash * 2)[:size]
    scanned = number_field(1, 2) + bytes_field(2, bytes_field(1, theirs)) + bytes_field(3, bytes_field(1, ours))
    with pytest.raises(SafetyNumberMismatch):
        NUMBER.check_scanned(scanned)


@pytest.mark.parametrize("scanned", [None, 0, "text", bytearray(80), memoryview(bytes(80)), [], object(), bytes(2_000)])
def test_what_is_no_scanned_number_is_malformed(scanned: Any) -> None:  # noqa: ANN401
    with pytest.raises(MalformedMessage):
        NUMBER.check_scanned(scanned)


@given(scanned=st.binary(max_size=120))
def test_random_bytes_are_nobodys_safety_number(scanned: bytes) -> None:
    with pytest.raises((SafetyNumberMismatch, MalformedMessage)):
        NUMBER.check_scanned(scanned)
