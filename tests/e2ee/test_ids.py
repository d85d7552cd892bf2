"""User ids and the service ids that stand for them (docs/protocol.md section 2)."""

from __future__ import annotations

import unicodedata
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import InvalidUserId
from e2ee.ids import has_unknown_characters, parse_user_id, service_id

A_UUID = "9d0652a3-dcc3-4d11-975f-74d61598733f"


@pytest.mark.parametrize("text", ["a", "alice", "bob@example.org", "müller", "日本", "x" * 128, A_UUID, "a/b:c"])
def test_a_name_is_a_user_id_as_it_stands(text: str) -> None:
    assert parse_user_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 129,
        "é" * 65,
        "a b",
        "a\n",
        "a\u00a0b",
        "a\u200bb",
        "\u202ealice",
        "e\u0301",
        "a\ud800",
        "\ue000",
        "a\u2065",
        "a\ufdd0",
        "a\uffff",
        "a\U0005fffe",
        "a\U000e0001",
        "a\U000e0fff",
        A_UUID.upper(),
        A_UUID.replace("4d11", "8d11"),
        A_UUID.replace("4d11", "1d11"),
        A_UUID.replace("975f", "175f"),
        b"alice",
        None,
        7,
    ],
)
def test_what_could_be_mistaken_for_another_name_is_refused(text: object) -> None:
    with pytest.raises(InvalidUserId):
        parse_user_id(text)


def test_a_name_with_characters_of_a_later_unicode_is_taken_from_a_relay_that_knows_them() -> None:
    newer = parse_user_id("alice\u0378")  # no version has given this one a character
    assert has_unknown_characters(newer)
    assert not any(has_unknown_characters(parse_user_id(name)) for name in ("alice", "müller", "日本"))


def test_a_version_4_uuid_is_its_own_service_id() -> None:
    assert service_id(parse_user_id(A_UUID)) == UUID(A_UUID)


def test_any_other_name_has_a_version_8_uuid_that_no_user_id_can_be() -> None:
    found = service_id(parse_user_id("alice"))

    assert str(found) == "10d3fd48-acdb-8129-a6e6-62165c09d104"
    assert (found.version, found.variant) == (8, "specified in RFC 4122")
    with pytest.raises(InvalidUserId):
        parse_user_id(str(found))


@given(st.text(max_size=40))
def test_every_text_is_refused_or_kept_to_the_byte(text: str) -> None:
    try:
        assert parse_user_id(text) == text == unicodedata.normalize("NFC", text)
    except InvalidUserId:
        return
    assert service_id(parse_user_id(text)).version in (4, 8)
