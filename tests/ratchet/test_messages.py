"""Wire forms: each field in its place, each fault by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from ratchet.errors import MalformedMessage, UnsupportedVersion
from ratchet.limits import MESSAGE_SIZE_MAX
from ratchet.messages import (
    CiphertextKind,
    DistributionMessage,
    PendingPreKey,
    PreKeyMessage,
    SenderKeyMessage,
    SignalMessage,
    encode_sender_key_message,
    encode_signal_message,
)
from ratchet.protobuf import bytes_field, number_field, varint

if TYPE_CHECKING:
    from collections.abc import Callable

KEY, OTHER_KEY = b"\x05" + bytes(32), b"\x05" + bytes(range(32))
KEM_CIPHERTEXT = b"\x08" + bytes(1568)
GROUP = UUID(int=5)
TAG = b"8 bytes!"

SIGNAL_FIELDS = {
    1: bytes_field(1, KEY),
    2: number_field(2, 7),
    3: number_field(3, 2),
    4: bytes_field(4, bytes(16)),
    5: bytes_field(5, b"spqr"),
    6: bytes_field(6, bytes(36)),
}
PREKEY_FIELDS = {
    1: number_field(1, 11),
    2: bytes_field(2, KEY),
    3: bytes_field(3, OTHER_KEY),
    4: bytes_field(4, b"\x44" + b"".join(SIGNAL_FIELDS.values()) + TAG),
    5: number_field(5, 42),
    6: number_field(6, 12),
    7: number_field(7, 13),
    8: bytes_field(8, KEM_CIPHERTEXT),
}
SENDER_FIELDS = {
    1: bytes_field(1, GROUP.bytes),
    2: number_field(2, 9),
    3: number_field(3, 4),
    4: bytes_field(4, bytes(16)),
}
DISTRIBUTION_FIELDS = {
    1: bytes_field(1, GROUP.bytes),
    2: number_field(2, 9),
    3: number_field(3, 4),
    4: bytes_field(4, bytes(32)),
    5: bytes_field(5, KEY),
}
FORMS: dict[str, tuple[Callable[[bytes], object], bytes, dict[int, bytes], bytes, set[int]]] = {
    "signal": (SignalMessage.parse, b"\x44", SIGNAL_FIELDS, TAG, {3, 5, 6}),
    "prekey": (PreKeyMessage.parse, b"\x44", PREKEY_FIELDS, b"", {1, 5}),
    "sender key": (SenderKeyMessage.parse, b"\x33", SENDER_FIELDS, bytes(64), set()),
    "distribution": (DistributionMessage.parse, b"\x33", DISTRIBUTION_FIELDS, b"", set()),
}


def encoded(form: str, changes: dict[int, bytes] | None = None, *, first: bytes | None = None) -> bytes:
    _parse, version, fields, end, _optional = FORMS[form]
    return (version if first is None else first) + b"".join((fields | (changes or {})).values()) + end


every_form = pytest.mark.parametrize("form", FORMS)


@every_form
def test_a_message_with_all_fields_is_read_in_any_order(form: str) -> None:
    parse, version, fields, end, _optional = FORMS[form]
    parse(encoded(form))
    parse(version + b"".join(reversed(fields.values())) + end)


@every_form
def test_a_field_may_be_missing_only_if_it_is_optional(form: str) -> None:
    parse, _version, fields, _end, optional = FORMS[form]
    for number in fields:
        if number in optional:
            parse(encoded(form, {number: b""}))
        else:
            with pytest.raises(MalformedMessage):
                parse(encoded(form, {number: b""}))


@every_form
def test_a_field_of_the_wrong_type_is_malformed(form: str) -> None:
    parse, _version, fields, _end, _optional = FORMS[form]
    for number, field in fields.items():
        wrong = number_field(number, 1) if field[0] & 7 == 2 else bytes_field(number, b"x")
        fixed = bytes([number << 3 | 5]) + bytes(4)
        for value in (wrong, fixed):
            with pytest.raises(MalformedMessage):
                parse(encoded(form, {number: value}))


@every_form
def test_unknown_fields_are_passed_over(form: str) -> None:
    parse, version, fields, end, _optional = FORMS[form]
    parse(version + bytes_field(15, b"later") + b"".join(fields.values()) + number_field(14, 1) + end)


@every_form
@pytest.mark.parametrize("data", [None, "text", bytearray(b"\x44" * 100), memoryview(b"\x44" * 100), 5])
def test_only_bytes_are_parsed(form: str, data: Any) -> None:  # noqa: ANN401
    with pytest.raises(MalformedMessage, match="must be bytes"):
        FORMS[form][0](data)


@every_form
def test_a_message_that_is_too_short_or_too_large_is_malformed(form: str) -> None:
    parse, version, _fields, end, _optional = FORMS[form]
    for size in range(len(end) + 1):
        with pytest.raises(MalformedMessage, match="too short"):
            parse((version + bytes(100))[:size])
    with pytest.raises(MalformedMessage, match="larger"):
        parse(version + bytes(MESSAGE_SIZE_MAX))


@every_form
def test_another_version_is_told_apart_from_a_damaged_message(form: str) -> None:
    parse = FORMS[form][0]
    spoken = (3, 4) if form in {"signal", "prekey"} else (3,)
    for version in range(16):
        if version not in spoken:
            with pytest.raises(UnsupportedVersion, match=str(version)):
                parse(encoded(form, first=bytes([version << 4 | 4])))


@every_form
def test_the_low_half_of_the_version_byte_is_not_looked_at(form: str) -> None:
    parse, version, _fields, _end, _optional = FORMS[form]
    for low in range(16):
        parse(encoded(form, first=bytes([version[0] & 0xF0 | low])))


# --- SignalMessage -------------------------------------------------------------------------------------------


def test_a_signal_message_is_understood_and_keeps_the_slice_that_was_received() -> None:
    data = encoded("signal")
    message = SignalMessage.parse(data)
    assert (message.version, message.ratchet_key, message.counter) == (4, KEY, 7)
    assert (message.ciphertext, message.pq_ratchet, message.addresses) == (bytes(16), b"spqr", bytes(36))
    assert (message.authenticated, message.tag) == (data[:-8], TAG)


@pytest.mark.parametrize("key", [KEY[:-1], KEY + b"\0", b"\x08" + KEY[1:], b""])
def test_a_ratchet_key_has_its_form(key: bytes) -> None:
    with pytest.raises(MalformedMessage):
        SignalMessage.parse(encoded("signal", {1: bytes_field(1, key)}))


@pytest.mark.parametrize("addresses", [b"", bytes(35), bytes(300)])
def test_addresses_of_any_size_are_left_to_the_comparison(addresses: bytes) -> None:
    assert SignalMessage.parse(encoded("signal", {6: bytes_field(6, addresses)})).addresses == addresses


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(SIGNAL_FIELDS | {6: b""}, id="as all senders write it"),
        pytest.param(SIGNAL_FIELDS | {6: b"", 5: b""}, id="without SPQR"),
        pytest.param(SIGNAL_FIELDS | {6: b"", 2: number_field(2, 300)}, id="a long counter"),
        pytest.param(SIGNAL_FIELDS | {6: b"", 3: number_field(3, 300)}, id="a long previous counter"),
        pytest.param(SIGNAL_FIELDS | {6: b"", 3: b""}, id="no previous counter"),
        pytest.param(SIGNAL_FIELDS | {6: b"", 4: bytes_field(4, bytes(208))}, id="a long ciphertext"),
        pytest.param(SIGNAL_FIELDS | {6: b"", 5: bytes_field(5, bytes(200))}, id="a long SPQR part"),
        pytest.param(SIGNAL_FIELDS | {6: b"", 1: b"", 7: bytes_field(1, KEY)}, id="the key last"),
        pytest.param(SIGNAL_FIELDS | {6: b"", 2: varint(2 << 3 | 0x80) + b"\x00\x07"}, id="a key in a longer form"),
    ],
)
def test_the_short_way_of_reading_finds_what_the_long_way_finds(fields: dict[int, bytes]) -> None:
    """An unknown field at the end makes the parser take the long way."""
    body = b"\x44" + b"".join(fields.values())
    results: list[object] = []
    for data in (body + TAG, body + number_field(15, 0) + TAG):
        try:
            message = SignalMessage.parse(data)
        except MalformedMessage:
            results.append(None)
        else:
            results.append((message.ratchet_key, message.counter, message.ciphertext, message.pq_ratchet))
    assert results[0] == results[1]


@pytest.mark.parametrize("length", range(1, 64))
def test_a_message_cut_anywhere_before_its_tag_is_malformed_or_has_no_spqr_part(length: int) -> None:
    body = b"\x44" + b"".join((SIGNAL_FIELDS | {6: b""}).values())
    whole = body[:length] + TAG
    if length == len(body) - len(SIGNAL_FIELDS[5]):
        assert SignalMessage.parse(whole).pq_ratchet == b""
    elif length < len(body):
        with pytest.raises(MalformedMessage):
            SignalMessage.parse(whole)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("addresses", [None, bytes(36)])
@pytest.mark.parametrize("pq_ratchet", [b"", b"spqr"])
def test_an_encoded_signal_message_is_read_back(version: int, pq_ratchet: bytes, addresses: bytes | None) -> None:
    data = encode_signal_message(version, KEY, 300, 299, bytes(208), pq_ratchet, addresses)
    message = SignalMessage.parse(data + TAG)
    assert (message.version, message.ratchet_key, message.counter) == (version, KEY, 300)
    assert (message.ciphertext, message.pq_ratchet, message.addresses) == (bytes(208), pq_ratchet, addresses)


# --- PreKeyMessage -------------------------------------------------------------------------------------------


def test_a_first_message_is_understood() -> None:
    message = PreKeyMessage.parse(encoded("prekey"))
    assert (message.version, message.registration_id) == (4, 42)
    assert (message.one_time_prekey_id, message.signed_prekey_id, message.kem_prekey_id) == (11, 12, 13)
    assert (message.base_key, message.identity_key, message.kem_ciphertext) == (KEY, OTHER_KEY, KEM_CIPHERTEXT)
    assert message.message.counter == 7


def test_without_registration_id_it_is_zero_and_without_one_time_key_it_is_none() -> None:
    message = PreKeyMessage.parse(encoded("prekey", {1: b"", 5: b""}))
    assert (message.registration_id, message.one_time_prekey_id) == (0, None)


def test_zero_is_a_prekey_id() -> None:
    message = PreKeyMessage.parse(encoded("prekey", {1: number_field(1, 0)}))
    assert message.one_time_prekey_id == 0


@pytest.mark.parametrize("missing", [{7: b""}, {8: b""}])
@pytest.mark.parametrize("version", [3, 4])
def test_one_of_the_two_kem_fields_is_malformed_in_either_version(missing: dict[int, bytes], version: int) -> None:
    inner = {4: bytes_field(4, bytes([version << 4 | 4]) + b"".join(SIGNAL_FIELDS.values()) + TAG)}
    with pytest.raises(MalformedMessage, match="KEM"):
        PreKeyMessage.parse(encoded("prekey", missing | inner, first=bytes([version << 4 | 4])))


def test_a_version_3_message_needs_no_kem_fields_and_may_have_them() -> None:
    inner = {4: bytes_field(4, b"\x34" + b"".join(SIGNAL_FIELDS.values()) + TAG)}
    assert PreKeyMessage.parse(encoded("prekey", inner | {7: b"", 8: b""}, first=b"\x34")).kem_ciphertext is None
    assert PreKeyMessage.parse(encoded("prekey", inner, first=b"\x34")).kem_prekey_id == 13


def test_the_versions_of_a_first_message_and_of_the_one_inside_are_the_same() -> None:
    inner = {4: bytes_field(4, b"\x34" + b"".join(SIGNAL_FIELDS.values()) + TAG)}
    with pytest.raises(MalformedMessage, match="version 3 in a first message of version 4"):
        PreKeyMessage.parse(encoded("prekey", inner))


@pytest.mark.parametrize(
    "changes",
    [
        {2: bytes_field(2, KEY[:-1])},
        {3: bytes_field(3, b"\x08" + KEY[1:])},
        {4: bytes_field(4, b"\x44" + bytes(8))},
        {8: bytes_field(8, KEM_CIPHERTEXT[:-1])},
        {8: bytes_field(8, b"\x0a" + KEM_CIPHERTEXT[1:])},
    ],
    ids=["base key", "identity key", "inner message", "KEM ciphertext", "KEM type"],
)
def test_a_part_that_has_not_its_form_is_malformed(changes: dict[int, bytes]) -> None:
    with pytest.raises(MalformedMessage):
        PreKeyMessage.parse(encoded("prekey", changes))


@pytest.mark.parametrize("one_time", [None, 0, 11])
@pytest.mark.parametrize("kem", [True, False])
def test_a_wrapped_message_is_read_back(one_time: int | None, kem: bool) -> None:  # noqa: FBT001
    version = 4 if kem else 3
    inner = bytes([version << 4 | 4]) + b"".join(SIGNAL_FIELDS.values()) + TAG
    pending = PendingPreKey(42, one_time, 12, 13 if kem else None, KEM_CIPHERTEXT if kem else None, KEY, OTHER_KEY)
    message = PreKeyMessage.parse(pending.wrap(version, inner))
    assert (message.version, message.registration_id, message.one_time_prekey_id) == (version, 42, one_time)
    assert (message.kem_prekey_id, message.kem_ciphertext) == (pending.kem_prekey_id, pending.kem_ciphertext)
    assert (message.base_key, message.identity_key) == (KEY, OTHER_KEY)


# --- sender keys ---------------------------------------------------------------------------------------------


def test_a_group_message_is_understood_and_keeps_what_the_signature_covers() -> None:
    data = encode_sender_key_message(GROUP.bytes, 9, 4, bytes(16)) + b"s" * 64
    message = SenderKeyMessage.parse(data)
    assert (message.distribution_id, message.chain_id, message.iteration) == (GROUP, 9, 4)
    assert (message.ciphertext, message.signed, message.signature) == (bytes(16), data[:-64], b"s" * 64)


@pytest.mark.parametrize("form", ["sender key", "distribution"])
@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_distribution_id_has_16_bytes(form: str, size: int) -> None:
    with pytest.raises(MalformedMessage, match="16 bytes"):
        FORMS[form][0](encoded(form, {1: bytes_field(1, bytes(size))}))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_chain_key_has_32_bytes(size: int) -> None:
    with pytest.raises(MalformedMessage, match="32 bytes"):
        DistributionMessage.parse(encoded("distribution", {4: bytes_field(4, bytes(size))}))


def test_a_distribution_message_is_read_back_and_does_not_print_its_key() -> None:
    message = DistributionMessage(GROUP, 9, 4, bytes(range(32)), KEY)
    again = DistributionMessage.parse(message.encode())
    assert (again.distribution_id, again.chain_id, again.iteration) == (GROUP, 9, 4)
    assert (again.chain_key, again.signing_key) == (bytes(range(32)), KEY)
    assert repr(again) == f"DistributionMessage({GROUP}, chain_id=9, iteration=4)"


def test_the_numbers_of_the_kinds_are_libsignals() -> None:
    assert (CiphertextKind.SIGNAL, CiphertextKind.PREKEY) == (2, 3)
