"""Bad group messages and distribution messages: a typed error, and the sender key does not change by a bit."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet import (
    InvalidArgument,
    MalformedMessage,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    OwnSenderKey,
    PeerSenderKey,
    RatchetError,
    TooFarAhead,
    UnknownSenderKey,
    UnsupportedVersion,
)
from ratchet.limits import COUNTER_MAX, FORWARD_JUMP_MAX, PLAINTEXT_SIZE_MAX
from ratchet.messages import DistributionMessage, SenderKeyMessage, encode_sender_key_message
from tests.support.adversary import LOW_ORDER_KEYS, bit_flips, raises_and_changes_nothing, same_state
from tests.support.conversation import seeded
from tests.support.naming import case_name

GROUP = UUID("c8cf2a06-5ab8-4b73-9c2d-0a3f7e4c8b11")
REFUSED = (MalformedMessage, MessageKeyGone, NotAuthentic, TooFarAhead, UnknownSenderKey, UnsupportedVersion)


def own(seed: int | str = "sender", group: UUID = GROUP) -> OwnSenderKey:
    return OwnSenderKey.create(group, entropy=seeded(seed))


class Member:
    """Somebody who can read a sender, and a message that he has not read."""

    def __init__(self) -> None:
        self.sender = own()
        self.key = PeerSenderKey.from_distribution_message(self.sender.distribution_message())
        self.key.decrypt(self.sender.encrypt(b"before"))
        self.body = self.sender.encrypt(b"hello group")

    def refuses(self, body: Any, expected: type[RatchetError] | tuple[type[RatchetError], ...] = REFUSED) -> None:  # noqa: ANN401
        with raises_and_changes_nothing(expected, self.key):
            self.key.decrypt(body)

    def signed(self, iteration: int, ciphertext: bytes = bytes(16), *, chain_id: int | None = None) -> bytes:
        """What the sender itself could make, breaking the rules."""
        chain = self.sender.chain_id if chain_id is None else chain_id
        encoded = encode_sender_key_message(GROUP.bytes, chain, iteration, ciphertext)
        return encoded + self.sender._signing.sign(encoded, seeded(1))


def test_a_message_cut_at_any_length_is_refused() -> None:
    member = Member()
    for length in range(len(member.body)):
        member.refuses(member.body[:length])
    assert member.key.decrypt(member.body) == b"hello group"


def test_a_message_with_any_one_bit_flipped_is_refused() -> None:
    member = Member()
    with same_state(member.key):
        for _bit, body in bit_flips(member.body):
            with pytest.raises(REFUSED):
                member.key.decrypt(body)
    assert member.key.decrypt(member.body) == b"hello group"


def test_a_replay_is_refused_as_such() -> None:
    member = Member()
    member.key.decrypt(member.body)
    member.refuses(member.body, MessageKeyGone)


def test_a_message_of_another_sender_of_the_group_is_refused() -> None:
    member = Member()
    member.refuses(own("other").encrypt(b"not for this key"), UnknownSenderKey)


def test_a_message_of_another_group_is_refused() -> None:
    member = Member()
    member.refuses(own("sender", UUID(int=1)).encrypt(b"elsewhere"), UnknownSenderKey)


def test_a_member_cannot_write_in_the_senders_name() -> None:
    member = Member()
    chain = member.key._chains[0].chain
    forger = own("forger")
    forged = OwnSenderKey(GROUP, member.sender.chain_id, chain.key, chain.number, forger._signing)
    member.refuses(forged.encrypt(b"forged"), NotAuthentic)


def test_the_signature_is_checked_before_any_key_is_derived() -> None:
    member = Member()
    forged = encode_sender_key_message(GROUP.bytes, member.sender.chain_id, COUNTER_MAX, bytes(16)) + bytes(64)
    member.refuses(forged, NotAuthentic)


@pytest.mark.parametrize("ahead", [1, 2**31])
def test_an_authentic_iteration_beyond_the_limit_is_refused(ahead: int) -> None:
    member = Member()
    member.refuses(member.signed(1 + FORWARD_JUMP_MAX + ahead), TooFarAhead)


@pytest.mark.parametrize("ciphertext", [b"", bytes(15), bytes(17), bytes(16), bytes(32)], ids=len)
def test_an_authentic_message_that_does_not_decrypt_is_refused(ciphertext: bytes) -> None:
    member = Member()
    member.refuses(member.signed(1, ciphertext), NotAuthentic)


def test_an_authentic_message_of_an_unknown_chain_is_refused() -> None:
    member = Member()
    member.refuses(member.signed(1, chain_id=(member.sender.chain_id + 1) & 0xFFFFFFFF), UnknownSenderKey)


@pytest.mark.parametrize("version", [0, 1, 2, 4, 15])
def test_another_version_is_refused_as_such(version: int) -> None:
    member = Member()
    member.refuses(bytes((version << 4 | 3,)) + member.body[1:], UnsupportedVersion)


@pytest.mark.parametrize("body", [None, 0, "text", bytearray(80), memoryview(bytes(80)), [], object()], ids=case_name)
def test_what_is_no_bytes_is_malformed(body: Any) -> None:  # noqa: ANN401
    member = Member()
    member.refuses(body, MalformedMessage)
    with raises_and_changes_nothing(MalformedMessage, member.key):
        member.key.add_distribution_message(body)
    with pytest.raises(MalformedMessage):
        PeerSenderKey.from_distribution_message(body)


@given(body=st.binary(max_size=200))
def test_random_bytes_are_refused(body: bytes) -> None:
    member = Member()
    member.refuses(body)
    with raises_and_changes_nothing((MalformedMessage, UnsupportedVersion), member.key):
        member.key.add_distribution_message(body)


def test_a_distribution_message_cut_at_any_length_is_refused() -> None:
    member = Member()
    distribution = own("next").distribution_message()
    with same_state(member.key):
        for length in range(len(distribution)):
            with pytest.raises((MalformedMessage, UnsupportedVersion)):
                member.key.add_distribution_message(distribution[:length])


def test_a_distribution_message_of_another_group_is_refused() -> None:
    member = Member()
    with raises_and_changes_nothing(MalformedMessage, member.key):
        member.key.add_distribution_message(own("sender", UUID(int=1)).distribution_message())


def test_a_distribution_message_never_rewinds_a_chain() -> None:
    sender = own()
    from_the_start = sender.distribution_message()
    key = PeerSenderKey.from_distribution_message(from_the_start)
    read = sender.encrypt(b"once")
    key.decrypt(read)
    with same_state(key):
        key.add_distribution_message(from_the_start)
    with raises_and_changes_nothing(MessageKeyGone, key):
        key.decrypt(read)


def test_a_flipped_distribution_message_raises_nothing_but_ratchet_errors() -> None:
    for _bit, distribution in bit_flips(own().distribution_message()):
        try:
            key = PeerSenderKey.from_distribution_message(distribution)
            key.decrypt(own().encrypt(b"hello"))
        except RatchetError:
            continue
        # The flip hit what does not matter: the lower half of the version byte, or the iteration of an older key.
        assert DistributionMessage.parse(distribution) is not None


@pytest.mark.parametrize("public", LOW_ORDER_KEYS)
def test_a_signing_key_of_low_order_signs_nothing(public: bytes) -> None:
    sender = own()
    honest = DistributionMessage.parse(sender.distribution_message())
    distribution = DistributionMessage(GROUP, honest.chain_id, 0, honest.chain_key, b"\x05" + public)
    key = PeerSenderKey.from_distribution_message(distribution.encode())
    message = SenderKeyMessage.parse(sender.encrypt(b"hello"))
    for signature in (message.signature, bytes(64), b"\x01" + bytes(63)):
        with raises_and_changes_nothing(NotAuthentic, key):
            key.decrypt(message.signed + signature)


@pytest.mark.parametrize("plaintext", [None, "text", 0, bytearray(b"x"), memoryview(b"x"), [b"x"]], ids=case_name)
def test_a_plaintext_that_is_no_bytes_is_not_encrypted(plaintext: Any) -> None:  # noqa: ANN401
    sender = own()
    with raises_and_changes_nothing(InvalidArgument, sender):
        sender.encrypt(plaintext)


def test_a_plaintext_over_the_limit_is_not_encrypted() -> None:
    sender = own()
    with raises_and_changes_nothing(InvalidArgument, sender):
        sender.encrypt(bytes(PLAINTEXT_SIZE_MAX + 1))


def test_a_used_up_sender_key_encrypts_nothing_more() -> None:
    signing = own()._signing
    sender = OwnSenderKey(GROUP, 1, bytes(32), COUNTER_MAX, signing)
    with raises_and_changes_nothing(NoActiveSession, sender):
        sender.encrypt(b"one too many")


@pytest.mark.parametrize("group", [None, 0, str(GROUP), GROUP.bytes], ids=case_name)
def test_a_distribution_id_must_be_a_uuid(group: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        OwnSenderKey.create(group)
