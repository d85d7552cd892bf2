"""SPQR's part of a message."""

from __future__ import annotations

import pytest

from ratchet.errors import MalformedMessage, UnsupportedVersion
from ratchet.spqr import wire
from ratchet.spqr.wire import BraidMessage, encode_braid_message

CHUNK = bytes(range(32))
BARE = (wire.NONE, wire.CT1_ACK)
WITH_CHUNK = (wire.HEADER, wire.EK, wire.EK_CT1_ACK, wire.CT1, wire.CT2)


def test_the_types_have_the_numbers_of_the_protocol() -> None:
    assert tuple(range(7)) == (wire.NONE, wire.HEADER, wire.EK, wire.EK_CT1_ACK, wire.CT1_ACK, wire.CT1, wire.CT2)


@pytest.mark.parametrize("kind", BARE)
def test_a_message_without_chunk_is_four_bytes(kind: int) -> None:
    data = encode_braid_message(1, 5, kind, 0, b"")
    assert data == bytes([1, 1, 5, kind])
    message = BraidMessage.parse(data)
    assert (message.epoch, message.index, message.type, message.chunk_index, message.chunk) == (1, 5, kind, 0, b"")


@pytest.mark.parametrize("kind", WITH_CHUNK)
def test_a_message_with_a_chunk_is_37_bytes(kind: int) -> None:
    data = encode_braid_message(1, 5, kind, 7, CHUNK)
    assert data == bytes([1, 1, 5, kind, 7]) + CHUNK
    message = BraidMessage.parse(data)
    assert (message.type, message.chunk_index, message.chunk) == (kind, 7, CHUNK)


@pytest.mark.parametrize(("epoch", "index", "chunk_index"), [(1, 0, 0), (300, 2**32 - 1, 65_535), (2**64 - 1, 1, 128)])
def test_numbers_up_to_their_limits_are_read_back(epoch: int, index: int, chunk_index: int) -> None:
    message = BraidMessage.parse(encode_braid_message(epoch, index, wire.EK, chunk_index, CHUNK))
    assert (message.epoch, message.index, message.chunk_index) == (epoch, index, chunk_index)


@pytest.mark.parametrize("kind", [wire.NONE, wire.EK])
def test_bytes_behind_the_message_are_ignored(kind: int) -> None:
    data = encode_braid_message(1, 5, kind, 0, b"" if kind in BARE else CHUNK)
    assert BraidMessage.parse(data + b"later") == BraidMessage.parse(data)


@pytest.mark.parametrize("kind", [wire.NONE, wire.EK])
def test_a_message_cut_short_is_malformed(kind: int) -> None:
    data = encode_braid_message(300, 300, kind, 300, b"" if kind in BARE else CHUNK)
    if kind in BARE:
        data = encode_braid_message(300, 300, kind, 0, b"")
    for length in range(len(data)):
        with pytest.raises(MalformedMessage):
            BraidMessage.parse(data[:length])


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_told_apart(version: int) -> None:
    with pytest.raises(UnsupportedVersion, match=str(version)):
        BraidMessage.parse(bytes([version]) + encode_braid_message(1, 5, wire.NONE, 0, b"")[1:])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode_braid_message(0, 1, wire.NONE, 0, b""), id="epoch 0"),
        pytest.param(encode_braid_message(1, 2**32, wire.NONE, 0, b""), id="an index of 33 bits"),
        pytest.param(encode_braid_message(1, 1, 7, 0, CHUNK), id="type 7"),
        pytest.param(encode_braid_message(1, 1, wire.EK, 65_536, CHUNK), id="a chunk index of 17 bits"),
        pytest.param(encode_braid_message(1, 1, wire.EK, 0, CHUNK[:31]), id="a chunk of 31 bytes"),
        pytest.param(b"\x01" + b"\x80" * 10 + b"\x00" * 4, id="an endless epoch"),
    ],
)
def test_what_is_out_of_range_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        BraidMessage.parse(data)
