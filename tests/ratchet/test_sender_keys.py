"""Group chains of both sides."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from ratchet.errors import (
    CorruptSnapshot,
    InvalidArgument,
    MalformedMessage,
    MessageKeyGone,
    NoActiveSession,
    NotAuthentic,
    TooFarAhead,
    UnknownSenderKey,
    UnsupportedVersion,
)
from ratchet.keys import SigningKeyPair
from ratchet.limits import COUNTER_MAX, FORWARD_JUMP_MAX, PLAINTEXT_SIZE_MAX, SENDER_KEY_STATES_MAX
from ratchet.messages import DistributionMessage, SenderKeyMessage, encode_sender_key_message
from ratchet.packing import pack, unpack
from ratchet.primitives import aes_cbc_encrypt, hkdf_sha256, hmac_sha256
from ratchet.sender_keys import OwnSenderKey, PeerSenderKey
from tests.support.conversation import refused, seeded
from tests.support.naming import case_name

GROUP, OTHER_GROUP = UUID(int=1), UUID(int=2)


def sender(seed: int | str = 0, group: UUID = GROUP) -> OwnSenderKey:
    return OwnSenderKey.create(group, entropy=seeded(seed))


def member(own: OwnSenderKey) -> PeerSenderKey:
    return PeerSenderKey.from_distribution_message(own.distribution_message())


def test_entropy_makes_the_id_of_31_bits_the_chain_and_the_signing_key() -> None:
    drawn: list[int] = []

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return b"\xff" * size

    own = OwnSenderKey.create(GROUP, entropy=entropy)
    assert drawn == [4, 32, 32]
    assert (own.distribution_id, own.chain_id, own.iteration) == (GROUP, 0x7FFFFFFF, 0)


@pytest.mark.parametrize("group", [None, "text", GROUP.bytes, 5], ids=case_name)
def test_a_distribution_id_is_a_uuid(group: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgument):
        OwnSenderKey.create(group)


def test_both_sides_print_ids_only() -> None:
    own = sender()
    assert repr(own) == f"OwnSenderKey({GROUP}, chain_id={own.chain_id}, iteration=0)"
    assert repr(member(own)) == f"PeerSenderKey({GROUP}, chain_ids=({own.chain_id},))"


def test_a_message_is_made_as_the_protocol_says() -> None:
    """`signal-protocol` 5.2: IV before key, no salt, the signature over version and protobuf."""
    own = sender()
    distribution = DistributionMessage.parse(own.distribution_message())
    seed = hmac_sha256(distribution.chain_key, b"\x01")
    keys = hkdf_sha256(None, seed, b"WhisperGroup", 48)
    expected = encode_sender_key_message(
        GROUP.bytes, own.chain_id, 0, aes_cbc_encrypt(keys[16:], keys[:16], b"hello group")
    )
    body = own.encrypt(b"hello group")
    assert body[:-64] == expected
    assert own.iteration == 1


def test_a_member_reads_what_is_sent_from_its_distribution_on() -> None:
    own = sender()
    own.encrypt(b"too early")
    reader = member(own)
    assert [reader.decrypt(own.encrypt(b"%d" % i)) for i in range(3)] == [b"0", b"1", b"2"]


def test_messages_in_another_order_are_read_once() -> None:
    own = sender()
    reader = member(own)
    bodies = [own.encrypt(b"%d" % i) for i in range(4)]
    assert [reader.decrypt(bodies[i]) for i in (2, 0, 3, 1)] == [b"2", b"0", b"3", b"1"]
    for body in bodies:
        with refused(MessageKeyGone, reader):
            reader.decrypt(body)


def test_a_loaded_signing_key_signs_with_entropy() -> None:
    signing = SigningKeyPair.from_private(bytes(range(32)))
    own = OwnSenderKey(GROUP, 7, bytes(32), 0, signing)
    assert member(own).decrypt(own.encrypt(b"hello", entropy=seeded(1))) == b"hello"
    assert OwnSenderKey.from_bytes(own.to_bytes()).to_bytes() == own.to_bytes()


@pytest.mark.parametrize("plaintext", [None, "text", bytearray(b"x")], ids=case_name)
def test_a_plaintext_is_bytes(plaintext: Any) -> None:  # noqa: ANN401
    own = sender()
    with refused(InvalidArgument, own):
        own.encrypt(plaintext)


def test_a_plaintext_has_a_largest_size() -> None:
    own = sender()
    with refused(InvalidArgument, own):
        own.encrypt(bytes(PLAINTEXT_SIZE_MAX + 1))


def test_a_chain_ends_before_its_iteration_would_overflow() -> None:
    own = OwnSenderKey(GROUP, 7, bytes(32), COUNTER_MAX - 1, sender()._signing)
    reader = member(own)
    assert reader.decrypt(own.encrypt(b"the last one")) == b"the last one"
    with refused(NoActiveSession, own):
        own.encrypt(b"one more")


def test_what_is_of_another_group_or_chain_is_unknown() -> None:
    reader = member(sender())
    for other in (sender(0, OTHER_GROUP), sender(1)):
        with refused(UnknownSenderKey, reader):
            reader.decrypt(other.encrypt(b"hello"))


def test_a_wrong_signature_is_not_authentic_the_first_time_and_later() -> None:
    own = sender()
    reader = member(own)
    body = own.encrypt(b"hello")
    for _ in range(2):
        with refused(NotAuthentic, reader):
            reader.decrypt(body[:-1] + bytes([body[-1] ^ 1]))
    assert reader.decrypt(body) == b"hello"


def test_a_signing_key_without_edwards_form_signs_nothing() -> None:
    own = sender()
    minus_one = b"\x05" + (2**255 - 20).to_bytes(32, "little")
    distribution = DistributionMessage(GROUP, own.chain_id, 0, bytes(32), minus_one)
    reader = PeerSenderKey.from_distribution_message(distribution.encode())
    with refused(NotAuthentic, reader):
        reader.decrypt(own.encrypt(b"hello"))


def signed(own: OwnSenderKey, iteration: int, ciphertext: bytes) -> bytes:
    encoded = encode_sender_key_message(GROUP.bytes, own.chain_id, iteration, ciphertext)
    return encoded + own._signing.sign(encoded, seeded(1))


def test_a_signed_message_too_far_ahead_is_refused() -> None:
    own = sender()
    reader = member(own)
    with refused(TooFarAhead, reader):
        reader.decrypt(signed(own, FORWARD_JUMP_MAX + 1, bytes(16)))


def test_a_signed_message_with_the_last_counter_of_all_is_refused() -> None:
    """Libsignal adds one to it and fails; no honest chain goes so far."""
    own = OwnSenderKey(GROUP, 7, bytes(32), COUNTER_MAX - 1, sender()._signing)
    reader = member(own)
    with refused(TooFarAhead, reader):
        reader.decrypt(signed(own, COUNTER_MAX, bytes(16)))


def test_a_signed_message_that_does_not_decrypt_changes_nothing() -> None:
    own = sender()
    reader = member(own)
    for ciphertext in (b"", bytes(15), bytes(16)):
        with refused(NotAuthentic, reader):
            reader.decrypt(signed(own, 0, ciphertext))


# --- several chains ------------------------------------------------------------------------------------------


def test_a_new_chain_stands_in_front_and_the_old_ones_are_still_read() -> None:
    old, new = sender(1), sender(2)
    reader = member(old)
    reader.add_distribution_message(new.distribution_message())
    assert reader.chain_ids == (new.chain_id, old.chain_id)
    assert reader.distribution_id == GROUP
    assert [reader.decrypt(one.encrypt(b"x")) for one in (old, new)] == [b"x", b"x"]


def test_a_known_chain_moves_to_the_front_and_is_not_other() -> None:
    old, new = sender(1), sender(2)
    from_the_start = old.distribution_message()
    reader = member(old)
    body = old.encrypt(b"once")
    reader.decrypt(body)
    reader.add_distribution_message(new.distribution_message())
    reader.add_distribution_message(from_the_start)
    assert reader.chain_ids == (old.chain_id, new.chain_id)
    with refused(MessageKeyGone, reader):
        reader.decrypt(body)


def test_the_same_chain_id_with_another_signing_key_takes_the_old_ones_place() -> None:
    old = sender(1)
    impostor = OwnSenderKey(GROUP, old.chain_id, bytes(32), 0, sender(2)._signing)
    reader = member(old)
    reader.add_distribution_message(impostor.distribution_message())
    assert reader.chain_ids == (old.chain_id,)
    assert reader.decrypt(impostor.encrypt(b"new")) == b"new"
    with refused(NotAuthentic, reader):
        reader.decrypt(old.encrypt(b"old"))


def test_the_oldest_chain_beyond_five_goes() -> None:
    chains = [sender(number) for number in range(SENDER_KEY_STATES_MAX + 1)]
    reader = member(chains[0])
    for own in chains[1:]:
        reader.add_distribution_message(own.distribution_message())
    assert reader.chain_ids == tuple(own.chain_id for own in reversed(chains[1:]))
    with refused(UnknownSenderKey, reader):
        reader.decrypt(chains[0].encrypt(b"x"))


def test_a_chain_of_another_group_is_not_added() -> None:
    reader = member(sender())
    with refused(MalformedMessage, reader):
        reader.add_distribution_message(sender(1, OTHER_GROUP).distribution_message())


@pytest.mark.parametrize(("data", "error"), [(b"", MalformedMessage), (b"\x43" + bytes(80), UnsupportedVersion)])
def test_what_is_no_distribution_message_is_not_added(data: bytes, error: type[Any]) -> None:
    reader = member(sender())
    with refused(error, reader):
        reader.add_distribution_message(data)
    with pytest.raises(error):
        PeerSenderKey.from_distribution_message(data)


# --- stored form ---------------------------------------------------------------------------------------------


def stored() -> tuple[OwnSenderKey, PeerSenderKey, list[bytes]]:
    own = sender(1)
    reader = member(own)
    bodies = [own.encrypt(b"%d" % i) for i in range(6)]
    for number in (3, 1):
        reader.decrypt(bodies[number])
    reader.add_distribution_message(sender(2).distribution_message())
    return own, reader, bodies


def test_both_sides_are_the_same_from_their_stored_forms() -> None:
    own, reader, bodies = stored()
    own_again, reader_again = OwnSenderKey.from_bytes(own.to_bytes()), PeerSenderKey.from_bytes(reader.to_bytes())
    assert own_again.to_bytes() == own.to_bytes()
    assert reader_again.to_bytes() == reader.to_bytes()
    assert own_again.encrypt(b"next") == own.encrypt(b"next")
    assert reader_again.decrypt(bodies[0]) == b"0"
    with pytest.raises(MessageKeyGone):
        reader_again.decrypt(bodies[1])


@pytest.mark.parametrize("position", range(6))
def test_an_own_key_with_a_value_of_the_wrong_type_is_corrupt(position: int) -> None:
    packed = unpack(stored()[0].to_bytes(), version=1, length=6, size_max=10_000, what="sender key")
    for value in ("text", None, -1, 2**32):
        with pytest.raises(CorruptSnapshot):
            OwnSenderKey.from_bytes(pack([1, *packed[:position], value, *packed[position + 1 :]]))


@pytest.mark.parametrize("position", range(7))
def test_a_peers_key_with_a_value_of_the_wrong_type_is_corrupt(position: int) -> None:
    group, chains = unpack(stored()[1].to_bytes(), version=2, length=2, size_max=10_000, what="sender key")
    chain = chains[0]
    for value in ("text", None, -1, 2**33):
        changed = [[*chain[:position], value, *chain[position + 1 :]], chains[1]]
        with pytest.raises(CorruptSnapshot):
            PeerSenderKey.from_bytes(pack([2, group, changed]))


def test_a_peers_key_has_one_to_five_chains_and_a_distribution_id() -> None:
    group, chains = unpack(stored()[1].to_bytes(), version=2, length=2, size_max=10_000, what="sender key")
    for packed in (
        [group, []],
        [group, chains * 3],
        [group[:-1], chains],
        [group, None],
        [group, [chains[0][:-1]]],
    ):
        with pytest.raises(CorruptSnapshot):
            PeerSenderKey.from_bytes(pack([2, *packed]))


def test_a_peers_key_of_the_first_form_is_read_and_does_not_say_where_its_chains_begin() -> None:
    own = sender()
    own.encrypt(b"before")
    reader = member(own)
    group, chains = unpack(reader.to_bytes(), version=2, length=2, size_max=10_000, what="sender key")
    old = PeerSenderKey.from_bytes(pack([1, group, [[chain_id, *rest] for chain_id, _first, *rest in chains]]))
    assert old.first_iteration(own.chain_id) == 0
    assert old.decrypt(own.encrypt(b"after")) == b"after"
    for version in (0, 1):
        with pytest.raises(CorruptSnapshot):
            PeerSenderKey.from_bytes(pack([version, group, chains]))


def test_where_a_chain_begins_tells_what_was_sent_before_from_what_comes_twice() -> None:
    own = sender()
    own.encrypt(b"before")
    reader = member(own)
    body = own.encrypt(b"after")
    reader.decrypt(body)
    other = OwnSenderKey.create(own.distribution_id)
    reader.add_distribution_message(other.distribution_message())
    reader.add_distribution_message(own.distribution_message())  # where it stands by now
    again = PeerSenderKey.from_bytes(reader.to_bytes())
    assert again.first_iteration(own.chain_id) == 1 == SenderKeyMessage.parse(body).iteration
    assert again.first_iteration(other.chain_id) == 0
    with pytest.raises(UnknownSenderKey):
        again.first_iteration(own.chain_id + 1)


def test_the_signature_is_over_what_was_received_and_not_over_an_encoding_of_ours() -> None:
    own = sender()
    reader = member(own)
    body = own.encrypt(b"hello")
    encoded = SenderKeyMessage.parse(body).signed + b"\x78\x01"  # an unknown field
    assert reader.decrypt(encoded + own._signing.sign(encoded, seeded(1))) == b"hello"


def test_a_forgotten_chain_opens_nothing_and_the_others_go_on() -> None:
    own = OwnSenderKey.create(UUID(int=1))
    peer = PeerSenderKey.from_distribution_message(own.distribution_message())
    message = own.encrypt(b"old")
    following = OwnSenderKey.create(own.distribution_id)
    peer.add_distribution_message(following.distribution_message())
    assert peer.forget(own.chain_id)
    assert not peer.forget(own.chain_id)
    assert peer.chain_ids == (following.chain_id,)
    with pytest.raises(UnknownSenderKey):
        peer.decrypt(message)
    assert peer.decrypt(following.encrypt(b"new")) == b"new"
