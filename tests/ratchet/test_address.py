"""Addresses and the 36 bytes that bind a message to its two ends."""

from __future__ import annotations

from typing import Any

import pytest

from ratchet.address import Address, address_binding, pack_address, take_address
from ratchet.errors import CorruptSnapshot, InvalidArgument
from tests.support.naming import case_name

ACCOUNT = Address("d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01", 3)
PHONE_NUMBER = Address("PNI:3f5b1a08-1c58-4d0e-9a2e-7e1f6a9b2b02", 127)


def test_a_uuid_is_an_accounts_service_id() -> None:
    assert ACCOUNT.service_id == b"\x00" + bytes.fromhex("d64a6c2a8e564a438a2c5c2c4a4d1a01")


def test_a_uuid_behind_pni_is_a_phone_numbers_service_id() -> None:
    assert PHONE_NUMBER.service_id == b"\x01" + bytes.fromhex("3f5b1a081c584d0e9a2e7e1f6a9b2b02")


def test_capital_letters_are_the_same_service_id() -> None:
    assert Address(ACCOUNT.name.upper(), 1).service_id == ACCOUNT.service_id


@pytest.mark.parametrize(
    "name",
    [
        "alice",
        "+15551234567",
        "d64a6c2a8e564a438a2c5c2c4a4d1a01",
        "{d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01}",
        "d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01\n",
        " d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01",
        "pni:d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01",
        "PNI:",
        "PNI:PNI:d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a01",
        "d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1aɢ1",
        "d64a6c2a-8e56-4a43-8a2c-5c2c4a4d1a0\u0661",  # a digit, but an Arabic one
    ],
)
def test_any_other_name_is_none(name: str) -> None:
    assert Address(name, 1).service_id is None


@pytest.mark.parametrize("name", ["", "x" * 1025, "ä" * 513, "\ud800", None, b"name", 5, object()], ids=case_name)
def test_a_name_is_text_of_1_to_1024_bytes(name: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        Address(name, 1)


class Name(str):
    """Text that is not exactly text."""

    __slots__ = ()


def test_a_name_is_exactly_text() -> None:
    with pytest.raises(InvalidArgument):
        Address(Name("alice"), 1)


@pytest.mark.parametrize("device_id", [0, 128, -1, 1.0, True, "1", None], ids=case_name)
def test_a_device_id_is_1_to_127(device_id: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        Address("alice", device_id)


def test_a_binding_is_both_service_ids_with_their_devices_the_senders_first() -> None:
    binding = address_binding(ACCOUNT, PHONE_NUMBER)
    assert ACCOUNT.service_id is not None
    assert PHONE_NUMBER.service_id is not None
    assert binding == ACCOUNT.service_id + b"\x03" + PHONE_NUMBER.service_id + b"\x7f"
    assert len(binding) == 36
    assert address_binding(PHONE_NUMBER, ACCOUNT) != binding


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [(None, ACCOUNT), (ACCOUNT, None), (None, None), (ACCOUNT, Address("bob", 1)), (Address("bob", 1), ACCOUNT)],
)
def test_nothing_is_bound_unless_both_names_are_service_ids(sender: Address | None, recipient: Address | None) -> None:
    assert address_binding(sender, recipient) is None


@pytest.mark.parametrize("address", [None, ACCOUNT, Address("ä" * 512, 127)], ids=case_name)
def test_an_address_is_the_same_from_its_packed_form(address: Address | None) -> None:
    assert take_address(pack_address(address)) == address


@pytest.mark.parametrize("packed", [[], ["alice"], ["alice", 0], ["", 1], [b"alice", 1], ["x" * 1025, 1], 5, "alice"])
def test_any_other_packed_form_is_corrupt(packed: Any) -> None:  # noqa: ANN401
    with pytest.raises(CorruptSnapshot):
        take_address(packed)
