"""What stands inside the encryption (docs/protocol.md section 5)."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.content import (
    ANSWERS_MAX,
    Content,
    ContentKind,
    Destination,
    Gone,
    GoneReason,
    ReadCopy,
    Receipt,
    ReceiptState,
    RetryRequest,
    content_kind,
    decode_content,
    decode_gone,
    decode_read_copy,
    decode_receipt,
    decode_retry_request,
    encode_content,
    encode_gone,
    encode_read_copy,
    encode_receipt,
    encode_retry_request,
)
from e2ee.errors import MalformedFrame

TO_BOB = Destination("bob")
TO_GROUP = Destination(None, bytes(32), 3, 17, b"\x01" * 32)


def content(kind: int = ContentKind.TEXT, body: bytes = b"hello", destination: Destination = TO_BOB) -> Content:
    return Content(kind, bytes(range(16)), 1, 1_700_000_000_000, "alice", 1, destination, body)


@pytest.mark.parametrize("size", [0, 1, 60, 100, 159, 160, 161, 5000])
def test_content_is_padded_to_blocks_of_160_bytes_and_comes_back(size: int) -> None:
    original = content(ContentKind.DATA, bytes(size))

    plaintext = encode_content(original)

    assert len(plaintext) % 160 == 0
    assert decode_content(plaintext) == original


def test_a_body_that_ends_like_padding_comes_back_whole() -> None:
    original = content(ContentKind.DATA, b"\x80\x00\x80\x00\x00")

    assert decode_content(encode_content(original)) == original


def test_contents_of_similar_length_cannot_be_told_apart_by_size() -> None:
    assert len({len(encode_content(content(body=bytes(size)))) for size in range(60)}) == 1


def test_a_content_to_a_group_names_its_epoch_and_log() -> None:
    assert decode_content(encode_content(content(destination=TO_GROUP))).destination == TO_GROUP


def test_a_kind_of_a_later_release_is_content_too() -> None:
    assert decode_content(encode_content(content(kind=200))).kind == 200


@pytest.mark.parametrize(
    "damage",
    [
        lambda plaintext: plaintext[:-1],
        lambda plaintext: plaintext + b"\x00",
        lambda plaintext: plaintext[:-1] + b"\x01",
        lambda _plaintext: bytes(160),
        lambda _plaintext: b"",
        lambda plaintext: b"\x9a" + plaintext[1:],
        lambda plaintext: plaintext.replace(b"alice", b"al ce"),
    ],
)
def test_damaged_content_is_malformed(damage: object) -> None:
    with pytest.raises(MalformedFrame):
        decode_content(damage(encode_content(content())))  # type: ignore[operator]


@pytest.mark.parametrize("destination", [Destination(None), Destination("bob", bytes(32))])
def test_a_destination_is_a_user_or_a_group(destination: Destination) -> None:
    with pytest.raises(MalformedFrame):
        decode_content(encode_content(content(destination=destination)))


def test_a_text_is_utf_8() -> None:
    with pytest.raises(MalformedFrame):
        decode_content(encode_content(content(body=b"\xff\xfe")))


def test_another_version_of_the_form_is_refused() -> None:
    plaintext = encode_content(content())

    with pytest.raises(MalformedFrame):
        decode_content(plaintext.replace(b"\x99\x01", b"\x99\x02", 1))


@given(st.binary(max_size=320))
def test_no_plaintext_raises_anything_but_malformed(data: bytes) -> None:
    padded = data + b"\x80" + bytes(-(len(data) + 1) % 160)
    try:
        decode_content(padded)
    except MalformedFrame:
        return
    raise AssertionError("random bytes were a content")


def test_receipts_copies_of_read_marks_and_retry_requests_come_back() -> None:
    copy = ReadCopy("bob", (bytes(16), b"\x01" * 16))
    assert decode_read_copy(encode_read_copy(copy)) == copy
    receipt = Receipt(ReceiptState.READ, 2, None, ((1, 1), (4, 90)))
    request = RetryRequest((bytes(16), b"\x01" * 16))

    assert decode_receipt(encode_receipt(receipt)) == receipt
    assert decode_retry_request(encode_retry_request(request)) == request


@pytest.mark.parametrize(
    "body", [["bob", []], ["bob", [bytes(15)]], ["bob", [bytes(16)] * 201], ["b b", [bytes(16)]], [bytes(16)]]
)
def test_a_copy_of_read_marks_out_of_its_form_is_malformed(body: list[object]) -> None:
    with pytest.raises(MalformedFrame):
        decode_read_copy(msgpack.packb(body))


@pytest.mark.parametrize(
    "body",
    [[3, 1, None, [[1, 1]]], [1, 0, None, [[1, 1]]], [1, 1, None, []], [1, 1, None, [[2, 1]]], [1, 1, None, [[0, 1]]]],
)
def test_a_receipt_out_of_its_ranges_is_malformed(body: list[object]) -> None:
    with pytest.raises(MalformedFrame):
        decode_receipt(msgpack.packb(body))


def test_a_message_that_goes_again_names_the_envelopes_whose_place_it_takes() -> None:
    again = replace(content(), answers=(b"e" * 16, b"f" * 16))
    assert decode_content(encode_content(again)) == again
    assert decode_content(encode_content(content())).answers == ()
    assert content_kind(encode_content(again)) == content_kind(encode_content(content())) == ContentKind.TEXT


@pytest.mark.parametrize("answers", [(b"e" * 15,), (b"e" * 16,) * (ANSWERS_MAX + 1), ("e" * 16,)])
def test_answers_out_of_their_form_are_malformed(answers: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedFrame):
        decode_content(encode_content(replace(content(), answers=answers)))


def test_what_is_gone_comes_back_also_for_reasons_of_a_later_release() -> None:
    gone = Gone(((bytes(16), GoneReason.NOT_KEPT), (b"e" * 16, 200)))
    assert decode_gone(encode_gone(gone)) == gone


@pytest.mark.parametrize("entries", [[], [[bytes(15), 1]], [[bytes(16), 0]], [[bytes(16)]], [[bytes(16), 1]] * 201])
def test_a_gone_out_of_its_form_is_malformed(entries: list[object]) -> None:
    with pytest.raises(MalformedFrame):
        decode_gone(msgpack.packb([entries]))
